#pragma once

#include <string>
#include <vector>

#include "proto/graph.pb.h"
#include "runtime/graph/job_graph.h"

namespace weir {

/// The graph as the control plane knows it: everything but the code. `arguments` are the words
/// after
/// `--`. Leaves abi_stamp and output_lineage empty.
proto::JobGraph ToProto(const JobGraph& graph, const std::vector<std::string>& arguments);

/// The hash as it stands in proto::JobGraph::graph_hash.
std::string GraphHashText(uint64_t hash);

/// Takes over what the control plane decided for the job: settings, parallelism, max parallelism.
/// Call before BuildGraph, on a TaskManager.
struct JobOverrides OverridesFrom(const proto::JobGraph& graph);

/// Applies the run-time settings of `from` (buffer time-out, watermark interval, max parallelism,
/// checkpoint mode, backend) to a graph rebuilt here.
void ApplySettings(const proto::JobGraph& from, JobGraph& graph);

}  // namespace weir
