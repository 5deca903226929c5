#include "jobmanager/job.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace weir::jobmanager {
namespace {

using S = JobState;

}  // namespace

Job::Job(JobPlan plan, uint64_t seed)
    : plan_(std::move(plan)),
      attempts_(plan_),
      policy_(plan_.restart, seed),
      checkpoints_(plan_.checkpoint, plan_.Subtasks(), plan_.TransactionalSubtasks()),
      seed_(seed) {}

void Job::Step(const JobEvent& event, Instant now, Out* out) {
  if (state_ == S::kSuspended) return;
  const bool waited = state_ == S::kWaitingForSlots;
  std::visit([&](const auto& e) { On(e, now, out); }, event);
  // One that restarts without a pause mostly has its slots at once: then it goes with the attempt's
  // number, and the restart does not wait for two writes.
  if (!unnoted_ || (state_ == S::kWaitingForSlots && !waited)) return;
  unnoted_ = false;
  out->emplace_back(NoteRestarts{policy_.memory()});
}

void Job::Enter(JobState state, Instant now) {
  assert(IsLegal(state_, state));
  state_ = state;
  state_since_ = now;
  ++version_;
}

// ---------------------------------------------------------------- slots and deployment

void Job::On(const JobStarted& e, Instant now, Out* out) {
  last_attempt_ = e.attempt_floor;
  policy_.Resume(e.memory, now);
  checkpoints_.AddFormer(e.counts.checkpoints_completed, e.counts.checkpoints_failed);
  failures_.AddFormer(e.counts.failures);
  // To go on with it is one, unless the former leader had decided on one and not begun it.
  const uint32_t restarts = e.restarts + (e.attempt_floor.value > 0 && !e.canceled ? 1 : 0);
  leader_restarts_ = restarts - std::min(restarts, e.memory.restarts);
  if (e.canceled) {
    cancel_wanted_ = true;
    StartCancelling(now, out);
  } else {
    Enter(S::kWaitingForSlots, now);
  }
}

void Job::On(const StillWaiting& e, Instant, Out*) {
  if (state_ != S::kWaitingForSlots || reason_ == e.reason) return;
  reason_ = e.reason;
  ++version_;
}

// What never ran is refused at once, with the figures. What did run may fit again when the
// TaskManager that is missing has come back.
void Job::On(const PlacementRefused& e, Instant now, Out* out) {
  if (state_ != S::kWaitingForSlots) return;
  if (last_attempt_.value > 0) {
    On(StillWaiting{e.reason}, now, out);
    return;
  }
  Fail({.kind = ErrorKind::kFatal, .message = e.reason}, attempts_.All(), std::nullopt, {}, now,
       out);
}

void Job::On(const SlotsGranted& e, Instant now, Out* out) {
  assert(state_ == S::kWaitingForSlots && !attempts_.AnyEnding());
  last_attempt_ = attempts_.Grant(e.placement, last_attempt_);
  slot_memory_ = Remember(plan_, e.placement, std::move(slot_memory_));
  silent_.clear();
  reason_.clear();
  Enter(S::kDeploying, now);
  unnoted_ = false;
  out->emplace_back(PrepareAttempt{.attempt = last_attempt_,
                                   .restarts = restarts(),
                                   .memory = policy_.memory(),
                                   .given_up_stop = given_up_stop_,
                                   .nothing_runs = attempts_.NoneDeployed()});
}

void Job::On(const AttemptPrepared& e, Instant now, Out* out) {
  const Attempt* newest = attempts_.Find(e.attempt);
  if (newest == nullptr || newest->deployed || state_ != S::kDeploying) return;
  prepared_ = e;
  state_since_ = now;
  ++version_;
  attempts_.SendDeployments(e, out);
}

void Job::On(const PrepareFailed& e, Instant now, Out* out) {
  const Attempt* newest = attempts_.Find(e.attempt);
  if (newest == nullptr || newest->deployed || state_ != S::kDeploying) return;
  Fail(e.failure, attempts_.NotRunning(), std::nullopt, {}, now, out);
}

