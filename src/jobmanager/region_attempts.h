#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "jobmanager/job_events.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

/// One deployment of one region: from the grant of its slots until every TaskManager has let go of
/// it.
struct Attempt {
  AttemptId id;
  uint32_t region = 0;
  Placement placement;
  std::map<SubtaskId, TaskState> tasks;
  std::set<SubtaskId> echoed;   ///< failed, and all that they have told so far is an echo
  std::set<SessionId> holding;  ///< sessions whose slots are not given back
  bool deployed = false;        ///< Deploy has been sent; before, nobody knows of the attempt
  bool ending = false;          ///< CancelAttempt has been sent
  Instant running_since{0};     ///< since all subtasks of the job ran; 0: they have not yet
  std::optional<RestorePoint> restore;
  std::optional<Instant> cancel_deadline;  ///< for the TaskManagers that hold it
};

/// The deployments of one job's regions: what runs where, how far it is, and who still holds it.
/// Bookkeeping and the actions that go with it; what a failure means is decided by Job.
///
///   Grant -> SendDeployments -> SetTask -> MarkRunning -> End -> Release by all that hold it
///      \-> DropUndeployed
///
/// Invariants:
///   - a region has at most one attempt, and an attempt's number is of one region
///   - a session's slots are given back when it lets go of the last attempt that is placed in them
///   - of an attempt that was not deployed nobody outside knows: it is dropped, not cancelled
class RegionAttempts {
 public:
  using Regions = std::set<uint32_t>;
  using Out = std::vector<JobAction>;

  /// A TaskManager ends a process whose cancel takes 30 s; beyond this it does not answer at all.
  static constexpr milliseconds kCancelTimeout{45'000};

  explicit RegionAttempts(const JobPlan& plan);

  /// How many regions the job has.
  uint32_t regions() const { return regions_; }
  Regions All() const;
  Regions NotRunning() const;  ///< not deployed, on their way in, or on their way out
  uint32_t RegionOf(VertexId vertex) const { return region_of_.at(vertex); }

  /// Of the regions that are deployed, or on their way in or out; by region.
  const std::map<uint32_t, Attempt>& attempts() const { return attempts_; }
  bool empty() const { return attempts_.empty(); }
  const Attempt* Find(AttemptId id) const;
  const Attempt* Of(SubtaskId subtask) const;  ///< null: its region is not deployed
  std::set<AttemptId> IdsOf(const Regions& regions) const;
  bool AnyEnding() const;
  /// One of `regions` has an attempt that is not on its way out.
  bool AnyToEnd(const Regions& regions) const;
  /// Deploy has been sent for all that were granted.
  bool AllDeployed() const;
  /// Deploy has been sent for none.
  bool NoneDeployed() const;
  /// Every region has an attempt, and the state of each of its subtasks satisfies `is`.
  bool AllTasks(bool (*is)(TaskState)) const;
  /// What runs, or is to, and stays: slots of it are not placed anew.
  Placement Placed() const;
  /// How long all of them have been running, at least.
  milliseconds RanFor(const Regions& regions, Instant now) const;

  /// New attempts of the regions that `placement` speaks of, numbered from `last` + 1 on; returns
  /// the last number.
  AttemptId Grant(const Placement& placement, AttemptId last);
  /// Sends what was granted, to begin from what was found for it.
  void SendDeployments(const AttemptPrepared& prepared, Out* out);
  /// False, and nothing happens: it is of no attempt here, known already, or of a subtask that is
  /// gone. One that failed is heard once more if it first told an echo and now tells a cause.
  bool SetTask(const TaskChanged& e);
  /// All subtasks of the job run: those that did not before begin to count.
  void MarkRunning(Instant now);
  /// Cancels the attempts of these regions at all that hold them, and drops what nobody was sent.
  void End(const Regions& regions, CancelReason reason, Instant now, Out* out);
  /// Forgets those of which nothing was sent yet.
  void DropUndeployed(Out* out);
  /// The session lets go of the attempt, which is forgotten when it was on its way out and nobody
  /// else holds it. True when it was.
  bool Release(AttemptId id, SessionId session, Out* out);

  /// Breaks the sessions that do not confirm the end of an attempt in time.
  void DropSilent(const std::string& job_name, Instant now, Out* out);
  /// When DropSilent has something to do.
  std::optional<Instant> NextDeadline() const;

 private:
  Attempt* Mutable(AttemptId id) { return const_cast<Attempt*>(Find(id)); }
  void GiveBack(const Attempt& attempt, SessionId session, Out* out) const;

  const std::map<VertexId, uint32_t> region_of_;
  const uint32_t regions_;
  std::map<uint32_t, Attempt> attempts_;  // by region
};

}  // namespace weir::jobmanager
