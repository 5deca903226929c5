#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "jobmanager/job.h"
#include "jobmanager/membership.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

// ---------------------------------------------------------------- events

struct TaskManagerRegistered {
  struct Crash {
    JobId job;
    AttemptId attempt;
    std::optional<SubtaskId> subtask;
    Failure failure;
  };
  SessionId session;
  Registration registration;
  std::vector<Crash> crashes;  ///< of earlier incarnations
};
struct TaskManagerHeard {
  SessionId session;
};
struct SessionBroken {
  SessionId session;
  std::string reason;
  bool in_order = false;  ///< it took its leave
};
/// Submitted now, or recovered from the metadata store.
struct JobAdmitted {
  JobId job;
  JobPlan plan;
  AttemptId attempt_floor;
  bool canceled = false;
  uint32_t restarts = 0;
  RestartMemory memory;
  JobCounts counts;
  uint64_t seed = 0;
  /// Recovered: where it ran. Placement waits a little for them to come back.
  std::set<TaskManagerId> previous;
};
/// A job's event from a TaskManager (`from` is set; dropped unless it is a member), from an I/O
/// thread or from a client.
struct ForJob {
  JobId job;
  std::optional<SessionId> from;
  JobEvent event;
};
/// Drop a job that has ended from memory.
struct JobForgotten {
  JobId job;
};
/// This JobManager stops: no job is cancelled, every waiting client is answered.
struct ShutDown {};
struct ControlTick {};

using ControlEvent = std::variant<TaskManagerRegistered, TaskManagerHeard, SessionBroken,
                                  JobAdmitted, ForJob, JobForgotten, ShutDown, ControlTick>;

// ---------------------------------------------------------------- actions

struct AcceptSession {
  SessionId session;
};
struct RefuseSession {
  SessionId session;
  Membership::Refusal refusal;
  std::string message;
};
/// The TaskManager is no member any more: end its stream.
struct CloseSession {
  SessionId session;
  std::string reason;
};
struct SendHeartbeats {};  ///< to every member
struct SendRecycle {
  SessionId session;
  std::string reason;
};
/// GiveBackSlots and DropSession never leave the control plane.
struct JobWork {
  JobId job;
  JobAction action;
};
/// What clients see of the job has changed.
struct JobChanged {
  JobId job;
};

using ControlAction = std::variant<AcceptSession, RefuseSession, CloseSession, SendHeartbeats,
                                   SendRecycle, JobWork, JobChanged>;

// ---------------------------------------------------------------- the machine

struct ControlPlaneOptions {
  MembershipOptions membership;
  /// How long placement waits, after a start that found jobs, for the TaskManagers they ran on.
  milliseconds settle{2'000};
};

/// All decisions of the JobManager: members, slots and jobs. One event in, actions out; no I/O, no
/// clock, no thread. Everything outside (streams, files, clients) is the daemon's.
///
/// Order: actions are carried out in the order given; the I/O actions of one job (prepare, commit,
/// persist) one after the other, and each is answered exactly once by the event named at it.
///
/// Invariants:
///   - a slot belongs to at most one job; a dedicated TaskManager's slots to one job altogether
///   - a job holds slots only on members; a terminal job holds none
///   - a member with attempts that nobody wants gets no work before they are gone
class ControlPlane {
 public:
  ControlPlane(ControlPlaneOptions options, Instant now);

  void Step(const ControlEvent& event, Instant now, std::vector<ControlAction>* out);
  /// When the next ControlTick is due.
  Instant NextDeadline() const;

  const std::map<JobId, std::unique_ptr<Job>>& jobs() const { return jobs_; }
  const Job* FindJob(const JobId& id) const;
  const Membership& membership() const { return membership_; }
  /// Slots that waiting jobs lack, beyond what there is.
  uint32_t slots_wanted() const { return slots_wanted_; }

 private:
  using Out = std::vector<ControlAction>;
  void On(const TaskManagerRegistered& e, Instant now, Out* out);
  void On(const TaskManagerHeard& e, Instant now, Out* out);
  void On(const SessionBroken& e, Instant now, Out* out);
  void On(const JobAdmitted& e, Instant now, Out* out);
  void On(const ForJob& e, Instant now, Out* out);
  void On(const JobForgotten& e, Instant now, Out* out);
  void On(const ShutDown& e, Instant now, Out* out);
  void On(const ControlTick& e, Instant now, Out* out);

  void StepJob(const JobId& id, const JobEvent& event, Instant now, Out* out);
  struct Loss {
    SessionId session;
    std::string reason;
    bool close = true;      ///< its stream still stands
    bool in_order = false;  ///< it took its leave
  };
  void Lose(const Loss& loss, Instant now, Out* out);
  void PlaceWaitingJobs(Instant now, Out* out);
  /// Waits, for a bounded time after a start, for the TaskManagers that recovered jobs ran on.
  bool Settling(Instant now);
  std::vector<SlotOffer> OffersFor(const JobId& id, const JobPlan& plan) const;
  /// What a TaskManager lacks for its part of this placement; empty: nothing.
  std::string BuffersLacking(const JobPlan& plan, const Placement& placement) const;

  const ControlPlaneOptions options_;
  Membership membership_;
  std::map<JobId, std::unique_ptr<Job>> jobs_;
  std::map<JobId, uint64_t> announced_;  // version in the last JobChanged
  std::set<TaskManagerId> expected_;     // by recovered jobs
  Instant settle_until_;
  bool settled_ = false;
  Instant next_heartbeat_;
  uint32_t slots_wanted_ = 0;
  bool shut_down_ = false;
};

}  // namespace weir::jobmanager