// ---------------------------------------------------------------- tasks

void Job::On(const TaskChanged& e, Instant now, Out* out) {
  if (!attempts_.SetTask(e)) return;
  ++version_;
  const Attempt& attempt = *attempts_.Find(e.attempt);
  if (e.state == TaskState::kFailed) {
    const TaskManagerId tm = attempt.placement.at(e.subtask).task_manager;
    Fail(e.failure, {attempt.region}, e.subtask, tm, now, out);
    return;
  }
  if (e.state == TaskState::kCanceled && !attempt.ending) {
    const TaskManagerId tm = attempt.placement.at(e.subtask).task_manager;
    Fail({.kind = ErrorKind::kInternal, .message = "the subtask was cancelled by nobody"},
         {attempt.region}, e.subtask, tm, now, out);
    return;
  }
  if (attempt.ending) return;
  if (state_ == S::kDeploying &&
      attempts_.AllTasks([](TaskState s) { return s != TaskState::kDeploying; })) {
    OnAllRunning(now, out);
  }
  if (state_ == S::kRunning &&
      attempts_.AllTasks([](TaskState s) { return s == TaskState::kAtEnd; })) {
    Enter(S::kFinishing, now);
    StepCheckpoints(AllAtEnd{}, now, out);
  }
}

void Job::OnAllRunning(Instant now, Out* out) {
  Enter(S::kRunning, now);
  attempts_.MarkRunning(now);
  reason_.clear();
  if (checkpoints_.on()) {
    StepCheckpoints(RegionsBack{.floor = prepared_.id_floor,
                                .id_limit = prepared_.id_limit,
                                .last_completed = prepared_.last_completed},
                    now, out);
    return;
  }
  run_ = last_attempt_;
  if (prepared_.stop) {
    Enter(S::kStopping, now);
    reason_ = "completing the stop at checkpoint " + std::to_string(prepared_.stop->id.value);
  }
  StepCheckpoints(CheckpointingStarted{.attempt = run_,
                                       .floor = prepared_.id_floor,
                                       .id_limit = prepared_.id_limit,
                                       .last_completed = prepared_.last_completed,
                                       .stop = prepared_.stop},
                  now, out);
}

std::optional<StopUnderWay> Job::stop() const {
  if (checkpoints_.ever_on() || !prepared_.stop) return checkpoints_.stop();
  return StopUnderWay{.id = prepared_.stop->id,
                      .kind = prepared_.stop->kind,
                      .directory = prepared_.stop->directory};
}

// ---------------------------------------------------------------- failure

bool Job::FailsAlone(const Regions& failed) const {
  if (!checkpoints_.on() || state_ == S::kStopping || doomed_) return false;
  Regions without = attempts_.NotRunning();
  without.insert(failed.begin(), failed.end());
  return without.size() < attempts_.regions();
}

const FailureRecord* Job::Record(Failure failure, const Regions& failed,
                                 std::optional<SubtaskId> subtask, TaskManagerId tm, Instant now) {
  std::set<AttemptId> attempts = attempts_.IdsOf(failed);
  if (attempts.empty()) attempts.insert(last_attempt_);
  ++version_;
  return failures_.Add({.at = now,
                        .attempt = *attempts.rbegin(),
                        .attempts = attempts,
                        .failure = std::move(failure),
                        .subtask = subtask,
                        .task_manager = std::move(tm),
                        .after_end = ending_as_.has_value()});
}

