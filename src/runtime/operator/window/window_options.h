#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "runtime/operator/process_operator.h"

namespace weir {

/// What a window operator does with time, besides the windows themselves.
template <class T>
struct WindowOptions {
  std::chrono::milliseconds allowed_lateness{0};
  /// Where rows go that are too late; without, they are dropped and counted.
  std::optional<OutputTag<T>> late;
};

inline constexpr const char* kLateRecordsDropped = "late_records_dropped";

[[noreturn]] void ThrowNoTimestamp(const std::string& operator_uid);

/// Time plus lateness, without overflow.
inline int64_t AddLateness(int64_t time, int64_t lateness) {
  return time > std::numeric_limits<int64_t>::max() - lateness ? std::numeric_limits<int64_t>::max()
                                                               : time + lateness;
}

}  // namespace weir
