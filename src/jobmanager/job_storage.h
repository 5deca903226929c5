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
#include "jobmanager/job.h"
#include "jobmanager/leadership.h"
#include "jobmanager/stored_record.h"
#include "jobmanager/wire.h"
#include "proto/job_record.pb.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/garbage_collector.h"
#include "state/checkpoint/storage.h"

namespace weir::jobmanager {

/// The log of a job's checkpoints, and what its record says of them and of its attempts. Carries
/// out the I/O actions of the job's machine; each returns the event that answers it.
///
/// Every call blocks and belongs on the job's I/O strand; owned by it.
///
/// Failpoints: jobmanager.before_prepare jobmanager.before_commit jobmanager.after_commit
/// jobmanager.before_end jobmanager.after_end.
class JobStorage {
 public:
  /// Files that no manifest names, found by a sweep, are left alone for so long.
  static constexpr std::chrono::hours kSweepEvery{1};
  /// Savepoints under way, and those that failed and could not be removed.
  static constexpr int kMaxExports = 64;

  /// `submitted` is the record as it was when this leadership began: what never changes is read
  /// there. What does is in `stored`.
  JobStorage(const Leadership& leadership, std::shared_ptr<const proto::JobRecord> submitted,
             std::shared_ptr<StoredRecord> stored);

  /// Goes into the record with whatever is stored next.
  void Count(const JobCounts& counts) {
    stored_->Note([&](proto::JobRecord& r) { *r.mutable_counts() = ToProto(counts); });
  }

  /// The same of what the job's restart policy goes by.
  void Remember(const proto::RestartMemory& memory) {
    stored_->Note([&](proto::JobRecord& r) { *r.mutable_restart_memory() = memory; });
  }

  JobEvent Prepare(const PrepareAttempt& action, const std::set<TaskManagerId>& task_managers);
  CheckpointEvent Commit(const CommitManifest& commit, AttemptId attempt, int64_t triggered_ms,
                         std::string* path);
  CheckpointEvent Reserve(CheckpointId limit);
  /// True: from now on the job can do without what it began from.
  bool Prune();
  /// What was counted and remembered.
  void NoteRestarts();
  /// Before anything of a savepoint is written: a committed checkpoint that is still retained,
  /// whose files stay until EndExport. The export runs beside this strand.
  absl::StatusOr<proto::Manifest> BeginExport(CheckpointId id, const std::string& directory);
  /// It reads no more, whatever came of it.
  void EndExport(CheckpointId id) { garbage_->EndExport(id); }
  /// The savepoint is whole or gone.
  void ForgetExport(const std::string& directory);
  JobEvent StoreEnd(const PersistEnd& end, uint32_t restarts, int64_t ended_ms);
  /// Behind StoreEnd, and nothing unless that has succeeded: deletes what the ended job does not
  /// retain. The job has ended by then: the checkpoints' storage may be what hangs.
  void DeleteUnretained();
  /// The same later, where it was not done: because it failed, or an earlier leader stored the end
  /// and died in between. What the job claimed is left alone, because something else may lie at its
  /// path by now. A folder that cannot be seen is not held for deleted where its disk may be
  /// missing.
  void DeleteLeftBehind();

  /// For an export. Shared with it. Nothing before Prepare.
  std::shared_ptr<CheckpointStorage> checkpoint_storage() const { return storage_; }

  bool fenced() const { return stored_->fenced(); }

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
  void NoteDeleted();
  absl::StatusOr<proto::Manifest> Find(CheckpointId id) const;
  absl::Status NoteExport(const std::string& directory);
  /// The stop whose checkpoint is the newest one, unless it is given up.
  std::optional<StopPoint> DecidedStop(CheckpointId given_up) const;
  [[nodiscard]] absl::Status NoteStop(const CommitManifest& commit);
  /// The first checkpoint goes into the record, and with several retained every one.
  void NoteNewest();
  absl::Status Note(absl::Status status) { return stored_->NoteFence(std::move(status)); }
  absl::Status MayAct() { return stored_->MayAct(); }
  proto::Manifest ManifestOf(const CommitManifest& commit, AttemptId attempt, int64_t triggered_ms,
                             absl::Status* status) const;
  bool restore_settled() const {
    return stored_->Read([](const auto& r) { return r.restore_settled(); });
  }
  CheckpointId UsableLimit() const { return CheckpointId(log_->id_limit().value - 1); }

  const Leadership leadership_;
  const std::shared_ptr<const proto::JobRecord> submitted_;
  const std::shared_ptr<StoredRecord> stored_;
  std::shared_ptr<CheckpointStorage> storage_;
  std::unique_ptr<CheckpointLog> log_;
  std::unique_ptr<GarbageCollector> garbage_;
  std::optional<std::chrono::nanoseconds> last_sweep_;
  std::optional<bool> discards_;  // from StoreEnd to DeleteUnretained: its checkpoints go with it
};

}  // namespace weir::jobmanager
