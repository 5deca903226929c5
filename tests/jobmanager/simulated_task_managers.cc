#include "tests/jobmanager/simulation.h"

#include <algorithm>
#include <utility>

namespace weir::jobmanager {

Simulation::Worker* Simulation::WorkerOf(SessionId session) {
  for (Worker& worker : workers_) {
    if (worker.alive && worker.session == session) return &worker;
  }
  return nullptr;
}

void Simulation::AtWorker(uint32_t i, std::function<void()> run) {
  if (workers_[i].hung) {
    workers_[i].stalled.push_back(std::move(run));
  } else {
    run();
  }
}

void Simulation::Resume(uint32_t i) {
  Worker& worker = workers_[i];
  worker.hung = false;
  while (!worker.stalled.empty()) {
    auto run = std::move(worker.stalled.front());
    worker.stalled.pop_front();
    run();
  }
}

void Simulation::Down(Worker* w, std::function<void(Worker*)> run) {
  const uint32_t i = IndexOf(w);
  w->down_busy_until = std::max(w->down_busy_until, now_) + Delay(3);
  After(w->down_busy_until - now_, [this, i, session = *w->session, run = std::move(run)] {
    AtWorker(i, [this, i, session, run] {
      if (workers_[i].alive && workers_[i].session == session) run(&workers_[i]);
    });
  });
}

void Simulation::Up(Worker* w, const JobId& job, std::function<JobEvent(SessionId)> make,
                    Instant delay) {
  const uint32_t i = IndexOf(w);
  if (!w->session) return;
  After(delay, [this, i, job, session = *w->session, make = std::move(make)] {
    AtWorker(i, [this, i, job, session, make] { Send(i, job, session, make(session)); });
  });
}

void Simulation::Send(uint32_t i, const JobId& job, SessionId session, JobEvent event) {
  Worker& sender = workers_[i];
  if (!sender.alive || sender.session != session) return;
  sender.up_busy_until = std::max(sender.up_busy_until, now_) + Delay(3);
  After(sender.up_busy_until - now_, [this, i, job, session, event = std::move(event)] {
    if (workers_[i].session == session) {
      Feed(ForJob{.job = job, .from = session, .event = event});
    }
  });
}

void Simulation::StartWorker(uint32_t i) {
  Worker& worker = workers_[i];
  if (worker.alive) return;
  worker.alive = true;
  worker.hung = false;
  ++worker.incarnation;
  Log(worker.id.value + " starts");
  Register(i);
  Heartbeat(i, worker.incarnation);
}

void Simulation::Register(uint32_t i) {
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

void Simulation::Heartbeat(uint32_t i, uint64_t incarnation) {
  Worker& worker = workers_[i];
  if (!worker.alive || worker.incarnation != incarnation) return;
  if (worker.session && !worker.hung) {
    After(Delay(3), [this, session = *worker.session] { Feed(TaskManagerHeard{session}); });
  }
  After(std::chrono::seconds(1), [this, i, incarnation] { Heartbeat(i, incarnation); });
}

void Simulation::BreakStream(uint32_t i) {
  Worker& worker = workers_[i];
  if (!worker.session) return;
  const SessionId session = *worker.session;
  worker.session.reset();
  // The JobManager may see the new stream before it sees the end of the old one.
  After(Delay(200), [this, session] { Feed(SessionBroken{session, "stream broken"}); });
  if (worker.alive) After(Delay(200), [this, i] { Register(i); });
}

void Simulation::CrashWorker(uint32_t i, const std::string& why) {
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

void Simulation::OnDeploy(Worker* worker, const JobId& job, AttemptId attempt,
                          const std::vector<SubtaskId>& subtasks, CheckpointId restored,
                          bool stands_still) {
  if (worker->highest_attempt[job] >= attempt.value) return;  // it has been cancelled already
  worker->highest_attempt[job] = attempt.value;
  const auto& regions = chronicles_[job].regions;
  const uint32_t region = regions.at(subtasks.front().vertex);
  for (const Task& task : worker->tasks) {
    if (task.job == job && regions.at(task.subtask.vertex) == region) {
      Fail(worker->id.value + " got an attempt while an older one ran");
    }
    if (worker->dedicated && task.job != job) Fail("a dedicated TaskManager got two jobs");
  }
  const std::string& artifact = durable_[job].plan.artifact_hash;
  if (worker->dedicated && !worker->artifact.empty() && worker->artifact != artifact) {
    Fail(worker->id.value + " has another artifact loaded");
  }
  worker->artifact = artifact;
  for (const SubtaskId& subtask : subtasks) {
    worker->tasks.push_back({job, attempt, subtask, stands_still});
    if (restored.value > 0 && Chance(0.8)) Publish(worker, job, attempt, subtask, restored);
    ChangeTask(worker, job, attempt, subtask, TaskState::kRunning, Delay(200));
    if (!stands_still) ScheduleEnd(worker, job, attempt, subtask);
  }
  if (worker->tasks.size() > 0 && Chaotic() && Chance(0.05)) FailTask(worker, subtasks.front());
}

void Simulation::ScheduleEnd(Worker* worker, const JobId& job, AttemptId attempt,
                             SubtaskId subtask) {
  const uint32_t i = IndexOf(worker);
  After(std::chrono::seconds(5) + Delay(60'000), [this, i, job, attempt, subtask] {
    for (Task& task : workers_[i].tasks) {
      if (task.job != job || task.attempt != attempt || task.subtask != subtask) continue;
      task.at_end = true;
      ChangeTask(&workers_[i], job, attempt, subtask, TaskState::kAtEnd, Instant(0));
    }
  });
}

void Simulation::ChangeTask(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask,
                            TaskState state, Instant delay, Failure failure) {
  Up(
      worker, job,
      [=](SessionId) {
        return TaskChanged{attempt, subtask, state, failure};
      },
      delay);
}

void Simulation::FailTask(Worker* worker, SubtaskId subtask) {
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

void Simulation::OnTrigger(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id) {
  for (Task& task : worker->tasks) {
    if (task.job != job || task.attempt != attempt) continue;
    if (task.stands_still) Fail("a checkpoint is triggered in an attempt that stands still");
    const CheckpointPolicy& policy = durable_[job].plan.checkpoint;
    while (task.waits_for.size() >= policy.max_concurrent) {
      task.waits_for.erase(task.waits_for.begin());
    }
    const bool silent = Chaotic() && Chance(0.005);
    if (silent) continue;
    // A barrier behind one that waits does so as well, unless that was given up.
    if ((!task.waits_for.empty() && Chance(0.9)) || (Chaotic() && Chance(0.02))) {
      task.waits_for.insert(id);
      continue;
    }
    Acknowledge(worker, task, id, /*unaligned=*/false);
  }
}

void Simulation::OnTurnUnaligned(Worker* worker, const JobId& job, AttemptId attempt,
                                 CheckpointId id) {
  for (Task& task : worker->tasks) {
    if (task.job != job || task.attempt != attempt || task.waits_for.erase(id) == 0) continue;
    ++coverage["taken ahead of barriers"];
    Acknowledge(worker, task, id, /*unaligned=*/true);
  }
}

void Simulation::Acknowledge(Worker* worker, const Task& task, CheckpointId id, bool unaligned) {
  // Checkpoints that are under way when the sources end, and what fails of them: the job ends.
  uint32_t& late = chronicles_[task.job].declined_at_end;
  const bool declines_late = task.at_end && late < 2 && Chance(0.1);
  if (declines_late) {
    ++late;
    ++coverage["declined at the end"];
  }
  const bool declines = declines_late || (Chaotic() && Chance(0.01));
  const bool slow = task.at_end && Chance(0.3);
  const uint32_t i = IndexOf(worker);
  Up(
      worker, task.job,
      [this, i, attempt = task.attempt, id, subtask = task.subtask, job = task.job, declines,
       unaligned](SessionId) -> JobEvent {
        if (declines) {
          return OfCheckpoints{attempt, SubtaskDeclined{id, subtask, "busy"}};
        }
        SubtaskAck ack{.state = std::to_string(attempt.value), .unaligned = unaligned};
        for (const Task& t : workers_[i].tasks) {
          if (t.job == job && t.attempt == attempt && t.subtask == subtask) ack.at_end = t.at_end;
        }
        return OfCheckpoints{attempt, SubtaskAcknowledged{id, subtask, ack}};
      },
      Delay(slow ? 1'500 : 100));
}

void Simulation::OnCompleted(Worker* worker, const JobId& job, AttemptId attempt, CheckpointId id) {
  for (const Task& task : worker->tasks) {
    if (task.job != job || task.attempt != attempt) continue;
    Publish(worker, job, attempt, task.subtask, id);
  }
}

// Published at the moment of sending; the report may be lost.
void Simulation::Publish(Worker* worker, const JobId& job, AttemptId attempt, SubtaskId subtask,
                         CheckpointId id) {
  if (!durable_[job].plan.vertices[subtask.vertex.value].transactional) return;
  uint64_t& published = chronicles_[job].published[subtask];
  published = std::max(published, id.value);
  Up(
      worker, job,
      [attempt, id, subtask](SessionId) {
        return OfCheckpoints{attempt, SubtaskPublished{id, subtask}};
      },
      Delay(150));
}

}  // namespace weir::jobmanager
