#include "jobmanager/job.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace weir::jobmanager {
namespace {

using S = JobState;

/// Every legal transition.
constexpr std::array<std::pair<JobState, JobState>, 32> kTransitions = {{
    {S::kCreated, S::kWaitingForSlots},
    {S::kCreated, S::kCancelling},  // recovered with a wish to cancel
    {S::kWaitingForSlots, S::kDeploying},
    {S::kWaitingForSlots, S::kCancelling},
    {S::kWaitingForSlots, S::kRestarting},  // a crash report came in, or no placement can run
    {S::kDeploying, S::kWaitingForSlots},   // slots were lost before anything was sent
    {S::kDeploying, S::kRunning},
    {S::kDeploying, S::kRestarting},
    {S::kDeploying, S::kCancelling},
    {S::kRunning, S::kFinishing},
    {S::kRunning, S::kStopping},
    {S::kRunning, S::kRestarting},
    {S::kRunning, S::kCancelling},
    {S::kFinishing, S::kStopping},
    {S::kFinishing, S::kRestarting},
    {S::kFinishing, S::kCancelling},
    {S::kFinishing, S::kFinished},
    {S::kStopping, S::kRestarting},
    {S::kStopping, S::kCancelling},
    {S::kStopping, S::kFinished},
    {S::kRestarting, S::kWaitingForSlots},
    {S::kRestarting, S::kFailed},
    {S::kRestarting, S::kCancelling},
    {S::kCancelling, S::kCanceled},
    {S::kCreated, S::kSuspended},
    {S::kWaitingForSlots, S::kSuspended},
    {S::kDeploying, S::kSuspended},
    {S::kRunning, S::kSuspended},
    {S::kFinishing, S::kSuspended},
    {S::kStopping, S::kSuspended},
    {S::kRestarting, S::kSuspended},
    {S::kCancelling, S::kSuspended},
}};

[[maybe_unused]] bool IsLegal(JobState from, JobState to) {
  const std::pair<JobState, JobState> step{from, to};
  return std::find(kTransitions.begin(), kTransitions.end(), step) != kTransitions.end();
}

}  // namespace

const char* ToString(JobState state) {
  switch (state) {
    case S::kCreated:
      return "CREATED";
    case S::kWaitingForSlots:
      return "WAITING_FOR_SLOTS";
    case S::kDeploying:
      return "DEPLOYING";
    case S::kRunning:
      return "RUNNING";
    case S::kRestarting:
      return "RESTARTING";
    case S::kCancelling:
      return "CANCELLING";
    case S::kStopping:
      return "STOPPING";
    case S::kFinishing:
      return "FINISHING";
    case S::kFinished:
      return "FINISHED";
    case S::kCanceled:
      return "CANCELED";
    case S::kFailed:
      return "FAILED";
    case S::kSuspended:
      return "SUSPENDED";
  }
  return "?";
}

bool IsTerminal(JobState state) {
  return state == S::kFinished || state == S::kCanceled || state == S::kFailed;
}

Job::Job(JobPlan plan, uint64_t seed)
    : plan_(std::move(plan)),
      policy_(plan_.restart, seed),
      checkpoints_(plan_.checkpoint, plan_.Subtasks(), plan_.TransactionalSubtasks()) {}

void Job::Step(const JobEvent& event, Instant now, Out* out) {
  if (state_ == S::kSuspended) return;
  std::visit([&](const auto& e) { On(e, now, out); }, event);
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
  former_restarts_ = e.restarts + (e.attempt_floor.value > 0 && !e.canceled ? 1 : 0);
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
  Fail({.kind = ErrorKind::kFatal, .message = e.reason}, std::nullopt, {}, now, out);
}

void Job::On(const SlotsGranted& e, Instant now, Out* out) {
  assert(state_ == S::kWaitingForSlots && !attempt_);
  last_attempt_ = AttemptId(last_attempt_.value + 1);
  attempt_ = Attempt{.id = last_attempt_, .placement = e.placement};
  for (const auto& [subtask, slot] : e.placement) {
    attempt_->tasks[subtask] = TaskState::kDeploying;
    attempt_->holding.insert(slot.session);
  }
  slot_memory_ = Remember(plan_, e.placement);
  silent_.clear();
  reason_.clear();
  Enter(S::kDeploying, now);
  out->push_back(PrepareAttempt{last_attempt_, restarts()});
}

