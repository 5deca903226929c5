#include "base/error.h"

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

void ThrowError(ErrorKind kind, const std::string& message) { throw Error(kind, message); }

}  // namespace weir
