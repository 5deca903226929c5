#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "runtime/sink/sink.h"
#include "runtime/source/source.h"

namespace weir::bench {

/// The input of the state benchmarks.
struct KeyedRow {
  uint64_t key = 0;
  int64_t value = 0;
};

/// What is kept per key: 16 bytes.
struct CountAndSum {
  int64_t count = 0;
  int64_t sum = 0;
};

struct AddCountAndSum {
  using Accumulator = CountAndSum;
  void Add(const KeyedRow& row, CountAndSum& into) const {
    ++into.count;
    into.sum += row.value;
  }
  const CountAndSum& GetResult(const CountAndSum& accumulator) const { return accumulator; }
};

inline int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The times between two batches that reached the sink: the longest of each millisecond, by when
/// they ended. One thread notes, any thread asks.
class Gaps {
 public:
  static constexpr int64_t kStepNs = 1'000'000;

  void Note(int64_t now_ns, int64_t gap_ns) {
    // Steps are reused after ten minutes; what is older is forgotten as they pass.
    const int64_t step = now_ns / kStepNs;
    for (int64_t s = std::max(last_ + 1, step - kSteps + 1); s <= step; ++s) At(s) = 0;
    last_ = step;
    std::atomic<int64_t>& longest = At(step);
    if (gap_ns > longest.load(std::memory_order_relaxed)) longest = gap_ns;
  }
  /// Of those that ended in this time, which is not ten minutes ago.
  int64_t Longest(int64_t from_ns, int64_t to_ns) const {
    int64_t longest = 0;
    for (int64_t s = from_ns / kStepNs; s <= to_ns / kStepNs; ++s) {
      longest = std::max(longest, steps_[s % kSteps].load(std::memory_order_relaxed));
    }
    return longest;
  }
  /// All that ended in this time together; of those in one millisecond only the longest.
  int64_t Sum(int64_t from_ns, int64_t to_ns) const {
    int64_t sum = 0;
    for (int64_t s = from_ns / kStepNs; s <= to_ns / kStepNs; ++s) {
      sum += steps_[s % kSteps].load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr int64_t kSteps = 600'000;
  std::atomic<int64_t>& At(int64_t step) { return steps_[step % kSteps]; }

  std::vector<std::atomic<int64_t>> steps_ = std::vector<std::atomic<int64_t>>(kSteps);
  int64_t last_ = 0;  // the noting thread's
};

/// What the benchmark's main thread tells the job's source and hears from its
/// sink.
struct Controls {
  /// Rows per second; 0: none, kUnlimited: as many as the job takes.
  static constexpr double kUnlimited = -1;
  std::atomic<double> rate{0};

  std::atomic<uint64_t> rows{0};
  std::atomic<int64_t> sum{0};
  Gaps gaps;
  /// Slot thread, if set: from one batch to the next. Before the job starts.
  std::function<void(int64_t from_ns, int64_t to_ns)> on_gap;
};

/// Fills rows with keys; called on the slot thread.
using KeyFiller = std::function<void(KeyedRow* rows, uint32_t count)>;

class ControlledReader final : public SourceReader<KeyedRow> {
 public:
  ControlledReader(Controls* controls, KeyFiller fill)
      : controls_(controls), fill_(std::move(fill)) {}
  void Open(const RuntimeContext&, SplitObserver& splits) override { splits.SplitAdded(0, "keys"); }
  PollResult Poll(RecordBatch<KeyedRow>& batch, SplitIndex& split) override {
    split = 0;
    const double rate = controls_->rate.load(std::memory_order_relaxed);
    if (rate == 0) return PollResult::kNothing;
    if (rate > 0) {
      const int64_t now = NowNs();
      // What a pause kept back comes at once, up to 100 ms of it.
      due_ = std::max(due_, now - 100'000'000);
      if (due_ > now) return PollResult::kNothing;
      due_ += static_cast<int64_t>(Batch::kCapacity * 1e9 / rate);
    }
    const auto rows = batch.Extend(Batch::kCapacity);
    fill_(rows.rows, Batch::kCapacity);
    std::fill_n(rows.timestamps, Batch::kCapacity, kNoTimestamp);
    return PollResult::kMore;
  }
  Timestamp NextPoll() override { return Timestamp{Clock::System().Now().ms + 1}; }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  Controls* const controls_;
  const KeyFiller fill_;
  int64_t due_ = 0;
};

class CountingWriter final : public SinkWriter<Keyed<uint64_t, CountAndSum>> {
 public:
  explicit CountingWriter(Controls* controls) : controls_(controls) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<Keyed<uint64_t, CountAndSum>>& batch) override {
    int64_t sum = 0;
    batch.ForEach([&](Keyed<uint64_t, CountAndSum>& row, Timestamp) { sum += row.value.sum; });
    controls_->sum.store(controls_->sum.load(std::memory_order_relaxed) + sum,
                         std::memory_order_relaxed);
    controls_->rows.store(controls_->rows.load(std::memory_order_relaxed) + batch.size(),
                          std::memory_order_relaxed);
    const int64_t now = NowNs();
    if (last_ != 0) {
      controls_->gaps.Note(now, now - last_);
      if (controls_->on_gap) controls_->on_gap(last_, now);
    }
    last_ = now;
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  Controls* const controls_;
  int64_t last_ = 0;
};

/// Source, hash edge, count and sum per key, counting sink.
inline void BuildKeyedJob(Environment& env, Controls* controls, KeyFiller fill) {
  env.settings().parallelism = 1;
  Source<KeyedRow> source{
      .name = "keys",
      .bounded = false,
      .max_parallelism = {},
      .make_reader = [controls,
                      fill] { return std::make_unique<ControlledReader>(controls, fill); },
      .validate = {}};
  Sink<Keyed<uint64_t, CountAndSum>> sink{
      .name = "count",
      .make_writer = [controls] { return std::make_unique<CountingWriter>(controls); },
      .validate = {}};
  env.From(std::move(source)).KeyBy(&KeyedRow::key).Aggregate(AddCountAndSum()).To(std::move(sink));
}

/// A bijection of [0, 2^64) that spreads neighbours.
inline uint64_t Scatter(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// Keys of a benchmark: number i of n is Scatter(i), so that order and hash
/// mean nothing.
inline std::vector<uint32_t> UniformKeys(uint32_t keys, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> drawn(count);
  for (uint32_t& key : drawn) key = static_cast<uint32_t>(random() % keys);
  return drawn;
}

/// Zipf: number i has weight 1 / (i + 1)^skew. Drawn from the exact cumulative
/// weights.
inline std::vector<uint32_t> ZipfKeys(uint32_t keys, double skew, size_t count, uint64_t seed) {
  std::vector<double> cumulative(keys);
  double total = 0;
  for (uint32_t i = 0; i < keys; ++i) cumulative[i] = total += std::pow(i + 1, -skew);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0, total);
  std::vector<uint32_t> drawn(count);
  for (uint32_t& key : drawn) {
    key = static_cast<uint32_t>(
        std::lower_bound(cumulative.begin(), cumulative.end(), uniform(random)) -
        cumulative.begin());
    key = std::min(key, keys - 1);
  }
  return drawn;
}

}  // namespace weir::bench
