#include "runtime/task/operator_failure.h"

namespace weir {

void ThrowAsFailureOf(OperatorPlace place) {
  try {
    RethrowAsError("");
  } catch (const Error& e) {
    throw OperatorFailure(place, e.kind(), e.what());
  }
}

}  // namespace weir
