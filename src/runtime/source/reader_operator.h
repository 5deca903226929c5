#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/serde/serde.h"
#include "runtime/element/record_limit.h"
#include "runtime/source/rate_limit.h"
#include "runtime/source/source_operator.h"
#include "runtime/source/watermark_strategy.h"

namespace weir {

/// Runs a SourceReader<T>, keeps one watermark generator per split, and keeps to the source's rate.
///
/// The watermark is part of a checkpoint: one that turned unaligned holds none that are on their
/// way, and what they make due must not wait until there are rows again. After a restore the source
/// begins with the least of its former subtasks that were not idle: none of their splits is behind
/// it, and idle ones held nobody back before the failure either. Were all of them idle, it begins
/// with the greatest: so far event time had come, or would have with another order of silences.
template <class T>
class ReaderOperator final : public SourceOperator, private SplitObserver {
 public:
  ReaderOperator(std::unique_ptr<SourceReader<T>> reader, WatermarkStrategy<T> strategy)
      : reader_(std::move(reader)), strategy_(std::move(strategy)) {
    if (reader_ == nullptr) ThrowError(ErrorKind::kUser, "make_reader returned no reader");
  }

  void Open(OperatorContext& context) override {
    clock_ = context.runtime.clock;
    context_ = &context.runtime;
    counted_at_ = clock_->Monotonic();
    RestoreWatermark(context.runtime.restored_state);
    reader_->OpenSideOutputs(context.side_outputs);
    reader_->Open(context.runtime, *this);
    limit_.emplace(*clock_);
    share_ = Share();
    SetRate(rate_);
  }

  void SetRate(std::optional<double> per_second) override {
    rate_ = per_second;
    if (!limit_) return;  // Open does it
    limit_->Set(per_second ? std::optional(*per_second * share_) : std::nullopt);
  }
  std::chrono::nanoseconds NextAllowed() const override {
    return held_ ? limit_->Next() : std::chrono::nanoseconds::max();
  }

  PollResult Poll(Batch*& batch) override {
    if (bytes_ > kLargestKeptBatchBytes) batch_.Release();
    batch_.Clear();
    batch = &batch_;
    PassReadingTime();
    if (rate_ && share_ != Share()) {
      share_ = Share();
      SetRate(rate_);
    }
    const uint32_t allowed = limit_->Allowed();
    held_ = allowed == 0;
    if (held_) return PollResult::kNothing;
    batch_.SetLimit(std::min(allowed, FullAt()));
    SplitIndex split = 0;
    const PollResult result = reader_->Poll(batch_, split);
    ended_ = result == PollResult::kEnd;
    limit_->Spend(batch_.total());
    Measure();
    if (!batch_.empty()) Stamp(split);
    next_poll_ = result == PollResult::kNothing ? reader_->NextPoll() : Timestamp::Max();
    if (strategy_.idle_after) {
      countable_ = *strategy_.idle_after / (result == PollResult::kNothing ? 2 : 100);
    }
    return result;
  }
  void SetRoom(bool room) override {
    PassReadingTime();
    room_ = room;
  }

  // A timer whose only effect is that the subtask is up and polls.
  Timestamp NextProcessingTimer() const override { return next_poll_; }
  void OnProcessingTime(Timestamp) override { next_poll_ = Timestamp::Max(); }

  Timestamp CurrentWatermark() override {
    Timestamp minimum = Timestamp::Max();
    bool any = false;
    for (SplitIndex i = 0; i < splits_.size(); ++i) {
      Split& split = splits_[i];
      if (split.finished) continue;
      if (strategy_.idle_after && !split.idle) LookInto(i);
      if (split.idle) continue;
      any = true;
      minimum = std::min(minimum, split.generator ? split.generator->Current() : split.watermark);
    }
    idle_ = !any;
    if (any) watermark_ = std::max(watermark_, minimum);
    return watermark_;
  }

  bool Idle() const override { return idle_; }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    reader_->Snapshot(id, state);
    // Of all rows given so far: the last time it was asked for may have been before the last batch,
    // where a barrier leaves without room for a watermark.
    CurrentWatermark();
    // What has ended says nothing of event time, nor does an idle subtask that never had a row.
    if (ended_ || watermark_ == Timestamp::Max()) return;
    if (idle_ && watermark_ == Timestamp::Min()) return;
    state.values[idle_ ? kIdleWatermark : kWatermark] = SerdeEncode(watermark_.ms);
  }
  void NotifyCheckpointComplete(CheckpointId id) override { reader_->NotifyCheckpointComplete(id); }
  void Close() override { reader_->Close(); }

 private:
  // One or the other. Builds before the second was known wrote the first for idle subtasks, too.
  static constexpr const char* kWatermark = "weir.watermark";
  static constexpr const char* kIdleWatermark = "weir.idle-watermark";

  struct Split {
    std::unique_ptr<WatermarkGenerator<T>> generator;  // null: the source's own watermarks
    Timestamp watermark = Timestamp::Min();
    bool finished = true;
    bool idle = false;
    std::chrono::nanoseconds heard{0};  // in reading time
  };

