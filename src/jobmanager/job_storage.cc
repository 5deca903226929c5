#include "jobmanager/job_storage.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "jobmanager/lineage.h"
#include "jobmanager/submission.h"
#include "jobmanager/wire.h"
#include "log/log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/savepoint.h"

namespace weir::jobmanager {
namespace {

Failure FailureOf(const absl::Status& status, const std::string& doing) {
  Failure failure{.kind = ErrorKind::kExternal,
                  .message = absl::StrCat(doing, ": ", status.message())};
  // Damage, a foreign format, another leader: trying again would find the same.
  if (absl::IsDataLoss(status) || absl::IsFailedPrecondition(status) || absl::IsAborted(status)) {
    failure.kind = ErrorKind::kFatal;
  }
  return failure;
}

uint64_t HexValue(const std::string& hex) {
  uint64_t value = 0;
  std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  return value;
}

void AddStatistics(const proto::SnapshotStatistics& from, proto::SnapshotStatistics* to) {
  to->set_written_bytes(to->written_bytes() + from.written_bytes());
  to->set_written_entries(to->written_entries() + from.written_entries());
  to->set_total_bytes(to->total_bytes() + from.total_bytes());
  to->set_alignment_us(std::max(to->alignment_us(), from.alignment_us()));
  to->set_synchronous_us(std::max(to->synchronous_us(), from.synchronous_us()));
  to->set_duration_us(std::max(to->duration_us(), from.duration_us()));
  to->set_in_flight_bytes(to->in_flight_bytes() + from.in_flight_bytes());
  to->set_unaligned(to->unaligned() || from.unaligned());
}

}  // namespace

JobStorage::JobStorage(const Leadership& leadership,
                       std::shared_ptr<const proto::JobRecord> submitted,
                       std::shared_ptr<StoredRecord> stored)
    : leadership_(leadership), submitted_(std::move(submitted)), stored_(std::move(stored)) {}

absl::Status JobStorage::OpenLog() {
  if (absl::Status s = MayAct(); !s.ok()) return s;
  if (log_ != nullptr) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage =
      DirectoryStorage::Open(submitted_->checkpoint_directory());
  if (!storage.ok()) return storage.status();
  std::shared_ptr<CheckpointStorage> shared = *std::move(storage);
  absl::StatusOr<std::unique_ptr<CheckpointLog>> log =
      CheckpointLog::TakeOver(*shared, leadership_.epoch, leadership_.holder,
                              leadership_.incarnation, RestorePolicy::kNewest);
  if (!log.ok()) return Note(log.status());
  if (absl::Status s = CheckNewest(**log); !s.ok()) return s;
  storage_ = std::move(shared);
  log_ = *std::move(log);
  const CheckpointPolicy policy =
      PlanOf(submitted_->graph(), submitted_->artifact_hash()).checkpoint;
  garbage_ = std::make_unique<GarbageCollector>(
      *log_,
      GarbageOptions{.retained = policy.retained,
                     .grace = std::max<milliseconds>(std::chrono::hours(1), 2 * policy.timeout)});
  return absl::OkStatus();
}

absl::Status JobStorage::CheckNewest(const CheckpointLog& log) const {
  const std::vector<CheckpointLogEntry>& found = log.checkpoints();
  if (!found.empty() && found.back().entry.manifest().job_id() != submitted_->job_id()) {
    return absl::DataLossError(
        absl::StrCat(found.back().path, " in ", submitted_->checkpoint_directory(),
                     " is a checkpoint of the job ", found.back().entry.manifest().job_id(),
                     ", not of ", submitted_->job_id()));
  }
  const uint64_t newest = found.empty() ? 0 : found.back().entry.manifest().checkpoint_id();
  // What an ended job discards may be half gone already.
  const uint64_t noted = stored_->Read([](const auto& r) {
    return r.discards_checkpoints() ? uint64_t{0} : r.last_checkpoint_id();
  });
  if (newest >= noted) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "checkpoint ", noted, " was complete, but its manifest is missing in ",
      submitted_->checkpoint_directory(), "/log, where ",
      newest == 0 ? "there is none" : absl::StrCat("the newest is of checkpoint ", newest),
      "; an older checkpoint is used only if asked for, by weir run --from-savepoint "
      ".../log/SLOT"));
}