void Job::On(const AttemptPrepared& e, Instant now, Out* out) {
  if (!IsCurrent(e.attempt) || attempt_->deployed || state_ != S::kDeploying) return;
  attempt_->deployed = true;
  attempt_->restore = e.restore;
  attempt_->id_floor = e.id_floor;
  attempt_->id_limit = e.id_limit;
  attempt_->last_completed = e.last_completed;
  state_since_ = now;
  ++version_;
  out->push_back(Deploy{e.attempt, attempt_->placement, e.restore, e.id_floor});
}

void Job::On(const PrepareFailed& e, Instant now, Out* out) {
  if (!IsCurrent(e.attempt) || attempt_->deployed || state_ != S::kDeploying) return;
  Fail(e.failure, std::nullopt, {}, now, out);
}

// ---------------------------------------------------------------- tasks

void Job::On(const TaskChanged& e, Instant now, Out* out) {
  if (!IsCurrent(e.attempt) || !attempt_->deployed) return;
  auto task = attempt_->tasks.find(e.subtask);
  if (task == attempt_->tasks.end() || task->second == e.state) return;
  // Gone is gone, and no task un-ends.
  if (task->second == TaskState::kCanceled || task->second == TaskState::kFailed) return;
  if (task->second == TaskState::kAtEnd && e.state == TaskState::kRunning) return;
  task->second = e.state;
  ++version_;
  if (e.state == TaskState::kFailed) {
    const TaskManagerId tm = attempt_->placement.at(e.subtask).task_manager;
    Fail(e.failure, e.subtask, tm, now, out);
    return;
  }
  if (e.state == TaskState::kCanceled && !attempt_->ending) {
    Fail({.kind = ErrorKind::kInternal, .message = "the subtask was cancelled by nobody"},
         e.subtask, attempt_->placement.at(e.subtask).task_manager, now, out);
    return;
  }
  if (attempt_->ending) return;

  auto all = [&](auto predicate) {
    return std::all_of(attempt_->tasks.begin(), attempt_->tasks.end(),
                       [&](const auto& t) { return predicate(t.second); });
  };
  if (state_ == S::kDeploying && all([](TaskState s) { return s != TaskState::kDeploying; })) {
    OnAllRunning(now, out);
  }
  if (state_ == S::kRunning && all([](TaskState s) { return s == TaskState::kAtEnd; })) {
    Enter(S::kFinishing, now);
    StepCheckpoints(AllAtEnd{}, now, out);
  }
}

void Job::OnAllRunning(Instant now, Out* out) {
  Enter(S::kRunning, now);
  attempt_->running_since = now;
  reason_.clear();
  StepCheckpoints(CheckpointingStarted{.attempt = attempt_->id,
                                       .floor = attempt_->id_floor,
                                       .id_limit = attempt_->id_limit,
                                       .last_completed = attempt_->last_completed},
                  now, out);
}

// ---------------------------------------------------------------- failure

void Job::RecordFailureOf(Failure failure, std::optional<SubtaskId> subtask, TaskManagerId tm,
                          Instant now) {
  ++failure_count_;
  failures_.push_front({.at = now,
                        .attempt = last_attempt_,
                        .failure = std::move(failure),
                        .subtask = subtask,
                        .task_manager = std::move(tm)});
  if (failures_.size() > kFailureHistory) failures_.pop_back();
  ++version_;
}

