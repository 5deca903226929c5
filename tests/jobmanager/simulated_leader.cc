#include "tests/jobmanager/simulation.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace weir::jobmanager {

void Simulation::StartLeader() {
  ++epoch_;
  leader_ = std::make_unique<ControlPlane>(ControlPlaneOptions{}, now_);
  Log("leader starts, epoch " + std::to_string(epoch_));
  for (auto& [id, job] : durable_) {
    if (job.end) continue;
    JobAdmitted admitted{.job = id, .plan = job.plan, .canceled = job.canceled};
    admitted.attempt_floor = AttemptId(job.attempt);
    admitted.restarts = job.restarts;
    admitted.memory = job.memory;
    admitted.counts = job.counts;
    chronicles_[id].decided = job.memory.restarts;
    admitted.seed = Below(1'000'000);
    for (const Worker& worker : workers_) admitted.previous.insert(worker.id);
    Feed(admitted);
  }
}

void Simulation::KillLeader() {
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

void Simulation::Feed(const ControlEvent& event) {
  if (!leader_) return;
  ++steps_;
  std::vector<ControlAction> actions;
  leader_->Step(event, now_, &actions);
  for (ControlAction& action : actions) {
    std::visit([&](auto& a) { Do(a); }, action);
  }
  ArmTick();
}

void Simulation::ArmTick() {
  const Instant due = leader_->NextDeadline();
  if (tick_epoch_ == epoch_ && tick_at_ > now_ && tick_at_ <= due) return;
  tick_epoch_ = epoch_;
  tick_at_ = std::max(due, now_ + Instant(1));
  const uint64_t epoch = epoch_;
  After(tick_at_ - now_, [this, epoch] {
    if (leader_ && epoch == epoch_) Feed(ControlTick{});
  });
}

void Simulation::Later(JobId job, Instant delay, std::function<JobEvent()> make) {
  const uint64_t epoch = epoch_;
  After(delay, [this, epoch, job, make = std::move(make)] {
    // I/O that was begun may happen though its leader is dead, until the next one has fenced it.
    if (epoch != epoch_) return;
    const JobEvent event = make();
    if (leader_) Feed(ForJob{.job = job, .from = {}, .event = event});
  });
}

Instant Simulation::IoDelay(const JobId& job) {
  Instant& busy = io_busy_until_[job];
  busy = std::max(busy, now_) + Delay(Chance(0.02) && Chaotic() ? 3'000 : 20);
  return busy - now_;
}

// The record's strand is not that of the job's checkpoints.
Instant Simulation::RecordDelay(const JobId& job) {
  Instant& busy = record_busy_until_[job];
  busy = std::max(busy, now_) + Delay(5);
  if (busy < io_busy_until_[job]) ++coverage["cancel overtook"];
  return busy - now_;
}

void Simulation::Do(AcceptSession& a) {
  if (Worker* w = WorkerOf(a.session)) Down(w, [](Worker*) {});
}

void Simulation::Do(RefuseSession& a) {
  Log("refused session " + std::to_string(a.session.value) + ": " + a.message);
  if (Worker* w = WorkerOf(a.session)) {
    w->session.reset();
    const uint32_t i = IndexOf(w);
    After(Delay(500), [this, i] { Register(i); });
  }
}

void Simulation::Do(CloseSession& a) {
  Log("closed session " + std::to_string(a.session.value) + ": " + a.reason);
  if (Worker* w = WorkerOf(a.session)) {
    w->session.reset();
    const uint32_t i = IndexOf(w);
    After(Delay(100), [this, i] { Register(i); });
  }
}

void Simulation::Do(SendHeartbeats&) {}

void Simulation::Do(SendRecycle& a) {
  ++coverage["recycled"];
  if (Worker* w = WorkerOf(a.session)) {
    Down(w, [this](Worker* worker) {
      if (!worker->tasks.empty()) return Fail("recycled " + worker->id.value + " at work");
      CrashWorker(IndexOf(worker), "re-executes itself");
    });
  }
}

void Simulation::Do(JobChanged&) {}

void Simulation::Do(JobWork& work) {
  std::visit([&](auto& a) { Do(work.job, a); }, work.action);
}

void Simulation::Do(const JobId& job, PrepareAttempt& a) {
  const bool fails = Chaotic() && Chance(0.03);
  chronicles_[job].decided = std::max(chronicles_[job].decided, a.memory.restarts);
  Later(
      job, IoDelay(job),
      [this, job, attempt = a.attempt, restarts = a.restarts, memory = a.memory,
       given_up = a.given_up_stop, counts = leader_->FindJob(job)->counts(), fails]() -> JobEvent {
        if (fails) {
          return PrepareFailed{attempt,
                               {.kind = ErrorKind::kExternal, .message = "listing failed"}};
        }
        DurableJob& durable = durable_[job];
        if (durable.attempt > 0 && restarts < durable.restarts) Fail("restarts are forgotten");
        durable.attempt = std::max(durable.attempt, attempt.value);
        durable.restarts = restarts;
        Store(job, memory, counts);
        AttemptPrepared prepared{.attempt = attempt, .id_floor = CheckpointId(durable.id_limit)};
        durable.id_limit += 50;
        prepared.id_limit = CheckpointId(durable.id_limit);
        if (!durable.manifests.empty()) {
          const auto& newest = durable.manifests.back();
          prepared.restore = RestorePoint{.id = CheckpointId(newest.id), .manifest_path = "m"};
          prepared.last_completed = CheckpointId(newest.id);
        }
        if (durable.stop && durable.stop->id > given_up &&
            durable.stop->id == prepared.last_completed) {
          prepared.stop = durable.stop;
        } else {
          durable.stop.reset();
        }
        return prepared;
      });
}

void Simulation::Do(const JobId& job, Deploy& a) {
  Chronicle& chronicle = chronicles_[job];
  Log(job.value + " deploys attempt " + std::to_string(a.attempt.value));
  if (!chronicle.deployed.insert(a.attempt.value).second) {
    Fail("attempt " + std::to_string(a.attempt.value) + " was deployed twice");
  }
  if (*chronicle.deployed.rbegin() != a.attempt.value) Fail("a lower attempt was deployed");
  if (durable_[job].memory.restarts < chronicle.decided) {
    Fail("an attempt is deployed whose restart would be forgotten");
  }
  const auto& manifests = durable_[job].manifests;
  const uint64_t newest = manifests.empty() ? 0 : manifests.back().id;
  if ((a.restore ? a.restore->id.value : 0) != newest) {
    Fail("attempt does not begin from the newest manifest " + std::to_string(newest));
  }
  const bool stopped = chronicle.stopped.contains(newest);
  if (stopped && !a.stands_still) Fail("a job goes on behind its stop");
  // One that was given up is completed where its leader died before that was stored.
  if (a.stands_still && (manifests.empty() || !manifests.back().stop)) {
    Fail("a job stands still, and nobody stopped it");
  }
  if (chronicle.drained && !stopped) Fail("a job goes on behind its drain");
  if (stopped) ++coverage["stop gone on with"];
  chronicle.restored[a.attempt.value] = newest;
  if (newest > 0) ++coverage["restored"];
  for (const auto& [region, other] : leader_->FindJob(job)->attempts()) {
    // Deployed with it: not yet. Before it, and not on its way out: it runs on.
    if (region == a.region || other.id >= a.attempt || other.running_since.count() == 0) continue;
    if (other.ending) Fail("a region is deployed while another is on its way out");
    ++coverage["others ran on"];
  }
  for (const auto& [subtask, slot] : a.placement) {
    if (chronicle.regions.at(subtask.vertex) != a.region) Fail("an attempt mixes regions");
  }
  std::map<SessionId, std::vector<SubtaskId>> parts;
  for (const auto& [subtask, slot] : a.placement) parts[slot.session].push_back(subtask);
  for (const auto& [session, subtasks] : parts) {
    Worker* w = WorkerOf(session);
    if (w == nullptr) continue;
    Down(w, [this, job, attempt = a.attempt, subtasks = subtasks, restored = CheckpointId(newest),
             still = a.stands_still](Worker* worker) {
      OnDeploy(worker, job, attempt, subtasks, restored, still);
    });
  }
}

void Simulation::Do(const JobId& job, CancelAttempt& a) {
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

void Simulation::Do(const JobId&, DropSession&) { Fail("DropSession left the control plane"); }

void Simulation::Do(const JobId&, GiveBackSlots&) { Fail("GiveBackSlots left the control plane"); }

void Simulation::Do(const JobId& job, NoteRestarts& a) {
  Chronicle& chronicle = chronicles_[job];
  chronicle.decided = std::max(chronicle.decided, a.memory.restarts);
  const bool lost = Chaotic() && Chance(0.2);
  ++coverage[lost ? "note lost" : "note of a restart"];
  After(IoDelay(job), [this, job, memory = a.memory, counts = leader_->FindJob(job)->counts(), lost,
                       epoch = epoch_] {
    if (!lost && epoch == epoch_) Store(job, memory, counts);
  });
}

void Simulation::Store(const JobId& job, const RestartMemory& memory, const JobCounts& counts) {
  DurableJob& durable = durable_[job];
  if (memory.restarts < durable.memory.restarts) Fail("restarts of the strategy are forgotten");
  if (counts.checkpoints_completed < durable.counts.checkpoints_completed ||
      counts.checkpoints_failed < durable.counts.checkpoints_failed ||
      counts.failures < durable.counts.failures) {
    Fail("what was counted is forgotten");
  }
  durable.memory = memory;
  durable.counts = counts;
}

void Simulation::Do(const JobId& job, PersistCancel&) {
  const bool ok = !Chaotic() || !Chance(0.1);
  Later(job, RecordDelay(job), [this, job, ok]() -> JobEvent {
    if (ok) durable_[job].canceled = true;
    return CancelPersisted{ok, ok ? "" : "disk full"};
  });
}

void Simulation::Do(const JobId& job, PersistEnd& a) {
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

void Simulation::Do(const JobId&, Reply& a) { Answer(a.request); }

void Simulation::Do(const JobId& job, CheckpointWork& work) {
  std::visit([&](auto& a) { Do(job, work.attempt, a); }, work.action);
}

void Simulation::Do(const JobId& job, AttemptId run, SendTrigger& a) {
  Chronicle& chronicle = chronicles_[job];
  if (std::exchange(chronicle.run, run) != run) chronicle.under_way.clear();
  const CheckpointPolicy& policy = durable_[job].plan.checkpoint;
  const uint32_t most = policy.min_pause.count() > 0 ? 1 : policy.max_concurrent;
  if (chronicle.under_way.size() >= most) {
    Fail("checkpoint " + std::to_string(a.id.value) + " is one more than may be under way");
  }
  if (!chronicle.under_way.empty()) ++coverage["overlapped"];
  for (const auto& [id, kind] : chronicle.under_way) {
    if (IsStop(kind)) Fail("a checkpoint is triggered behind a stop");
  }
  chronicle.under_way[a.id.value] = a.kind;
  if (a.id.value <= chronicle.last_triggered) {
    Fail("checkpoint id " + std::to_string(a.id.value) + " after " +
         std::to_string(chronicle.last_triggered));
  }
  chronicle.last_triggered = a.id.value;
  if (a.id.value > durable_[job].id_limit) Fail("an id that is not reserved was used");
  const auto& attempts = leader_->FindJob(job)->attempts();
  for (const SubtaskId& subtask : durable_[job].plan.Subtasks()) {
    const auto found = attempts.find(chronicle.regions.at(subtask.vertex));
    if (found == attempts.end() || found->second.ending ||
        found->second.running_since.count() == 0) {
      Fail("a checkpoint is triggered while a region does not run");
    }
  }
  ForWorkersOf(job, [&](Worker* w, AttemptId attempt) {
    Down(w,
         [this, job, attempt, id = a.id](Worker* worker) { OnTrigger(worker, job, attempt, id); });
  });
}

void Simulation::Do(const JobId& job, AttemptId, SendTurnUnaligned& a) {
  Chronicle& chronicle = chronicles_[job];
  const CheckpointPolicy& policy = durable_[job].plan.checkpoint;
  const auto turned = chronicle.under_way.find(a.id.value);
  if (turned == chronicle.under_way.end() || a.id.value <= chronicle.last_turned) {
    Fail("checkpoint " + std::to_string(a.id.value) + " turns unaligned out of its turn");
    return;
  }
  if (turned->second != CheckpointKind::kCheckpoint || !policy.aligned_timeout ||
      policy.mode != CheckpointMode::kExactlyOnce) {
    Fail("checkpoint " + std::to_string(a.id.value) + " has to stay aligned");
  }
  for (const CheckpointRecord& before : leader_->FindJob(job)->checkpoints().history()) {
    if (before.id < a.id && before.kind != CheckpointKind::kCheckpoint &&
        before.status == CheckpointRecord::Status::kRunning &&
        before.acknowledged < durable_[job].plan.Subtasks().size()) {
      Fail("checkpoint " + std::to_string(a.id.value) + " overtakes the aligned " +
           std::to_string(before.id.value));
    }
  }
  chronicle.last_turned = a.id.value;
  ++coverage["turned unaligned"];
  ForWorkersOf(job, [&](Worker* w, AttemptId attempt) {
    Down(w, [this, job, attempt, id = a.id](Worker* worker) {
      OnTurnUnaligned(worker, job, attempt, id);
    });
  });
}

void Simulation::Do(const JobId& job, AttemptId attempt, CommitManifest& a) {
  if (a.acks.size() != durable_[job].plan.Subtasks().size()) Fail("committed without all acks");
  if (std::exchange(chronicles_[job].committing_under, epoch_) == epoch_) {
    Fail("two checkpoints are committed at once");
  }
  bool all_at_end = true;
  for (const auto& [subtask, ack] : a.acks) {
    all_at_end &= ack.at_end;
    // A region's part of a checkpoint is of one deployment, the one that runs.
    const Attempt* running = leader_->FindJob(job)->AttemptOf(subtask);
    if (running == nullptr || running->ending || ack.state != std::to_string(running->id.value)) {
      Fail("checkpoint " + std::to_string(a.id.value) + " has the state of another attempt");
    }
  }
  const bool fails = Chaotic() && Chance(0.05);
  const bool unknown = fails && Chance(0.5);  // it is there, though we are told that it is not
  const bool stop = IsStop(a.kind);
  const bool drain = a.kind == CheckpointKind::kStopAndDrain;
  const uint64_t epoch = epoch_;
  if (Chaotic() && Chance(0.002)) {  // while this hangs
    After(Delay(2), [this, job, epoch] {
      if (epoch != epoch_) return;
      Ask(job,
          [&](RequestId r) { return ForJob{.job = job, .from = {}, .event = CancelWanted{r}}; });
    });
  }
  Later(job, IoDelay(job),
        [this, job, attempt, id = a.id, fails, unknown, all_at_end, stop, drain, epoch,
         kind = a.kind, directory = a.directory]() -> JobEvent {
          DurableJob& durable = durable_[job];
          chronicles_[job].committing_under.reset();
          const bool fenced = epoch != epoch_;  // the successor took the log over
          if (stop && !fenced) {
            durable.stop = StopPoint{.id = id, .kind = kind, .directory = directory, .path = "m"};
          }
          if ((!fails || unknown) && !fenced) {
            if (!durable.manifests.empty() && durable.manifests.back().id >= id.value) {
              Fail("manifest ids do not grow");
            }
            durable.manifests.push_back({id.value, attempt.value, all_at_end, stop});
            ++coverage["committed"];
            if (stop) chronicles_[job].stopped.insert(id.value);
            if (drain) chronicles_[job].drained = true;
          }
          if (fails) return OfCheckpoints{attempt, ManifestFailed{id, "storage"}};
          return OfCheckpoints{attempt, ManifestCommitted{id, "m"}};
        });
}

void Simulation::Do(const JobId& job, AttemptId run, SendCompleted& a) {
  if (std::exchange(chronicles_[job].run, run) != run) chronicles_[job].under_way.clear();
  const auto& manifests = durable_[job].manifests;
  if (std::none_of(manifests.begin(), manifests.end(),
                   [&](const auto& m) { return m.id == a.id.value; })) {
    Fail("sinks are told of checkpoint " + std::to_string(a.id.value) + ", not durable");
  }
  auto& under_way = chronicles_[job].under_way;
  under_way.erase(a.id.value);
  if (!under_way.empty() && under_way.begin()->first < a.id.value) {
    Fail("checkpoint " + std::to_string(under_way.begin()->first) +
         " is under way behind a newer one that is durable");
  }
  if (leader_->FindJob(job)->checkpoints().paused()) ++coverage["completed for the others"];
  ForWorkersOf(job, [&](Worker* w, AttemptId attempt) {
    Down(w, [this, job, attempt, id = a.id](Worker* worker) {
      OnCompleted(worker, job, attempt, id);
    });
  });
}

void Simulation::Do(const JobId& job, AttemptId, SendAborted& a) {
  Log(job.value + " aborts checkpoint " + std::to_string(a.id.value) + ": " + a.reason);
  ++coverage["checkpoint aborted"];
  if (a.reason.find("durable before it") != std::string::npos) ++coverage["overtaken"];
  chronicles_[job].under_way.erase(a.id.value);
}

void Simulation::Do(const JobId& job, AttemptId attempt, ExportSavepoint& a) {
  const bool fails = Chaotic() && Chance(0.2);
  After(Delay(800), [this, job, attempt, id = a.id, fails, epoch = epoch_] {
    if (!leader_ || epoch != epoch_) return;
    const CheckpointEvent event =
        fails ? CheckpointEvent(SavepointExportFailed{id, "disk full"})
              : CheckpointEvent(SavepointExported{id, "/sp/" + std::to_string(id.value)});
    Feed(ForJob{.job = job, .from = {}, .event = OfCheckpoints{attempt, event}});
  });
}

void Simulation::Do(const JobId& job, AttemptId, ReplySavepoint& a) {
  Answer(a.request);
  if (a.message.find("The job goes on") != std::string::npos &&
      a.message.find("exporting it") != std::string::npos) {
    ++coverage["stop given up"];
    if (chronicles_[job].drained) Fail("a job is said to go on behind its drain");
    if (!durable_[job].manifests.empty()) chronicles_[job].stopped.clear();
  }
  if (a.code != ReplyCode::kOk) return;
  ++coverage["savepoint"];
  for (const SubtaskId& subtask : durable_[job].plan.TransactionalSubtasks()) {
    if (chronicles_[job].published[subtask] < a.id.value) {
      Fail("savepoint " + std::to_string(a.id.value) + " is reported, not published");
    }
  }
}

void Simulation::Do(const JobId&, AttemptId, DiscardSavepoint&) {}

void Simulation::Do(const JobId& job, AttemptId, PruneCheckpoints& a) {
  auto& manifests = durable_[job].manifests;
  if (manifests.size() > a.count) manifests.erase(manifests.begin(), manifests.end() - a.count);
}

void Simulation::Do(const JobId& job, AttemptId attempt, ReserveIds& a) {
  const bool ok = !Chaotic() || !Chance(0.2);
  Later(job, IoDelay(job), [this, job, attempt, limit = a.limit, ok]() -> JobEvent {
    uint64_t& durable = durable_[job].id_limit;
    if (ok) durable = std::max(durable, limit.value);
    return OfCheckpoints{attempt, IdsReserved{CheckpointId(durable)}};
  });
}

void Simulation::Do(const JobId&, AttemptId, FailAttempt&) { Fail("FailAttempt left the job"); }

void Simulation::Do(const JobId&, AttemptId, JobDone&) { Fail("JobDone left the job"); }

}  // namespace weir::jobmanager