void JobStorage::NoteNewest() {
  if (log_->checkpoints().empty()) return;
  const uint64_t newest = log_->checkpoints().back().entry.manifest().checkpoint_id();
  const uint64_t noted = stored_->Read([](const auto& r) { return r.last_checkpoint_id(); });
  if (noted != 0 && garbage_->retained() == 1) return;
  const absl::Status s =
      stored_->Store([newest](proto::JobRecord& r) { r.set_last_checkpoint_id(newest); });
  if (!s.ok()) {
    log::Warn("the newest checkpoint was not noted in the job's record",
              {{"reason", std::string(s.message())}});
  }
}

JobEvent JobStorage::Prepare(const PrepareAttempt& action,
                             const std::set<TaskManagerId>& task_managers) {
  const AttemptId attempt = action.attempt;
  const auto failed = [&](const absl::Status& status, const std::string& doing) {
    return PrepareFailed{attempt, FailureOf(status, doing)};
  };
  if (WEIR_FAILPOINT("jobmanager.before_prepare")) {
    return failed(absl::UnavailableError("failpoint"), "preparing");
  }
  if (absl::Status s = OpenLog(); !s.ok()) return failed(s, "cannot open the checkpoints");
  if (!log_->in_doubt().empty()) {
    // Another entry behind a commit in doubt settles it.
    if (absl::Status s = Note(log_->ReserveIds()); !s.ok()) {
      return failed(s, "cannot settle a commit in doubt");
    }
  }
  if (action.nothing_runs) {
    const absl::Status swept = Note(garbage_->SweepBetweenAttempts().status());
    if (!swept.ok()) {  // the attempt can do without the room
      log::Warn("what former attempts left behind was not deleted",
                {{"job", submitted_->job_id()}, {"reason", std::string(swept.message())}});
    }
  }
  AttemptPrepared prepared{.attempt = attempt};
  prepared.id_floor = CheckpointId(log_->first_checkpoint_id().value - 1);
  if (!log_->checkpoints().empty()) {
    const CheckpointLogEntry& newest = log_->checkpoints().back();
    prepared.last_completed = CheckpointId(newest.entry.manifest().checkpoint_id());
    prepared.restore = RestorePoint{.id = prepared.last_completed,
                                    .directory = submitted_->checkpoint_directory(),
                                    .manifest_path = newest.path};
  } else if (submitted_->has_initial_restore()) {
    const proto::RestoreFrom& from = submitted_->initial_restore();
    prepared.restore = RestorePoint{.id = CheckpointId(from.checkpoint_id()),
                                    .directory = from.directory(),
                                    .manifest_path = from.manifest_path(),
                                    .is_savepoint = true,
                                    .allow_non_restored_state = from.allow_non_restored_state()};
  }
  if (submitted_->has_initial_restore()) {
    // The lineage's markers carry checkpoint ids: go on above those of the savepoint's job.
    prepared.id_floor =
        std::max(prepared.id_floor, CheckpointId(submitted_->initial_restore().checkpoint_id()));
  }
  if (prepared.id_floor.value + CheckpointCoordinator::kIdsLeft >= UsableLimit().value) {
    if (absl::Status s = Note(log_->ReserveIds(prepared.id_floor)); !s.ok()) {
      return failed(s, "cannot reserve checkpoint ids");
    }
  }
  prepared.id_limit = UsableLimit();
  prepared.stop = DecidedStop(action.given_up_stop);

  const absl::Status noted = stored_->Store([&](proto::JobRecord& r) {
    r.set_attempt(attempt.value);
    r.set_restarts(action.restarts);
    if (!log_->checkpoints().empty()) r.set_last_checkpoint_id(prepared.last_completed.value);
    if (!prepared.stop) r.clear_stop();
    r.clear_task_managers();
    for (const TaskManagerId& id : task_managers) r.add_task_managers(id.value);
  });
  if (!noted.ok()) return failed(noted, "cannot store the attempt's number");
  return prepared;
}

std::optional<StopPoint> JobStorage::DecidedStop(CheckpointId given_up) const {
  const proto::Stop stop = stored_->Read([](const auto& r) { return r.stop(); });
  const std::vector<CheckpointLogEntry>& found = log_->checkpoints();
  if (stop.checkpoint_id() <= given_up.value || found.empty() ||
      found.back().entry.manifest().checkpoint_id() != stop.checkpoint_id()) {
    return std::nullopt;
  }
  return StopPoint{
      .id = CheckpointId(stop.checkpoint_id()),
      .kind = stop.drain() ? CheckpointKind::kStopAndDrain : CheckpointKind::kStop,
      .directory = stop.directory(),
      .path = absl::StrCat(submitted_->checkpoint_directory(), "/", found.back().path)};
}

