#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/operator/collector.h"
#include "runtime/operator/keyed_operator.h"
#include "runtime/operator/keyed_process_operator.h"
#include "runtime/operator/keyed_rows.h"
#include "runtime/operator/process_operator.h"
#include "runtime/operator/window/restored_windows.h"
#include "runtime/operator/window/time_windows.h"
#include "runtime/operator/window/window_options.h"
#include "state/list_state.h"
#include "state/timer_service.h"

namespace weir {

/// A user's function over all rows of a key in a window. Every row is kept until the window is
/// final: where an aggregate will do, it costs far less.
template <class KeyT, class InT, class OutT>
class ProcessWindowFunction {
 public:
  using KeyType = KeyT;
  using InType = InT;
  using OutType = OutT;

  class Context {
   public:
    const TimeWindow& window() const { return window_; }
    /// How far event time is for this key.
    Timestamp watermark() const { return watermark_; }
    Timestamp processing_time() const { return clock_->Now(); }
    template <class U>
    void Output(const OutputTag<U>& tag, std::type_identity_t<U> row) {
      sides_.Collect(tag, std::move(row), window_.MaxTimestamp());
    }

   private:
    template <class F, class KeySelector>
    friend class WindowProcessOperator;
    TimeWindow window_;
    Timestamp watermark_ = Timestamp::Min();
    const Clock* clock_ = nullptr;
    SideOutputs sides_;
  };

  virtual ~ProcessWindowFunction() = default;
  /// States opened here belong to the key, across windows.
  virtual void Open(KeyedContext&) {}
  /// `rows` in the order of their arrival. Called again when a late row is allowed in.
  virtual void Process(const KeyT& key, Context& context, const std::vector<InT>& rows,
                       Collector<OutT>& out) = 0;
  virtual void Close() {}
};

/// The general window operator: the rows of each key and window, and a timer for each. Same rules
/// as SlicedWindowOperator.
template <class F, class KeySelector>
class WindowProcessOperator final : public KeyedOperator<typename F::KeyType> {
  using K = typename F::KeyType;
  using In = typename F::InType;
  using Out = typename F::OutType;
  static_assert(std::is_same_v<K, typename KeyedRows<In, KeySelector>::K>,
                "the function's key type is not that of KeyBy");

 public:
  WindowProcessOperator(KeySelector key, TimeWindows windows, WindowOptions<In> options, F f)
      : windows_(windows),
        options_(std::move(options)),
        event_time_(windows.domain() == TimeDomain::kEventTime),
        lateness_(event_time_ ? options_.allowed_lateness.count() : 0),
        rows_(std::move(key)),
        f_(std::move(f)) {}

  void ProcessBatch(uint32_t, Batch& batch) override {
    rows_.Load(static_cast<RecordBatch<In>&>(batch));
    if (!event_time_) now_ = std::max(now_, context_.clock_->Now().ms);
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      this->state().SetCurrentKey(rows_.key(i), rows_.hash(i));
      if (!Add(i)) dropped += TooLate(i);
    }
    this->state().ClearCurrentKey();
    if (dropped > 0 && add_to_counter_)
      add_to_counter_(kLateRecordsDropped, static_cast<int64_t>(dropped));
    Flush();
  }

