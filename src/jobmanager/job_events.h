#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "jobmanager/checkpoint_coordinator.h"
#include "jobmanager/restart_policy.h"
#include "jobmanager/values.h"

/// What the machine of one job hears and what it wants done.
namespace weir::jobmanager {

enum class JobState {
  kCreated,
  kWaitingForSlots,
  kDeploying,
  kRunning,
  kRestarting,
  kCancelling,
  kStopping,
  kFinishing,
  kFinished,
  kCanceled,
  kFailed,
  kSuspended,
};

const char* ToString(JobState state);
bool IsTerminal(JobState state);
/// Whether a job may go from one to the other.
bool IsLegal(JobState from, JobState to);

// ---------------------------------------------------------------- events

/// A new job, or one that a former leader left behind. `attempt_floor` is the last attempt any
/// leader may have deployed; `canceled` that its cancellation was asked for; `restarts` how many
/// there were under all of them up to that attempt; `memory` and `counts` what the last one noted.
struct JobStarted {
  AttemptId attempt_floor;
  bool canceled = false;
  uint32_t restarts = 0;
  RestartMemory memory;
  JobCounts counts;
};
/// The slots of `placement` are this job's until it gives them back.
struct SlotsGranted {
  Placement placement;
};
struct StillWaiting {
  std::string reason;
};
/// There are slots, but the job cannot run in them as they are.
struct PlacementRefused {
  std::string reason;
};
/// Answer to PrepareAttempt: the attempt number is durable, and this is what it begins from.
struct AttemptPrepared {
  AttemptId attempt;
  std::optional<RestorePoint> restore;
  CheckpointId id_floor;
  CheckpointId id_limit;
  CheckpointId last_completed;
  /// `restore` is the checkpoint of a stop: nothing is left to do but to publish and export it.
  std::optional<StopPoint> stop;
};
struct PrepareFailed {
  AttemptId attempt;
  Failure failure;
};
struct TaskChanged {
  AttemptId attempt;
  SubtaskId subtask;
  TaskState state;
  Failure failure;  ///< of kFailed
};
/// The attempt is gone from that TaskManager, in good order or with the process.
struct AttemptReleased {
  SessionId session;
  AttemptId attempt;
};
struct TaskManagerGone {
  SessionId session;
  std::string reason;
  bool in_order = false;  ///< it took its leave: no report will follow
};
/// What a dead process of `task_manager` left, about an attempt of this job.
struct CrashReported {
  AttemptId attempt;
  TaskManagerId task_manager;
  std::optional<SubtaskId> subtask;  ///< of the operator to blame
  Failure failure;
};
/// It has registered, and has reported what there was to report.
struct TaskManagerBack {
  TaskManagerId task_manager;
};
struct CancelWanted {
  RequestId request;
};
/// Answer to PersistCancel.
struct CancelPersisted {
  bool ok = true;
  std::string error;
};
/// Answer to PersistEnd.
struct EndPersisted {
  bool ok = true;
};
/// For the coordinator; dropped when it comes from another attempt.
struct OfCheckpoints {
  AttemptId attempt;
  CheckpointEvent event;
};
/// This JobManager stops acting for the job, without a word to its tasks.
struct SuspendWanted {};
struct JobTick {};

using JobEvent = std::variant<JobStarted, SlotsGranted, StillWaiting, PlacementRefused,
                              AttemptPrepared, PrepareFailed, TaskChanged, AttemptReleased,
                              TaskManagerGone, CrashReported, TaskManagerBack, CancelWanted,
                              CancelPersisted, EndPersisted, OfCheckpoints, SuspendWanted, JobTick>;

// ---------------------------------------------------------------- actions

/// Make the attempt's number, the restarts so far, what the restart policy goes by and the id
/// reservation durable, then find the newest manifest. `attempt` is the highest of those that are
/// to be deployed.
struct PrepareAttempt {
  AttemptId attempt;
  uint32_t restarts = 0;
  RestartMemory memory;
  /// A stop at a checkpoint up to this one is to be forgotten, though it was decided: the job goes
  /// on from there.
  CheckpointId given_up_stop;
  /// No region runs that this leader has deployed: what former attempts have written for
  /// checkpoints that came to nothing is nobody's. (Those of a former leader may still write; no
  /// leader takes them over.)
  bool nothing_runs = false;
};
/// Send each TaskManager of the placement its part of one region. `stands_still`: it begins from
/// the checkpoint of a stop, and is only to publish.
struct Deploy {
  AttemptId attempt;
  uint32_t region = 0;
  Placement placement;
  std::optional<RestorePoint> restore;
  CheckpointId id_floor;
  bool stands_still = false;
};
struct CancelAttempt {
  AttemptId attempt;
  SessionId session;
  CancelReason reason;
};
/// The session did not answer a cancel: break it, the process is beyond help.
struct DropSession {
  SessionId session;
  std::string reason;
};
struct GiveBackSlots {
  SessionId session;
  std::set<uint32_t> slots;
};
/// Put what the restart policy goes by into the job's record: a restart is decided on, or a death
/// was charged. Only where no attempt is prepared at once, which makes it durable as well. Not
/// answered: what could not be stored goes with the next attempt's number.
struct NoteRestarts {
  RestartMemory memory;
};
/// Put the wish to cancel into the job's record.
struct PersistCancel {};
/// Put the end into the job's record; afterwards, if told, delete the job's checkpoints.
struct PersistEnd {
  JobState state;
  Failure failure;     ///< of kFailed
  std::string reason;  ///< for people
  bool discard_checkpoints = false;
  std::string savepoint;  ///< that the job was stopped with; empty: it was not
};
struct Reply {
  RequestId request;
  ReplyCode code = ReplyCode::kOk;
  std::string message;
};
/// From the coordinator. `attempt` names its run: the newest when it was started.
struct CheckpointWork {
  AttemptId attempt;
  CheckpointAction action;
};

/// Made in place (emplace_back): of a moved one g++ 12 takes other alternatives for uninitialised.
using JobAction = std::variant<PrepareAttempt, Deploy, CancelAttempt, DropSession, GiveBackSlots,
                               NoteRestarts, PersistCancel, PersistEnd, Reply, CheckpointWork>;

}  // namespace weir::jobmanager
