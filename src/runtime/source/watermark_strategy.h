#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/timestamp.h"
#include "runtime/element/batch.h"
#include "runtime/operator/runtime_context.h"

namespace weir {

/// Derives watermarks from the rows of one split. Slot thread only.
template <class T>
class WatermarkGenerator {
 public:
  using RowType = T;
  virtual ~WatermarkGenerator() = default;
  /// Before the first row. The context (with its clock, for one that looks at processing time)
  /// stays valid.
  virtual void Open(const RuntimeContext&) {}
  /// Rows of the split, timestamps already assigned.
  virtual void OnBatch(RecordBatch<T>& batch) = 0;
  /// No row with an earlier or equal timestamp is expected any more; Timestamp::Min(): unknown.
  /// Asked at every watermark interval, whether rows came or not.
  virtual Timestamp Current() const = 0;
};

/// Trails the highest timestamp by a bound: rows may be late against each other by less than it.
/// As in Flink the watermark is max - bound - 1 ms, because a watermark closes its own millisecond.
template <class T>
class BoundedOutOfOrdernessGenerator final : public WatermarkGenerator<T> {
 public:
  explicit BoundedOutOfOrdernessGenerator(std::chrono::milliseconds bound) : bound_(bound) {}
  void OnBatch(RecordBatch<T>& batch) override {
    Timestamp max = max_;
    batch.ForEach([&](T&, Timestamp t) { max = std::max(max, t); });
    max_ = max;
  }
  Timestamp Current() const override {
    if (max_ == Timestamp::Min()) return max_;
    return max_ - bound_ - std::chrono::milliseconds(1);
  }

 private:
  const std::chrono::milliseconds bound_;
  Timestamp max_ = Timestamp::Min();
};

/// Some rows say themselves how far event time is: `f(row)` gives a watermark or nothing.
template <class T, class F>
class PunctuatedGenerator final : public WatermarkGenerator<T> {
 public:
  explicit PunctuatedGenerator(F f) : f_(std::move(f)) {}
  void OnBatch(RecordBatch<T>& batch) override {
    batch.ForEach([&](T& row, Timestamp) {
      const std::optional<Timestamp> watermark = f_(std::as_const(row));
      if (watermark) watermark_ = std::max(watermark_, *watermark);
    });
  }
  Timestamp Current() const override { return watermark_; }

 private:
  F f_;
  Timestamp watermark_ = Timestamp::Min();
};

/// How a source's rows get event time: who stamps them, how watermarks follow, when a silent split
/// stops holding the others back.
template <class T>
struct WatermarkStrategy {
  /// Event time of a row; empty: the source's own timestamps are kept.
  std::function<void(RecordBatch<T>&)> assign_timestamps;
  /// Empty: the source's own watermarks, if it has any; else processing time only.
  std::function<std::unique_ptr<WatermarkGenerator<T>>()> make_generator;
  /// A split without rows for this long is idle.
  std::optional<std::chrono::milliseconds> idle_after;

  WatermarkStrategy WithIdleness(std::chrono::milliseconds after) && {
    idle_after = after;
    return std::move(*this);
  }
};

}  // namespace weir