absl::Status JobStorage::NoteStop(const CommitManifest& commit) {
  return stored_->Store([&](proto::JobRecord& r) {
    r.mutable_stop()->set_checkpoint_id(commit.id.value);
    r.mutable_stop()->set_drain(commit.kind == CheckpointKind::kStopAndDrain);
    r.mutable_stop()->set_directory(commit.directory);
  });
}

proto::Manifest JobStorage::ManifestOf(const CommitManifest& commit, AttemptId attempt,
                                       int64_t triggered_ms, absl::Status* status) const {
  proto::Manifest manifest;
  manifest.set_job_id(submitted_->job_id());
  manifest.set_job_name(submitted_->graph().job_name());
  manifest.set_checkpoint_id(commit.id.value);
  manifest.set_leader_epoch(leadership_.epoch.value);
  manifest.set_attempt(attempt.value);
  manifest.set_kind(proto::Manifest::CHECKPOINT);
  manifest.set_triggered_at(triggered_ms);
  manifest.set_committed_at(leadership_.clock->Now().ms);
  manifest.set_output_lineage(submitted_->graph().output_lineage());
  manifest.set_job_graph_hash(HexValue(submitted_->graph().graph_hash()));
  for (const proto::Vertex& from : submitted_->graph().vertices()) {
    proto::VertexSnapshot* vertex = manifest.add_vertices();
    vertex->set_uid(from.uid());
    for (const proto::Operator& op : from.operators()) vertex->add_operator_uids(op.uid());
    vertex->set_name(from.name());
    vertex->set_parallelism(from.parallelism());
    vertex->set_max_parallelism(submitted_->graph().max_parallelism());
    for (uint32_t i = 0; i < from.parallelism(); ++i) {
      proto::SubtaskSnapshot* subtask = vertex->add_subtasks();
      const auto ack = commit.acks.find(SubtaskId{VertexId(from.id()), i});
      if (ack == commit.acks.end() || !subtask->ParseFromString(ack->second.state)) {
        *status = absl::InternalError(absl::StrCat("the acknowledgement of subtask ", i, " of '",
                                                   from.name(), "' cannot be read"));
        return manifest;
      }
      subtask->set_subtask(i);
      subtask->set_at_end_of_data(ack->second.at_end);
      AddStatistics(subtask->statistics(), manifest.mutable_statistics());
    }
  }
  return manifest;
}

CheckpointEvent JobStorage::Commit(const CommitManifest& commit, AttemptId attempt,
                                   int64_t triggered_ms, std::string* path) {
  absl::Status status;
  const proto::Manifest manifest = ManifestOf(commit, attempt, triggered_ms, &status);
  if (status.ok() && WEIR_FAILPOINT("jobmanager.before_commit")) {
    status = absl::UnavailableError("failpoint");
  }
  if (status.ok()) status = MayAct();
  // Before the commit that decides it: whoever finds the manifest knows what it is.
  if (status.ok() && IsStop(commit.kind)) status = NoteStop(commit);
  if (status.ok()) status = Note(log_->Commit(manifest));
  if (!status.ok()) {
    return ManifestFailed{commit.id, std::string(status.message()), OutcomeUnknown(status)};
  }
  (void)WEIR_FAILPOINT("jobmanager.after_commit");  // crash or wait: committed is committed
  if (HasUnguardedSinks(submitted_->graph())) {
    // Nothing is published before the record tells of it: after the job's end nobody may be able to
    // ask the log. If this fails, the manifest exists all the same, as after a commit in doubt.
    const absl::Status noted =
        stored_->Store([&](proto::JobRecord& r) { r.set_last_checkpoint_id(commit.id.value); });
    if (!noted.ok()) return ManifestFailed{commit.id, std::string(noted.message()), true};
  }
  *path = absl::StrCat(submitted_->checkpoint_directory(), "/", log_->checkpoints().back().path);
  return ManifestCommitted{commit.id, *path};
}

CheckpointEvent JobStorage::Reserve(CheckpointId limit) {
  absl::Status reserved = MayAct();
  if (reserved.ok()) {
    reserved = Note(log_->ReserveIds(CheckpointId(
        limit.value > CheckpointLog::kIdBlock ? limit.value - CheckpointLog::kIdBlock : 0)));
  }
  if (!reserved.ok()) {
    log::Warn("checkpoint ids were not reserved", {{"reason", std::string(reserved.message())}});
  }
  return IdsReserved{UsableLimit()};
}

