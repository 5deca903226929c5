#include "jobmanager/wire.h"

#include <algorithm>
#include <csignal>

namespace weir::jobmanager {
namespace {

// A record is bounded. Whoever allows more failures than this is not held to the older ones over a
// restart of the JobManager.
constexpr size_t kMaxStoredFailures = 1'000;

}  // namespace

Failure FromProto(const proto::Failure& from) {
  Failure to{.operator_uid = from.operator_uid(),
             .operator_name = from.operator_name(),
             .message = from.message(),
             .secondary = from.secondary()};
  switch (from.kind()) {
    case proto::FAILURE_KIND_USER:
      to.kind = ErrorKind::kUser;
      break;
    case proto::FAILURE_KIND_EXTERNAL:
      to.kind = ErrorKind::kExternal;
      break;
    case proto::FAILURE_KIND_FATAL:
      to.kind = ErrorKind::kFatal;
      break;
    default:
      to.kind = ErrorKind::kInternal;
  }
  return to;
}

proto::Failure ToProto(const Failure& from) {
  proto::Failure to;
  switch (from.kind) {
    case ErrorKind::kUser:
      to.set_kind(proto::FAILURE_KIND_USER);
      break;
    case ErrorKind::kExternal:
      to.set_kind(proto::FAILURE_KIND_EXTERNAL);
      break;
    case ErrorKind::kInternal:
      to.set_kind(proto::FAILURE_KIND_INTERNAL);
      break;
    case ErrorKind::kFatal:
      to.set_kind(proto::FAILURE_KIND_FATAL);
      break;
  }
  to.set_operator_uid(from.operator_uid);
  to.set_operator_name(from.operator_name);
  to.set_message(from.message);
  to.set_secondary(from.secondary);
  return to;
}

TaskState FromProto(proto::TaskState state) {
  switch (state) {
    case proto::TASK_STATE_RUNNING:
      return TaskState::kRunning;
    case proto::TASK_STATE_FINISHED:
      return TaskState::kAtEnd;
    case proto::TASK_STATE_CANCELED:
      return TaskState::kCanceled;
    case proto::TASK_STATE_FAILED:
      return TaskState::kFailed;
    default:
      return TaskState::kDeploying;
  }
}

proto::TaskState ToProto(TaskState state) {
  switch (state) {
    case TaskState::kDeploying:
      return proto::TASK_STATE_DEPLOYING;
    case TaskState::kRunning:
      return proto::TASK_STATE_RUNNING;
    case TaskState::kAtEnd:
      return proto::TASK_STATE_FINISHED;
    case TaskState::kCanceled:
      return proto::TASK_STATE_CANCELED;
    case TaskState::kFailed:
      return proto::TASK_STATE_FAILED;
  }
  return proto::TASK_STATE_UNSPECIFIED;
}

void ToProto(const SubtaskId& from, proto::SubtaskRef* to) {
  to->set_vertex(from.vertex.value);
  to->set_index(from.index);
}

proto::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kCreated:
      return proto::JOB_STATE_CREATED;
    case JobState::kWaitingForSlots:
      return proto::JOB_STATE_WAITING_FOR_SLOTS;
    case JobState::kDeploying:
      return proto::JOB_STATE_DEPLOYING;
    case JobState::kRunning:
      return proto::JOB_STATE_RUNNING;
    case JobState::kRestarting:
      return proto::JOB_STATE_RESTARTING;
    case JobState::kCancelling:
      return proto::JOB_STATE_CANCELLING;
    case JobState::kStopping:
      return proto::JOB_STATE_STOPPING;
    case JobState::kFinishing:
      return proto::JOB_STATE_FINISHING;
    case JobState::kFinished:
      return proto::JOB_STATE_FINISHED;
    case JobState::kCanceled:
      return proto::JOB_STATE_CANCELED;
    case JobState::kFailed:
      return proto::JOB_STATE_FAILED;
    case JobState::kSuspended:
      return proto::JOB_STATE_SUSPENDED;
  }
  return proto::JOB_STATE_UNSPECIFIED;
}

proto::JobCounts ToProto(const JobCounts& counts) {
  proto::JobCounts to;
  to.set_checkpoints_completed(counts.checkpoints_completed);
  to.set_checkpoints_failed(counts.checkpoints_failed);
  to.set_failures(counts.failures);
  return to;
}

JobCounts FromProto(const proto::JobCounts& counts) {
  return {counts.checkpoints_completed(), counts.checkpoints_failed(), counts.failures()};
}

proto::RestartMemory ToProto(const RestartMemory& memory, const TimeOfDay& time) {
  proto::RestartMemory to;
  to.set_restarts(memory.restarts);
  to.set_in_a_row(memory.in_a_row);
  to.set_backoff_ms(memory.backoff_ms);
  if (memory.last_failure) to.set_last_failure_ms(time.At(*memory.last_failure));
  const size_t left_out = memory.recent.size() - std::min(memory.recent.size(), kMaxStoredFailures);
  for (size_t i = left_out; i < memory.recent.size(); ++i) {
    to.add_recent_failures_ms(time.At(memory.recent[i]));
  }
  for (const auto& [uid, record] : memory.operators) {
    proto::RestartMemory::Operator* op = to.add_operators();
    op->set_uid(uid);
    op->set_user_failures(record.user_failures);
    op->set_deaths(record.deaths);
  }
  return to;
}

