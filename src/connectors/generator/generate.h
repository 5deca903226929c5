#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "connectors/generator/generator_splits.h"
#include "runtime/source/source.h"

namespace weir {

/// How many rows Generate makes, and how fast.
struct GenerateOptions {
  /// Empty: without end.
  std::optional<uint64_t> count;
  /// Of all subtasks together, changed by `weir rate`. Empty: as fast as the job can take.
  std::optional<double> rate_per_second;
  std::string name = "generator";
};

/// See Generate.
template <class T, class F>
class GeneratorReader final : public SourceReader<T> {
 public:
  GeneratorReader(F f, GenerateOptions options) : f_(std::move(f)), options_(std::move(options)) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    splits_.emplace(context, options_.count.value_or(std::numeric_limits<uint64_t>::max()));
    if (!splits_->at_end()) splits.SplitAdded(0, "generator");
  }

  PollResult Poll(RecordBatch<T>& batch, SplitIndex& split) override {
    split = 0;
    if (splits_->empty() && !options_.count) return PollResult::kNothing;
    if (splits_->at_end()) return PollResult::kEnd;
    uint32_t left = batch.room();
    while (left > 0) {
      const GeneratorSplits::Run run = splits_->Next(left);
      if (run.count == 0) break;
      for (uint64_t i = run.first; i < run.first + run.count; ++i) MakeRow(i, batch);
      left -= run.count;
    }
    return splits_->at_end() ? PollResult::kEnd : PollResult::kMore;
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    state.values[GeneratorSplits::kState] = splits_->Encode();
  }

 private:
  void MakeRow(uint64_t index, RecordBatch<T>& batch) {
    T& row = batch.Append(kNoTimestamp);
    if constexpr (std::is_invocable_r_v<Timestamp, F&, uint64_t, T&>) {
      batch.SetTimestamp(batch.RowAt(batch.size() - 1), f_(index, row));
    } else if constexpr (std::is_invocable_v<F&, uint64_t, T&>) {
      f_(index, row);
    } else {
      row = f_(index);
    }
  }

  F f_;
  const GenerateOptions options_;
  std::optional<GeneratorSplits> splits_;
};

/// A source whose row number i is f(i), for i = 0, 1, 2 ...; the same rows at any parallelism and
/// after any restore. `f` is one of
///
///   T f(uint64_t i)                  a row
///   void f(uint64_t i, T& row)       assigns every field of a reused row: allocates nothing
///   Timestamp f(uint64_t i, T& row)  the same, and gives the row its event time
///
///   env.From(Generate<Order>(MakeOrder, {.count = 1'000'000, .rate_per_second = 10'000}),
///            MonotonousTimestamps(&Order::time))
template <class T, class F>
Source<T> Generate(F f, GenerateOptions options = {}) {
  static_assert(std::is_invocable_v<F&, uint64_t, T&> || std::is_invocable_r_v<T, F&, uint64_t>,
                "a generator's function takes the row's index, and either returns the row or "
                "assigns it through a second parameter T&");
  if (options.rate_per_second && !(*options.rate_per_second > 0)) {
    ThrowError(ErrorKind::kUser, "source " + options.name + ": rate_per_second is " +
                                     std::to_string(*options.rate_per_second) +
                                     "; give a number above 0, or none for no limit");
  }
  return {
      .name = options.name,
      .bounded = options.count.has_value(),
      .max_parallelism = GeneratorSplits::kSplits,
      .rate_per_second = options.rate_per_second,
      .make_reader = [f, options] { return std::make_unique<GeneratorReader<T, F>>(f, options); },
      .validate = {}};
}

}  // namespace weir
