#pragma once

#include <cstdint>

#include "proto/control.pb.h"
#include "runtime/exchange/network_buffer_pool.h"
#include "runtime/graph/job_graph.h"

namespace weir {

/// Do the exclusive buffers of this process's part of a job fit what `pool` has not set aside yet?
/// Throws weir::Error with the whole need if not: kFatal when they never can, kExternal when other
/// jobs or a former attempt hold what is missing. The JobManager asks the same when it places a
/// job, but knows nothing of what is set aside.
void CheckNetworkBuffers(const JobGraph& graph, const proto::DeployJob& deploy,
                         uint32_t exclusive_per_channel, const NetworkBufferPool& pool);

}  // namespace weir
