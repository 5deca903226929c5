#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/ids.h"

namespace weir {

/// An operator of the job's graph.
struct OperatorPlace {
  VertexId vertex;
  uint32_t index = 0;  ///< in the vertex's chain
};

/// The failure of an operator that is not the one that runs: one that could not be made, or whose
/// key selector has run behind the operator before it.
class OperatorFailure final : public Error {
 public:
  OperatorFailure(OperatorPlace place, ErrorKind kind, const std::string& message)
      : Error(kind, message), place_(place) {}
  OperatorPlace place() const { return place_; }

 private:
  OperatorPlace place_;
};

/// In a handler: throws what was caught, whatever it is, as the failure of that operator.
[[noreturn]] void ThrowAsFailureOf(OperatorPlace place);

}  // namespace weir
