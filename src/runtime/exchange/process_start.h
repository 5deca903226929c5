#pragma once

#include <cstddef>

namespace weir {

/// What a process with a data plane sets once, at its start, before it has threads:
/// - The allocator keeps freed memory at the top of the heap, up to a twentieth of the process's
///   memory budget, instead of returning it to the kernel at once: the socket's read buffers come
///   and go so fast that page faults otherwise halve the throughput.
/// - The allocator has as many arenas as there are cores, at least two, not eight times as many:
/// each
///   keeps what it once needed, and the threads of each attempt are spread over other ones than
///   those before. In an hour with a restart every half minute, 10 MB in use came to 190 MB so;
///   what the exchange costs in CPU did not differ.
/// - Abseil's search for lock cycles is off. Debian builds Abseil with it, and gRPC's every lock
///   then goes through a graph.
void PrepareProcessForDataPlane(size_t memory_budget_bytes);

}  // namespace weir
