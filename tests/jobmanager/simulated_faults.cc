#include "tests/jobmanager/simulation.h"

#include <utility>

namespace weir::jobmanager {

void Simulation::Submit(const JobId& id) {
  JobPlan plan{.name = id.value, .artifact_hash = Chance(0.5) ? "aa" : "bb"};
  const uint32_t parallelism = 1 + static_cast<uint32_t>(Below(4));
  plan.vertices = {{.id = VertexId(0), .name = "source", .parallelism = parallelism},
                   {.id = VertexId(1),
                    .name = "sink",
                    .parallelism = 1 + static_cast<uint32_t>(Below(parallelism)),
                    .transactional = Chance(0.7)}};
  plan.edges = {{.source = VertexId(0), .target = VertexId(1)}};
  // More of the same beside it, that nothing connects to it.
  for (uint32_t more = static_cast<uint32_t>(Below(3)); more > 0; --more) {
    const auto first = static_cast<uint32_t>(plan.vertices.size());
    for (uint32_t i = 0; i < 2; ++i) {
      plan.vertices.push_back(plan.vertices[i]);
      plan.vertices.back().id = VertexId(first + i);
      plan.vertices.back().parallelism = 1 + static_cast<uint32_t>(Below(parallelism));
      if (parallelism <= 2 && Chance(0.3)) plan.vertices.back().slot_sharing_group = "more";
    }
    plan.edges.push_back({.source = VertexId(first), .target = VertexId(first + 1)});
  }
  if (Chance(0.3)) plan.vertices[1].slot_sharing_group = "sinks";
  if (Chance(0.8)) plan.checkpoint.interval = milliseconds(200 + Below(2'000));
  plan.checkpoint.timeout = milliseconds(2'000 + Below(5'000));
  if (Chance(0.5)) plan.checkpoint.min_pause = milliseconds(Below(300));
  plan.checkpoint.max_concurrent = 1 + static_cast<uint32_t>(Below(4));
  if (Chance(0.7)) plan.checkpoint.aligned_timeout = milliseconds(Below(1'500));
  plan.restart = {.kind = RestartKind::kExponentialDelay};
  plan.restart.max_user_failures = 30;
  if (Chance(0.1)) plan.restart = {.kind = RestartKind::kFixedDelay, .attempts = 3};
  if (Chance(0.05)) plan.restart = {.kind = RestartKind::kNone};
  durable_[id].plan = plan;
  chronicles_[id].regions = plan.Regions();
  ++submitted_;
  Log(id.value + " is submitted");
  Feed(JobAdmitted{.job = id, .plan = plan, .seed = Below(1'000'000)});
}

void Simulation::Ask(const JobId& job, std::function<ControlEvent(RequestId)> make) {
  if (!leader_ || leader_->FindJob(job) == nullptr) return;
  const RequestId request(++last_request_);
  requests_.insert(request);
  Feed(make(request));
}

void Simulation::Answer(RequestId request) {
  if (requests_.erase(request) == 0) Fail("a request was answered twice, or never made");
}

void Simulation::DisturbStop(const JobId& job) {
  const Job* found = leader_ ? leader_->FindJob(job) : nullptr;
  if (!Chaotic() || found == nullptr || found->state() != JobState::kStopping) return;
  ++coverage["disturbed a stop"];
  if (Chance(0.3)) return KillLeader();
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    if (worker.tasks.empty() || worker.tasks.front().job != job) continue;
    return Chance(0.5) ? CrashWorker(i, "killed at a stop") : BreakStream(i);
  }
}

void Simulation::Chaos() {
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
        worker.crashes.push_back({task.job,
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
      if (Chance(0.15)) {
        kind = Chance(0.5) ? CheckpointKind::kStop : CheckpointKind::kStopAndDrain;
      }
      Ask(job, [&](RequestId r) {
        Log(job.value + ": " + ToString(kind));
        return ForJob{.job = job,
                      .from = {},
                      .event = OfCheckpoints{AttemptId(0), SavepointWanted{r, kind, "/sp"}}};
      });
      // And what is on its way while it is committed, exported and published.
      if (IsStop(kind)) {
        for (uint32_t faults = static_cast<uint32_t>(Below(4)); faults > 0; --faults) {
          After(Delay(1'500), [this, job] { DisturbStop(job); });
        }
      }
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

}  // namespace weir::jobmanager
