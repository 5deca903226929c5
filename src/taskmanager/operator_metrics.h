#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "metrics/registry.h"

namespace weir {

/// Counters and gauges that one operator names itself; made at their first use. Thread-safe.
class OperatorMetrics {
 public:
  OperatorMetrics(metrics::Registry* registry, metrics::Labels labels);

  void Add(const std::string& name, int64_t delta);
  void Set(const std::string& name, const std::string& label, double value);

 private:
  metrics::Registry* const registry_;
  const metrics::Labels labels_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<metrics::Counter>> counters_;                      // mutex_
  std::map<std::pair<std::string, std::string>, std::shared_ptr<metrics::Gauge>> gauges_;  // mutex_
};

}  // namespace weir
