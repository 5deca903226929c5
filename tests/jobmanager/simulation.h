#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "jobmanager/control_plane.h"

namespace weir::jobmanager {

inline constexpr uint32_t kTaskManagers = 4;
inline constexpr uint32_t kSlots = 2;
inline constexpr Instant kChaosEnds = std::chrono::seconds(60);
inline constexpr Instant kGivesUp = std::chrono::seconds(900);

/// What survives every crash.
struct DurableJob {
  JobPlan plan;
  uint32_t attempt = 0;
  uint32_t restarts = 0;
  RestartMemory memory;
  JobCounts counts;
  uint64_t id_limit = 0;
  bool canceled = false;
  std::optional<JobState> end;
  struct Manifest {
    uint64_t id = 0;
    uint32_t attempt = 0;
    bool all_at_end = false;
    bool stop = false;
  };
  std::vector<Manifest> manifests;
  std::optional<StopPoint> stop;
};

/// What happened to a job, whoever the leader was: the invariants speak of this.
struct Chronicle {
  uint64_t last_triggered = 0;
  uint64_t last_turned = 0;  // unaligned
  uint32_t declined_at_end = 0;
  uint32_t decided = 0;  // restarts that the present leader's policy is known to have decided on
  AttemptId run;         // that the following are of
  std::map<uint64_t, CheckpointKind> under_way;
  std::optional<uint64_t> committing_under;  // the leader's epoch
  std::set<uint32_t> deployed;
  std::map<SubtaskId, uint64_t> published;  // newest checkpoint published by each transactional one
  std::map<uint32_t, uint64_t> restored;    // by attempt
  std::map<VertexId, uint32_t> regions;
  bool drained = false;  // a stop of that kind is durable
  std::set<uint64_t>
      stopped;  // checkpoints of stops that are durable, and not known to be given up
};

/// The whole control logic against a simulated cluster: TaskManagers that crash, hang, lose their
/// stream, respawn; storage that is slow and fails; clients that cancel, stop and take savepoints;
/// a JobManager that is killed and comes back under a higher epoch. One seed is one history.
class Simulation {
 public:
  explicit Simulation(uint64_t seed);

  /// Empty when every invariant held and every job came to its end.
  std::string Run();

  std::string history() const { return history_.str(); }
  uint64_t steps() const { return steps_; }
  /// Faults that landed and rare branches that were reached.
  std::map<std::string, uint64_t> coverage;

 private:
  struct Event {
    Instant at;
    uint64_t order;
    std::function<void()> run;
  };
  static bool IsLater(const Event& a, const Event& b) {
    return std::tie(a.at, a.order) > std::tie(b.at, b.order);
  }

  struct Task {
    JobId job;
    AttemptId attempt;
    SubtaskId subtask;
    bool stands_still = false;
    bool at_end = false;
    std::set<CheckpointId> waits_for;  // their barriers are behind rows that nobody takes
  };
  struct Worker {
    TaskManagerId id;
    bool dedicated = true;
    bool alive = false;
    bool hung = false;
    uint64_t incarnation = 0;
    std::string artifact;
    std::optional<SessionId> session;  // as the worker sees it
    std::vector<Task> tasks;
    std::map<JobId, uint32_t> highest_attempt;
    std::vector<TaskManagerRegistered::Crash> crashes;
    std::deque<std::function<void()>> stalled;  // what a hung process will do, in order
    Instant up_busy_until{0};                   // messages on a stream keep their order
    Instant down_busy_until{0};
  };

