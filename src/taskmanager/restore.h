#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "runtime/channel/in_flight.h"
#include "runtime/graph/job_graph.h"
#include "runtime/operator/operator_state.h"
#include "state/checkpoint/storage.h"
#include "state/segment/segment_merge.h"

namespace weir {

/// What one operator of one subtask starts from.
struct OperatorRestore {
  std::vector<RestoredOperatorState> operator_state;
  /// Null without keyed state.
  std::unique_ptr<SegmentSet> keyed_state;
  /// The keyed state's handles, cut down to the subtask's key groups: its chain goes on from them.
  std::vector<proto::StateHandle> keyed_handles;
};

/// The handle of rows in flight in each edge of the job, without the rows: what tells the edge from
/// others, and its type.
std::map<uint32_t, proto::StateHandle> InFlightHandles(const JobGraph& graph);

/// The manifest that an attempt starts from, and what each of its subtasks needs of it. Blocks: I/O
/// thread. Damage is DataLoss naming the file, and so is a file of state that is missing; state
/// that does not fit the job is FailedPrecondition naming the uids. A manifest that is missing is
/// NotFound. The graph outlives the plan.
class RestorePlan {
 public:
  static absl::StatusOr<std::unique_ptr<RestorePlan>> Load(CheckpointStorage& storage,
                                                           const std::string& manifest_path,
                                                           const JobGraph& graph,
                                                           bool allow_non_restored_state);

  /// Copies the files that the operator is to have into `directory`.
  absl::StatusOr<OperatorRestore> For(const std::string& uid, uint32_t index, uint32_t parallelism,
                                      KeyGroupRange key_groups, const std::string& directory);

  /// The rows that were on their way to the subtask, those of a channel or key in order. Where the
  /// parallelism has changed they go to the subtasks that get such rows now; FailedPrecondition
  /// when their edge has no rule for that, or is no more.
  absl::StatusOr<std::vector<InFlightRows>> InFlight(SubtaskId subtask);

  const proto::Manifest& manifest() const { return manifest_; }

 private:
  RestorePlan(CheckpointStorage& storage, proto::Manifest manifest, const JobGraph& graph)
      : storage_(storage), manifest_(std::move(manifest)), graph_(graph) {}

  CheckpointStorage& storage_;
  const proto::Manifest manifest_;
  const JobGraph& graph_;
};

}  // namespace weir
