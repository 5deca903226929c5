#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/serde/serde.h"
#include "runtime/operator/operator.h"
#include "state/keyed_state.h"

namespace weir {

/// Counts down to the next look at OperatorContext::should_yield, which reads a clock: once for
/// every kEvery keys that are fired.
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

/// An operator with one keyed input and state per key of type K: owns the state backend, keeps the
/// watermark. Slot thread only.
///
/// The watermark is part of a checkpoint: what was late before a failure is late after it. Not that
/// of the end of time, once everything due has fired: a job that was drained and goes on has rows
/// to come, and one that ends says again that time has ended.
template <class K>
class KeyedOperator : public Operator {
 public:
  void Open(OperatorContext& context) final {
    output_ = context.output;
    yield_.Open(context.should_yield);
    for (const RestoredOperatorState& former : context.runtime.restored_state) RestoreTime(former);
    if (restored_watermark_) watermark_ = *restored_watermark_;
    passing_ = watermark_ != Timestamp::Min();
    state_.emplace(context.keyed_state);
    OpenKeyed(context);
    state_->FinishOpen();
  }

  KeyedStateBackend* keyed_state() final { return &*state_; }

  void ProcessWatermark(Timestamp watermark) final {
    watermark_ = std::max(watermark_, watermark);
    passing_ = true;
    Resume();
  }
  /// After a restore too: a checkpoint may have fallen between two keys that were due.
  bool HasPendingWork() const final { return passing_; }
  void Resume() final {
    if (!FireEventTime()) return;
    passing_ = false;
    output_->EmitWatermark(watermark_);
  }
  void ProcessIdle() override { output_->EmitIdle(); }

  void Snapshot(CheckpointId, OperatorStateSnapshot& snapshot) override {
    if (watermark_ == Timestamp::Max() && !passing_) return;
    snapshot.values[kWatermark] = SerdeEncode(watermark_.ms);
  }

 protected:
  /// Opens states on state().
  virtual void OpenKeyed(OperatorContext& context) = 0;

  /// Emits what is due at watermark_. False when it stopped because yield_ said so, to be called
  /// again.
  virtual bool FireEventTime() { return true; }

  KeyedState<K>& state() { return *state_; }

  Output* output_ = nullptr;
  Timestamp watermark_ = Timestamp::Min();
  YieldCheck yield_;

 private:
  static constexpr const char* kWatermark = "watermark";

  // Aligned barriers reach all subtasks at the same watermark; otherwise the lowest one is safe.
  void RestoreTime(const RestoredOperatorState& former) {
    const auto value = former.values.find(kWatermark);
    if (value == former.values.end()) return;
    Timestamp watermark;
    if (!SerdeDecode(value->second, watermark.ms)) {
      ThrowError(ErrorKind::kInternal, "the restored watermark is damaged");
    }
    restored_watermark_ = std::min(restored_watermark_.value_or(watermark), watermark);
  }

  std::optional<KeyedState<K>> state_;
  std::optional<Timestamp> restored_watermark_;
  bool passing_ = false;  // watermark_ has not been passed on yet
};

}  // namespace weir