void Job::Fail(Failure failure, const Regions& failed, std::optional<SubtaskId> subtask,
               TaskManagerId tm, Instant now, Out* out) {
  if (ending_as_) {
    // The job is over already; how its tasks go is no longer decided by it, only told.
    if (subtask && failure.kind == ErrorKind::kUser) {
      Record(std::move(failure), failed, subtask, std::move(tm), now);
    }
    return;
  }
  const bool alone = failure.kind != ErrorKind::kFatal && FailsAlone(failed);
  const FailureRecord* record = Record(failure, failed, subtask, std::move(tm), now);
  if (!cause_ || (cause_->secondary && !failure.secondary) ||
      (cause_->kind != ErrorKind::kFatal && failure.kind == ErrorKind::kFatal)) {
    cause_ = failure;
    reason_ = failure.Told();
    failures_.Blame(record);
  }
  // With a region that has failed go those that are on their way in: none is half there.
  Regions ending = attempts_.All();
  if (alone) {
    ending = attempts_.NotRunning();
    ending.insert(failed.begin(), failed.end());
  }
  if (state_ == S::kRestarting && !attempts_.AnyToEnd(ending)) return;
  ran_for_ = attempts_.RanFor(failed, now);
  policy_.OnAttemptEnded(ran_for_);
  restart_at_.reset();  // what has failed now is decided on as well
  if (state_ != S::kRestarting) Enter(S::kRestarting, now);
  if (alone) {
    StepCheckpoints(RegionsLost{reason_}, now, out);
    attempts_.End(ending, CancelReason::kFailed, now, out);
  } else {
    EndAttempts(CancelReason::kFailed, reason_, now, out);
  }
  MaybeProceed(now, out);
}

void Job::EndAttempts(CancelReason reason, const std::string& why, Instant now, Out* out) {
  const auto then =
      ending_as_ ? CheckpointingStopped::Then::kEnd : CheckpointingStopped::Then::kAnotherAttempt;
  if (checkpoints_.on() || ending_as_) {
    StepCheckpoints(CheckpointingStopped{.reason = why, .then = then}, now, out);
  }
  attempts_.End(attempts_.All(), reason, now, out);
}

void Job::Release(AttemptId id, SessionId session, Out* out) {
  if (attempts_.Release(id, session, out)) ++version_;
}

void Job::On(const AttemptReleased& e, Instant now, Out* out) {
  const Attempt* attempt = attempts_.Find(e.attempt);
  if (attempt == nullptr || !attempt->holding.contains(e.session)) return;
  if (!attempt->ending) {
    // Its process let go of tasks that nobody cancelled: it no longer runs what we think it runs.
    Fail({.kind = ErrorKind::kInternal, .message = "a TaskManager dropped the attempt unasked"},
         {attempt->region}, std::nullopt, {}, now, out);
  }
  Release(e.attempt, e.session, out);
  MaybeProceed(now, out);
}

void Job::On(const TaskManagerGone& e, Instant now, Out* out) {
  Regions hit;
  std::vector<AttemptId> held;
  bool undeployed = false;
  bool all_ending = true;
  TaskManagerId tm;
  for (const auto& [region, attempt] : attempts_.attempts()) {
    if (!attempt.holding.contains(e.session)) continue;
    if (!attempt.deployed) {
      undeployed = true;
      continue;
    }
    hit.insert(region);
    held.push_back(attempt.id);
    all_ending = all_ending && attempt.ending;
    for (const auto& [subtask, slot] : attempt.placement) {
      if (slot.session == e.session) tm = slot.task_manager;
    }
  }
  if (undeployed) {
    // Nothing was sent yet: no attempt has failed, so the restart policy is not asked.
    attempts_.DropUndeployed(out);
    if (state_ == S::kDeploying) Enter(S::kWaitingForSlots, now);
  }
  if (hit.empty()) {
    if (undeployed) MaybeProceed(now, out);
    return;
  }
  if (!e.in_order) {
    silent_.insert(tm);
    report_deadline_ = now + kCrashReportWait;
  }
  // Its neighbours' broken channels are often seen first: the loss is the cause, they the echo.
  if (!all_ending || (state_ == S::kRestarting && cause_ && cause_->secondary)) {
    Fail({.kind = ErrorKind::kExternal,
          .message = "TaskManager '" + tm.value + "' was lost: " + e.reason},
         hit, std::nullopt, tm, now, out);
  }
  for (const AttemptId attempt : held) Release(attempt, e.session, out);
  MaybeProceed(now, out);
}