  void RestoreWatermark(std::vector<RestoredOperatorState>& formers) {
    std::optional<Timestamp> least;
    std::optional<Timestamp> idle;
    for (RestoredOperatorState& former : formers) {
      if (const auto time = TakeTime(former, kWatermark)) {
        least = std::min(least.value_or(*time), *time);
      }
      if (const auto time = TakeTime(former, kIdleWatermark)) {
        idle = std::max(idle.value_or(*time), *time);
      }
    }
    watermark_ = least ? *least : idle.value_or(watermark_);
  }
  // Out of it: the rest of the state is the reader's own.
  static std::optional<Timestamp> TakeTime(RestoredOperatorState& former, const char* name) {
    const auto value = former.values.extract(name);
    if (value.empty()) return std::nullopt;
    Timestamp time;
    if (!SerdeDecode(value.mapped(), time.ms)) {
      ThrowError(ErrorKind::kInternal, "the restored watermark of the source is damaged");
    }
    return time;
  }

  // Rows as large as the last ones were fill a batch when there are so many.
  uint32_t FullAt() const {
    if (bytes_ == 0) return Batch::kCapacity;
    return static_cast<uint32_t>(
        std::clamp(measured_ * kFullBatchBytes / bytes_, size_t{1}, size_t{Batch::kCapacity}));
  }
  void Measure() {
    if constexpr (kRowsVary<T>) {
      measured_ = batch_.total();
      bytes_ = 0;
      batch_.ForEach([this](const T& row, Timestamp) { bytes_ += RowBytes(row); });
    }
  }

  double Share() const { return reader_->ShareOfRate().value_or(1.0 / context_->parallelism); }

  void SplitAdded(SplitIndex index, const std::string&) override {
    Split& split = At(index);
    split.finished = false;
    Heard(split);
  }
  void SplitFinished(SplitIndex index) override { At(index).finished = true; }
  void EmitWatermark(SplitIndex index, Timestamp watermark) override {
    Split& split = At(index);
    if (split.generator) return;  // nor is it heard of: rows alone count
    split.watermark = std::max(split.watermark, watermark);
    Heard(split);
  }

  Split& At(SplitIndex index) {
    while (splits_.size() <= index) {
      Split& added = splits_.emplace_back();
      if (!strategy_.make_generator) continue;
      added.generator = strategy_.make_generator();
      added.generator->Open(*context_);
    }
    return splits_[index];
  }
  bool LooksForIdleSplits() const override { return strategy_.idle_after.has_value(); }
  void Heard(Split& split) {
    split.heard = reading_time_;
    split.idle = false;
    idle_ = false;
  }

  /// Reading time is what a split must be silent for to be idle. It stands still while the rate
  /// limit holds the reader and while the subtask has no room: what could not be read was not
  /// silent. For the same reason the time that rows take counts in part only. So a split is idle
  /// after a hundred polls that had rows of others at the earliest, or when nothing was found.
  void PassReadingTime() {
    const std::chrono::nanoseconds now = clock_->Monotonic();
    if (room_ && !held_) {
      const std::chrono::nanoseconds counted = std::min(now - counted_at_, countable_);
      reading_time_ += counted;
      countable_ -= counted;
    }
    counted_at_ = now;
  }

  void LookInto(SplitIndex index) {
    Split& split = splits_[index];
    const std::chrono::nanoseconds silent = reading_time_ - split.heard;
    if (silent <= *strategy_.idle_after / 2) return;
    const SplitSilence silence = reader_->LookInto(index);
    if (silence == SplitSilence::kBroken) Heard(split);
    if (silence == SplitSilence::kReal && silent > *strategy_.idle_after) split.idle = true;
  }

  void Stamp(SplitIndex index) {
    if (strategy_.assign_timestamps) strategy_.assign_timestamps(batch_);
    if (index >= splits_.size()) SplitAdded(index, {});
    Split& split = splits_[index];
    Heard(split);
    if (split.generator) split.generator->OnBatch(batch_);
  }

  const std::unique_ptr<SourceReader<T>> reader_;
  const WatermarkStrategy<T> strategy_;
  const Clock* clock_ = nullptr;
  const RuntimeContext* context_ = nullptr;
  RecordBatch<T> batch_;
  size_t measured_ = 0;  // rows of the last poll
  size_t bytes_ = 0;     // what they took
  std::vector<Split> splits_;
  std::optional<double> rate_;
  double share_ = 1;
  std::optional<RateLimit> limit_;  // from Open on
  bool held_ = false;               // by the limit, since the last Poll
  bool room_ = true;                // the subtask's
  std::chrono::nanoseconds reading_time_{0};
  std::chrono::nanoseconds counted_at_{0};  // until when reading_time_ has been counted
  std::chrono::nanoseconds countable_{0};   // of the time until the next poll
  Timestamp watermark_ = Timestamp::Min();
  Timestamp next_poll_ = Timestamp::Max();
  bool idle_ = true;
  bool ended_ = false;  // the reader said so
};

}  // namespace weir
