#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace weir {

/// Where a subtask's time goes, in nanoseconds; the four add up to wall time. Without the fourth,
/// three busy tasks in one slot would each look a third busy, and an autoscaler would be blind.
/// Written by the slot thread, read by metrics.
struct TaskTimes {
  std::atomic<int64_t> busy{0};
  std::atomic<int64_t> back_pressured{0};
  std::atomic<int64_t> idle{0};
  std::atomic<int64_t> waiting_for_slot{0};

  static void Add(std::atomic<int64_t>& counter, std::chrono::nanoseconds d) {
    counter.store(counter.load(std::memory_order_relaxed) + d.count(), std::memory_order_relaxed);
  }
};

}  // namespace weir
