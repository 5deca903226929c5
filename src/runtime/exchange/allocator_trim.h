#pragma once

#include <cstddef>

namespace weir {

/// Lets the allocator keep freed memory at the top of the heap instead of returning it to the
/// kernel at once: the socket's read buffers come and go so fast that page faults otherwise halve
/// the throughput of the data plane. Keeps at most a twentieth of the process's memory budget.
/// Call once, at the start of the process. Returns the threshold that was set.
size_t SetAllocatorTrimThreshold(size_t memory_budget_bytes);

}  // namespace weir
