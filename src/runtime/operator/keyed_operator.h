#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "runtime/operator/event_time.h"
#include "runtime/operator/operator.h"
#include "state/keyed_state.h"

namespace weir {

/// Counts down to the next look at OperatorContext::should_yield, which reads a clock: once for
/// every kEvery keys that are fired, or looked at to see whether they are due.
class YieldCheck {
 public:
  static constexpr uint32_t kEvery = 64;

  void Open(std::function<bool()> should_yield) { should_yield_ = std::move(should_yield); }
  bool operator()() {
    if (++count_ < kEvery) return false;
    count_ = 0;
    return should_yield_ && should_yield_();
  }

 private:
  std::function<bool()> should_yield_;
  uint32_t count_ = 0;
};

/// An operator with one keyed input and state per key of type K: owns the state backend, keeps
/// event time. Slot thread only.
///
/// Event time is part of a checkpoint, for each key as far as it was: what was late before a
/// failure is late after it, and what has fired does not fire again. Not the end of time, once
/// everything due has fired: a job that was drained and goes on has rows to come, and one that ends
/// says again that time has ended.
template <class K>
class KeyedOperator : public Operator {
 public:
  void Open(OperatorContext& context) final {
    output_ = context.output;
    yield_.Open(context.should_yield);
    time_.Restore(context.runtime.restored_state, context.keyed_state.key_groups,
                  context.keyed_state.max_parallelism);
    passing_ = time_.latest() != Timestamp::Min();
    state_.emplace(context.keyed_state);
    OpenKeyed(context);
    state_->FinishOpen();
  }

  KeyedStateBackend* keyed_state() final { return &*state_; }

  void ProcessWatermark(Timestamp watermark) final {
    time_.Advance(watermark);
    passing_ = true;
    Resume();
  }
  /// After a restore too: a checkpoint may have fallen between two keys that were due.
  bool HasPendingWork() const final { return passing_; }
  void Resume() final {
    if (!FireEventTime()) return;
    passing_ = false;
    if (watermark() != Timestamp::Min()) output_->EmitWatermark(watermark());
  }
  void ProcessIdle() override { output_->EmitIdle(); }

  void Snapshot(CheckpointId, OperatorStateSnapshot& snapshot) override {
    if (watermark() == Timestamp::Max() && !passing_) return;
    time_.Snapshot(snapshot.values);
  }

 protected:
  /// Opens states on state().
  virtual void OpenKeyed(OperatorContext& context) = 0;

  /// Emits what is due: for every key up to TimeOf. False when it stopped because yield_ said so,
  /// to be called again.
  virtual bool FireEventTime() { return true; }

  /// TimerService::Fire for timers of event time.
  template <class Timers, class F>
  bool FireTimers(Timers& timers, F&& f) {
    if (time_.even()) return timers.Fire(time_.watermark(), f);
    return timers.FireEach(
        time_.watermark(), time_.latest(), [this](uint64_t key_hash) { return time_.Of(key_hash); },
        f, [this] { return yield_(); });
  }

  KeyedState<K>& state() { return *state_; }

  /// Event time of all keys, or of the last ones: see EventTime.
  Timestamp watermark() const { return time_.watermark(); }
  /// Of one key: what came with it at this time or before was late.
  Timestamp TimeOf(uint64_t key_hash) const { return time_.Of(key_hash); }
  /// TimeOf is the same for all keys.
  bool even_time() const { return time_.even(); }

  Output* output_ = nullptr;
  YieldCheck yield_;

 private:
  std::optional<KeyedState<K>> state_;
  EventTime time_;
  bool passing_ = false;  // the watermark has not been passed on yet
};

}  // namespace weir