void Job::On(const CrashReported& e, Instant now, Out* out) {
  if (e.attempt > last_attempt_) return;
  Failure failure = e.failure;
  failure.death = true;
  const FailureRecord* record = failures_.AddCrash(e, failure, now);
  if (record == nullptr) return;
  ++version_;
  if (IsTerminal(state_) || ending_as_) return;
  const bool of_this_failure = silent_.erase(e.task_manager) > 0 && state_ == S::kRestarting;
  // The loss of the process is counted by the policy as what it is; the operator's death is here.
  if (auto reason = policy_.OnCrashReport(failure)) {
    doomed_ = *reason;
  } else if (!failure.operator_uid.empty() || failure.kind == ErrorKind::kUser) {
    unnoted_ = true;
  }
  if (of_this_failure && (!cause_ || cause_->operator_uid.empty())) {
    reason_ = failure.message;
    if (cause_ && cause_->kind == ErrorKind::kExternal) {
      cause_->operator_uid = failure.operator_uid;
      cause_->operator_name = failure.operator_name;
      cause_->message = failure.message;
      cause_->secondary = false;
      failures_.Blame(record);
    }
  }
  if (doomed_) {
    restart_at_.reset();  // whatever was decided on before
    cause_ = failure;
    cause_->message = *doomed_;
    reason_ = *doomed_;
    failures_.Blame(record);
  }
  if (doomed_) {
    if (state_ != S::kRestarting) Enter(S::kRestarting, now);
    EndAttempts(CancelReason::kFailed, reason_, now, out);
  }
  MaybeProceed(now, out);
}

void Job::On(const TaskManagerBack& e, Instant now, Out* out) {
  if (silent_.erase(e.task_manager) > 0) MaybeProceed(now, out);
}

bool Job::AwaitsCrashReport(Instant now) const {
  return !silent_.empty() && now < report_deadline_ && !doomed_ && !policy_.MayRestart(now) &&
         cause_ && cause_->kind == ErrorKind::kExternal && cause_->operator_uid.empty();
}

void Job::MaybeProceed(Instant now, Out* out) {
  if (attempts_.AnyEnding() || checkpoints_.commit_in_flight() || IsTerminal(state_)) return;
  if (ending_as_) {
    if (attempts_.empty()) PersistEndOf(*ending_as_, out);
    return;
  }
  if (state_ != S::kRestarting) return;
  if (restart_at_ && !doomed_) return;
  if (AwaitsCrashReport(now)) return;
  RestartPolicy::Decision decision;
  if (doomed_) {
    decision.reason = *doomed_;
  } else if (restart_decided_) {
    decision.restart = true;
  } else {
    decision = policy_.OnFailure(*cause_, now, ran_for_);
  }
  if (decision.restart) {
    // A connection between TaskManagers broke, and none of them was lost: they cannot reach one
    // another, and would not in the next attempt.
    elsewhere_ =
        cause_ && cause_->secondary ? std::optional(seed_ + last_attempt_.value) : std::nullopt;
    cause_.reset();
    restart_decided_ = false;
    failures_.Blame(nullptr);
    restart_at_ = now + decision.delay;
    ++version_;
    unnoted_ = true;
    if (decision.delay.count() == 0) On(JobTick{}, now, out);
    return;
  }
  restart_at_.reset();
  reason_ = decision.reason;
  ending_as_ = S::kFailed;
  ++version_;
  EndAttempts(CancelReason::kFailed, reason_, now, out);
  if (attempts_.empty() && !checkpoints_.commit_in_flight()) PersistEndOf(S::kFailed, out);
}

// ---------------------------------------------------------------- the end

