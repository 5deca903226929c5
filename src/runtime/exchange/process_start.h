#pragma once

#include <cstddef>

namespace weir {

/// What a process with a data plane sets once, at its start, before it has threads:
/// - The allocator keeps freed memory at the top of the heap, up to a twentieth of the process's
///   memory budget, instead of returning it to the kernel at once: the socket's read buffers come
///   and go so fast that page faults otherwise halve the throughput.
/// - The allocator has as many arenas as there are cores, 2 to 64, not eight times as many: each
///   keeps what it once needed, and every attempt's threads are spread over them anew. After half
///   an hour with a restart every half minute 10 MB in use stood in arenas of 197 MB.
/// - Abseil's search for lock cycles is off. Debian builds Abseil with it, and gRPC's every lock
///   then goes through a graph.
void PrepareProcessForDataPlane(size_t memory_budget_bytes);

}  // namespace weir
