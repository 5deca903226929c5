#include "runtime/exchange/allocator_trim.h"

#include <malloc.h>

#include <algorithm>
#include <climits>

namespace weir {

size_t SetAllocatorTrimThreshold(size_t memory_budget_bytes) {
  const size_t threshold = std::min<size_t>(memory_budget_bytes / 20, static_cast<size_t>(INT_MAX));
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(threshold));
  // Setting one threshold stops the allocator from adapting the other: say it too, or every read
  // block above 128 KiB is mapped and unmapped.
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(std::min<size_t>(threshold, size_t{32} << 20)));
  return threshold;
}

}  // namespace weir
