#include "base/error.h"

#include "base/exception_text.h"

namespace weir {

const char* ToString(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUser:
      return "user";
    case ErrorKind::kExternal:
      return "external";
    case ErrorKind::kInternal:
      return "internal";
    case ErrorKind::kFatal:
      return "fatal";
  }
  return "unknown";
}

void RethrowAsError(const std::string& where) {
  try {
    throw;
  } catch (const Error& e) {
    ThrowError(e.kind(), where + e.what());
  } catch (const std::exception& e) {
    ThrowError(ErrorKind::kUser, where + TextOf(e));
  } catch (...) {
    ThrowError(ErrorKind::kUser, where + "threw something that is not a std::exception");
  }
}

void ThrowError(ErrorKind kind, const std::string& message) { throw Error(kind, message); }

}  // namespace weir
