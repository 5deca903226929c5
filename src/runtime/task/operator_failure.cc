#include "runtime/task/operator_failure.h"

#include <exception>

namespace weir {

void ThrowAsFailureOf(OperatorPlace place) {
  try {
    throw;
  } catch (const Error& e) {
    throw OperatorFailure(place, e.kind(), e.what());
  } catch (const std::exception& e) {
    throw OperatorFailure(place, ErrorKind::kUser, e.what());
  } catch (...) {
    throw OperatorFailure(place, ErrorKind::kUser,
                          "threw something that is not a std::exception");
  }
}

}  // namespace weir
