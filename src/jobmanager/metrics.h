#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "jobmanager/job.h"
#include "metrics/registry.h"

namespace weir::jobmanager {

/// What the JobManager reports of the cluster and of each job; kept out of the logic. Updated by
/// the loop's thread, read by the scraper's.
class Metrics {
 public:
  /// `scope` begins every name: "<scope>_slots".
  Metrics(metrics::Registry* registry, const std::string& scope);

  void Cluster(size_t task_managers, size_t slots, size_t slots_free, size_t slots_wanted,
               size_t jobs_running);
  void UpdateJob(const JobId& id, const Job& job);
  void ForgetJob(const JobId& id) { jobs_.erase(id); }

 private:
  struct OfJob {
    std::shared_ptr<metrics::Gauge> restarts, running, completed, failed, in_progress, last_id,
        last_duration, last_bytes, last_full_bytes, last_in_flight_bytes, unaligned, failures;
    std::shared_ptr<metrics::Histogram> duration, bytes, alignment;
    CheckpointId observed;  ///< newest that is in the histograms
    uint64_t unaligned_count = 0;
  };
  metrics::Registry* const registry_;
  const std::string scope_;
  std::shared_ptr<metrics::Gauge> task_managers_, slots_, slots_free_, slots_wanted_, jobs_running_;
  std::map<JobId, OfJob> jobs_;
};

}  // namespace weir::jobmanager