void Job::PersistEndOf(JobState end, Out* out) {
  if (end_in_flight_ || persist_retry_at_) return;
  if (!persisting_end_) {
    persisting_end_ = PersistEnd{.state = end, .reason = reason_};
    if (end == S::kFailed) {
      persisting_end_->failure = cause_.value_or(Failure{});
      if (!reason_.empty()) persisting_end_->failure.message = reason_;
    }
    if (const auto stop = checkpoints_.stop(); stop && end == S::kFinished) {
      persisting_end_->savepoint = stop->savepoint;
    }
    // A finished job has nothing to resume from, a stopped one has its savepoint; a failed one's
    // checkpoints are what the user repairs it with.
    persisting_end_->discard_checkpoints =
        end == S::kFinished || (end == S::kCanceled && !plan_.checkpoint.retain_on_cancel);
  }
  end_in_flight_ = true;
  out->emplace_back(*persisting_end_);
}

void Job::On(const EndPersisted& e, Instant now, Out*) {
  if (!end_in_flight_) return;
  end_in_flight_ = false;
  if (!e.ok) {
    persist_retry_at_ = now + kPersistRetry;
    return;
  }
  Enter(persisting_end_->state, now);
}

void Job::On(const CancelWanted& e, Instant, Out* out) {
  if (IsTerminal(state_)) {
    out->emplace_back(Reply{e.request, ReplyCode::kFailedPrecondition,
                            std::string("the job is ") + ToString(state_) + " already"});
    return;
  }
  if (cancel_requests_.size() >= kMaxWaitingCancels) {
    out->emplace_back(Reply{e.request, ReplyCode::kResourceExhausted,
                            "too many requests to cancel this job are waiting"});
    return;
  }
  if (cancel_wanted_) {
    out->emplace_back(Reply{e.request});
    return;
  }
  cancel_requests_.push_back(e.request);
  if (cancel_in_flight_) return;
  cancel_in_flight_ = true;
  out->emplace_back(PersistCancel{});
}

void Job::On(const CancelPersisted& e, Instant now, Out* out) {
  if (!cancel_in_flight_) return;
  cancel_in_flight_ = false;
  for (RequestId request : cancel_requests_) {
    // The job may have come to its own end meanwhile: that is an end, too.
    out->emplace_back(e.ok ? Reply{request} : Reply{request, ReplyCode::kAborted, e.error});
  }
  cancel_requests_.clear();
  if (!e.ok) return;
  cancel_wanted_ = true;
  if (IsTerminal(state_) || ending_as_) return;
  StartCancelling(now, out);
}

void Job::StartCancelling(Instant now, Out* out) {
  ending_as_ = S::kCanceled;
  restart_at_.reset();
  reason_ = "cancelled by the user";
  Enter(S::kCancelling, now);
  EndAttempts(CancelReason::kCanceled, reason_, now, out);
  MaybeProceed(now, out);
}

// ---------------------------------------------------------------- checkpoints

void Job::StepCheckpoints(const CheckpointEvent& event, Instant now, Out* out) {
  std::vector<CheckpointAction> actions;
  checkpoints_.Step(event, now, &actions);
  if (!actions.empty()) ++version_;
  for (CheckpointAction& action : actions) {
    if (auto* fail = std::get_if<FailAttempt>(&action)) {
      given_up_stop_ = std::max(given_up_stop_, fail->given_up_stop);
      restart_decided_ = fail->given_up_stop.value != 0 && !cause_;
      Fail(fail->failure, attempts_.All(), std::nullopt, {}, now, out);
    } else if (auto* done = std::get_if<JobDone>(&action)) {
      ending_as_ = S::kFinished;
      reason_ = done->stopped ? "stopped with a savepoint" : "";
      EndAttempts(done->stopped ? CancelReason::kStopped : CancelReason::kFinished,
                  "the job is done", now, out);
      MaybeProceed(now, out);
    } else {
      if (std::get_if<SendTrigger>(&action)) {
        if (IsStop(std::get<SendTrigger>(action).kind)) Enter(S::kStopping, now);
      }
      out->emplace_back(CheckpointWork{run_, std::move(action)});
    }
  }
}

