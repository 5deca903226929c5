#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "ha/leader_election.h"
#include "ha/metadata_store.h"
#include "jobmanager/job.h"
#include "jobmanager/wire.h"
#include "proto/job_record.pb.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/garbage_collector.h"
#include "state/checkpoint/storage.h"

namespace weir::jobmanager {

/// Under whose name this process writes. The same for all jobs of one leadership.
struct Leadership {
  LeaderEpoch epoch;
  std::string holder;       ///< for people
  std::string incarnation;  ///< unique to this start of the process
  MetadataStore* metadata = nullptr;
  const Clock* clock = nullptr;
  const LeaderElection* election = nullptr;

  /// Asked before every act that is visible outside. The epoch is what keeps a late act from doing
  /// harm where epochs are compared; this keeps it from being tried, and elsewhere.
  absl::Status MayAct() const {
    if (election->MayAct()) return absl::OkStatus();
    return absl::AbortedError("this JobManager may not be the leader any more");
  }
};

/// What is durable of one job: its record in the metadata store and the log of its checkpoints.
/// Carries out the I/O actions of the job's machine; each returns the event that answers it.
///
/// Every call blocks and belongs on the job's I/O strand; owned by it.
///
/// Failpoints: jobmanager.before_prepare jobmanager.before_commit jobmanager.after_commit
/// jobmanager.before_end jobmanager.after_end.
class JobStorage {
 public:
  static constexpr uint32_t kRecordFormat = 1;
  /// Files that no manifest names, found by a sweep, are left alone for so long.
  static constexpr std::chrono::hours kSweepEvery{1};
  /// Savepoints under way, and those that failed and could not be removed.
  static constexpr int kMaxExports = 64;

  /// `version` is that of the record in the store; kAbsent for a new job, whose Store creates it.
  JobStorage(const Leadership& leadership, proto::JobRecord record, uint64_t version);

  static std::string KeyOf(const std::string& job_id) { return "jobs/" + job_id; }

  /// Goes into the record with whatever is stored next.
  void Count(const JobCounts& counts) { *record_.mutable_counts() = ToProto(counts); }

  /// The same of what the job's restart policy goes by.
  void Remember(proto::RestartMemory memory) {
    *record_.mutable_restart_memory() = std::move(memory);
  }

  /// Makes the record durable as it is now.
  [[nodiscard]] absl::Status Store();

  JobEvent Prepare(const PrepareAttempt& action, const std::set<TaskManagerId>& task_managers);
  CheckpointEvent Commit(const CommitManifest& commit, AttemptId attempt, int64_t triggered_ms,
                         std::string* path);
  CheckpointEvent Reserve(CheckpointId limit);
  /// True: from now on the job can do without what it began from.
  bool Prune();
  /// What was counted and remembered.
  void NoteRestarts();
  JobEvent StoreCancel();
  [[nodiscard]] absl::Status StoreSourceRate(const proto::SourceRate& rate);
  /// Before anything of a savepoint is written, and when it is whole or gone.
  [[nodiscard]] absl::Status NoteExport(const std::string& directory);
  void ForgetExport(const std::string& directory);
  JobEvent StoreEnd(const PersistEnd& end, uint32_t restarts, int64_t ended_ms);
  /// Behind StoreEnd, and nothing unless that has succeeded: deletes what the ended job does not
  /// retain. The job has ended by then: the checkpoints' storage may be what hangs.
  void DeleteUnretained();

  /// Deletes the record of a job that has ended.
  [[nodiscard]] absl::Status Forget();

  /// A committed checkpoint that is still retained, for an export.
  absl::StatusOr<proto::Manifest> Find(CheckpointId id) const;
  /// For the export, which runs beside this strand. Shared with it. Nothing before Prepare.
  std::shared_ptr<CheckpointStorage> checkpoint_storage() const { return storage_; }

  /// Another leader was here, or could have been: stop.
  bool fenced() const { return fenced_; }

 private:
  absl::Status OpenLog();
  /// What the log holds is this job's, and not older than what the record knows of.
  absl::Status CheckNewest(const CheckpointLog& log) const;
  /// What the job began from is not needed any more, once checkpoints of its own are there; if the
  /// job owns it, it is deleted, and tried again later if that fails. True: since this call.
  bool SettleRestore();
  absl::Status DeleteClaimed() const;
  /// The checkpoints go with the job, and a savepoint that it owns and still needed.
  absl::Status DeleteWithJob();
  /// What a job retains is what it is repaired with. Where there is nothing, its folder goes.
  absl::Status DeleteFolderIfNothingIsRetained();
  /// The first checkpoint goes into the record, and with several retained every one.
  void NoteNewest();
  absl::Status Note(absl::Status status);
  absl::Status MayAct() { return Note(leadership_.MayAct()); }
  proto::Manifest ManifestOf(const CommitManifest& commit, AttemptId attempt, int64_t triggered_ms,
                             absl::Status* status) const;
  CheckpointId UsableLimit() const { return CheckpointId(log_->id_limit().value - 1); }

  const Leadership leadership_;
  proto::JobRecord record_;
  uint64_t version_;
  std::shared_ptr<CheckpointStorage> storage_;
  std::unique_ptr<CheckpointLog> log_;
  std::unique_ptr<GarbageCollector> garbage_;
  std::optional<std::chrono::nanoseconds> last_sweep_;
  std::optional<bool> discards_;  // from StoreEnd to DeleteUnretained: its checkpoints go with it
  bool fenced_ = false;
};

/// Every job in the store, with the version of its record. DataLoss or FailedPrecondition names a
/// record that cannot be read.
struct StoredJob {
  proto::JobRecord record;
  uint64_t version = 0;
};
absl::StatusOr<std::vector<StoredJob>> ReadJobs(MetadataStore& store);

}  // namespace weir::jobmanager
