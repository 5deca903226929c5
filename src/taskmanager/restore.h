#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
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

/// The manifest that an attempt starts from, and what each of its subtasks needs of it. Blocks: I/O
/// thread. Damage is DataLoss naming the file, and so is a file of state that is missing; state
/// that does not fit the job is FailedPrecondition naming the uids. A manifest that is missing is
/// NotFound.
class RestorePlan {
 public:
  static absl::StatusOr<std::unique_ptr<RestorePlan>> Load(CheckpointStorage& storage,
                                                           const std::string& manifest_path,
                                                           const JobGraph& graph,
                                                           bool allow_non_restored_state);

  /// Copies the files that the operator is to have into `directory`.
  absl::StatusOr<OperatorRestore> For(const std::string& uid, uint32_t index, uint32_t parallelism,
                                      KeyGroupRange key_groups, const std::string& directory);

  const proto::Manifest& manifest() const { return manifest_; }

 private:
  RestorePlan(CheckpointStorage& storage, proto::Manifest manifest)
      : storage_(storage), manifest_(std::move(manifest)) {}

  CheckpointStorage& storage_;
  const proto::Manifest manifest_;
};

}  // namespace weir
