#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "metrics/registry.h"
#include "proto/control.pb.h"
#include "runtime/task/deployment.h"

namespace weir {

/// What /metrics says of a subtask, for as long as `registrations` live. `scope` begins the names
/// that other systems know; rates are worked out anew every `interval`.
void AddSubtaskMetrics(const Deployment::LocalSubtask& local, const std::string& job,
                       const std::string& task, const std::string& scope,
                       std::chrono::milliseconds interval, metrics::Registry* registry,
                       std::vector<metrics::Registration>* registrations);

/// What the JobManager is told of it.
void ReadSubtaskMetrics(const Deployment::LocalSubtask& local, proto::SubtaskMetrics* to);

}  // namespace weir