RestartMemory FromProto(const proto::RestartMemory& memory, const TimeOfDay& time) {
  RestartMemory to{.restarts = memory.restarts(),
                   .in_a_row = memory.in_a_row(),
                   .backoff_ms = memory.backoff_ms()};
  // A time of day that has been set back makes none of the future.
  const auto instant = [&](int64_t at_ms) {
    return time.monotonic - milliseconds(std::max<int64_t>(0, time.wall_ms - at_ms));
  };
  if (memory.has_last_failure_ms()) to.last_failure = instant(memory.last_failure_ms());
  for (const int64_t at_ms : memory.recent_failures_ms()) {
    const Instant at = instant(at_ms);
    to.recent.push_back(std::max(at, to.recent.empty() ? at : to.recent.back()));
  }
  for (const proto::RestartMemory::Operator& op : memory.operators()) {
    to.operators[op.uid()] = {op.user_failures(), op.deaths()};
  }
  return to;
}

proto::CancelReason ToProto(CancelReason reason) {
  switch (reason) {
    case CancelReason::kCanceled:
      return proto::CANCEL_REASON_CANCELED;
    case CancelReason::kFailed:
      return proto::CANCEL_REASON_FAILED;
    case CancelReason::kFinished:
      return proto::CANCEL_REASON_FINISHED;
    case CancelReason::kStopped:
      return proto::CANCEL_REASON_STOPPED;
    case CancelReason::kUnknown:
      return proto::CANCEL_REASON_UNKNOWN;
  }
  return proto::CANCEL_REASON_UNSPECIFIED;
}

proto::CheckpointKind ToProto(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kCheckpoint:
      return proto::CHECKPOINT_KIND_CHECKPOINT;
    case CheckpointKind::kSavepoint:
      return proto::CHECKPOINT_KIND_SAVEPOINT;
    case CheckpointKind::kStop:
      return proto::CHECKPOINT_KIND_STOP;
    case CheckpointKind::kStopAndDrain:
      return proto::CHECKPOINT_KIND_STOP_AND_DRAIN;
    case CheckpointKind::kFinal:
      return proto::CHECKPOINT_KIND_FINAL;
  }
  return proto::CHECKPOINT_KIND_UNSPECIFIED;
}

proto::CheckpointMode ToProto(CheckpointMode mode) {
  return mode == CheckpointMode::kAtLeastOnce ? proto::CHECKPOINT_MODE_AT_LEAST_ONCE
                                              : proto::CHECKPOINT_MODE_EXACTLY_ONCE;
}

proto::CheckpointStatus ToProto(CheckpointRecord::Status status) {
  switch (status) {
    case CheckpointRecord::Status::kRunning:
      return proto::CHECKPOINT_STATUS_RUNNING;
    case CheckpointRecord::Status::kCommitting:
      return proto::CHECKPOINT_STATUS_COMMITTING;
    case CheckpointRecord::Status::kCompleted:
      return proto::CHECKPOINT_STATUS_COMPLETED;
    case CheckpointRecord::Status::kPublished:
      return proto::CHECKPOINT_STATUS_PUBLISHED;
    case CheckpointRecord::Status::kFailed:
      return proto::CHECKPOINT_STATUS_FAILED;
  }
  return proto::CHECKPOINT_STATUS_UNSPECIFIED;
}

proto::RegisterRefused::Reason ToProto(Membership::Refusal refusal) {
  switch (refusal) {
    case Membership::Refusal::kStaleIncarnation:
      return proto::RegisterRefused::REASON_STALE_INCARNATION;
    case Membership::Refusal::kTooMany:
      return proto::RegisterRefused::REASON_TOO_MANY;
    case Membership::Refusal::kNone:
      break;
  }
  return proto::RegisterRefused::REASON_UNSPECIFIED;
}

TaskManagerRegistered::Crash FromProto(const proto::CrashReport& report) {
  // 0: its TaskManager ended itself because of the operator; without one nobody is to blame.
  const bool blamable = report.signal() == 0 || report.signal() == SIGSEGV ||
                        report.signal() == SIGABRT || report.signal() == SIGBUS ||
                        report.signal() == SIGILL || report.signal() == SIGFPE ||
                        report.signal() == SIGTRAP;
  TaskManagerRegistered::Crash crash{.job = JobId(report.attempt().job_id()),
                                     .attempt = AttemptId(report.attempt().attempt())};
  if (report.has_subtask()) crash.subtask = FromProto(report.subtask());
  const bool blamed = blamable && (report.signal() != 0 || !report.operator_uid().empty());
  crash.failure = {.kind = blamed ? ErrorKind::kUser : ErrorKind::kExternal,
                   .operator_uid = blamable ? report.operator_uid() : "",
                   .operator_name = blamable ? report.operator_name() : "",
                   .message = report.message()};
  if (crash.failure.message.empty()) {
    crash.failure.message =
        "a TaskManager died by signal " + std::to_string(report.signal()) + " and left no more";
  }
  return crash;
}

}  // namespace weir::jobmanager
