#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/ids.h"
#include "runtime/channel/partitioner.h"

namespace weir {

/// The consuming subtasks that producer `producer` of an edge sends to.
std::vector<uint32_t> ConsumersOf(Partitioning partitioning, uint32_t producer, uint32_t producers,
                                  uint32_t consumers);

/// What of an edge decides which channels it has.
struct EdgeShape {
  VertexId source;
  VertexId target;
  uint32_t producers = 1;
  uint32_t consumers = 1;
  Partitioning partitioning = Partitioning::kForward;
};

/// How many ends of channels that lead from one process to another lie in each process; each end
/// has network buffers of its own. `process_of` says where a subtask runs; it is
/// asked a few times for each subtask of an edge, not for each channel.
std::map<uint64_t, uint64_t> RemoteChannelEnds(
    const std::vector<EdgeShape>& edges, const std::function<uint64_t(SubtaskId)>& process_of);

}  // namespace weir
