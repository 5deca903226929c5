#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "jobmanager/checkpoint_coordinator.h"
#include "jobmanager/restart_policy.h"
#include "jobmanager/slot_placement.h"
#include "jobmanager/values.h"

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

// ---------------------------------------------------------------- events

/// A new job, or one that a former leader left behind. `attempt_floor` is the last attempt any
/// leader may have deployed; `canceled` that its cancellation was asked for; `restarts` how many
/// there were under all of them.
struct JobStarted {
  AttemptId attempt_floor;
  bool canceled = false;
  uint32_t restarts = 0;
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

/// Make the attempt's number, the restarts so far and the id reservation durable, then find the
/// newest manifest. `attempt` is the highest of those that are to be deployed.
struct PrepareAttempt {
  AttemptId attempt;
  uint32_t restarts = 0;
};
/// Send each TaskManager of the placement its part of one region.
struct Deploy {
  AttemptId attempt;
  uint32_t region = 0;
  Placement placement;
  std::optional<RestorePoint> restore;
  CheckpointId id_floor;
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
/// Put the wish to cancel into the job's record.
struct PersistCancel {};
/// Put the end into the job's record; afterwards, if told, delete the job's checkpoints.
struct PersistEnd {
  JobState state;
  Failure failure;  ///< of kFailed
  bool discard_checkpoints = false;
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

using JobAction = std::variant<PrepareAttempt, Deploy, CancelAttempt, DropSession, GiveBackSlots,
                               PersistCancel, PersistEnd, Reply, CheckpointWork>;

// ---------------------------------------------------------------- the machine

struct FailureRecord {
  Instant at{0};
  AttemptId attempt;             ///< the newest of `attempts`
  std::set<AttemptId> attempts;  ///< of the regions that it took
  Failure failure;
  std::optional<SubtaskId> subtask;
  TaskManagerId task_manager;
};

/// One deployment of one region: from the grant of its slots until every TaskManager has let go of
/// it.
struct Attempt {
  AttemptId id;
  uint32_t region = 0;
  Placement placement;
  std::map<SubtaskId, TaskState> tasks;
  std::set<SessionId> holding;  ///< sessions whose slots are not given back
  bool deployed = false;        ///< Deploy has been sent; before, nobody knows of the attempt
  bool ending = false;          ///< CancelAttempt has been sent
  Instant running_since{0};     ///< since all subtasks of the job ran; 0: they have not yet
  std::optional<RestorePoint> restore;
  std::optional<Instant> cancel_deadline;  ///< for the TaskManagers that hold it
};

/// The life of one job.
///
///   kCreated -> kWaitingForSlots -> kDeploying -> kRunning -> kFinishing ---> kFinished
///                 ^       ^             |          |    \-> kStopping --------^
///                 |       +-(slots lost)+          |            |
///                 +--- kRestarting <----- any failure of the attempt
///                          |
///                          +-> kFailed              (the restart policy says no)
///   any of the above -> kCancelling -> kCanceled    (by the user)
///   any that is not terminal -> kSuspended          (this JobManager stops)
///
/// The failure of a subtask ends its region's attempt everywhere, that of a TaskManager the
/// attempts of the regions it had a part of; when every TaskManager has confirmed or is gone, and
/// no manifest commit is under way, the restart policy decides. Other regions run on meanwhile: the
/// job is kRestarting, kWaitingForSlots, kDeploying for those that failed. All regions restart
/// together when none is left that runs, when the job is being stopped (its sources are silent),
/// when too many checkpoints failed, and when the job ends. Each deployment has an attempt's number
/// of its own. What a TaskManager died of it tells when it is back. A restart does not wait for
/// that; the end of the job does, for a while, so that it names the operator. A terminal state is
/// entered only when the job's record says so durably, and holds no slot. The legal transitions
/// stand in one table in job.cc and are asserted.
class Job {
 public:
  /// A TaskManager ends a process whose cancel takes 30 s; beyond this it does not answer at all.
  static constexpr milliseconds kCancelTimeout{45'000};
  static constexpr milliseconds kPersistRetry{1'000};
  /// Until a TaskManager that is started again has registered.
  static constexpr milliseconds kCrashReportWait{10'000};
  static constexpr size_t kFailureHistory = 32;
  static constexpr size_t kMaxWaitingCancels = 64;

  Job(JobPlan plan, uint64_t seed);

  void Step(const JobEvent& event, Instant now, std::vector<JobAction>* out);
  std::optional<Instant> NextDeadline() const;

  const JobPlan& plan() const { return plan_; }
  JobState state() const { return state_; }
  bool takes_savepoints() const {
    return state_ == JobState::kRunning || state_ == JobState::kFinishing;
  }
  Instant state_since() const { return state_since_; }
  AttemptId last_attempt() const { return last_attempt_; }
  /// Of the regions that are deployed, or on their way in or out; by region.
  const std::map<uint32_t, Attempt>& attempts() const { return attempts_; }
  const Attempt* AttemptOf(SubtaskId subtask) const;  ///< null: its region is not deployed
  /// What runs, or is to, and stays: slots of it are not placed anew.
  Placement Placed() const;
  uint32_t regions() const { return regions_; }
  const SlotMemory& slot_memory() const { return slot_memory_; }
  const CheckpointCoordinator& checkpoints() const { return checkpoints_; }
  uint64_t failure_count() const { return failure_count_; }
  const std::deque<FailureRecord>& failures() const { return failures_; }  ///< newest first
  /// The newest that is no echo of another; null: none.
  const FailureRecord* last_failure() const;
  const std::string& reason() const { return reason_; }
  /// Since the submission; what a new leader does to go on with a job is one, though no failure.
  uint32_t restarts() const { return former_restarts_ + policy_.restarts(); }
  std::optional<Instant> restart_at() const { return restart_at_; }
  /// Counts every visible change.
  uint64_t version() const { return version_; }

 private:
  using Out = std::vector<JobAction>;
  void On(const JobStarted& e, Instant now, Out* out);
  void On(const SlotsGranted& e, Instant now, Out* out);
  void On(const StillWaiting& e, Instant now, Out* out);
  void On(const PlacementRefused& e, Instant now, Out* out);
  void On(const AttemptPrepared& e, Instant now, Out* out);
  void On(const PrepareFailed& e, Instant now, Out* out);
  void On(const TaskChanged& e, Instant now, Out* out);
  void On(const AttemptReleased& e, Instant now, Out* out);
  void On(const TaskManagerGone& e, Instant now, Out* out);
  void On(const CrashReported& e, Instant now, Out* out);
  void On(const TaskManagerBack& e, Instant now, Out* out);
  void On(const CancelWanted& e, Instant now, Out* out);
  void On(const CancelPersisted& e, Instant now, Out* out);
  void On(const EndPersisted& e, Instant now, Out* out);
  void On(const OfCheckpoints& e, Instant now, Out* out);
  void On(const SuspendWanted& e, Instant now, Out* out);
  void On(const JobTick& e, Instant now, Out* out);

  using Regions = std::set<uint32_t>;

  void Enter(JobState state, Instant now);
  Attempt* Find(AttemptId id);
  Regions All() const;
  Regions NotRunning() const;  ///< not deployed, on their way in, or on their way out
  /// Whether the job can do without these for a while and the others run on.
  bool FailsAlone(const Regions& failed) const;
  bool AnyEnding() const;
  /// How long all of them have been running, at least.
  milliseconds RanFor(const Regions& regions, Instant now) const;
  /// When a deployment that has been sent takes too long.
  std::optional<Instant> DeploymentDue() const;
  bool IsOfThisRun(const OfCheckpoints& e) const;
  void StepCheckpoints(const CheckpointEvent& event, Instant now, Out* out);
  void OnAllRunning(Instant now, Out* out);
  /// These regions have failed: end their attempts everywhere, or those of all.
  void Fail(Failure failure, const Regions& failed, std::optional<SubtaskId> subtask,
            TaskManagerId tm, Instant now, Out* out);
  void RecordFailureOf(Failure failure, const Regions& failed, std::optional<SubtaskId> subtask,
                       TaskManagerId tm, Instant now);
  /// Puts the report where the loss stands, or at the front. False: it was there already.
  bool RecordCrash(const CrashReported& e, const Failure& failure, Instant now);
  /// The policy would end the job, and what its TaskManager died of is not known yet.
  bool AwaitsCrashReport(Instant now) const;
  /// Of all regions, and the checkpoints with them.
  void EndAttempts(CancelReason reason, const std::string& why, Instant now, Out* out);
  void EndAttemptsOf(const Regions& regions, CancelReason reason, Instant now, Out* out);
  void GiveBack(const Attempt& attempt, SessionId session, Out* out) const;
  /// Forgets those of which nothing was sent yet.
  void DropUndeployed(Out* out);
  void Release(AttemptId attempt, SessionId session, Out* out);
  /// Goes on when the attempt is gone everywhere and no commit is under way.
  void MaybeProceed(Instant now, Out* out);
  void PersistEndOf(JobState end, Instant now, Out* out);
  void StartCancelling(Instant now, Out* out);

  const JobPlan plan_;
  const std::map<VertexId, uint32_t> region_of_;
  const uint32_t regions_;
  RestartPolicy policy_;
  CheckpointCoordinator checkpoints_;

  JobState state_ = JobState::kCreated;
  Instant state_since_{0};
  uint64_t version_ = 1;
  std::string reason_;

  AttemptId last_attempt_;
  uint32_t former_restarts_ = 0;          // not of this leader's policy
  std::map<uint32_t, Attempt> attempts_;  // by region
  AttemptId run_;                         // of the coordinator: the newest when it was started
  AttemptPrepared prepared_;              // of those deployed last
  SlotMemory slot_memory_;

  std::optional<Failure> cause_;       // of the attempts' end; the first that is no echo
  milliseconds ran_for_{0};            // how long the failed regions had been running
  std::optional<std::string> doomed_;  // a crash report ended the job, whatever the policy says
  std::set<TaskManagerId> silent_;     // lost by the failed attempts, and not back yet
  Instant report_deadline_{0};         // how long the job's end waits for them
  std::optional<Instant> restart_at_;  // kRestarting, failed attempts gone
  std::optional<JobState> ending_as_;  // terminal state to enter when all attempts are gone
  std::optional<PersistEnd> persisting_end_;
  bool end_in_flight_ = false;
  std::optional<Instant> persist_retry_at_;
  bool cancel_in_flight_ = false;
  bool cancel_wanted_ = false;
  std::vector<RequestId> cancel_requests_;  // bounded by kMaxWaitingCancels
  std::deque<FailureRecord> failures_;
  uint64_t failure_count_ = 0;
};

}  // namespace weir::jobmanager
