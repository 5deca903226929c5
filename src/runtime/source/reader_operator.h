#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/source/rate_limit.h"
#include "runtime/source/source_operator.h"
#include "runtime/source/watermark_strategy.h"

namespace weir {

/// Runs a SourceReader<T>, keeps one watermark generator per split, and keeps to the source's rate.
template <class T>
class ReaderOperator final : public SourceOperator, private SplitObserver {
 public:
  ReaderOperator(std::unique_ptr<SourceReader<T>> reader, WatermarkStrategy<T> strategy)
      : reader_(std::move(reader)), strategy_(std::move(strategy)) {}

  void Open(OperatorContext& context) override {
    clock_ = context.runtime.clock;
    reader_->OpenSideOutputs(context.side_outputs);
    reader_->Open(context.runtime, *this);
    share_ = reader_->ShareOfRate().value_or(1.0 / context.runtime.parallelism);
    limit_.emplace(*clock_);
    SetRate(rate_);
  }

  void SetRate(std::optional<double> per_second) override {
    rate_ = per_second;
    if (!limit_) return;  // Open does it
    limit_->Set(per_second ? std::optional(*per_second * share_) : std::nullopt);
  }
  std::chrono::nanoseconds NextAllowed() const override {
    return held_since_ ? limit_->Next() : std::chrono::nanoseconds::max();
  }

  PollResult Poll(Batch*& batch) override {
    batch_.Clear();
    batch = &batch_;
    const uint32_t allowed = limit_->Allowed();
    NoteHeld(allowed == 0);
    if (allowed == 0) return PollResult::kNothing;
    batch_.SetLimit(allowed);
    SplitIndex split = 0;
    const PollResult result = reader_->Poll(batch_, split);
    limit_->Spend(batch_.total());
    if (!batch_.empty()) Stamp(split);
    next_poll_ = result == PollResult::kNothing ? reader_->NextPoll() : Timestamp::Max();
    return result;
  }

  // A timer whose only effect is that the subtask is up and polls.
  Timestamp NextProcessingTimer() const override { return next_poll_; }
  void OnProcessingTime(Timestamp) override { next_poll_ = Timestamp::Max(); }

  Timestamp CurrentWatermark() override {
    if (!strategy_.make_generator) return Timestamp::Min();
    Timestamp minimum = Timestamp::Max();
    bool any = false;
    const bool check_idle = strategy_.idle_after.has_value();
    const auto now = check_idle ? ReadingTime() : std::chrono::nanoseconds(0);
    for (Split& split : splits_) {
      if (split.finished) continue;
      if (check_idle && now - split.last_rows > *strategy_.idle_after) split.idle = true;
      if (split.idle) continue;
      any = true;
      minimum = std::min(minimum, split.generator->Current());
    }
    idle_ = !any;
    if (any) watermark_ = std::max(watermark_, minimum);
    return watermark_;
  }

  bool Idle() const override { return idle_; }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    reader_->Snapshot(id, state);
  }
  void NotifyCheckpointComplete(CheckpointId id) override { reader_->NotifyCheckpointComplete(id); }
  void Close() override { reader_->Close(); }

 private:
  struct Split {
    std::unique_ptr<WatermarkGenerator<T>> generator;
    bool finished = false;
    bool idle = false;
    std::chrono::nanoseconds last_rows{0};
  };

  void SplitAdded(SplitIndex split, const std::string&) override {
    Split& entry = At(split);
    entry.finished = false;
    idle_ = false;
  }
  void SplitFinished(SplitIndex split) override { At(split).finished = true; }

  Split& At(SplitIndex split) {
    while (splits_.size() <= split) {
      Split& added = splits_.emplace_back();
      added.finished = true;
      if (strategy_.make_generator) added.generator = strategy_.make_generator();
      added.last_rows = ReadingTime();
    }
    return splits_[split];
  }

  void NoteHeld(bool held) {
    if (held == held_since_.has_value()) return;
    const auto now = clock_->Monotonic();
    if (held) {
      held_since_ = now;
    } else {
      held_for_ += now - *held_since_;
      held_since_.reset();
    }
  }
  /// Monotonic time without what the rate limit took: a split that may not be read is not idle.
  std::chrono::nanoseconds ReadingTime() const {
    return held_since_.value_or(clock_->Monotonic()) - held_for_;
  }

  void Stamp(SplitIndex index) {
    if (strategy_.assign_timestamps) strategy_.assign_timestamps(batch_);
    if (!strategy_.make_generator) return;
    if (index >= splits_.size()) SplitAdded(index, {});
    Split& split = splits_[index];
    split.idle = false;
    idle_ = false;
    if (strategy_.idle_after) split.last_rows = ReadingTime();
    split.generator->OnBatch(batch_);
  }

  const std::unique_ptr<SourceReader<T>> reader_;
  const WatermarkStrategy<T> strategy_;
  const Clock* clock_ = nullptr;
  RecordBatch<T> batch_;
  std::vector<Split> splits_;
  std::optional<double> rate_;
  double share_ = 1;
  std::optional<RateLimit> limit_;  // from Open on
  std::optional<std::chrono::nanoseconds> held_since_;
  std::chrono::nanoseconds held_for_{0};
  Timestamp watermark_ = Timestamp::Min();
  Timestamp next_poll_ = Timestamp::Max();
  bool idle_ = true;
};

}  // namespace weir