void Job::Fail(Failure failure, std::optional<SubtaskId> subtask, TaskManagerId tm, Instant now,
               Out* out) {
  if (ending_as_) {
    // The job is over already; how its tasks go is no longer decided by it, only told.
    if (subtask && failure.kind == ErrorKind::kUser) {
      RecordFailureOf(std::move(failure), subtask, std::move(tm), now);
    }
    return;
  }
  RecordFailureOf(failure, subtask, std::move(tm), now);
  if (!cause_ || (cause_->secondary && !failure.secondary) ||
      (cause_->kind != ErrorKind::kFatal && failure.kind == ErrorKind::kFatal)) {
    cause_ = failure;
    reason_ = failure.message;
  }
  if (state_ == S::kRestarting) return;
  ran_for_ = milliseconds(0);
  if (attempt_ && attempt_->running_since.count() > 0) {
    ran_for_ = std::chrono::duration_cast<milliseconds>(now - attempt_->running_since);
  }
  policy_.OnAttemptEnded(ran_for_);
  Enter(S::kRestarting, now);
  EndAttempt(CancelReason::kFailed, reason_, now, out);
  MaybeProceed(now, out);
}

void Job::EndAttempt(CancelReason reason, const std::string& why, Instant now, Out* out) {
  if (!attempt_ || attempt_->ending) return;
  attempt_->ending = true;
  StepCheckpoints(CheckpointingStopped{why}, now, out);
  if (!attempt_->deployed) {
    for (SessionId session : attempt_->holding) out->push_back(GiveBackSlots{session});
    attempt_.reset();
    return;
  }
  cancel_deadline_ = now + kCancelTimeout;
  for (SessionId session : attempt_->holding) {
    out->push_back(CancelAttempt{attempt_->id, session, reason});
  }
}

void Job::Release(SessionId session, Out* out) {
  if (!attempt_ || attempt_->holding.erase(session) == 0) return;
  out->push_back(GiveBackSlots{session});
  if (!attempt_->ending || !attempt_->holding.empty()) return;
  attempt_.reset();
  cancel_deadline_.reset();
  ++version_;
}

void Job::On(const AttemptReleased& e, Instant now, Out* out) {
  if (!IsCurrent(e.attempt) || !attempt_->holding.contains(e.session)) return;
  if (!attempt_->ending) {
    // Its process let go of tasks that nobody cancelled: it no longer runs what we think it runs.
    Fail({.kind = ErrorKind::kInternal, .message = "a TaskManager dropped the attempt unasked"},
         std::nullopt, {}, now, out);
  }
  Release(e.session, out);
  MaybeProceed(now, out);
}

void Job::On(const TaskManagerGone& e, Instant now, Out* out) {
  if (!attempt_ || !attempt_->holding.contains(e.session)) return;
  if (!attempt_->deployed) {
    // Nothing was sent yet: no attempt has failed, so the restart policy is not asked.
    for (SessionId session : attempt_->holding) out->push_back(GiveBackSlots{session});
    attempt_.reset();
    if (state_ == S::kDeploying) Enter(S::kWaitingForSlots, now);
    MaybeProceed(now, out);
    return;
  }
  TaskManagerId tm;
  for (const auto& [subtask, slot] : attempt_->placement) {
    if (slot.session == e.session) tm = slot.task_manager;
  }
  if (!e.in_order) {
    silent_.insert(tm);
    report_deadline_ = now + kCrashReportWait;
  }
  // Its neighbours' broken channels are often seen first: the loss is the cause, they the echo.
  if (!attempt_->ending || (state_ == S::kRestarting && cause_ && cause_->secondary)) {
    Fail({.kind = ErrorKind::kExternal,
          .message = "TaskManager '" + tm.value + "' was lost: " + e.reason},
         std::nullopt, tm, now, out);
  }
  Release(e.session, out);
  MaybeProceed(now, out);
}

bool Job::RecordCrash(const CrashReported& e, const Failure& failure, Instant now) {
  FailureRecord* loss = nullptr;
  for (FailureRecord& record : failures_) {
    if (record.attempt != e.attempt || record.task_manager != e.task_manager) continue;
    if (record.failure.death) return false;  // told twice, because the answer was lost
    if (record.failure.operator_uid.empty() && !record.subtask) loss = &record;
  }
  if (loss == nullptr) {
    RecordFailureOf(failure, e.subtask, e.task_manager, now);
    failures_.front().attempt = e.attempt;
    return true;
  }
  loss->failure = failure;
  loss->subtask = e.subtask;
  ++version_;
  return true;
}

