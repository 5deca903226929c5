#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace weir {

/// Checkpoints that are under way at a time, for whoever triggers them and whoever takes them. A
/// pause between two means that there is one; 0 is what a job says that says nothing.
constexpr uint32_t ConcurrentCheckpoints(uint32_t max_concurrent,
                                         std::chrono::milliseconds min_pause) {
  return min_pause.count() > 0 ? 1 : std::max(max_concurrent, uint32_t{1});
}

}  // namespace weir
