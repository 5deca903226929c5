#pragma once

#include <atomic>
#include <cstddef>

namespace weir {

/// What the state that has to stay in memory may take: windows and timers, and without a store all
/// of it. Shared by the keyed operators of one attempt in one process; any thread.
struct StateBound {
  explicit StateBound(size_t limit) : limit(limit) {}

  std::atomic<size_t> limit;
  std::atomic<size_t> bytes{0};  ///< of all of them, as each last said
};

}  // namespace weir
