#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "metrics/registry.h"
#include "proto/control.pb.h"
#include "runtime/exchange/channel_metrics.h"
#include "runtime/graph/job_graph.h"
#include "runtime/task/deployment.h"

namespace weir {

/// What /metrics says of a subtask, for as long as `registrations` live. `scope` begins the names
/// that other systems know; rates are worked out anew every `interval`.
void AddSubtaskMetrics(const Deployment::LocalSubtask& local, const std::string& job,
                       const std::string& task, const std::string& scope,
                       std::chrono::milliseconds interval, metrics::Registry* registry,
                       std::vector<metrics::Registration>* registrations);

/// How long rows are on their way from each source to the sinks that run here.
///
/// Filled before the subtasks start and not changed since; Note is for any thread.
class LatencyMetrics {
 public:
  void Add(const JobGraph& graph, SubtaskId subtask, const std::string& job,
           metrics::Registry* registry);
  void Note(SubtaskId sink, VertexId source, std::chrono::milliseconds age) const;

 private:
  std::map<std::pair<SubtaskId, VertexId>, std::shared_ptr<metrics::Histogram>> histograms_;
};

/// The channels of one subtask from and to other processes.
struct SubtaskChannels {
  std::vector<std::shared_ptr<const SenderMetrics>> out;
  std::vector<std::shared_ptr<const ReceiverMetrics>> in;
};

/// What /metrics says of them, each figure the sum over the channels of one direction; of a
/// direction without such channels nothing.
void AddChannelMetrics(SubtaskId subtask, SubtaskChannels channels, const std::string& job,
                       const std::string& task, metrics::Registry* registry,
                       std::vector<metrics::Registration>* registrations);

/// What the JobManager is told of it.
void ReadSubtaskMetrics(const Deployment::LocalSubtask& local, proto::SubtaskMetrics* to);

}  // namespace weir