absl::Status JobStorage::DeleteClaimed() const {
  if (absl::Status s = leadership_.MayAct(); !s.ok()) return s;
  const absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage =
      DirectoryStorage::OpenExisting(submitted_->initial_restore().directory());
  if (absl::IsNotFound(storage.status())) return absl::OkStatus();  // by an earlier try
  if (!storage.ok()) return storage.status();
  const absl::Status disposed = DisposeSavepoint(**storage);
  // What is left there, if anything, was never the savepoint's.
  return absl::IsNotFound(disposed) ? absl::OkStatus() : disposed;
}

bool JobStorage::SettleRestore() {
  if (!submitted_->has_initial_restore() || restore_settled()) return false;
  // Its files are not those of any manifest here: what a subtask begins from is copied first.
  const bool claimed = submitted_->restore_mode() == proto::RESTORE_MODE_CLAIM;
  if (log_->checkpoints().size() < (claimed ? garbage_->retained() : 1)) return false;
  if (claimed) {
    if (const absl::Status s = DeleteClaimed(); !s.ok()) {
      log::Warn("what the job began from, and owns, was not deleted; trying again",
                {{"path", submitted_->initial_restore().directory()},
                 {"reason", std::string(s.message())}});
      return false;
    }
  }
  return stored_->Store([](proto::JobRecord& r) { r.set_restore_settled(true); }).ok();
}

bool JobStorage::Prune() {
  if (!MayAct().ok()) return false;
  absl::StatusOr<GarbageReport> report = garbage_->AfterCommit();
  NoteNewest();
  const bool settled = SettleRestore();
  const std::chrono::nanoseconds now = leadership_.clock->Monotonic();
  if (report.ok() && (!last_sweep_ || now - *last_sweep_ > kSweepEvery)) {
    last_sweep_ = now;
    report = garbage_->Sweep(now);
  }
  if (report.ok()) return settled;
  (void)Note(report.status());
  log::Warn("old checkpoints were not deleted",
            {{"reason", std::string(report.status().message())}});
  return settled;
}

void JobStorage::NoteRestarts() {
  if (const absl::Status s = stored_->Store(); !s.ok()) {
    log::Warn("a restart was not noted in the job's record",
              {{"reason", std::string(s.message())}});
  }
}

absl::Status JobStorage::NoteExport(const std::string& directory) {
  const auto [unfinished, one] = stored_->Read([](const proto::JobRecord& r) {
    return std::pair(r.exports_size(), r.exports_size() > 0 ? r.exports(0) : std::string());
  });
  if (unfinished >= kMaxExports) {
    return absl::ResourceExhaustedError(absl::StrCat(
        kMaxExports, " savepoints of this job are unfinished and could not be removed, one in ",
        one));
  }
  return stored_->Store([&](proto::JobRecord& r) { r.add_exports(directory); });
}

absl::StatusOr<proto::Manifest> JobStorage::BeginExport(CheckpointId id,
                                                        const std::string& directory) {
  absl::StatusOr<proto::Manifest> checkpoint = Find(id);
  if (!checkpoint.ok()) return checkpoint;
  if (absl::Status s = NoteExport(directory); !s.ok()) return s;
  garbage_->BeginExport(*checkpoint);
  return checkpoint;
}

void JobStorage::ForgetExport(const std::string& directory) {
  bool known = false;
  stored_->Note([&](proto::JobRecord& r) {
    auto& exports = *r.mutable_exports();
    const auto rest = std::remove(exports.begin(), exports.end(), directory);
    known = rest != exports.end();
    exports.erase(rest, exports.end());
  });
  if (!known) return;
  // If this fails, the next JobManager finds nothing to do there.
  if (absl::Status s = stored_->Store(); !s.ok()) {
    log::Warn("the end of a savepoint was not noted in the job's record",
              {{"path", directory}, {"reason", std::string(s.message())}});
  }
}

