#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "job/job_library.h"
#include "proto/control.pb.h"
#include "state/checkpoint/local_copies.h"
#include "state/checkpoint/stoppable_storage.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_tuning.h"
#include "state/store.h"
#include "taskmanager/artifacts.h"
#include "taskmanager/restore.h"

namespace weir {

/// What the subtasks of an attempt begin from: the job as this process built it, where checkpoints
/// go, and the state that each operator is to have.
struct PreparedAttempt {
  std::optional<JobGraph> graph;
  std::unique_ptr<CheckpointStorage> storage;
  std::unique_ptr<CheckpointStorage> restore_storage;  ///< null: the same, or no restore
  std::unique_ptr<StoppableStorage> restore_from;      ///< one of both; null without a restore
  std::map<std::pair<SubtaskId, uint32_t>, OperatorRestore> restored;
  std::map<SubtaskId, std::vector<InFlightRows>> in_flight;
  std::string lineage;
  std::map<std::pair<SubtaskId, uint32_t>, std::unique_ptr<StateStore>> stores;
};

struct Preparation {
  Artifacts* artifacts = nullptr;
  std::function<absl::Status(const std::string& hash, const std::string& path)> fetch_artifact;
  std::function<RocksDbResources*()> rocksdb;
  RocksDbTuning tuning;  ///< of each store
  const proto::DeployJob* deploy = nullptr;
  const std::set<SubtaskId>* local = nullptr;  ///< the subtasks that run here
  std::string directory;                       ///< of the attempt's files
  /// Of this job's copies of checkpoint files, used where those are on another file system; empty:
  /// none are kept.
  std::string copies;
  LocalCopyReport* copy_report = nullptr;
  std::string task_manager;  ///< this process, in messages
  /// Calls off what takes long of it, and the reading of restored state later on.
  std::shared_ptr<const std::atomic<bool>> stop;
};

/// Loads the library, builds the graph, opens the storages and fetches the state. Blocks: I/O
/// thread. Cancelled soon after `stop` is set.
absl::StatusOr<PreparedAttempt> PrepareAttempt(const Preparation& what);

/// What the JobManager has, and this process does not find: the machine lacks the directory, which
/// then is no damage of the checkpoint. Any other status stays as it is.
absl::Status NotSeenHere(const absl::Status& status, const std::string& task_manager,
                         const std::string& directory);

/// Whose fault a failed preparation is.
proto::FailureKind FailureKindOf(const absl::Status& status);

KeyGroupRange KeyGroupsOf(const proto::JobGraph& graph, SubtaskId subtask);
/// Where an operator may keep files, below the attempt's directory.
std::string OperatorDirectory(const std::string& attempt_directory, SubtaskId subtask,
                              uint32_t index);

}  // namespace weir
