#include "jobmanager/metrics.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace weir::jobmanager {

Metrics::Metrics(metrics::Registry* registry, const std::string& scope)
    : registry_(registry), scope_(scope) {
  auto gauge = [&](const char* name, const char* help) {
    return registry->AddGauge(scope + name, help);
  };
  task_managers_ = gauge("_taskmanagers", "Registered TaskManagers");
  slots_ = gauge("_slots", "Slots of all TaskManagers");
  slots_free_ = gauge("_slots_free", "Slots that no job holds");
  slots_wanted_ = gauge("_slots_wanted", "Slots that waiting jobs lack");
  jobs_running_ = gauge("_jobs_running", "Jobs in state RUNNING");
}

void Metrics::Cluster(size_t task_managers, size_t slots, size_t slots_free, size_t slots_wanted,
                      size_t jobs_running) {
  task_managers_->Set(static_cast<double>(task_managers));
  slots_->Set(static_cast<double>(slots));
  slots_free_->Set(static_cast<double>(slots_free));
  slots_wanted_->Set(static_cast<double>(slots_wanted));
  jobs_running_->Set(static_cast<double>(jobs_running));
}

void Metrics::UpdateJob(const JobId& id, const Job& job) {
  OfJob& m = jobs_[id];
  if (m.restarts == nullptr) {
    const metrics::Labels labels{{"job", job.plan().name}, {"job_id", id.value}};
    auto gauge = [&](const char* name, const char* help) {
      return registry_->AddGauge(scope_ + name, help, labels);
    };
    m.restarts = gauge("_job_restarts", "Restarts since the submission");
    m.running = gauge("_job_running", "1 while the job is in state RUNNING");
    m.completed = gauge("_job_checkpoints_completed", "Checkpoints made durable");
    m.failed = gauge("_job_checkpoints_failed", "Checkpoints that failed");
    m.in_progress = gauge("_job_checkpoints_in_progress", "Checkpoints that are under way now");
    m.last_id = gauge("_job_last_checkpoint_id", "Newest durable checkpoint");
    m.last_duration = gauge("_job_last_checkpoint_duration_seconds",
                            "Trigger to durable, of the newest durable checkpoint");
    m.last_bytes = gauge("_job_last_checkpoint_bytes", "Bytes written for it");
    m.last_full_bytes = gauge("_job_last_checkpoint_full_bytes", "Bytes it refers to");
    m.last_in_flight_bytes =
        gauge("_job_last_checkpoint_in_flight_bytes",
              "Of them, rows that were on their way when it was cut; 0: its barriers were aligned");
    m.unaligned = gauge("_job_checkpoints_unaligned",
                        "Of those made durable since this JobManager leads, the ones whose "
                        "barriers overtook rows");
    m.failures = gauge("_job_failures", "Failures since the submission");
    auto histogram = [&](const char* name, const char* help, std::vector<double> bounds) {
      return registry_->AddHistogram(scope_ + name, help, std::move(bounds), labels);
    };
    m.duration = histogram("_job_checkpoint_duration_seconds", "Trigger to durable",
                           {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300});
    m.bytes = histogram("_job_checkpoint_bytes", "Bytes written for a checkpoint",
                        {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11});
    m.alignment = histogram("_job_checkpoint_alignment_seconds",
                            "First to last barrier at the subtask that waited longest",
                            {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30});
  }
  m.restarts->Set(job.restarts());
  m.running->Set(job.state() == JobState::kRunning ? 1 : 0);
  m.completed->Set(static_cast<double>(job.checkpoints().completed()));
  m.failed->Set(static_cast<double>(job.checkpoints().failed()));
  m.in_progress->Set(static_cast<double>(job.checkpoints().in_progress()));
  m.last_id->Set(static_cast<double>(job.checkpoints().last_completed().value));
  m.failures->Set(static_cast<double>(job.failure_count()));
  CheckpointId newest = m.observed;
  for (const CheckpointRecord& record : job.checkpoints().history()) {
    if (record.durable.count() == 0 || record.id <= m.observed) continue;
    newest = std::max(newest, record.id);
    m.duration->Observe(std::chrono::duration<double>(record.durable - record.triggered).count());
    m.bytes->Observe(static_cast<double>(record.state_bytes));
    m.alignment->Observe(static_cast<double>(record.max_alignment_us) / 1e6);
    m.unaligned_count += record.unaligned ? 1 : 0;
  }
  m.observed = newest;
  m.unaligned->Set(static_cast<double>(m.unaligned_count));
  for (const CheckpointRecord& record : job.checkpoints().history()) {
    if (record.durable.count() == 0) continue;
    m.last_duration->Set(std::chrono::duration<double>(record.durable - record.triggered).count());
    m.last_bytes->Set(static_cast<double>(record.state_bytes));
    m.last_full_bytes->Set(static_cast<double>(record.full_state_bytes));
    m.last_in_flight_bytes->Set(static_cast<double>(record.in_flight_bytes));
    break;
  }
}

}  // namespace weir::jobmanager