JobEvent JobStorage::StoreEnd(const PersistEnd& end, uint32_t restarts, int64_t ended_ms) {
  if (WEIR_FAILPOINT("jobmanager.before_end")) return EndPersisted{false};
  const absl::Status s = stored_->Store([&](proto::JobRecord& r) {
    r.set_end(ToProto(end.state));
    r.set_ended_ms(ended_ms);
    r.set_restarts(restarts);
    r.set_end_reason(end.reason);
    r.set_discards_checkpoints(end.discard_checkpoints);
    if (!end.savepoint.empty()) r.mutable_stop()->set_savepoint_path(end.savepoint);
    if (log_ != nullptr && !log_->checkpoints().empty()) {
      r.set_last_checkpoint_id(log_->checkpoints().back().entry.manifest().checkpoint_id());
    }
    if (end.state == JobState::kFailed) *r.mutable_failure() = ToProto(end.failure);
  });
  if (!s.ok()) {
    log::Warn("the end of the job was not stored; trying again",
              {{"reason", std::string(s.message())}});
    return EndPersisted{false};
  }
  (void)WEIR_FAILPOINT("jobmanager.after_end");
  discards_ = end.discard_checkpoints;
  return EndPersisted{true};
}

absl::Status JobStorage::DeleteWithJob() {
  if (absl::Status s = OpenLog(); !s.ok()) return s;
  if (absl::Status s = garbage_->DeleteAll().status(); !s.ok()) return s;
  const bool owns = submitted_->has_initial_restore() && !restore_settled() &&
                    submitted_->restore_mode() == proto::RESTORE_MODE_CLAIM;
  return owns ? DeleteClaimed() : absl::OkStatus();
}

absl::Status JobStorage::DeleteFolderIfNothingIsRetained() {
  // One that could not be read is not known to hold nothing.
  if (log_ == nullptr) return absl::OkStatus();
  if (absl::Status s = MayAct(); !s.ok()) return s;
  if (!log_->checkpoints().empty() || !log_->in_doubt().empty()) {
    // Where that failed behind its commit.
    log_->NoteNewest();
    return absl::OkStatus();
  }
  return garbage_->DeleteAll().status();
}

void JobStorage::DeleteUnretained() {
  const std::optional<bool> discards = std::exchange(discards_, std::nullopt);
  if (!discards) return;
  const absl::Status deleted = *discards ? DeleteWithJob() : DeleteFolderIfNothingIsRetained();
  if (deleted.ok()) return NoteDeleted();
  log::Warn("checkpoints of the ended job were not deleted; trying again later",
            {{"directory", submitted_->checkpoint_directory()},
             {"reason", std::string(deleted.message())}});
}

// From then on nothing is deleted there: whatever lies there was put there by somebody.
void JobStorage::NoteDeleted() {
  if (!stored_->Read([](const auto& r) { return r.discards_checkpoints(); })) return;
  const absl::Status noted =
      stored_->Store([](proto::JobRecord& r) { r.set_discards_checkpoints(false); });
  if (noted.ok() || absl::IsNotFound(noted)) return;  // forgotten meanwhile
  log::Warn("that the checkpoints of an ended job are deleted was not noted in its record",
            {{"job_id", submitted_->job_id()}, {"reason", std::string(noted.message())}});
}

void JobStorage::DeleteLeftBehind() {
  if (!stored_->Read([](const auto& r) { return r.discards_checkpoints(); })) return;
  absl::Status deleted;
  std::error_code ignored;
  const std::filesystem::path folder = submitted_->checkpoint_directory();
  if (std::filesystem::exists(folder, ignored)) {
    deleted = OpenLog();
    if (deleted.ok()) deleted = garbage_->DeleteAll().status();
  } else if (!std::filesystem::exists(folder.parent_path(), ignored) ||
             std::filesystem::is_empty(folder.parent_path(), ignored)) {
    // Gone, or on a disk that is not mounted: then it comes back.
    deleted = absl::UnavailableError("it cannot be seen; is what it is on mounted?");
  }
  if (deleted.ok()) return NoteDeleted();
  log::Warn("checkpoints of an ended job were not deleted; trying again later",
            {{"directory", submitted_->checkpoint_directory()},
             {"reason", std::string(deleted.message())}});
}

absl::StatusOr<proto::Manifest> JobStorage::Find(CheckpointId id) const {
  if (log_ != nullptr) {
    for (const CheckpointLogEntry& entry : log_->checkpoints()) {
      if (entry.entry.manifest().checkpoint_id() == id.value) return entry.entry.manifest();
    }
  }
  return absl::NotFoundError(absl::StrCat("checkpoint ", id.value, " is not there any more"));
}

}  // namespace weir::jobmanager
