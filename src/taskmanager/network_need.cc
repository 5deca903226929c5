#include "taskmanager/network_need.h"

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/graph/channel_ends.h"

namespace weir {

void CheckNetworkBuffers(const JobGraph& graph, const proto::DeployJob& deploy,
                         uint32_t exclusive_per_channel, const NetworkBufferPool& pool) {
  std::map<SubtaskId, uint64_t> process_of;
  for (const auto& placement : deploy.placements()) {
    const proto::SubtaskRef& subtask = placement.subtask();
    process_of[{VertexId(subtask.vertex()), subtask.index()}] = placement.task_manager();
  }
  std::vector<EdgeShape> edges;
  for (const JobEdge& edge : graph.edges) {
    if (!process_of.contains({edge.source, 0})) continue;  // of another region
    edges.push_back({.source = edge.source,
                     .target = edge.target,
                     .producers = graph.vertex(edge.source).parallelism,
                     .consumers = graph.vertex(edge.target).parallelism,
                     .partitioning = edge.partitioning});
  }
  const uint64_t ends = RemoteChannelEnds(
      edges, [&](SubtaskId subtask) { return process_of.at(subtask); })[deploy.your_index()];
  const uint64_t needed = ends * exclusive_per_channel;
  if (pool.CheckExclusive(needed).ok()) return;
  const NetworkBufferStats stats = pool.stats();
  ThrowError(needed > stats.total_segments ? ErrorKind::kFatal : ErrorKind::kExternal,
             "this part of the job needs " + std::to_string(needed) + " network buffers (" +
                 std::to_string(exclusive_per_channel) + " for each of its " +
                 std::to_string(ends) + " ends of channels to other TaskManagers), the pool has " +
                 std::to_string(stats.total_segments) + ", of which " +
                 std::to_string(stats.exclusive_segments) +
                 " are set aside already; raise network.buffers, or lower the parallelism");
}

}  // namespace weir
