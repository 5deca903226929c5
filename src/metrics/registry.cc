#include "metrics/registry.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace weir::metrics {
namespace {

bool ValidName(const std::string& name) {
  return !name.empty() &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
             "WXYZ0123456789_:") == std::string::npos &&
         (name[0] < '0' || name[0] > '9');
}

/// Merges a sample into one with the same labels (see Registry).
void Join(Sample& into, Sample&& fresh, Family::Type type) {
  if (type == Family::Type::kGauge) {
    into.value = fresh.value;
    return;
  }
  into.value += fresh.value;
  if (into.bounds != fresh.bounds) return;
  for (size_t i = 0; i < into.cumulative.size(); ++i) into.cumulative[i] += fresh.cumulative[i];
}

}  // namespace

void Registry::Add(const std::string& name, const std::string& help, Family::Type type,
                   Entry entry) {
  if (!ValidName(name)) {
    ThrowError(ErrorKind::kInternal, "metric name '" + name + "' is not one of Prometheus's");
  }
  std::lock_guard lock(mutex_);
  Slot& slot = slots_.try_emplace(name, Slot{help, type, {}}).first->second;
  if (slot.type != type) {
    ThrowError(ErrorKind::kInternal, "metric '" + name + "' is registered with two types");
  }
  // The dead are cleared here, too: a process that nobody scrapes must not collect them.
  std::erase_if(slot.entries, [](const Entry& e) { return e.alive.expired(); });
  slot.entries.push_back(std::move(entry));
}

std::shared_ptr<Counter> Registry::AddCounter(const std::string& name, const std::string& help,
                                              Labels labels) {
  auto metric = std::make_shared<Counter>();
  Add(name, help, Family::Type::kCounter,
      {std::move(labels), metric,
       [raw = metric.get()](Sample& s) { s.value = static_cast<double>(raw->value()); }});
  return metric;
}

std::shared_ptr<Gauge> Registry::AddGauge(const std::string& name, const std::string& help,
                                          Labels labels) {
  auto metric = std::make_shared<Gauge>();
  Add(name, help, Family::Type::kGauge,
      {std::move(labels), metric, [raw = metric.get()](Sample& s) { s.value = raw->value(); }});
  return metric;
}

std::shared_ptr<Histogram> Registry::AddHistogram(const std::string& name, const std::string& help,
                                                  std::vector<double> bounds, Labels labels) {
  auto metric = std::make_shared<Histogram>(std::move(bounds));
  Add(name, help, Family::Type::kHistogram,
      {std::move(labels), metric, [raw = metric.get()](Sample& s) {
         s.value = raw->sum();
         s.bounds = raw->bounds();
         uint64_t total = 0;
         for (size_t i = 0; i <= s.bounds.size(); ++i) {
           total += raw->count(i);
           s.cumulative.push_back(total);
         }
       }});
  return metric;
}

Registration Registry::AddFunction(const std::string& name, const std::string& help,
                                   Family::Type type, Labels labels,
                                   std::function<double()> sample) {
  auto kept = std::make_shared<std::function<double()>>(std::move(sample));
  Add(name, help, type,
      {std::move(labels), kept, [raw = kept.get()](Sample& s) { s.value = (*raw)(); }});
  return kept;
}

Registration Registry::AddRate(const std::string& name, const std::string& help, Labels labels,
                               std::function<double()> total, std::chrono::milliseconds interval) {
  struct Rate {
    std::function<double()> total;
    double last_total = 0;
    std::chrono::nanoseconds last_time{0};
    double rate = 0;
  };
  auto kept = std::make_shared<Rate>();
  kept->last_total = total();
  kept->last_time = clock_.Monotonic();
  kept->total = std::move(total);
  Add(name, help, Family::Type::kGauge,
      {std::move(labels), kept, [this, interval, raw = kept.get()](Sample& s) {
         const auto now = clock_.Monotonic();
         const auto elapsed = now - raw->last_time;
         if (elapsed >= interval && elapsed.count() > 0) {
           const double value = raw->total();
           raw->rate = (value - raw->last_total) / std::chrono::duration<double>(elapsed).count();
           raw->last_total = value;
           raw->last_time = now;
         }
         s.value = raw->rate;
       }});
  return kept;
}

std::vector<Family> Registry::Collect() const {
  std::vector<Family> families;
  std::lock_guard lock(mutex_);
  for (auto& [name, slot] : slots_) {
    Family family{name, slot.help, slot.type, {}};
    std::map<Labels, size_t> seen;
    for (const Entry& entry : slot.entries) {
      const std::shared_ptr<void> alive = entry.alive.lock();
      if (!alive) continue;
      Sample sample;
      sample.labels = entry.labels;
      entry.sample(sample);
      if (std::isnan(sample.value)) continue;
      auto [it, fresh] = seen.emplace(entry.labels, family.samples.size());
      if (fresh) {
        family.samples.push_back(std::move(sample));
      } else {
        Join(family.samples[it->second], std::move(sample), slot.type);
      }
    }
    std::erase_if(slot.entries, [](const Entry& e) { return e.alive.expired(); });
    if (!family.samples.empty()) families.push_back(std::move(family));
  }
  return families;
}

}  // namespace weir::metrics