void Job::On(const CrashReported& e, Instant now, Out* out) {
  if (e.attempt > last_attempt_) return;
  Failure failure = e.failure;
  failure.death = true;
  if (!RecordCrash(e, failure, now) || IsTerminal(state_) || ending_as_) return;
  const bool of_this_failure = silent_.erase(e.task_manager) > 0 && state_ == S::kRestarting;
  // The loss of the process is counted by the policy as what it is; the operator's death is here.
  if (auto reason = policy_.OnCrashReport(failure)) doomed_ = *reason;
  if (of_this_failure && (!cause_ || cause_->operator_uid.empty())) {
    reason_ = failure.message;
    if (cause_ && cause_->kind == ErrorKind::kExternal) {
      cause_->operator_uid = failure.operator_uid;
      cause_->operator_name = failure.operator_name;
      cause_->message = failure.message;
      cause_->secondary = false;
    }
  }
  if (doomed_) {
    cause_ = failure;
    cause_->message = *doomed_;
    reason_ = *doomed_;
  }
  if (doomed_ && state_ != S::kRestarting) {
    Enter(S::kRestarting, now);
    EndAttempt(CancelReason::kFailed, reason_, now, out);
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

const FailureRecord* Job::last_failure() const {
  for (const FailureRecord& record : failures_) {
    if (!record.failure.secondary) return &record;
  }
  return failures_.empty() ? nullptr : &failures_.front();
}

void Job::MaybeProceed(Instant now, Out* out) {
  if (attempt_ || checkpoints_.commit_in_flight() || IsTerminal(state_)) return;
  if (ending_as_) {
    PersistEndOf(*ending_as_, now, out);
    return;
  }
  if (state_ != S::kRestarting) return;
  if (restart_at_ && !doomed_) return;
  if (AwaitsCrashReport(now)) return;
  RestartPolicy::Decision decision;
  if (doomed_) {
    decision.reason = *doomed_;
  } else {
    decision = policy_.OnFailure(*cause_, now, ran_for_);
  }
  if (decision.restart) {
    cause_.reset();
    restart_at_ = now + decision.delay;
    ++version_;
    if (decision.delay.count() == 0) On(JobTick{}, now, out);
    return;
  }
  restart_at_.reset();
  reason_ = decision.reason;
  ending_as_ = S::kFailed;
  PersistEndOf(S::kFailed, now, out);
}

// ---------------------------------------------------------------- the end

void Job::PersistEndOf(JobState end, Instant now, Out* out) {
  (void)now;
  if (end_in_flight_ || persist_retry_at_) return;
  if (!persisting_end_) {
    persisting_end_ = PersistEnd{.state = end};
    if (end == S::kFailed) {
      persisting_end_->failure = cause_.value_or(Failure{});
      if (!reason_.empty()) persisting_end_->failure.message = reason_;
    }
    // A finished job has nothing to resume from, a stopped one has its savepoint; a failed one's
    // checkpoints are what the user repairs it with.
    persisting_end_->discard_checkpoints =
        end == S::kFinished || (end == S::kCanceled && !plan_.checkpoint.retain_on_cancel);
  }
  end_in_flight_ = true;
  out->push_back(*persisting_end_);
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

void Job::On(const CancelWanted& e, Instant now, Out* out) {
  if (IsTerminal(state_)) {
    out->push_back(Reply{e.request, ReplyCode::kFailedPrecondition,
                         std::string("the job is ") + ToString(state_) + " already"});
    return;
  }
  if (cancel_requests_.size() >= kMaxWaitingCancels) {
    out->push_back(Reply{e.request, ReplyCode::kResourceExhausted,
                         "too many requests to cancel this job are waiting"});
    return;
  }
  if (cancel_wanted_) {
    out->push_back(Reply{e.request});
    return;
  }
  cancel_requests_.push_back(e.request);
  if (cancel_in_flight_) return;
  cancel_in_flight_ = true;
  out->push_back(PersistCancel{});
  (void)now;
}

void Job::On(const CancelPersisted& e, Instant now, Out* out) {
  if (!cancel_in_flight_) return;
  cancel_in_flight_ = false;
  for (RequestId request : cancel_requests_) {
    // The job may have come to its own end meanwhile: that is an end, too.
    out->push_back(e.ok ? Reply{request} : Reply{request, ReplyCode::kAborted, e.error});
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
  EndAttempt(CancelReason::kCanceled, reason_, now, out);
  MaybeProceed(now, out);
}

// ---------------------------------------------------------------- checkpoints

void Job::StepCheckpoints(const CheckpointEvent& event, Instant now, Out* out) {
  const AttemptId attempt = attempt_ ? attempt_->id : last_attempt_;
  std::vector<CheckpointAction> actions;
  checkpoints_.Step(event, now, &actions);
  if (!actions.empty()) ++version_;
  for (CheckpointAction& action : actions) {
    if (auto* fail = std::get_if<FailAttempt>(&action)) {
      Fail(fail->failure, std::nullopt, {}, now, out);
    } else if (auto* done = std::get_if<JobDone>(&action)) {
      ending_as_ = S::kFinished;
      reason_ = done->stopped ? "stopped with a savepoint" : "";
      EndAttempt(done->stopped ? CancelReason::kStopped : CancelReason::kFinished,
                 "the job is done", now, out);
      MaybeProceed(now, out);
    } else {
      if (std::get_if<SendTrigger>(&action)) {
        const auto kind = std::get<SendTrigger>(action).kind;
        const bool stop = kind == CheckpointKind::kStop || kind == CheckpointKind::kStopAndDrain;
        if (stop) Enter(S::kStopping, now);
      }
      out->push_back(CheckpointWork{attempt, std::move(action)});
    }
  }
}

void Job::On(const OfCheckpoints& e, Instant now, Out* out) {
  if (const auto* wanted = std::get_if<SavepointWanted>(&e.event)) {
    if (!takes_savepoints()) {
      out->push_back(CheckpointWork{
          last_attempt_, ReplySavepoint{.request = wanted->request,
                                        .code = ReplyCode::kFailedPrecondition,
                                        .message = std::string("the job is ") + ToString(state_) +
                                                   "; a savepoint is taken of a RUNNING one"}});
      return;
    }
  } else if (e.attempt != last_attempt_ && !std::holds_alternative<SavepointExported>(e.event) &&
             !std::holds_alternative<SavepointExportFailed>(e.event)) {
    return;  // only an export outlives its attempt
  }
  StepCheckpoints(e.event, now, out);
  MaybeProceed(now, out);  // a commit that was awaited may have ended
}

// ---------------------------------------------------------------- time

void Job::On(const SuspendWanted&, Instant now, Out* out) {
  if (IsTerminal(state_)) return;
  for (RequestId request : cancel_requests_) {
    out->push_back(Reply{request, ReplyCode::kAborted, "the JobManager is shutting down"});
  }
  cancel_requests_.clear();
  StepCheckpoints(CheckpointingStopped{"the JobManager is shutting down"}, now, out);
  Enter(S::kSuspended, now);
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
  if (state_ == S::kDeploying && attempt_ && attempt_->deployed &&
      now >= state_since_ + plan_.deployment_timeout) {
    Fail(
        {.kind = ErrorKind::kExternal,
         .message = "not all subtasks ran within " +
                    std::to_string(plan_.deployment_timeout.count() / 1000) +
                    " s of their deployment; set task.deployment.timeout if the state takes longer "
                    "to restore"},
        std::nullopt, {}, now, out);
  }
  if (cancel_deadline_ && now >= *cancel_deadline_ && attempt_) {
    cancel_deadline_ = now + kCancelTimeout;
    for (SessionId session : attempt_->holding) {
      out->push_back(DropSession{session, "it did not confirm the end of attempt " +
                                              std::to_string(attempt_->id.value) + " of job '" +
                                              plan_.name + "'"});
    }
  }
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
    if (!attempt_ && !restart_at_ && !ending_as_ && !checkpoints_.commit_in_flight() &&
        !silent_.empty()) {
      consider(report_deadline_);
    }
  }
  if (state_ == S::kDeploying && attempt_ && attempt_->deployed) {
    consider(state_since_ + plan_.deployment_timeout);
  }
  if (attempt_) consider(cancel_deadline_);
  return next;
}

}  // namespace weir::jobmanager
