#include "jobmanager/control_loop.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "jobmanager/status.h"
#include "jobmanager/wire.h"
#include "log/log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/savepoint.h"

namespace weir::jobmanager {
namespace {

/// Removes what an export that failed, or that a crash cut off, left in `target`. False: it has to
/// be tried again.
bool SweepTarget(const Leadership& leadership, const std::string& job, const std::string& target) {
  if (!leadership.MayAct().ok()) return false;
  absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage =
      DirectoryStorage::OpenExisting(target);
  if (absl::IsNotFound(storage.status())) {
    // Without the directory around it, it may be on a disk that is not mounted.
    std::error_code error;
    return std::filesystem::exists(std::filesystem::path(target).parent_path(), error);
  }
  const absl::StatusOr<SweptExport> swept =
      storage.ok() ? SweepExport(**storage, job) : absl::StatusOr<SweptExport>(storage.status());
  if (!swept.ok()) {
    log::Warn("an unfinished savepoint was not removed",
              {{"path", target}, {"reason", std::string(swept.status().message())}});
    return false;
  }
  if (*swept == SweptExport::kRemoved) {
    log::Info("an unfinished savepoint was removed", {{"path", target}});
  } else if (*swept == SweptExport::kWhole) {
    log::Info("a savepoint that nobody was told of is whole, and stays", {{"path", target}});
  }
  return true;
}

/// A whole savepoint of which whoever asked has been told that it failed.
void Dispose(const Leadership& leadership, const std::string& target) {
  if (!leadership.MayAct().ok()) return;
  absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage =
      DirectoryStorage::OpenExisting(target);
  absl::Status disposed = storage.status();
  if (disposed.ok()) disposed = DisposeSavepoint(**storage);
  log::Info("an unfinished savepoint was removed",
            {{"path", target}, {"left", disposed.ok() ? "" : std::string(disposed.message())}});
}

}  // namespace

// What the control loop does for the checkpoints of a job: barriers, manifests, exports.

void ControlLoop::Do(const JobId& job, CheckpointWork& work) {
  std::visit([&](auto& a) { Do(job, work.attempt, a); }, work.action);
}

void ControlLoop::Do(const JobId& job, AttemptId, SendTrigger& action) {
  const Job* machine = control_.FindJob(job);
  proto::ToTaskManager message = NewMessage();
  proto::TriggerCheckpoint* trigger = message.mutable_trigger_checkpoint();
  trigger->set_checkpoint_id(action.id.value);
  trigger->set_kind(ToProto(action.kind));
  trigger->set_mode(ToProto(action.mode));
  trigger->set_timeout_ms(static_cast<uint64_t>(machine->plan().checkpoint.timeout.count()));
  SendToAttempts(job, message, [](proto::ToTaskManager* m) {
    return m->mutable_trigger_checkpoint()->mutable_attempt();
  });
}

void ControlLoop::Do(const JobId& job, AttemptId, SendTurnUnaligned& action) {
  log::Info("checkpoint turns unaligned",
            {{"job_id", job.value}, {"checkpoint", absl::StrCat(action.id.value)}});
  proto::ToTaskManager message = NewMessage();
  message.mutable_turn_unaligned()->set_checkpoint_id(action.id.value);
  SendToAttempts(job, message, [](proto::ToTaskManager* m) {
    return m->mutable_turn_unaligned()->mutable_attempt();
  });
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, CommitManifest& action) {
  int64_t triggered_ms = leadership_.clock->Now().ms;
  for (const CheckpointRecord& record : control_.FindJob(job)->checkpoints().history()) {
    if (record.id == action.id) triggered_ms = Time().At(record.triggered);
  }
  auto commit = std::make_shared<CommitManifest>(std::move(action));
  OnStrand(job, [commit, attempt, triggered_ms](JobStorage& storage) -> JobEvent {
    std::string path;
    return OfCheckpoints{attempt, storage.Commit(*commit, attempt, triggered_ms, &path)};
  });
}

void ControlLoop::Do(const JobId& job, AttemptId, SendCompleted& action) {
  proto::ToTaskManager message = NewMessage();
  message.mutable_checkpoint_completed()->set_checkpoint_id(action.id.value);
  SendToAttempts(job, message, [](proto::ToTaskManager* m) {
    return m->mutable_checkpoint_completed()->mutable_attempt();
  });
}

void ControlLoop::Do(const JobId& job, AttemptId, SendAborted& action) {
  log::Warn("checkpoint aborted", {{"job_id", job.value},
                                   {"checkpoint", absl::StrCat(action.id.value)},
                                   {"reason", action.reason}});
  proto::ToTaskManager message = NewMessage();
  proto::CheckpointAborted* aborted = message.mutable_checkpoint_aborted();
  aborted->set_checkpoint_id(action.id.value);
  aborted->set_reason(action.reason);
  SendToAttempts(job, message, [](proto::ToTaskManager* m) {
    return m->mutable_checkpoint_aborted()->mutable_attempt();
  });
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, jobmanager::ExportSavepoint& action) {
  const std::string target =
      absl::StrCat(action.directory, "/savepoint-", job.value.substr(0, 8), "-", action.id.value);
  // Found on the job's strand, copied beside it: copying takes as long as the state is large.
  io_.checkpoints->Post(
      StrandOf(job), [this, job, attempt, id = action.id, target, storage = jobs_.at(job).storage] {
        const absl::StatusOr<proto::Manifest> manifest = storage->BeginExport(id, target);
        io_.checkpoints->Post(ExportStrandOf(job), [this, job, attempt, id, target, manifest,
                                                    storage, from = storage->checkpoint_storage()] {
          absl::Status status = manifest.status();
          if (status.ok()) status = leadership_.MayAct();
          if (status.ok()) {
            absl::StatusOr<std::unique_ptr<DirectoryStorage>> to = DirectoryStorage::Open(target);
            status = to.status();
            if (WEIR_FAILPOINT("jobmanager.before_export")) {
              status = absl::UnavailableError("failpoint");
            }
            if (status.ok()) status = weir::ExportSavepoint(*from, *manifest, **to).status();
            // Nothing was begun in a directory that cannot be used.
            if (status.ok() || SweepTarget(leadership_, job.value, target) || !to.ok()) {
              io_.checkpoints->Post(StrandOf(job),
                                    [storage, target] { storage->ForgetExport(target); });
            }
          }
          if (manifest.ok()) {
            io_.checkpoints->Post(StrandOf(job), [storage, id] { storage->EndExport(id); });
          }
          CheckpointEvent event = SavepointExported{id, target};
          if (!status.ok()) event = SavepointExportFailed{id, std::string(status.message())};
          mailbox_.Post([this, job, attempt, event, target, exported = status.ok()] {
            if (control_.FindJob(job) != nullptr) {
              return FeedJob(job, OfCheckpoints{attempt, event});
            }
            // The job has ended meanwhile, and whoever asked has been told so.
            if (!exported) return;
            io_.checkpoints->Post(ExportStrandOf(job),
                                  [this, target] { Dispose(leadership_, target); });
          });
        });
      });
}

void ControlLoop::SweepExports(const JobId& job) {
  const JobEntry& entry = jobs_.at(job);
  if (entry.record->exports().empty()) return;
  io_.checkpoints->Post(ExportStrandOf(job), [this, job, record = entry.record,
                                              storage = entry.storage] {
    for (const std::string& target : record->exports()) {
      if (!SweepTarget(leadership_, job.value, target)) continue;
      io_.checkpoints->Post(StrandOf(job), [storage, target] { storage->ForgetExport(target); });
    }
  });
}

void ControlLoop::Do(const JobId& job, AttemptId, DiscardSavepoint& action) {
  io_.checkpoints->Post(ExportStrandOf(job),
                        [this, path = action.path] { Dispose(leadership_, path); });
}

void ControlLoop::Do(const JobId& job, AttemptId, ReplySavepoint& action) {
  const auto found = calls_.find(action.request);
  if (found == calls_.end()) return;
  const Call call = std::move(found->second);
  calls_.erase(found);
  if (action.code == ReplyCode::kOk) {
    call.savepoint->set_savepoint_path(action.path);
    call.savepoint->set_checkpoint_id(action.id.value);
  }
  // The next JobManager goes on, and can be asked.
  const Job* machine = control_.FindJob(job);
  if (machine != nullptr && machine->state() == JobState::kSuspended) {
    return call.done({grpc::StatusCode::UNAVAILABLE, action.message});
  }
  call.done(ToGrpc(action.code, action.message));
}

void ControlLoop::Do(const JobId& job, AttemptId, PruneCheckpoints&) {
  io_.checkpoints->Post(StrandOf(job),
                        [this, job, counts = CountsOf(job), storage = jobs_.at(job).storage] {
                          storage->Count(counts);
                          if (!storage->Prune()) return;
                          mailbox_.Post([this, job] {
                            const auto entry = jobs_.find(job);
                            if (entry != jobs_.end()) entry->second.restore_settled = true;
                          });
                        });
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, ReserveIds& action) {
  OnStrand(job, [attempt, limit = action.limit](JobStorage& storage) -> JobEvent {
    return OfCheckpoints{attempt, storage.Reserve(limit)};
  });
}

void ControlLoop::Do(const JobId&, AttemptId, FailAttempt&) {}  // the job's own
void ControlLoop::Do(const JobId&, AttemptId, JobDone&) {}      // the job's own

}  // namespace weir::jobmanager
