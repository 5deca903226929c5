#include "jobmanager/checkpoint_coordinator.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "runtime/graph/concurrent_checkpoints.h"

namespace weir::jobmanager {
namespace {

std::string Name(CheckpointKind kind, CheckpointId id) {
  return std::string(ToString(kind)) + " " + std::to_string(id.value);
}

}  // namespace

CheckpointCoordinator::CheckpointCoordinator(CheckpointPolicy policy,
                                             std::vector<SubtaskId> subtasks,
                                             std::vector<SubtaskId> transactional)
    : policy_(policy), subtasks_(std::move(subtasks)), transactional_(std::move(transactional)) {}

void CheckpointCoordinator::Step(const CheckpointEvent& event, Instant now, Out* out) {
  std::visit([&](const auto& e) { On(e, now, out); }, event);
}

// ---------------------------------------------------------------- attempts

void CheckpointCoordinator::On(const CheckpointingStarted& e, Instant now, Out* out) {
  assert(phase() == Phase::kOff);
  on_ = true;
  attempt_ = e.attempt;
  next_id_ = std::max(next_id_, e.floor.value + 1);
  id_limit_ = e.id_limit.value;
  reserving_ = false;
  last_completed_ = std::max(last_completed_, e.last_completed);
  next_periodic_ = now + policy_.interval;
  any_ended_ = false;
  early_ = at_end_ = stop_durable_ = stop_failed_ = done_ = paused_ = false;
  final_id_.reset();
  stop_.reset();
  failures_in_a_row_ = 0;
  published_by_.clear();
  for (const SubtaskId& subtask : transactional_) published_by_[subtask] = CheckpointId(0);
  published_ = CheckpointId(0);
  if (e.stop) return CompleteStop(*e.stop, now, out);
  MaybeReserve(now, out);
}

void CheckpointCoordinator::CompleteStop(const StopPoint& stop, Instant now, Out* out) {
  stop_ = StopUnderWay{.id = stop.id, .kind = stop.kind, .directory = stop.directory};
  stop_durable_ = true;
  // They report what they have published of it since they were restored.
  out->push_back(SendCompleted{stop.id});
  const auto known = exports_.find(stop.id);
  if (known == exports_.end()) {
    // Whoever asked has asked a former leader, or was told that the outcome is not known.
    Export entry;
    entry.wanted.kind = stop.kind;
    entry.wanted.directory = stop.directory;
    entry.durable = now;
    entry.checkpoint = stop.path;
    entry.told = true;
    BeginExport(stop.id, std::move(entry), out);
  } else if (known->second.error) {
    Export again = std::move(known->second);
    again.error.reset();
    BeginExport(stop.id, std::move(again), out);
  } else if (known->second.path) {
    stop_->savepoint = *known->second.path;  // whole since before this attempt
  }
  SettleExports(out);
  MaybeDone(out);
}

void CheckpointCoordinator::On(const CheckpointingStopped& e, Instant now, Out* out) {
  using Then = CheckpointingStopped::Then;
  const std::string reason = "the attempt ended: " + e.reason;
  then_ = e.then;
  // Of a stop that is decided: another attempt, or the next leader, goes on with it.
  const auto goes_on = [&](const Export& entry) {
    return IsStop(entry.wanted.kind) && !entry.orphaned && e.then != Then::kEnd;
  };
  const auto failed = [&](CheckpointKind kind) {
    const bool on = IsStop(kind) && e.then != Then::kEnd;
    return on ? reason + "; the stop was not decided" : reason;
  };
  for (const SavepointWanted& wanted : waiting_) {
    out->push_back(ReplySavepoint{
        .request = wanted.request, .code = ReplyCode::kAborted, .message = failed(wanted.kind)});
  }
  waiting_.clear();
  for (auto& [id, entry] : exports_) {
    if (entry.orphaned || (goes_on(entry) && e.then == Then::kAnotherAttempt)) continue;
    const bool stop = goes_on(entry);
    if (!stop) entry.orphaned = true;
    if (std::exchange(entry.told, true)) continue;
    // When the job is done the stop savepoint has been answered; what is left here was not
    // published, so it cannot be reported complete.
    out->push_back(ReplySavepoint{.request = entry.wanted.request,
                                  .code = ReplyCode::kAborted,
                                  .message = "checkpoint " + std::to_string(id.value) +
                                             " is durable, but " + reason +
                                             (stop ? "; the next one completes the stop" : "")});
  }
  // An export that has ended is forgotten now, with what it wrote; one under way, when it ends.
  for (const auto& [id, entry] : exports_) {
    if (entry.path && !goes_on(entry)) Discard(id, entry, out);
  }
  std::erase_if(exports_, [&](const auto& entry) {
    return !goes_on(entry.second) && (entry.second.path || entry.second.error);
  });
  on_ = false;
  for (const Pending& pending : std::exchange(pending_, {})) {
    if (IsStop(pending.kind)) stop_failed_ = true;
    ReplyAborted(pending, failed(pending.kind), out);
    RecordFailure(pending.id, reason);
  }
  (void)now;
}

void CheckpointCoordinator::On(const RegionsLost& e, Instant now, Out* out) {
  if (!on() || paused_) return;
  assert(!stopping());
  paused_ = true;
  // What is restored says again that it stands at its end.
  at_end_ = false;
  final_id_.reset();
  for (const SavepointWanted& wanted : waiting_) {
    out->push_back(ReplySavepoint{.request = wanted.request,
                                  .code = ReplyCode::kAborted,
                                  .message = "a part of the job failed: " + e.reason});
  }
  waiting_.clear();
  for (const Pending& pending : std::exchange(pending_, {})) {
    Abort(pending, "a part of the job failed: " + e.reason, now, out);
  }
}

void CheckpointCoordinator::On(const RegionsBack& e, Instant now, Out* out) {
  if (!on() || !paused_) return;
  assert(phase() == Phase::kIdle);
  paused_ = false;
  next_id_ = std::max(next_id_, e.floor.value + 1);
  id_limit_ = std::max(id_limit_, e.id_limit.value);
  last_completed_ = std::max(last_completed_, e.last_completed);
  next_periodic_ = now + policy_.interval;
  MaybeReserve(now, out);
  MaybeTrigger(now, out);
}

std::optional<StopUnderWay> CheckpointCoordinator::stop() const {
  if (stop_failed_) return std::nullopt;
  if (stop_) return stop_;
  const auto wanted = std::ranges::find_if(
      waiting_, [](const SavepointWanted& waits) { return IsStop(waits.kind); });
  if (wanted == waiting_.end()) return std::nullopt;
  return StopUnderWay{.kind = wanted->kind, .directory = wanted->directory};
}

CheckpointCoordinator::Phase CheckpointCoordinator::phase() const {
  if (!on_) return committing_ ? Phase::kDraining : Phase::kOff;
  if (committing_) return Phase::kCommitting;
  return pending_.empty() ? Phase::kIdle : Phase::kAligning;
}

// ---------------------------------------------------------------- triggering

std::optional<Instant> CheckpointCoordinator::EarliestTrigger() const {
  if (!on_ || paused_ || stopping() || done_) return std::nullopt;
  if (in_progress() >= ConcurrentCheckpoints(policy_.max_concurrent, policy_.min_pause)) {
    return std::nullopt;
  }
  if (!waiting_.empty()) return Instant{0};
  if (final_id_) return std::nullopt;
  if (at_end_) {
    // Those under way may be it; beside one that is to be, another would say the same.
    return in_progress() == 0 ? std::optional(retry_final_at_) : std::nullopt;
  }
  std::optional<Instant> at;
  if (policy_.interval.count() > 0) at = next_periodic_;
  // Subtasks that ask for one at about the same time mean the same one: the next is behind it.
  if (early_ && in_progress() == 0) at = Instant{0};
  // Min pause lies between periodic and early checkpoints; savepoints do not wait for it.
  if (at && any_ended_) at = std::max(*at, last_end_ + policy_.min_pause);
  return at;
}

void CheckpointCoordinator::MaybeTrigger(Instant now, Out* out) {
  const std::optional<Instant> at = EarliestTrigger();
  if (!at || now < *at) return;
  if (next_id_ > id_limit_) {
    MaybeReserve(now, out);
    return;
  }
  if (!waiting_.empty()) {
    SavepointWanted wanted = std::move(waiting_.front());
    waiting_.pop_front();
    const CheckpointKind kind = wanted.kind;
    Trigger(kind, std::move(wanted), now, out);
  } else {
    Trigger(at_end_ ? CheckpointKind::kFinal : CheckpointKind::kCheckpoint, std::nullopt, now, out);
  }
}

void CheckpointCoordinator::Trigger(CheckpointKind kind, std::optional<SavepointWanted> savepoint,
                                    Instant now, Out* out) {
  const CheckpointId id(next_id_++);
  if (IsStop(kind)) stop_ = StopUnderWay{id, kind, savepoint->directory, {}};
  early_ = false;
  pending_.push_back({.id = id, .kind = kind, .started = now, .savepoint = std::move(savepoint)});
  next_periodic_ = now + policy_.interval;
  history_.push_front({.id = id, .attempt = attempt_, .kind = kind, .triggered = now});
  if (history_.size() > kHistory) {
    // Not one that is under way: those are fewer.
    const auto over = std::find_if(history_.rbegin(), history_.rend(), [](const auto& record) {
      return record.status != CheckpointRecord::Status::kRunning &&
             record.status != CheckpointRecord::Status::kCommitting;
    });
    history_.erase(std::prev(over.base()));
  }
  out->push_back(SendTrigger{id, kind, policy_.mode});
  MaybeTurn(now, out);
  MaybeReserve(now, out);
}

// A savepoint and a stop stay aligned: what they hold must fit any job and parallelism. At the end
// of data nothing is in flight. What was triggered behind them waits: its snapshots come after
// theirs.
const CheckpointCoordinator::Pending* CheckpointCoordinator::NextToTurn() const {
  if (!policy_.aligned_timeout || policy_.mode != CheckpointMode::kExactlyOnce) return nullptr;
  for (const Pending& pending : pending_) {
    if (pending.complete) continue;
    if (pending.kind != CheckpointKind::kCheckpoint) return nullptr;
    if (!pending.turned) return &pending;
  }
  return nullptr;
}

void CheckpointCoordinator::MaybeTurn(Instant now, Out* out) {
  for (;;) {
    const Pending* const next = NextToTurn();
    if (next == nullptr || now < TurnsAt(*next)) return;
    out->push_back(SendTurnUnaligned{next->id});
    Find(next->id)->turned = true;
  }
}

void CheckpointCoordinator::MaybeReserve(Instant now, Out* out) {
  if (reserving_ || now < reserve_after_) return;
  if (next_id_ + kIdsLeft <= id_limit_) return;
  reserving_ = true;
  out->push_back(ReserveIds{CheckpointId(next_id_ + kIdBlock)});
}

void CheckpointCoordinator::On(const IdsReserved& e, Instant now, Out* out) {
  if (!on_) return;
  reserving_ = false;
  if (e.limit.value <= id_limit_) reserve_after_ = now + kRetryPause;
  id_limit_ = std::max(id_limit_, e.limit.value);
  MaybeTrigger(now, out);
}

void CheckpointCoordinator::On(const EarlyCheckpointWanted&, Instant now, Out* out) {
  if (!on_) return;
  // One asked for while a checkpoint is under way still holds: that one's barrier may have passed.
  early_ = true;
  MaybeTrigger(now, out);
}

void CheckpointCoordinator::On(const AllAtEnd&, Instant now, Out* out) {
  if (!on() || paused_) return;
  at_end_ = true;
  retry_final_at_ = now;
  AbortBehindTheLast(now, out);
  MaybeDone(out);
  MaybeTrigger(now, out);
}

void CheckpointCoordinator::On(const SavepointWanted& e, Instant now, Out* out) {
  auto refuse = [&](ReplyCode code, std::string message) {
    out->push_back(
        ReplySavepoint{.request = e.request, .code = code, .message = std::move(message)});
  };
  if (!on() || paused_) {
    return refuse(ReplyCode::kFailedPrecondition, "the job is not running");
  }
  if (stopping() || done_ ||
      std::any_of(waiting_.begin(), waiting_.end(),
                  [](const SavepointWanted& w) { return IsStop(w.kind); })) {
    return refuse(ReplyCode::kFailedPrecondition, "the job is being stopped with a savepoint");
  }
  if (waiting_.size() + exports_.size() >= kMaxWaitingSavepoints) {
    return refuse(ReplyCode::kResourceExhausted,
                  std::to_string(kMaxWaitingSavepoints) +
                      " savepoints of this job are under way; wait for one of them");
  }
  waiting_.push_back(e);
  MaybeTrigger(now, out);
}

// ---------------------------------------------------------------- alignment

CheckpointCoordinator::Pendings::iterator CheckpointCoordinator::Find(CheckpointId id) {
  return std::find_if(pending_.begin(), pending_.end(),
                      [&](const Pending& pending) { return pending.id == id; });
}

CheckpointCoordinator::Pending CheckpointCoordinator::Remove(Pendings::iterator at) {
  Pending removed = std::move(*at);
  pending_.erase(at);
  return removed;
}

void CheckpointCoordinator::On(const SubtaskAcknowledged& e, Instant now, Out* out) {
  const auto pending = Find(e.id);
  if (pending == pending_.end()) return;
  if (!pending->acks.emplace(e.subtask, e.ack).second) return;
  if (CheckpointRecord* record = Record(e.id)) {
    record->acknowledged = static_cast<uint32_t>(pending->acks.size());
    record->state_bytes += e.ack.state_bytes;
    record->full_state_bytes += e.ack.full_state_bytes;
    record->max_sync_us = std::max(record->max_sync_us, e.ack.sync_us);
    record->max_alignment_us = std::max(record->max_alignment_us, e.ack.alignment_us);
    record->unaligned = record->unaligned || e.ack.unaligned;
    record->in_flight_bytes += e.ack.in_flight_bytes;
  }
  if (pending->acks.size() < subtasks_.size()) return;
  pending->complete = true;
  pending->all_at_end = std::all_of(pending->acks.begin(), pending->acks.end(),
                                    [](const auto& ack) { return ack.second.at_end; });
  MaybeCommit(out);
  MaybeTurn(now, out);  // one behind a savepoint may have waited for it
}

// The oldest that is complete. Those before it are not, and end with the outcome of its commit.
void CheckpointCoordinator::MaybeCommit(Out* out) {
  if (committing_) return;
  const auto next = std::find_if(pending_.begin(), pending_.end(),
                                 [](const Pending& pending) { return pending.complete; });
  if (next == pending_.end()) return;
  committing_ = Remove(next);
  if (CheckpointRecord* record = Record(committing_->id)) {
    record->status = CheckpointRecord::Status::kCommitting;
  }
  out->push_back(
      CommitManifest{committing_->id, committing_->kind, std::move(committing_->acks),
                     committing_->savepoint ? committing_->savepoint->directory : std::string()});
}

void CheckpointCoordinator::On(const SubtaskDeclined& e, Instant now, Out* out) {
  const auto pending = Find(e.id);
  if (pending == pending_.end() || pending->complete) return;
  FailPending(Remove(pending),
              "subtask " + std::to_string(e.subtask.vertex.value) + "/" +
                  std::to_string(e.subtask.index) + " declined: " + e.reason,
              now, out);
}

void CheckpointCoordinator::Abort(const Pending& pending, const std::string& reason, Instant now,
                                  Out* out) {
  last_end_ = now;
  any_ended_ = true;
  next_periodic_ = std::max(next_periodic_, now);
  RecordFailure(pending.id, reason);
  out->push_back(SendAborted{pending.id, reason});
  ReplyAborted(pending, Name(pending.kind, pending.id) + " failed: " + reason, out);
}

void CheckpointCoordinator::AbortBefore(CheckpointId id, const std::string& reason, Instant now,
                                        Out* out) {
  while (!pending_.empty() && pending_.front().id < id) {
    Abort(Remove(pending_.begin()), reason, now, out);
  }
}

// There is nothing left to hold. A savepoint and a stop somebody waits for.
void CheckpointCoordinator::AbortBehindTheLast(Instant now, Out* out) {
  if (!at_end_ || !final_id_) return;
  for (auto at = pending_.begin(); at != pending_.end();) {
    if (at->savepoint) {
      ++at;
      continue;
    }
    const Pending unneeded = std::move(*at);
    at = pending_.erase(at);
    Abort(unneeded, "checkpoint " + std::to_string(final_id_->value) + " is the job's last", now,
          out);
  }
}

void CheckpointCoordinator::ReplyAborted(const Pending& pending, const std::string& message,
                                         Out* out) {
  if (!pending.savepoint) return;
  out->push_back(ReplySavepoint{
      .request = pending.savepoint->request, .code = ReplyCode::kAborted, .message = message});
}

void CheckpointCoordinator::FailPending(const Pending& failed, const std::string& reason,
                                        Instant now, Out* out) {
  Abort(failed, reason, now, out);
  const std::string what = Name(failed.kind, failed.id) + " failed: " + reason;
  if (IsStop(failed.kind)) {
    stop_failed_ = true;
    done_ = true;  // nothing more is triggered in this attempt
    out->push_back(FailAttempt{{.kind = ErrorKind::kExternal, .message = what}});
    return;
  }
  retry_final_at_ = now + std::max<Instant>(policy_.min_pause, kRetryPause);
  // A savepoint's failure is told to whoever asked; it says little about the job. What was under
  // way at the last failure that was counted fails of the same, and behind the job's last
  // checkpoint none is needed.
  const bool counts = failed.kind != CheckpointKind::kSavepoint &&
                      failed.id.value >= counts_from_ && !(at_end_ && final_id_);
  if (counts) {
    counts_from_ = next_id_;
    ++failures_in_a_row_;
    if (failures_in_a_row_ > policy_.tolerable_failures) {
      done_ = true;
      out->push_back(FailAttempt{{.kind = ErrorKind::kExternal,
                                  .message = std::to_string(failures_in_a_row_) +
                                             " checkpoints in a row failed (" +
                                             std::to_string(policy_.tolerable_failures) +
                                             " are tolerated); last: " + what}});
      return;
    }
  }
  MaybeTurn(now, out);  // the one behind a savepoint
  MaybeTrigger(now, out);
  MaybeDone(out);  // it may be the only one that was waited for
}

// ---------------------------------------------------------------- commit and publication

void CheckpointCoordinator::On(const ManifestCommitted& e, Instant now, Out* out) {
  if (!committing_ || committing_->id != e.id) return;
  const Pending committed = *std::exchange(committing_, std::nullopt);
  ++completed_;
  last_completed_ = e.id;
  if (CheckpointRecord* record = Record(e.id)) {
    record->status = CheckpointRecord::Status::kCompleted;
    record->durable = now;
    record->path = e.path;
  }
  if (!on_) {
    // Durable, so the next attempt begins from it and publishes it; this one is over. If the job
    // is, too, this is the last occasion to note it as the newest.
    const bool goes_on = IsStop(committed.kind) && then_ != CheckpointingStopped::Then::kEnd;
    if (goes_on) {
      BeginExport(e.id, {.wanted = *committed.savepoint, .durable = now, .checkpoint = e.path},
                  out);
    }
    out->push_back(PruneCheckpoints{policy_.retained});
    if (committed.savepoint && !goes_on) {
      out->push_back(ReplySavepoint{.request = committed.savepoint->request,
                                    .code = ReplyCode::kAborted,
                                    .message = Name(committed.kind, e.id) +
                                               " is durable, but the attempt ended before its "
                                               "output was published"});
    }
    return;
  }
  failures_in_a_row_ = 0;
  last_end_ = now;
  any_ended_ = true;
  next_periodic_ = std::max(next_periodic_, now);
  if (committed.all_at_end && !paused_) final_id_ = e.id;
  if (IsStop(committed.kind)) stop_durable_ = true;
  AbortBefore(e.id, Name(committed.kind, e.id) + " was durable before it", now, out);
  AbortBehindTheLast(now, out);

  out->push_back(SendCompleted{e.id});
  MarkPublished(now);
  if (committed.savepoint) {
    BeginExport(e.id, {.wanted = *committed.savepoint, .durable = now, .checkpoint = e.path}, out);
  }
  out->push_back(PruneCheckpoints{policy_.retained});
  MaybeCommit(out);
  MaybeDone(out);
  MaybeTurn(now, out);
  MaybeTrigger(now, out);
}

void CheckpointCoordinator::On(const ManifestFailed& e, Instant now, Out* out) {
  if (!committing_ || committing_->id != e.id) return;
  const Pending failed = *std::exchange(committing_, std::nullopt);
  const std::string reason =
      "the manifest was not committed: " + e.reason +
      (IsStop(failed.kind) && e.in_doubt ? "; if it is there all the same, the job ends at it"
                                         : "");
  if (!on_) {
    if (IsStop(failed.kind)) stop_failed_ = !e.in_doubt;
    ReplyAborted(failed, reason, out);
    RecordFailure(failed.id, reason);
    return;
  }
  // The manifest may exist all the same, and ids of manifests only grow.
  AbortBefore(e.id, Name(failed.kind, e.id) + " may be durable before it", now, out);
  FailPending(failed, reason, now, out);
  if (IsStop(failed.kind)) stop_failed_ = !e.in_doubt;
  if (!done_) MaybeCommit(out);
}

void CheckpointCoordinator::On(const SubtaskPublished& e, Instant now, Out* out) {
  if (!on_) return;
  auto it = published_by_.find(e.subtask);
  if (it == published_by_.end() || e.id > last_completed_ || e.id <= it->second) return;
  it->second = e.id;
  published_ = std::min_element(published_by_.begin(), published_by_.end(),
                                [](const auto& a, const auto& b) { return a.second < b.second; })
                   ->second;
  MarkPublished(now);
  SettleExports(out);
  MaybeDone(out);
}

void CheckpointCoordinator::MarkPublished(Instant now) {
  for (CheckpointRecord& record : history_) {
    const bool of_this_run = record.attempt == attempt_ || (stop_ && record.id == stop_->id);
    if (!of_this_run || !Published(record.id)) continue;
    if (record.status != CheckpointRecord::Status::kCompleted) continue;
    record.status = CheckpointRecord::Status::kPublished;
    record.published = now;
  }
}

void CheckpointCoordinator::On(const SavepointExported& e, Instant, Out* out) {
  auto it = exports_.find(e.id);
  if (it == exports_.end()) return;
  it->second.path = e.path;
  if (stop_ && stop_->id == e.id) stop_->savepoint = e.path;
  if (CheckpointRecord* record = Record(e.id)) record->path = e.path;
  SettleExports(out);
  MaybeDone(out);
}

void CheckpointCoordinator::On(const SavepointExportFailed& e, Instant, Out* out) {
  auto it = exports_.find(e.id);
  if (it == exports_.end()) return;
  it->second.error = e.reason;
  SettleExports(out);
  MaybeDone(out);
}

void CheckpointCoordinator::BeginExport(CheckpointId id, Export entry, Out* out) {
  out->push_back(ExportSavepoint{id, entry.wanted.directory});
  exports_[id] = std::move(entry);
}

// Behind the last watermark nothing goes on: windows that were open have given their results, and
// would give others. Nor does a job of which whoever wanted its end thinks that it ends.
void CheckpointCoordinator::FailStop(CheckpointId id, const Export& entry, std::string what,
                                     Out* out) {
  const bool drained = entry.wanted.kind == CheckpointKind::kStopAndDrain;
  const bool ends = drained || entry.told;
  stop_failed_ = true;
  done_ = true;
  if (!ends) {
    what += ". The job goes on";
  } else {
    what +=
        ". The job has ended at that checkpoint, which stays: go on by weir run "
        "--from-savepoint " +
        entry.checkpoint;
    if (drained) {
      what +=
          "; windows that were open have fired with what they had, and rows of theirs that "
          "come then make further results";
    }
  }
  if (!entry.told) {
    out->push_back(ReplySavepoint{
        .request = entry.wanted.request, .code = ReplyCode::kAborted, .message = what});
  }
  out->push_back(
      FailAttempt{{.kind = ends ? ErrorKind::kFatal : ErrorKind::kExternal, .message = what},
                  ends ? CheckpointId(0) : id});
}

void CheckpointCoordinator::SettleExports(Out* out) {
  for (auto it = exports_.begin(); it != exports_.end();) {
    const auto& [id, entry] = *it;
    if (!on_ && IsStop(entry.wanted.kind) && !entry.orphaned) {
      ++it;  // the next attempt settles it
      continue;
    }
    if (entry.error) {
      const std::string what = Name(entry.wanted.kind, id) + " is durable, but exporting it to '" +
                               entry.wanted.directory + "' failed: " + *entry.error;
      if (!entry.orphaned && IsStop(entry.wanted.kind)) {
        FailStop(id, entry, what, out);
      } else if (!entry.orphaned) {
        out->push_back(ReplySavepoint{
            .request = entry.wanted.request, .code = ReplyCode::kAborted, .message = what});
      }
    } else if (entry.orphaned && entry.path) {
      // Answered when the attempt ended.
      Discard(id, entry, out);
    } else if (entry.path && Published(id)) {
      if (!entry.told) {
        out->push_back(
            ReplySavepoint{.request = entry.wanted.request, .id = id, .path = *entry.path});
      }
    } else {
      ++it;
      continue;
    }
    it = exports_.erase(it);
  }
}

void CheckpointCoordinator::Discard(CheckpointId id, const Export& entry, Out* out) {
  out->push_back(DiscardSavepoint{*entry.path});
  if (CheckpointRecord* record = Record(id)) record->path = entry.checkpoint;
}

std::optional<Instant> CheckpointCoordinator::TellsAt(CheckpointId id, const Export& entry) const {
  if (!entry.path || entry.orphaned || entry.told || Published(id)) return std::nullopt;
  return entry.durable + policy_.timeout;
}

// Publication waits for other systems, and may wait for good: whoever asked does not.
void CheckpointCoordinator::TellUnpublished(Instant now, Out* out) {
  for (auto it = exports_.begin(); it != exports_.end();) {
    auto& [id, entry] = *it;
    const std::optional<Instant> at = TellsAt(id, entry);
    if (!at || now < *at) {
      ++it;
      continue;
    }
    const bool stop = IsStop(entry.wanted.kind);
    const auto unpublished = [id = id](const auto& by) { return by.second < id; };
    const auto first = std::find_if(published_by_.begin(), published_by_.end(), unpublished);
    const SubtaskId& among = first->first;
    out->push_back(ReplySavepoint{
        .request = entry.wanted.request,
        .code = ReplyCode::kAborted,
        .message = Name(entry.wanted.kind, id) + " is durable, but within " +
                   std::to_string(policy_.timeout.count()) +
                   " ms its output was not published by " +
                   std::to_string(std::count_if(first, published_by_.end(), unpublished)) + " of " +
                   std::to_string(published_by_.size()) + " sink subtasks, among them " +
                   std::to_string(among.vertex.value) + "/" + std::to_string(among.index) +
                   "; does what they write to answer? " +
                   (stop ? "The job ends as soon as that is published" : "The job goes on")});
    if (stop) {
      entry.told = true;
      ++it;
      continue;
    }
    Discard(id, entry, out);
    it = exports_.erase(it);
  }
  MaybeDone(out);
}

void CheckpointCoordinator::MaybeDone(Out* out) {
  if (done_ || phase() != Phase::kIdle || !exports_.empty()) return;
  if (stop_durable_ && Published(stop_->id)) {
    done_ = true;
    out->push_back(JobDone{.stopped = true});
  } else if (!stopping() && at_end_ && final_id_ && Published(*final_id_) && waiting_.empty()) {
    done_ = true;
    out->push_back(JobDone{});
  }
}

// ---------------------------------------------------------------- time

void CheckpointCoordinator::On(const CheckpointTick&, Instant now, Out* out) {
  for (;;) {
    const auto late = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
      return !pending.complete && now >= pending.started + policy_.timeout;
    });
    if (late == pending_.end()) break;
    std::string missing;
    for (const SubtaskId& subtask : subtasks_) {
      if (late->acks.contains(subtask)) continue;
      missing = std::to_string(subtask.vertex.value) + "/" + std::to_string(subtask.index);
      break;
    }
    const size_t without = subtasks_.size() - late->acks.size();
    FailPending(Remove(late),
                "not acknowledged within " + std::to_string(policy_.timeout.count()) + " ms by " +
                    std::to_string(without) + " of " + std::to_string(subtasks_.size()) +
                    " subtasks, among them " + missing,
                now, out);
    if (done_) return;
  }
  TellUnpublished(now, out);
  MaybeTurn(now, out);
  MaybeTrigger(now, out);
  if (on_) MaybeReserve(now, out);
}

std::optional<Instant> CheckpointCoordinator::NextDeadline() const {
  std::optional<Instant> next;
  const auto consider = [&](std::optional<Instant> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  for (const auto& [id, entry] : exports_) consider(TellsAt(id, entry));
  for (const Pending& pending : pending_) {
    if (!pending.complete) consider(pending.started + policy_.timeout);
  }
  if (const Pending* turns = NextToTurn()) consider(TurnsAt(*turns));
  std::optional<Instant> trigger = EarliestTrigger();
  if (trigger && next_id_ > id_limit_) {
    if (reserving_) return next;  // its answer is an event
    trigger = std::max(*trigger, reserve_after_);
  }
  consider(trigger);
  return next;
}

CheckpointRecord* CheckpointCoordinator::Record(CheckpointId id) {
  auto it = std::find_if(history_.begin(), history_.end(),
                         [&](const CheckpointRecord& r) { return r.id == id; });
  return it == history_.end() ? nullptr : &*it;
}

void CheckpointCoordinator::RecordFailure(CheckpointId id, const std::string& reason) {
  ++failed_;
  if (CheckpointRecord* record = Record(id)) {
    record->status = CheckpointRecord::Status::kFailed;
    record->failure = reason;
  }
}

}  // namespace weir::jobmanager
