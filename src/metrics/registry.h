#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "metrics/metric.h"

namespace weir::metrics {

/// ("job", "orders"), ("task", "source -> map") ... in the order they are shown.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// Keeps a function or a rate registered; dropping it takes the metric out.
using Registration = std::shared_ptr<void>;

/// One metric of one scrape.
struct Sample {
  Labels labels;
  double value = 0;
  /// Histograms: cumulative counts, one for each bound and one for the rest.
  std::vector<double> bounds;
  std::vector<uint64_t> cumulative;
};

struct Family {
  enum class Type { kCounter, kGauge, kHistogram };
  std::string name;
  std::string help;
  Type type = Type::kGauge;
  std::vector<Sample> samples;
};

/// The metrics of one process. Metrics are shared with their holder (the scraping thread may be
/// reading one while the holder lets go); the registry itself keeps weak references.
///
/// Names are Prometheus's ([a-z_:][a-z0-9_:]*); a second registration of the same name must be of
/// the same type. A repeated (name, labels) is summed for counters, and the newest wins for gauges:
/// the attempt that takes over shows, the one that is leaving does not.
///
/// Thread-safe; nothing here is called per batch.
class Registry {
 public:
  explicit Registry(const Clock& clock = Clock::System()) : clock_(clock) {}

  std::shared_ptr<Counter> AddCounter(const std::string& name, const std::string& help,
                                      Labels labels = {});
  std::shared_ptr<Gauge> AddGauge(const std::string& name, const std::string& help,
                                  Labels labels = {});
  std::shared_ptr<Histogram> AddHistogram(const std::string& name, const std::string& help,
                                          std::vector<double> bounds, Labels labels = {});

  /// Sampled at each scrape, on the scraping thread, with the registry's lock held: it must not
  /// block, nor call the registry, and must outlive the registration. What has no value yet gives
  /// NaN, and is left out.
  [[nodiscard]] Registration AddFunction(const std::string& name, const std::string& help,
                                         Family::Type type, Labels labels,
                                         std::function<double()> sample);

  /// A gauge that shows how much `total` grows per second, worked out anew at a scrape once
  /// `interval` has passed since the last time.
  [[nodiscard]] Registration AddRate(const std::string& name, const std::string& help,
                                     Labels labels, std::function<double()> total,
                                     std::chrono::milliseconds interval);

  /// What there is now, ordered by name.
  std::vector<Family> Collect() const;

 private:
  struct Entry {
    Labels labels;
    std::weak_ptr<void> alive;
    std::function<void(Sample&)> sample;
  };
  struct Slot {
    std::string help;
    Family::Type type;
    std::vector<Entry> entries;
  };

  void Add(const std::string& name, const std::string& help, Family::Type type, Entry entry);

  const Clock& clock_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Slot> slots_;  // guarded by mutex_
};

}  // namespace weir::metrics
