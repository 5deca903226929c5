#include "metrics/scrape.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <sstream>

namespace weir::metrics {
namespace {

prometheus::ClientMetric Convert(const Sample& sample, Family::Type type) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
  switch (type) {
    case Family::Type::kCounter:
      metric.counter.value = sample.value;
      break;
    case Family::Type::kGauge:
      metric.gauge.value = sample.value;
      break;
    case Family::Type::kHistogram:
      metric.histogram.sample_sum = sample.value;
      metric.histogram.sample_count = sample.cumulative.empty() ? 0 : sample.cumulative.back();
      for (size_t i = 0; i < sample.cumulative.size(); ++i) {
        const double bound =
            i < sample.bounds.size() ? sample.bounds[i] : std::numeric_limits<double>::infinity();
        metric.histogram.bucket.push_back({sample.cumulative[i], bound});
      }
      break;
  }
  return metric;
}

prometheus::MetricType Convert(Family::Type type) {
  switch (type) {
    case Family::Type::kCounter:
      return prometheus::MetricType::Counter;
    case Family::Type::kGauge:
      return prometheus::MetricType::Gauge;
    case Family::Type::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

}  // namespace

std::string Scrape(const Registry& registry) {
  std::vector<prometheus::MetricFamily> families;
  for (const Family& family : registry.Collect()) {
    prometheus::MetricFamily& out = families.emplace_back();
    out.name = family.name;
    out.help = family.help;
    out.type = Convert(family.type);
    for (const Sample& sample : family.samples) out.metric.push_back(Convert(sample, family.type));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace weir::metrics
