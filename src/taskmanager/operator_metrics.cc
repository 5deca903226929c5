#include "taskmanager/operator_metrics.h"

#include <utility>

namespace weir {

OperatorMetrics::OperatorMetrics(metrics::Registry* registry, metrics::Labels labels)
    : registry_(registry), labels_(std::move(labels)) {}

void OperatorMetrics::Add(const std::string& name, int64_t delta) {
  if (delta <= 0) return;
  std::lock_guard lock(mutex_);
  std::shared_ptr<metrics::Counter>& counter = counters_[name];
  if (counter == nullptr) {
    counter = registry_->AddCounter("weir_operator_" + name, "Counted by the operator", labels_);
  }
  counter->Add(static_cast<uint64_t>(delta));
}

void OperatorMetrics::Set(const std::string& name, const std::string& label, double value) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<metrics::Gauge>& gauge = gauges_[{name, label}];
  if (gauge == nullptr) {
    metrics::Labels labels = labels_;
    if (!label.empty()) labels.emplace_back("of", label);
    gauge = registry_->AddGauge("weir_operator_" + name, "Set by the operator", labels);
  }
  gauge->Set(value);
}

}  // namespace weir