  Timestamp NextProcessingTimer() const override {
    return event_time_ ? Timestamp::Max() : timers_.Next();
  }
  void OnProcessingTime(Timestamp now) override {
    if (event_time_) return;
    now_ = std::max(now_, now.ms);
    timers_.Fire(Timestamp{now_}, OnTimer());
    this->state().ClearCurrentKey();
    Flush();
  }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& snapshot) override {
    KeyedOperator<K>::Snapshot(id, snapshot);
    snapshot.values[kWindowsValue] = windows_.Describe();
  }

  void Close() override {
    if (opened_) f_.Close();
  }

 private:
  void OpenKeyed(OperatorContext& context) override {
    CheckRestoredWindows(context.runtime.restored_state, context.runtime.operator_uid, windows_);
    window_rows_ = ListState<In>::Open(this->state(), "weir.rows", StateScope::kKeyAndNamespace);
    timers_ = TimerService<K>::Open(this->state(), "weir.windows");
    context_.clock_ = context.runtime.clock;
    context_.sides_.Open(context.side_outputs, context.runtime.log_warning);
    out_.Open(context.output);
    add_to_counter_ = context.runtime.add_to_counter;
    operator_uid_ = context.runtime.operator_uid;
    KeyedContext keyed(context.runtime, this->state());
    f_.Open(keyed);
    opened_ = true;
  }

  // A window fires when its last millisecond is over. In event time the watermark's own
  // millisecond is, in processing time the clock's is not.
  int64_t FireTime(int64_t end) const { return event_time_ ? end - 1 : end; }

  // False when all of the row's windows are final.
  bool Add(uint32_t i) {
    const int64_t given = event_time_ ? rows_.timestamp(i).ms : now_;
    if (given == kNoTimestamp.ms) ThrowNoTimestamp(operator_uid_);
    const int64_t time = TimeWindows::Within(given);
    const int64_t passed =
        event_time_ ? this->TimeOf(rows_.hash(i)).ms : std::numeric_limits<int64_t>::min();
    bool added = false;
    for (int64_t start = windows_.LastStart(time); start > time - windows_.size();
         start -= windows_.slide()) {
      const int64_t end = start + windows_.size();
      const int64_t final = AddLateness(FireTime(end), lateness_);
      if (final <= passed) return added;  // and so are the windows before it
      added = true;
      this->state().SetCurrentNamespace(end);
      window_rows_.Add(rows_.row(i));
      if (FireTime(end) <= passed) {
        Process(rows_.key(i), rows_.hash(i), end);
      } else {
        timers_.Register(Timestamp{FireTime(end)}, rows_.key(i), rows_.hash(i), end);
      }
      if (lateness_ > 0) timers_.Register(Timestamp{final}, rows_.key(i), rows_.hash(i), end);
    }
    return added || !windows_.InSomeWindow(time);
  }

  uint64_t TooLate(uint32_t i) {
    if (!options_.late) return 1;
    context_.sides_.Collect(*options_.late, In(rows_.row(i)), rows_.timestamp(i));
    return 0;
  }

  bool FireEventTime() override {
    if (!event_time_) return true;
    const bool done = this->FireTimers(timers_, OnTimer());
    this->state().ClearCurrentKey();
    Flush();
    return done;
  }

  auto OnTimer() {
    return [this](const TimerKey<K>& timer, uint64_t hash) {
      const int64_t end = timer.name_space;
      this->state().SetCurrentKey(timer.key, hash);
      this->state().SetCurrentNamespace(end);
      if (timer.time_ms == FireTime(end)) Process(timer.key, hash, end);
      if (timer.time_ms == AddLateness(FireTime(end), lateness_)) window_rows_.Clear();
      return !this->yield_();
    };
  }

  void Process(const K& key, uint64_t hash, int64_t end) {
    size_t count = 0;
    window_rows_.ForEach([&](const In& row) {
      if (count == collected_.size()) collected_.emplace_back();
      collected_[count++] = row;
    });
    if (count == 0) return;
    collected_.resize(count);
    context_.window_ = windows_.WindowOf(end);
    context_.watermark_ = this->TimeOf(hash);
    out_.SetTimestamp(context_.window_.MaxTimestamp());
    f_.Process(key, context_, std::as_const(collected_), out_);
  }

  void Flush() {
    out_.Flush();
    context_.sides_.Flush();
  }

  const TimeWindows windows_;
  const WindowOptions<In> options_;
  const bool event_time_;
  const int64_t lateness_;
  KeyedRows<In, KeySelector> rows_;
  F f_;

  ListState<In> window_rows_;
  mutable TimerService<K> timers_;  // Next() drops deleted ones from a heap
  int64_t now_ = std::numeric_limits<int64_t>::min();
  std::vector<In> collected_;
  typename F::Context context_;
  Collector<Out> out_;
  std::function<void(const std::string&, int64_t)> add_to_counter_;
  std::string operator_uid_;
  bool opened_ = false;
};

}  // namespace weir
