#include "runtime/exchange/process_start.h"

#include <malloc.h>

#include <algorithm>
#include <climits>
#include <thread>

#include "absl/synchronization/mutex.h"

namespace weir {
namespace {

// glibc's own upper limit for blocks from the heap; larger ones are always mapped.
constexpr size_t kMaxMmapThreshold = size_t{32} << 20;

}  // namespace

void PrepareProcessForDataPlane(size_t memory_budget_bytes) {
  const size_t threshold = std::min<size_t>(memory_budget_bytes / 20, INT_MAX);
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(threshold));
  // Setting one threshold stops the allocator from adapting the other: say it too, or every read
  // block above 128 KiB is mapped and unmapped.
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(std::min(threshold, kMaxMmapThreshold)));
  const unsigned cores = std::thread::hardware_concurrency();
  mallopt(M_ARENA_MAX, static_cast<int>(std::clamp(cores, 2u, 64u)));
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace weir