bool Job::IsOfThisRun(const OfCheckpoints& e) const {
  const auto current = [&](SubtaskId subtask) {
    const Attempt* attempt = attempts_.Of(subtask);
    return attempt != nullptr && attempt->id == e.attempt;
  };
  if (const auto* m = std::get_if<SubtaskAcknowledged>(&e.event)) return current(m->subtask);
  if (const auto* m = std::get_if<SubtaskDeclined>(&e.event)) return current(m->subtask);
  if (const auto* m = std::get_if<SubtaskPublished>(&e.event)) return current(m->subtask);
  if (std::holds_alternative<EarlyCheckpointWanted>(e.event)) {
    return attempts_.Find(e.attempt) != nullptr;
  }
  // An export outlives the attempts whose checkpoint it copies.
  return e.attempt == run_ || std::holds_alternative<SavepointExported>(e.event) ||
         std::holds_alternative<SavepointExportFailed>(e.event);
}

void Job::On(const OfCheckpoints& e, Instant now, Out* out) {
  if (const auto* wanted = std::get_if<SavepointWanted>(&e.event)) {
    if (!takes_savepoints()) {
      out->emplace_back(CheckpointWork{
          last_attempt_, ReplySavepoint{.request = wanted->request,
                                        .code = ReplyCode::kFailedPrecondition,
                                        .message = std::string("the job is ") + ToString(state_) +
                                                   "; a savepoint is taken of a RUNNING one"}});
      return;
    }
  } else if (!IsOfThisRun(e)) {
    return;
  }
  StepCheckpoints(e.event, now, out);
  MaybeProceed(now, out);  // a commit that was awaited may have ended
}

// ---------------------------------------------------------------- time

void Job::On(const SuspendWanted&, Instant now, Out* out) {
  if (IsTerminal(state_)) return;
  for (RequestId request : cancel_requests_) {
    out->emplace_back(Reply{request, ReplyCode::kAborted, "the JobManager is shutting down"});
  }
  cancel_requests_.clear();
  StepCheckpoints(CheckpointingStopped{.reason = "the JobManager is shutting down",
                                       .then = CheckpointingStopped::Then::kNextLeader},
                  now, out);
  Enter(S::kSuspended, now);
}

std::optional<Instant> Job::DeploymentDue() const {
  if (state_ != S::kDeploying || !attempts_.AllDeployed()) return std::nullopt;
  return state_since_ + plan_.deployment_timeout;
}

void Job::On(const JobTick&, Instant now, Out* out) {
  if (persist_retry_at_ && now >= *persist_retry_at_) {
    persist_retry_at_.reset();
    MaybeProceed(now, out);
  }
  if (state_ == S::kRestarting && restart_at_ && now >= *restart_at_) {
    restart_at_.reset();
    Enter(S::kWaitingForSlots, now);
  }
  if (const auto due = DeploymentDue(); due && now >= *due) {
    Fail(
        {.kind = ErrorKind::kExternal,
         .message = "not all subtasks ran within " +
                    std::to_string(plan_.deployment_timeout.count() / 1000) +
                    " s of their deployment; set task.deployment.timeout if the state takes longer "
                    "to restore"},
        attempts_.NotRunning(), std::nullopt, {}, now, out);
  }
  attempts_.DropSilent(plan_.name, now, out);
  StepCheckpoints(CheckpointTick{}, now, out);
  MaybeProceed(now, out);
}

std::optional<Instant> Job::NextDeadline() const {
  std::optional<Instant> next = checkpoints_.NextDeadline();
  auto consider = [&](std::optional<Instant> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  if (state_ == S::kSuspended) return std::nullopt;
  consider(persist_retry_at_);
  if (state_ == S::kRestarting) {
    consider(restart_at_);
    // Beside a commit or the storing of the end there is nothing to wait for here.
    if (!attempts_.AnyEnding() && !restart_at_ && !ending_as_ && !checkpoints_.commit_in_flight() &&
        !silent_.empty()) {
      consider(report_deadline_);
    }
  }
  consider(DeploymentDue());
  consider(attempts_.NextDeadline());
  return next;
}

}  // namespace weir::jobmanager
