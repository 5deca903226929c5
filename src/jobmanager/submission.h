#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "jobmanager/values.h"
#include "proto/graph.pb.h"

namespace weir::jobmanager {

/// What a job graph may have at most; beyond it a submission is refused by name.
struct SubmissionLimits {
  static constexpr uint32_t kMaxVertices = 1'024;
  static constexpr uint32_t kMaxEdges = 8'192;
  static constexpr uint32_t kMaxOperators = 8'192;
  static constexpr uint32_t kMaxParallelism = 32'768;
  static constexpr uint32_t kMaxSubtasks = 65'536;
  static constexpr size_t kMaxNameBytes = 256;
  static constexpr size_t kMaxUidBytes = 256;
  static constexpr size_t kMaxArgumentsBytes = 64 << 10;
  /// The record of a job must fit into the metadata store's largest value beside its other fields.
  static constexpr size_t kMaxGraphBytes = 900 << 10;
};

/// InvalidArgument names the first thing that is wrong, its value and the mend. Pure.
[[nodiscard]] absl::Status CheckGraph(const proto::JobGraph& graph);

/// What the machines need of a graph that has passed CheckGraph; defaults filled in.
JobPlan PlanOf(const proto::JobGraph& graph, const std::string& artifact_hash);

}  // namespace weir::jobmanager
