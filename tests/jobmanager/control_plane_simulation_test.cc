#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
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

// The whole control logic against a simulated cluster: TaskManagers that crash, hang, lose their
// stream, respawn; storage that is slow and fails; clients that cancel, stop and take savepoints;
// a JobManager that is killed and comes back under a higher epoch. One seed is one history.
// WEIR_SIMULATION_SEED=n replays one seed and prints it.

namespace weir::jobmanager {
namespace {

constexpr uint32_t kTaskManagers = 4;
constexpr uint32_t kSlots = 2;
constexpr Instant kChaosEnds = std::chrono::seconds(60);
constexpr Instant kGivesUp = std::chrono::seconds(900);

/// What survives every crash.
struct DurableJob {
  JobPlan plan;
  uint32_t attempt = 0;
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
};

/// What happened to a job, whoever the leader was: the invariants speak of this.
struct Chronicle {
  uint64_t last_triggered = 0;
  std::set<uint32_t> deployed;
  std::map<SubtaskId, uint64_t> published;  // newest checkpoint published by each transactional one
  std::map<uint32_t, uint64_t> restored;    // by attempt
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {
    for (uint32_t i = 0; i < kTaskManagers; ++i) {
      workers_.emplace_back();
      workers_.back().id = TaskManagerId("tm" + std::to_string(i));
      workers_.back().dedicated = seed % 3 != 0;
      After(Delay(500), [this, i] { StartWorker(i); });
    }
    StartLeader();
    const uint32_t jobs = 1 + Below(3);
    for (uint32_t i = 0; i < jobs; ++i) {
      After(Delay(3'000), [this, i] { Submit(JobId("job" + std::to_string(i))); });
    }
    After(Delay(2'000), [this] { Chaos(); });
  }

  /// Empty when every invariant held and every job came to its end.
  std::string Run() {
    while (error_.empty() && !events_.empty()) {
      if (now_ > kGivesUp) {
        Fail("no end is reached");
        break;
      }
      std::pop_heap(events_.begin(), events_.end(), IsLater);
      Event event = std::move(events_.back());
      events_.pop_back();
      now_ = event.at;
      event.run();
      CheckInvariants();
      if (now_ > kChaosEnds && submitted_ && AllEnded()) break;
    }
    if (error_.empty() && !AllEnded()) Fail("nothing is left to happen, yet jobs have not ended");
    if (error_.empty()) CheckAtEnd();
    return error_;
  }

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
    bool at_end = false;
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

  // -------------------------------------------------------------- chance and time

  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Chance(double p) { return static_cast<double>(random_() % 1'000'000) < p * 1e6; }
  bool Chaotic() const { return now_ < kChaosEnds; }
  Instant Delay(int64_t max_ms) {
    return std::chrono::microseconds(Below(static_cast<uint64_t>(max_ms) * 1'000) + 1);
  }
  void After(Instant delay, std::function<void()> run) {
    events_.push_back({now_ + delay, ++order_, std::move(run)});
    std::push_heap(events_.begin(), events_.end(), IsLater);
  }
  void Log(const std::string& line) {
    history_ << std::chrono::duration_cast<std::chrono::microseconds>(now_).count() << "us " << line
             << "\n";
  }
  void Fail(const std::string& what) {
    if (error_.empty()) error_ = what;
    Log("VIOLATION: " + what);
  }

  // -------------------------------------------------------------- the leader

  void StartLeader() {
    ++epoch_;
    leader_ = std::make_unique<ControlPlane>(ControlPlaneOptions{}, now_);
    Log("leader starts, epoch " + std::to_string(epoch_));
    for (auto& [id, job] : durable_) {
      if (job.end) continue;
      JobAdmitted admitted{.job = id, .plan = job.plan, .canceled = job.canceled};
      admitted.attempt_floor = AttemptId(job.attempt);
      admitted.seed = Below(1'000'000);
      for (const Worker& worker : workers_) admitted.previous.insert(worker.id);
      Feed(admitted);
    }
  }

  void KillLeader() {
    Log("leader is killed");
    ++coverage["leader killed"];
    leader_.reset();
    requests_.clear();  // their clients see a broken call
    for (uint32_t i = 0; i < workers_.size(); ++i) {
      Worker& worker = workers_[i];
      worker.session.reset();
      if (worker.alive) After(Delay(300), [this, i] { Register(i); });
    }
    After(Delay(1'500), [this] { StartLeader(); });
  }

  void Feed(const ControlEvent& event) {
    if (!leader_) return;
    ++steps_;
    std::vector<ControlAction> actions;
    leader_->Step(event, now_, &actions);
    for (ControlAction& action : actions) {
      std::visit([&](auto& a) { Do(a); }, action);
    }
    ArmTick();
  }

  void ArmTick() {
    const Instant due = leader_->NextDeadline();
    if (tick_epoch_ == epoch_ && tick_at_ > now_ && tick_at_ <= due) return;
    tick_epoch_ = epoch_;
    tick_at_ = std::max(due, now_ + Instant(1));
    const uint64_t epoch = epoch_;
    After(tick_at_ - now_, [this, epoch] {
      if (leader_ && epoch == epoch_) Feed(ControlTick{});
    });
  }

  /// I/O of the present leader for a job, and its answer.
  void Later(JobId job, Instant delay, std::function<JobEvent()> make) {
    const uint64_t epoch = epoch_;
    After(delay, [this, epoch, job, make = std::move(make)] {
      // I/O that was begun may happen though its leader is dead, until the next one has fenced it.
      if (epoch != epoch_) return;
      const JobEvent event = make();
      if (leader_) Feed(ForJob{.job = job, .from = {}, .event = event});
    });
  }

  /// I/O of one job is done in order.
  Instant IoDelay(const JobId& job) {
    Instant& busy = io_busy_until_[job];
    busy = std::max(busy, now_) + Delay(Chance(0.02) && Chaotic() ? 3'000 : 20);
    return busy - now_;
  }

  // -------------------------------------------------------------- actions

  void Do(AcceptSession& a) {
    if (Worker* w = WorkerOf(a.session)) Down(w, [](Worker*) {});
  }
  void Do(RefuseSession& a) {
    Log("refused session " + std::to_string(a.session.value) + ": " + a.message);
    if (Worker* w = WorkerOf(a.session)) {
      w->session.reset();
      const uint32_t i = IndexOf(w);
      After(Delay(500), [this, i] { Register(i); });
    }
  }
  void Do(CloseSession& a) {
    Log("closed session " + std::to_string(a.session.value) + ": " + a.reason);
    if (Worker* w = WorkerOf(a.session)) {
      w->session.reset();
      const uint32_t i = IndexOf(w);
      After(Delay(100), [this, i] { Register(i); });
    }
  }
  void Do(SendHeartbeats&) {}
  void Do(SendRecycle& a) {
    ++coverage["recycled"];
    if (Worker* w = WorkerOf(a.session)) {
      Down(w, [this](Worker* worker) {
        if (!worker->tasks.empty()) return Fail("recycled " + worker->id.value + " at work");
        CrashWorker(IndexOf(worker), "re-executes itself");
      });
    }
  }
  void Do(JobChanged&) {}
  void Do(JobWork& work) {
    std::visit([&](auto& a) { Do(work.job, a); }, work.action);
  }

  void Do(const JobId& job, PrepareAttempt& a) {
    const bool fails = Chaotic() && Chance(0.03);
    Later(job, IoDelay(job), [this, job, attempt = a.attempt, fails]() -> JobEvent {
      if (fails) {
        return PrepareFailed{attempt, {.kind = ErrorKind::kExternal, .message = "listing failed"}};
      }
      DurableJob& durable = durable_[job];
      durable.attempt = std::max(durable.attempt, attempt.value);
      AttemptPrepared prepared{.attempt = attempt, .id_floor = CheckpointId(durable.id_limit)};
      durable.id_limit += 50;
      prepared.id_limit = CheckpointId(durable.id_limit);
      if (!durable.manifests.empty()) {
        const auto& newest = durable.manifests.back();
        prepared.restore = RestorePoint{.id = CheckpointId(newest.id), .manifest_path = "m"};
        prepared.last_completed = CheckpointId(newest.id);
      }
      return prepared;
    });
  }

  void Do(const JobId& job, Deploy& a) {
    Chronicle& chronicle = chronicles_[job];
    Log(job.value + " deploys attempt " + std::to_string(a.attempt.value));
    if (!chronicle.deployed.insert(a.attempt.value).second) {
      Fail("attempt " + std::to_string(a.attempt.value) + " was deployed twice");
    }
    if (*chronicle.deployed.rbegin() != a.attempt.value) Fail("a lower attempt was deployed");
    const auto& manifests = durable_[job].manifests;
    const uint64_t newest = manifests.empty() ? 0 : manifests.back().id;
    if ((a.restore ? a.restore->id.value : 0) != newest) {
      Fail("attempt does not begin from the newest manifest " + std::to_string(newest));
    }
    chronicle.restored[a.attempt.value] = newest;
    if (newest > 0) ++coverage["restored"];
    std::map<SessionId, std::vector<SubtaskId>> parts;
    for (const auto& [subtask, slot] : a.placement) parts[slot.session].push_back(subtask);
    for (const auto& [session, subtasks] : parts) {
      Worker* w = WorkerOf(session);
      if (w == nullptr) continue;
      Down(w, [this, job, attempt = a.attempt, subtasks = subtasks](Worker* worker) {
        OnDeploy(worker, job, attempt, subtasks);
      });
    }
  }

  void Do(const JobId& job, CancelAttempt& a) {
    Worker* w = WorkerOf(a.session);
    if (w == nullptr) return;
    Down(w, [this, job, attempt = a.attempt](Worker* worker) {
      uint32_t& highest = worker->highest_attempt[job];
      highest = std::max(highest, attempt.value);
      std::erase_if(worker->tasks,
                    [&](const Task& t) { return t.job == job && t.attempt == attempt; });
      Up(
          worker, job,
          [attempt](SessionId session) {
            return AttemptReleased{session, attempt};
          },
          Delay(Chaotic() && Chance(0.01) ? 60'000 : 30));
    });
  }
  void Do(const JobId&, DropSession&) { Fail("DropSession left the control plane"); }
  void Do(const JobId&, GiveBackSlots&) { Fail("GiveBackSlots left the control plane"); }

  void Do(const JobId& job, PersistCancel&) {
    const bool ok = !Chaotic() || !Chance(0.1);
    Later(job, IoDelay(job), [this, job, ok]() -> JobEvent {
      if (ok) durable_[job].canceled = true;
      return CancelPersisted{ok, ok ? "" : "disk full"};
    });
  }
  void Do(const JobId& job, PersistEnd& a) {
    const bool ok = !Chaotic() || !Chance(0.2);
    Later(job, IoDelay(job), [this, job, ok, state = a.state]() -> JobEvent {
      if (ok && durable_[job].end) Fail("the end of " + job.value + " was stored twice");
      if (ok) {
        durable_[job].end = state;
        ++coverage[std::string("ended ") + ToString(state)];
        CheckEnd(job, state);
      }
      return EndPersisted{ok};
    });
  }
  void Do(const JobId&, Reply& a) { Answer(a.request); }
  void Do(const JobId& job, CheckpointWork& work) {
    std::visit([&](auto& a) { Do(job, work.attempt, a); }, work.action);
  }

  void Do(const JobId& job, AttemptId attempt, SendTrigger& a) {
    Chronicle& chronicle = chronicles_[job];
    if (a.id.value <= chronicle.last_triggered) {
      Fail("checkpoint id " + std::to_string(a.id.value) + " after " +
           std::to_string(chronicle.last_triggered));
    }
    chronicle.last_triggered = a.id.value;
    if (a.id.value > durable_[job].id_limit) Fail("an id that is not reserved was used");
    ForWorkersOf(job, attempt, [&](Worker* w) {
      Down(w, [this, job, attempt, id = a.id](Worker* worker) {
        OnTrigger(worker, job, attempt, id);
      });
    });
  }
  void Do(const JobId& job, AttemptId attempt, CommitManifest& a) {
    if (a.acks.size() != durable_[job].plan.Subtasks().size()) Fail("committed without all acks");
    bool all_at_end = true;
    for (const auto& [subtask, ack] : a.acks) all_at_end &= ack.at_end;
    const bool fails = Chaotic() && Chance(0.05);
    const bool unknown = fails && Chance(0.5);  // it is there, though we are told that it is not
    const bool stop = a.kind == CheckpointKind::kStop || a.kind == CheckpointKind::kStopAndDrain;
    const uint64_t epoch = epoch_;
    Later(job, IoDelay(job),
          [this, job, attempt, id = a.id, fails, unknown, all_at_end, stop, epoch]() -> JobEvent {
            DurableJob& durable = durable_[job];
            const bool fenced = epoch != epoch_;  // the successor took the log over
            if ((!fails || unknown) && !fenced) {
              if (!durable.manifests.empty() && durable.manifests.back().id >= id.value) {
                Fail("manifest ids do not grow");
              }
              durable.manifests.push_back({id.value, attempt.value, all_at_end, stop});
              ++coverage["committed"];
            }
            if (fails) return OfCheckpoints{attempt, ManifestFailed{id, "storage"}};
            return OfCheckpoints{attempt, ManifestCommitted{id, "m"}};
          });
  }
  void Do(const JobId& job, AttemptId attempt, SendCompleted& a) {
    const auto& manifests = durable_[job].manifests;
    if (std::none_of(manifests.begin(), manifests.end(),
                     [&](const auto& m) { return m.id == a.id.value; })) {
      Fail("sinks are told of checkpoint " + std::to_string(a.id.value) + ", not durable");
    }
    ForWorkersOf(job, attempt, [&](Worker* w) {
      Down(w, [this, job, attempt, id = a.id](Worker* worker) {
        OnCompleted(worker, job, attempt, id);
      });
    });
  }
  void Do(const JobId&, AttemptId, SendAborted&) { ++coverage["checkpoint aborted"]; }
  void Do(const JobId& job, AttemptId attempt, ExportSavepoint& a) {
    const bool fails = Chaotic() && Chance(0.2);
    After(Delay(800), [this, job, attempt, id = a.id, fails, epoch = epoch_] {
      if (!leader_ || epoch != epoch_) return;
      const CheckpointEvent event =
          fails ? CheckpointEvent(SavepointExportFailed{id, "disk full"})
                : CheckpointEvent(SavepointExported{id, "/sp/" + std::to_string(id.value)});
      Feed(ForJob{.job = job, .from = {}, .event = OfCheckpoints{attempt, event}});
    });
  }
  void Do(const JobId& job, AttemptId, ReplySavepoint& a) {
    Answer(a.request);
    if (a.code != ReplyCode::kOk) return;
    ++coverage["savepoint"];
    for (const SubtaskId& subtask : durable_[job].plan.TransactionalSubtasks()) {
      if (chronicles_[job].published[subtask] < a.id.value) {
        Fail("savepoint " + std::to_string(a.id.value) + " is reported, not published");
      }
    }
  }
  void Do(const JobId&, AttemptId, DiscardSavepoint&) {}
  void Do(const JobId& job, AttemptId, PruneCheckpoints& a) {
    auto& manifests = durable_[job].manifests;
    if (manifests.size() > a.count) manifests.erase(manifests.begin(), manifests.end() - a.count);
  }
  void Do(const JobId& job, AttemptId attempt, ReserveIds& a) {
    const bool ok = !Chaotic() || !Chance(0.2);
    Later(job, IoDelay(job), [this, job, attempt, limit = a.limit, ok]() -> JobEvent {
      uint64_t& durable = durable_[job].id_limit;
      if (ok) durable = std::max(durable, limit.value);
      return OfCheckpoints{attempt, IdsReserved{CheckpointId(durable)}};
    });
  }
  void Do(const JobId&, AttemptId, FailAttempt&) { Fail("FailAttempt left the job"); }
  void Do(const JobId&, AttemptId, JobDone&) { Fail("JobDone left the job"); }

  // -------------------------------------------------------------- TaskManagers

  uint32_t IndexOf(const Worker* w) const { return static_cast<uint32_t>(w - workers_.data()); }
  Worker* WorkerOf(SessionId session) {
    for (Worker& worker : workers_) {
      if (worker.alive && worker.session == session) return &worker;
    }
    return nullptr;
  }
  template <class F>
  void ForWorkersOf(const JobId& job, AttemptId attempt, F f) {
    const Job* found = leader_->FindJob(job);
    if (found == nullptr || found->attempt() == nullptr) return;
    if (found->attempt()->id != attempt)
      return Fail("a message for an attempt that is not current");
    std::set<SessionId> sessions;
    for (const auto& [subtask, slot] : found->attempt()->placement) sessions.insert(slot.session);
    for (SessionId session : sessions) {
      if (Worker* w = WorkerOf(session)) f(w);
    }
  }

  /// Runs now, or when the worker hangs no more; never when it dies first.
  void AtWorker(uint32_t i, std::function<void()> run) {
    if (workers_[i].hung) {
      workers_[i].stalled.push_back(std::move(run));
    } else {
      run();
    }
  }
  void Resume(uint32_t i) {
    Worker& worker = workers_[i];
    worker.hung = false;
    while (!worker.stalled.empty()) {
      auto run = std::move(worker.stalled.front());
      worker.stalled.pop_front();
      run();
    }
  }

  /// A message to a worker, in order; lost with its stream.
  void Down(Worker* w, std::function<void(Worker*)> run) {
    const uint32_t i = IndexOf(w);
    w->down_busy_until = std::max(w->down_busy_until, now_) + Delay(3);
    After(w->down_busy_until - now_, [this, i, session = *w->session, run = std::move(run)] {
      AtWorker(i, [this, i, session, run] {
        if (workers_[i].alive && workers_[i].session == session) run(&workers_[i]);
      });
    });
  }
  /// A message from a worker, in order after `delay`; lost with its stream.
  void Up(Worker* w, const JobId& job, std::function<JobEvent(SessionId)> make, Instant delay) {
    const uint32_t i = IndexOf(w);
    if (!w->session) return;
    After(delay, [this, i, job, session = *w->session, make = std::move(make)] {
      AtWorker(i, [this, i, job, session, make] { Send(i, job, session, make(session)); });
    });
  }
  void Send(uint32_t i, const JobId& job, SessionId session, JobEvent event) {
    Worker& sender = workers_[i];
    if (!sender.alive || sender.session != session) return;
    sender.up_busy_until = std::max(sender.up_busy_until, now_) + Delay(3);
    After(sender.up_busy_until - now_, [this, i, job, session, event = std::move(event)] {
      if (workers_[i].session == session) {
        Feed(ForJob{.job = job, .from = session, .event = event});
      }
    });
  }

  void StartWorker(uint32_t i) {
    Worker& worker = workers_[i];
    if (worker.alive) return;
    worker.alive = true;
    worker.hung = false;
    ++worker.incarnation;
    Log(worker.id.value + " starts");
    Register(i);
    Heartbeat(i, worker.incarnation);
  }

  void Register(uint32_t i) {
    Worker& worker = workers_[i];
    if (!worker.alive || worker.session) return;
    if (!leader_) {
      After(Delay(200), [this, i] { Register(i); });
      return;
    }
    worker.session = SessionId(++last_session_);
    TaskManagerRegistered registered{.session = *worker.session};
    registered.registration = {.id = worker.id,
                               .incarnation = worker.incarnation,
                               .slots = kSlots,
                               .dedicated = worker.dedicated,
                               .loaded_artifact = worker.artifact};
    std::set<std::pair<JobId, AttemptId>> running;
    for (const Task& task : worker.tasks) running.insert({task.job, task.attempt});
    registered.registration.running.assign(running.begin(), running.end());
    registered.crashes = std::exchange(worker.crashes, {});
    Log(worker.id.value + " registers as session " + std::to_string(last_session_));
    worker.up_busy_until = std::max(worker.up_busy_until, now_) + Delay(3);
    After(worker.up_busy_until - now_, [this, i, registered, epoch = epoch_] {
      if (epoch == epoch_ && workers_[i].session == registered.session) Feed(registered);
    });
  }

  void Heartbeat(uint32_t i, uint64_t incarnation) {
    Worker& worker = workers_[i];
    if (!worker.alive || worker.incarnation != incarnation) return;
    if (worker.session && !worker.hung) {
      After(Delay(3), [this, session = *worker.session] { Feed(TaskManagerHeard{session}); });
    }
    After(std::chrono::seconds(1), [this, i, incarnation] { Heartbeat(i, incarnation); });
  }

  void BreakStream(uint32_t i) {
    Worker& worker = workers_[i];
    if (!worker.session) return;
    const SessionId session = *worker.session;
    worker.session.reset();
    // The JobManager may see the new stream before it sees the end of the old one.
    After(Delay(200), [this, session] { Feed(SessionBroken{session, "stream broken"}); });
    if (worker.alive) After(Delay(200), [this, i] { Register(i); });
  }

  void CrashWorker(uint32_t i, const std::string& why) {
    Worker& worker = workers_[i];
    if (!worker.alive) return;
    Log(worker.id.value + " dies: " + why);
    worker.alive = false;
    worker.hung = false;
    worker.stalled.clear();
    worker.tasks.clear();
    worker.artifact.clear();
    worker.highest_attempt.clear();
    BreakStream(i);
    After(Delay(1'500), [this, i] { StartWorker(i); });
  }

  void OnDeploy(Worker* worker, const JobId& job, AttemptId attempt,
                const std::vector<SubtaskId>& subtasks) {
    if (worker->highest_attempt[job] >= attempt.value) return;  // it has been cancelled already
    worker->highest_attempt[job] = attempt.value;
    for (const Task& task : worker->tasks) {
      if (task.job == job) Fail(worker->id.value + " got an attempt while an older one ran");
      if (worker->dedicated && task.job != job) Fail("a dedicated TaskManager got two jobs");
    }
    const std::string& artifact = durable_[job].plan.artifact_hash;
    if (worker->dedicated && !worker->artifact.empty() && worker->artifact != artifact) {
      Fail(worker->id.value + " has another artifact loaded");
    }
    worker->artifact = artifact;
    for (const SubtaskId& subtask : subtasks) {
      worker->tasks.push_back({job, attempt, subtask});
      ChangeTask(worker, job, attempt, subtask, TaskState::kRunning, Delay(200));
      ScheduleEnd(worker, job, attempt, subtask);
    }
    if (worker->tasks.size() > 0 && Chaotic() && Chance(0.05)) FailTask(worker, subtasks.front());
  }

  void ScheduleEnd(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask) {
    const uint32_t i = IndexOf(worker);
    After(std::chrono::seconds(5) + Delay(60'000), [this, i, job, attempt, subtask] {
      for (Task& task : workers_[i].tasks) {
        if (task.job != job || task.attempt != attempt || task.subtask != subtask) continue;
        task.at_end = true;
        ChangeTask(&workers_[i], job, attempt, subtask, TaskState::kAtEnd, Instant(0));
      }
    });
  }

  void ChangeTask(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask,
                  TaskState state, Instant delay, Failure failure = {}) {
    Up(
        worker, job,
        [=](SessionId) {
          return TaskChanged{attempt, subtask, state, failure};
        },
        delay);
  }

  void FailTask(Worker* worker, SubtaskId subtask) {
    for (const Task& task : worker->tasks) {
      if (task.subtask != subtask) continue;
      ++coverage["task failed"];
      Failure failure{.kind = Chance(0.5) ? ErrorKind::kUser : ErrorKind::kInternal,
                      .operator_uid = "op" + std::to_string(subtask.vertex.value),
                      .message = "task failed"};
      if (Chance(0.02)) failure.kind = ErrorKind::kFatal;
      ChangeTask(worker, task.job, task.attempt, subtask, TaskState::kFailed, Instant(0), failure);
      return;
    }
  }

  void OnTrigger(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id) {
    for (const Task& task : worker->tasks) {
      if (task.job != job || task.attempt != attempt) continue;
      const bool declines = Chaotic() && Chance(0.01);
      const bool silent = Chaotic() && Chance(0.005);
      if (silent) continue;
      const uint32_t i = IndexOf(worker);
      Up(
          worker, job,
          [this, i, attempt, id, subtask = task.subtask, job, declines](SessionId) -> JobEvent {
            if (declines) return OfCheckpoints{attempt, SubtaskDeclined{id, subtask, "busy"}};
            SubtaskAck ack{.at_end = false};
            for (const Task& t : workers_[i].tasks) {
              if (t.job == job && t.attempt == attempt && t.subtask == subtask)
                ack.at_end = t.at_end;
            }
            return OfCheckpoints{attempt, SubtaskAcknowledged{id, subtask, ack}};
          },
          Delay(100));
    }
  }

  void OnCompleted(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id) {
    for (const Task& task : worker->tasks) {
      if (task.job != job || task.attempt != attempt) continue;
      if (!durable_[job].plan.vertices[task.subtask.vertex.value].transactional) continue;
      // Published at the moment of sending; the report may be lost.
      uint64_t& published = chronicles_[job].published[task.subtask];
      published = std::max(published, id.value);
      Up(
          worker, job,
          [attempt, id, subtask = task.subtask](SessionId) {
            return OfCheckpoints{attempt, SubtaskPublished{id, subtask}};
          },
          Delay(150));
    }
  }

  // -------------------------------------------------------------- clients

  void Submit(const JobId& id) {
    JobPlan plan{.name = id.value, .artifact_hash = Chance(0.5) ? "aa" : "bb"};
    const uint32_t parallelism = 1 + static_cast<uint32_t>(Below(4));
    plan.vertices = {{.id = VertexId(0), .name = "source", .parallelism = parallelism},
                     {.id = VertexId(1),
                      .name = "sink",
                      .parallelism = 1 + static_cast<uint32_t>(Below(parallelism)),
                      .transactional = Chance(0.7)}};
    if (Chance(0.3)) plan.vertices[1].slot_sharing_group = "sinks";
    if (Chance(0.8)) plan.checkpoint.interval = milliseconds(200 + Below(2'000));
    plan.checkpoint.timeout = milliseconds(2'000 + Below(5'000));
    plan.checkpoint.min_pause = milliseconds(Below(300));
    plan.restart = {.kind = RestartKind::kExponentialDelay};
    plan.restart.max_user_failures = 30;
    if (Chance(0.1)) plan.restart = {.kind = RestartKind::kFixedDelay, .attempts = 3};
    if (Chance(0.05)) plan.restart = {.kind = RestartKind::kNone};
    durable_[id].plan = plan;
    ++submitted_;
    Log(id.value + " is submitted");
    Feed(JobAdmitted{.job = id, .plan = plan, .seed = Below(1'000'000)});
  }

  /// A client's call. For a job that is not there the daemon answers, not the machine.
  void Ask(const JobId& job, std::function<ControlEvent(RequestId)> make) {
    if (!leader_ || leader_->FindJob(job) == nullptr) return;
    const RequestId request(++last_request_);
    requests_.insert(request);
    Feed(make(request));
  }
  void Answer(RequestId request) {
    if (requests_.erase(request) == 0) Fail("a request was answered twice, or never made");
  }

  // -------------------------------------------------------------- chaos and invariants

  void Chaos() {
    if (!Chaotic()) {
      return;
    }
    const uint32_t i = static_cast<uint32_t>(Below(workers_.size()));
    Worker& worker = workers_[i];
    const JobId job("job" + std::to_string(Below(3)));
    switch (Below(11)) {
      case 0:
        ++coverage["worker killed"];
        if (!worker.tasks.empty() && Chance(0.5)) {
          const Task& task = worker.tasks.front();
          worker.crashes.push_back(
              {task.job,
               task.attempt,
               task.subtask,
               {.kind = ErrorKind::kUser,
                .operator_uid = "op" + std::to_string(task.subtask.vertex.value),
                .message = "signal 11"}});
        }
        CrashWorker(i, "killed");
        break;
      case 1:
        ++coverage["stream broken"];
        BreakStream(i);
        break;
      case 2:
        if (worker.alive && Chance(0.3)) {
          ++coverage["worker hung"];
          Log(worker.id.value + " hangs");
          worker.hung = true;
          After(Delay(12'000), [this, i] { Resume(i); });
        }
        break;
      case 3:
        if (leader_ && Chance(0.3)) KillLeader();
        break;
      case 4:
        if (!worker.tasks.empty()) FailTask(&worker, worker.tasks.front().subtask);
        break;
      case 5:
        if (!Chance(0.1)) break;
        Ask(job, [&](RequestId r) {
          Log(job.value + " is to be cancelled");
          return ForJob{.job = job, .from = {}, .event = CancelWanted{r}};
        });
        break;
      case 6:
      case 7: {
        CheckpointKind kind = CheckpointKind::kSavepoint;
        if (Chance(0.1)) kind = CheckpointKind::kStop;
        Ask(job, [&](RequestId r) {
          Log(job.value + ": " + ToString(kind));
          return ForJob{.job = job,
                        .from = {},
                        .event = OfCheckpoints{AttemptId(0), SavepointWanted{r, kind, "/sp"}}};
        });
        break;
      }
      case 8:
        if (const Job* found = leader_ ? leader_->FindJob(job) : nullptr) {
          Feed(ForJob{.job = job,
                      .from = {},
                      .event = OfCheckpoints{found->last_attempt(), EarlyCheckpointWanted{}}});
        }
        break;
      default:
        break;  // quiet moments are needed to make progress
    }
    After(Delay(3'000), [this] { Chaos(); });
  }

  bool AllEnded() const {
    return submitted_ > 0 && std::all_of(durable_.begin(), durable_.end(), [](const auto& job) {
             return job.second.end.has_value();
           });
  }

  void CheckInvariants() {
    if (!leader_) return;
    std::map<JobId, std::set<std::pair<SessionId, uint32_t>>> owned;
    for (const auto& [session, entry] : leader_->membership().entries()) {
      if (entry.registration.dedicated && entry.Jobs().size() > 1) {
        Fail("a dedicated TaskManager serves two jobs");
      }
      for (uint32_t slot = 0; slot < entry.slot_owners.size(); ++slot) {
        if (entry.slot_owners[slot]) owned[*entry.slot_owners[slot]].insert({session, slot});
      }
    }
    for (const auto& [id, job] : leader_->jobs()) {
      std::set<std::pair<SessionId, uint32_t>> held;
      if (job->attempt() != nullptr) {
        for (const auto& [subtask, slot] : job->attempt()->placement) {
          if (job->attempt()->holding.contains(slot.session))
            held.insert({slot.session, slot.slot});
        }
      }
      if (owned[id] != held) Fail("slots of " + id.value + " and its attempt disagree");
      if (IsTerminal(job->state())) {
        if (!held.empty()) Fail(id.value + " has ended and holds slots");
        if (durable_[id].end != job->state()) Fail(id.value + " has ended, its record has not");
      }
      const bool active = job->attempt() != nullptr && !job->attempt()->ending;
      const bool needs = job->state() == JobState::kDeploying || job->state() == JobState::kRunning;
      if (needs && !active) Fail(id.value + " is " + ToString(job->state()) + " without attempt");
      owned.erase(id);
    }
    if (!owned.empty()) Fail("slots are owned by a job that does not exist");
  }

  /// A job finishes only on a durable checkpoint, all at end or a stop, that is published.
  void CheckEnd(const JobId& id, JobState end) {
    if (end != JobState::kFinished) return;
    const auto& manifests = durable_[id].manifests;
    const bool good = std::any_of(manifests.begin(), manifests.end(), [&](const auto& m) {
      if (!m.all_at_end && !m.stop) return false;
      for (const SubtaskId& subtask : durable_[id].plan.TransactionalSubtasks()) {
        if (chronicles_[id].published[subtask] < m.id) return false;
      }
      return true;
    });
    if (!good) Fail(id.value + " has finished without a final checkpoint, durable and published");
  }

  void CheckAtEnd() {
    if (leader_ && !requests_.empty()) Fail("a request was never answered");
  }

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
};

TEST(ControlPlaneSimulationTest, InvariantsHoldInEveryHistory) {
  if (const char* seed = std::getenv("WEIR_SIMULATION_SEED")) {
    Simulation simulation(std::strtoull(seed, nullptr, 10));
    const std::string error = simulation.Run();
    EXPECT_EQ(error, "") << simulation.history();
    return;
  }
  const char* wanted = std::getenv("WEIR_SIMULATION_HISTORIES");
  const uint64_t histories = wanted ? std::strtoull(wanted, nullptr, 10) : 300;
  std::map<std::string, uint64_t> coverage;
  uint64_t steps = 0;
  for (uint64_t seed = 1; seed <= histories; ++seed) {
    Simulation simulation(seed);
    const std::string error = simulation.Run();
    steps += simulation.steps();
    for (const auto& [what, count] : simulation.coverage) coverage[what] += count;
    ASSERT_EQ(error, "") << "seed " << seed << ":\n" << simulation.history();
  }
  for (const auto& [what, count] : coverage) std::printf("  %-24s %lu\n", what.c_str(), count);
  std::printf("  %lu histories, %lu steps\n", histories, steps);
  // A run in which a fault never landed proves nothing about it.
  for (const char* what : {"worker killed", "worker hung", "stream broken", "leader killed",
                           "task failed", "recycled", "restored", "committed", "checkpoint aborted",
                           "savepoint", "ended FINISHED", "ended CANCELED", "ended FAILED"}) {
    EXPECT_GT(coverage[what], 0u) << what;
  }
}

}  // namespace
}  // namespace weir::jobmanager
