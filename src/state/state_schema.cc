#include "state/state_schema.h"

namespace weir {

const char* ToString(StateKind kind) {
  switch (kind) {
    case StateKind::kValue:
      return "value";
    case StateKind::kList:
      return "list";
    case StateKind::kMap:
      return "map";
    case StateKind::kSliced:
      return "sliced";
    case StateKind::kTimers:
      return "timers";
  }
  return "unknown";
}

std::string StateSchema::Describe() const {
  return std::string(ToString(kind)) + " key=" + key_schema + " value=" + value_schema;
}

}  // namespace weir
