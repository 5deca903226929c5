#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "jobmanager/checkpoint_coordinator.h"
#include "jobmanager/failure_history.h"
#include "jobmanager/job_events.h"
#include "jobmanager/region_attempts.h"
#include "jobmanager/restart_policy.h"
#include "jobmanager/slot_placement.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

/// The life of one job.
///
///   kCreated -> kWaitingForSlots -> kDeploying -> kRunning -> kFinishing ---> kFinished
///                 ^       ^             |          |    \-> kStopping --------^
///                 |       +-(slots lost)+          |            |
///                 +--- kRestarting <----- any failure of the attempt
///                          |
///                          +-> kFailed              (the restart policy says no: failing())
///   any of the above -> kCancelling -> kCanceled    (by the user)
///   any that is not terminal -> kSuspended          (this JobManager stops)
///
/// The failure of a subtask ends its region's attempt everywhere, that of a TaskManager the
/// attempts of the regions it had a part of; when every TaskManager has confirmed or is gone, and
/// no manifest commit is under way, the restart policy decides. Other regions run on meanwhile: the
/// job is kRestarting, kWaitingForSlots, kDeploying for those that failed. All regions restart
/// together when none is left that runs, when the job is being stopped (its sources are silent),
/// when too many checkpoints failed, and when the job ends. When the checkpoint of a stop is
/// durable the stop is decided: whatever fails then, under this leader or the next, is followed by
/// an attempt that stands still and goes from kRunning into kStopping at once. Each deployment has
/// an attempt's number of its own. What a TaskManager died of it tells when it is back. A restart
/// does not wait for that; the end of the job does, for a while, so that it names the operator. A
/// terminal state is entered only when the job's record says so durably, and holds no slot. The
/// legal transitions stand in one table in job_events.cc and are asserted. What runs where is kept
/// by RegionAttempts, what went wrong by FailureHistory; here is what follows from it.
class Job {
 public:
  static constexpr milliseconds kPersistRetry{1'000};
  /// Until a TaskManager that is started again has registered.
  static constexpr milliseconds kCrashReportWait{10'000};
  static constexpr size_t kMaxWaitingCancels = 64;

  Job(JobPlan plan, uint64_t seed);

  void Step(const JobEvent& event, Instant now, std::vector<JobAction>* out);
  std::optional<Instant> NextDeadline() const;

  const JobPlan& plan() const { return plan_; }
  JobState state() const { return state_; }
  /// The newest durable one that this leader knows of; 0: none. While the job is deployed, the one
  /// that it is restored from.
  CheckpointId last_checkpoint() const {
    return std::max(checkpoints_.last_completed(), prepared_.last_completed);
  }
  /// This leader has read what the job's storage holds: before, only the record tells of a stop.
  bool ever_prepared() const { return prepared_.attempt.value != 0; }
  /// As far as this leader knows (ever_prepared()).
  std::optional<StopUnderWay> stop() const;
  bool takes_savepoints() const {
    return state_ == JobState::kRunning || state_ == JobState::kFinishing;
  }
  /// kRestarting, but nothing will be started again: it is on its way to kFailed.
  bool failing() const {
    return state_ == JobState::kRestarting && (ending_as_ == JobState::kFailed || doomed_ ||
                                               (cause_ && cause_->kind == ErrorKind::kFatal));
  }
  Instant state_since() const { return state_since_; }
  AttemptId last_attempt() const { return last_attempt_; }
  /// Of the regions that are deployed, or on their way in or out; by region.
  const std::map<uint32_t, Attempt>& attempts() const { return attempts_.attempts(); }
  const Attempt* AttemptOf(SubtaskId subtask) const { return attempts_.Of(subtask); }
  Placement Placed() const { return attempts_.Placed(); }
  uint32_t regions() const { return attempts_.regions(); }
  const SlotMemory& slot_memory() const { return slot_memory_; }
  /// Set while the next attempt should not run where the last one did (see PlaceJob).
  std::optional<uint64_t> elsewhere() const { return elsewhere_; }
  const CheckpointCoordinator& checkpoints() const { return checkpoints_; }
  uint64_t failure_count() const { return failures_.count(); }
  const std::deque<FailureRecord>& failures() const { return failures_.records(); }
  /// What it restarts from or has ended by; if neither, the newest. Null: nothing has failed.
  const FailureRecord* last_failure() const { return failures_.last_cause(); }
  const std::string& reason() const { return reason_; }
  /// Since the submission; what a new leader does to go on with a job is one, though no failure.
  uint32_t restarts() const { return leader_restarts_ + policy_.restarts(); }
  JobCounts counts() const {
    return {checkpoints_.completed(), checkpoints_.failed(), failures_.count()};
  }
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

  using Regions = RegionAttempts::Regions;

  void Enter(JobState state, Instant now);
  /// Whether the job can do without these for a while and the others run on.
  bool FailsAlone(const Regions& failed) const;
  /// When a deployment that has been sent takes too long.
  std::optional<Instant> DeploymentDue() const;
  bool IsOfThisRun(const OfCheckpoints& e) const;
  void StepCheckpoints(const CheckpointEvent& event, Instant now, Out* out);
  void OnAllRunning(Instant now, Out* out);
  /// These regions have failed: end their attempts everywhere, or those of all.
  void Fail(Failure failure, const Regions& failed, std::optional<SubtaskId> subtask,
            TaskManagerId tm, Instant now, Out* out);
  const FailureRecord* Record(Failure failure, const Regions& failed,
                              std::optional<SubtaskId> subtask, TaskManagerId tm, Instant now);
  /// The policy would end the job, and what its TaskManager died of is not known yet.
  bool AwaitsCrashReport(Instant now) const;
  /// Of all regions, and the checkpoints with them.
  void EndAttempts(CancelReason reason, const std::string& why, Instant now, Out* out);
  void Release(AttemptId attempt, SessionId session, Out* out);
  /// Goes on when the attempt is gone everywhere and no commit is under way.
  void MaybeProceed(Instant now, Out* out);
  void PersistEndOf(JobState end, Out* out);
  void StartCancelling(Instant now, Out* out);

  const JobPlan plan_;
  RegionAttempts attempts_;
  RestartPolicy policy_;
  CheckpointCoordinator checkpoints_;

  JobState state_ = JobState::kCreated;
  Instant state_since_{0};
  uint64_t version_ = 1;
  std::string reason_;

  AttemptId last_attempt_;
  uint32_t leader_restarts_ = 0;  // that no policy has decided on: new leaders went on
  AttemptId run_;                 // of the coordinator: the newest when it was started
  AttemptPrepared prepared_;      // of those deployed last
  SlotMemory slot_memory_;
  const uint64_t seed_;
  std::optional<uint64_t> elsewhere_;

  std::optional<Failure> cause_;       // of the attempts' end; the first that is no echo
  milliseconds ran_for_{0};            // how long the failed regions had been running
  std::optional<std::string> doomed_;  // a crash report ended the job, whatever the policy says
  std::set<TaskManagerId> silent_;     // lost by the failed attempts, and not back yet
  Instant report_deadline_{0};         // how long the job's end waits for them
  bool unnoted_ = false;               // what the policy goes by has changed, and nobody is told
  std::optional<Instant> restart_at_;  // kRestarting, failed attempts gone
  std::optional<JobState> ending_as_;  // terminal state to enter when all attempts are gone
  std::optional<PersistEnd> persisting_end_;
  bool end_in_flight_ = false;
  std::optional<Instant> persist_retry_at_;
  bool cancel_in_flight_ = false;
  bool cancel_wanted_ = false;
  CheckpointId given_up_stop_;    // the job goes on from it
  bool restart_decided_ = false;  // by giving up a stop: no failure, for the restart policy
  std::vector<RequestId> cancel_requests_;  // bounded by kMaxWaitingCancels
  FailureHistory failures_;
};

}  // namespace weir::jobmanager