  // simulation.cc: chance and time.
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Chance(double p) { return static_cast<double>(random_() % 1'000'000) < p * 1e6; }
  bool Chaotic() const { return now_ < kChaosEnds; }
  Instant Delay(int64_t max_ms) {
    return std::chrono::microseconds(Below(static_cast<uint64_t>(max_ms) * 1'000) + 1);
  }
  void After(Instant delay, std::function<void()> run);
  void Log(const std::string& line) {
    history_ << std::chrono::duration_cast<std::chrono::microseconds>(now_).count() << "us " << line
             << "\n";
  }
  void Fail(const std::string& what);

  // simulated_leader.cc: the leader, and what it wants done.
  void StartLeader();
  void KillLeader();
  void Feed(const ControlEvent& event);
  void ArmTick();

  /// I/O of the present leader for a job, and its answer.
  void Later(JobId job, Instant delay, std::function<JobEvent()> make);

  /// I/O of one job is done in order.
  Instant IoDelay(const JobId& job);
  Instant RecordDelay(const JobId& job);
  void Do(AcceptSession& a);
  void Do(RefuseSession& a);
  void Do(CloseSession& a);
  void Do(SendHeartbeats&);
  void Do(SendRecycle& a);
  void Do(JobChanged&);
  void Do(JobWork& work);
  void Do(const JobId& job, PrepareAttempt& a);
  void Do(const JobId& job, Deploy& a);
  void Do(const JobId& job, CancelAttempt& a);
  void Do(const JobId&, DropSession&);
  void Do(const JobId&, GiveBackSlots&);
  void Do(const JobId& job, NoteRestarts& a);
  /// What a record holds besides, with whatever is stored of it.
  void Store(const JobId& job, const RestartMemory& memory, const JobCounts& counts);
  void Do(const JobId& job, PersistCancel&);
  void Do(const JobId& job, PersistEnd& a);
  void Do(const JobId&, Reply& a);
  void Do(const JobId& job, CheckpointWork& work);
  void Do(const JobId& job, AttemptId run, SendTrigger& a);
  void Do(const JobId& job, AttemptId, SendTurnUnaligned& a);
  void Do(const JobId& job, AttemptId attempt, CommitManifest& a);
  void Do(const JobId& job, AttemptId run, SendCompleted& a);
  void Do(const JobId& job, AttemptId, SendAborted& a);
  void Do(const JobId& job, AttemptId attempt, ExportSavepoint& a);
  void Do(const JobId& job, AttemptId, ReplySavepoint& a);
  void Do(const JobId&, AttemptId, DiscardSavepoint&);
  void Do(const JobId& job, AttemptId, PruneCheckpoints& a);
  void Do(const JobId& job, AttemptId attempt, ReserveIds& a);
  void Do(const JobId&, AttemptId, FailAttempt&);
  void Do(const JobId&, AttemptId, JobDone&);

  // simulated_task_managers.cc: TaskManagers without tasks, and the network between.
  uint32_t IndexOf(const Worker* w) const { return static_cast<uint32_t>(w - workers_.data()); }
  Worker* WorkerOf(SessionId session);
  template <class F>
  void ForWorkersOf(const JobId& job, F f) {
    const Job* found = leader_->FindJob(job);
    if (found == nullptr) return;
    for (const auto& [region, attempt] : found->attempts()) {
      if (!attempt.deployed || attempt.ending) continue;
      for (SessionId session : attempt.holding) {
        if (Worker* w = WorkerOf(session)) f(w, attempt.id);
      }
    }
  }

  /// Runs now, or when the worker hangs no more; never when it dies first.
  void AtWorker(uint32_t i, std::function<void()> run);
  void Resume(uint32_t i);

  /// A message to a worker, in order; lost with its stream.
  void Down(Worker* w, std::function<void(Worker*)> run);
  /// A message from a worker, in order after `delay`; lost with its stream.
  void Up(Worker* w, const JobId& job, std::function<JobEvent(SessionId)> make, Instant delay);
  void Send(uint32_t i, const JobId& job, SessionId session, JobEvent event);
  void StartWorker(uint32_t i);
  void Register(uint32_t i);
  void Heartbeat(uint32_t i, uint64_t incarnation);
  void BreakStream(uint32_t i);
  void CrashWorker(uint32_t i, const std::string& why);
  void OnDeploy(Worker* worker, const JobId& job, AttemptId attempt,
                const std::vector<SubtaskId>& subtasks, CheckpointId restored, bool stands_still);
  void Publish(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask,
               CheckpointId id);
  void ScheduleEnd(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask);
  void ChangeTask(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask,
                  TaskState state, Instant delay, Failure failure = {});
  void FailTask(Worker* worker, SubtaskId subtask);
  void OnTrigger(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id);
  void OnTurnUnaligned(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id);
  void Acknowledge(Worker* worker, const Task& task, CheckpointId id, bool unaligned);
  void OnCompleted(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id);

  // simulated_faults.cc: what clients and chance do.
  void Submit(const JobId& id);

  /// A client's call. For a job that is not there the daemon answers, not the machine.
  void Ask(const JobId& job, std::function<ControlEvent(RequestId)> make);
  void Answer(RequestId request);
  void Chaos();
  /// Something fails while the job is being stopped.
  void DisturbStop(const JobId& job);

  // simulation_invariants.cc: what must hold after every step, and at the end.
  bool AllEnded() const;
  void CheckInvariants();

  /// A job finishes only on a durable checkpoint, all at end or a stop, that is published.
  void CheckEnd(const JobId& id, JobState end);
  void CheckAtEnd();

  std::mt19937_64 random_;
  Instant now_{0};
  std::vector<Event> events_;
  uint64_t order_ = 0;
  uint64_t steps_ = 0;
  std::ostringstream history_;
  std::string error_;

  std::unique_ptr<ControlPlane> leader_;
  uint64_t epoch_ = 0;
  uint64_t tick_epoch_ = 0;
  Instant tick_at_{0};
  std::vector<Worker> workers_;
  uint64_t last_session_ = 0;
  uint64_t last_request_ = 0;
  std::set<RequestId> requests_;
  uint32_t submitted_ = 0;
  std::map<JobId, DurableJob> durable_;
  std::map<JobId, Chronicle> chronicles_;
  std::map<JobId, Instant> io_busy_until_;
  std::map<JobId, Instant> record_busy_until_;
};

}  // namespace weir::jobmanager
