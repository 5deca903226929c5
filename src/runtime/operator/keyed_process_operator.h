#pragma once

#include <string>
#include <utility>

#include "runtime/operator/collector.h"
#include "runtime/operator/keyed_operator.h"
#include "runtime/operator/keyed_rows.h"
#include "runtime/operator/process_operator.h"
#include "runtime/operator/time_domain.h"
#include "state/list_state.h"
#include "state/map_state.h"
#include "state/timer_service.h"
#include "state/value_state.h"

namespace weir {

/// What a keyed function is given at Open: where it runs, and the states it declares. Every state
/// has a name of its own in the operator; a handle is used while a row or timer is processed, and
/// always concerns the current key.
class KeyedContext {
 public:
  KeyedContext(const RuntimeContext& runtime, KeyedStateBackend& backend)
      : runtime_(runtime), backend_(backend) {}

  const RuntimeContext& runtime() const { return runtime_; }

  template <class V>
  ValueState<V> GetValueState(const std::string& name) {
    return ValueState<V>::Open(backend_, name);
  }
  template <class E>
  ListState<E> GetListState(const std::string& name) {
    return ListState<E>::Open(backend_, name);
  }
  template <class MK, class MV>
  MapState<MK, MV> GetMapState(const std::string& name) {
    return MapState<MK, MV>::Open(backend_, name);
  }
  /// reduce(const V& so_far, V added) gives the new value.
  template <class V, class Reduce>
  ReducingState<V, Reduce> GetReducingState(const std::string& name, Reduce reduce) {
    return ReducingState<V, Reduce>::Open(backend_, name, std::move(reduce));
  }
  template <class A>
  AggregatingState<A> GetAggregatingState(const std::string& name, A aggregate) {
    return AggregatingState<A>::Open(backend_, name, std::move(aggregate));
  }

 private:
  const RuntimeContext& runtime_;
  KeyedStateBackend& backend_;
};

/// A user's function over the rows of a key, with state and timers. Derive from it, override
/// ProcessElement, and OnTimer if it registers any.
template <class KeyT, class InT, class OutT>
class KeyedProcessFunction {
 public:
  using KeyType = KeyT;
  using InType = InT;
  using OutType = OutT;

  class Context {
   public:
    const KeyT& key() const { return state_->current_key(); }
    /// Event time of the row or timer; kNoTimestamp for a row without and in processing time.
    Timestamp timestamp() const { return timestamp_; }
    /// How far event time is for this key.
    Timestamp watermark() const { return watermark_; }
    Timestamp processing_time() const { return clock_->Now(); }

    /// Calls OnTimer when the watermark (or the clock) reaches `time`; at the next opportunity if
    /// it has already. For one key and time there is one timer, however often it is registered.
    void RegisterEventTimeTimer(Timestamp time) {
      event_timers_.Register(time, key(), state_->current_hash());
    }
    void RegisterProcessingTimeTimer(Timestamp time) {
      processing_timers_.Register(time, key(), state_->current_hash());
    }
    /// Does nothing when there is no such timer.
    void DeleteEventTimeTimer(Timestamp time) {
      event_timers_.Delete(time, key(), state_->current_hash());
    }
    void DeleteProcessingTimeTimer(Timestamp time) {
      processing_timers_.Delete(time, key(), state_->current_hash());
    }

    template <class U>
    void Output(const OutputTag<U>& tag, std::type_identity_t<U> row) {
      sides_.Collect(tag, std::move(row), timestamp_);
    }

   private:
    template <class F, class KeySelector>
    friend class KeyedProcessOperator;

    KeyedState<KeyT>* state_ = nullptr;
    Timestamp watermark_ = Timestamp::Min();
    const Clock* clock_ = nullptr;
    Timestamp timestamp_ = kNoTimestamp;
    TimerService<KeyT> event_timers_;
    TimerService<KeyT> processing_timers_;
    SideOutputs sides_;
  };

  virtual ~KeyedProcessFunction() = default;
  virtual void Open(KeyedContext&) {}
  virtual void ProcessElement(const InT& row, Context& context, Collector<OutT>& out) = 0;
  /// Rows collected here get the timer's time, or none in processing time.
  virtual void OnTimer(Timestamp, TimeDomain, Context&, Collector<OutT>&) {}
  virtual void Close() {}
};

/// Runs a KeyedProcessFunction. A watermark is passed on when all timers up to it have fired; that
/// may take several slices, and a checkpoint may fall between two timers.
template <class F, class KeySelector>
class KeyedProcessOperator final : public KeyedOperator<typename F::KeyType> {
  using K = typename F::KeyType;
  using In = typename F::InType;
  using Out = typename F::OutType;
  static_assert(std::is_same_v<K, typename KeyedRows<In, KeySelector>::K>,
                "the function's key type is not that of KeyBy");

 public:
  KeyedProcessOperator(KeySelector key, F f) : rows_(std::move(key)), f_(std::move(f)) {}

  void ProcessBatch(uint32_t, Batch& batch) override {
    rows_.Load(static_cast<RecordBatch<In>&>(batch));
    this->state().ReadValuesOf(rows_.hashes(), rows_.size(), [this](size_t i) -> const K& {
      return rows_.key(static_cast<uint32_t>(i));
    });
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      this->state().SetCurrentKey(rows_.key(i), rows_.hash(i));
      context_.watermark_ = this->TimeOf(rows_.hash(i));
      SetTimestamp(rows_.timestamp(i));
      f_.ProcessElement(std::as_const(rows_.row(i)), context_, out_);
    }
    this->state().ClearCurrentKey();
    Flush();
  }

  Timestamp NextProcessingTimer() const override { return context_.processing_timers_.Next(); }
  void OnProcessingTime(Timestamp now) override {
    context_.processing_timers_.Fire(now, OnTimer(TimeDomain::kProcessingTime));
    this->state().ClearCurrentKey();
    Flush();
  }

  void Close() override {
    if (opened_) f_.Close();
  }

 private:
  void OpenKeyed(OperatorContext& context) override {
    context_.state_ = &this->state();
    context_.clock_ = context.runtime.clock;
    context_.event_timers_ = TimerService<K>::Open(this->state(), "weir.event-timers");
    context_.processing_timers_ = TimerService<K>::Open(this->state(), "weir.processing-timers");
    context_.sides_.Open(context.side_outputs, context.runtime.log_warning);
    out_.Open(context.output);
    KeyedContext keyed(context.runtime, this->state());
    f_.Open(keyed);
    opened_ = true;
  }

  bool FireEventTime() override {
    const bool done = this->FireTimers(context_.event_timers_, OnTimer(TimeDomain::kEventTime));
    this->state().ClearCurrentKey();
    Flush();
    return done;
  }
  auto OnTimer(TimeDomain domain) {
    return [this, domain](const TimerKey<K>& timer, uint64_t hash) {
      const Timestamp time{timer.time_ms};
      this->state().SetCurrentKey(timer.key, hash);
      context_.watermark_ = this->TimeOf(hash);
      SetTimestamp(domain == TimeDomain::kEventTime ? time : kNoTimestamp);
      f_.OnTimer(time, domain, context_, out_);
      return !this->yield_();
    };
  }
  void SetTimestamp(Timestamp t) {
    context_.timestamp_ = t;
    out_.SetTimestamp(t);
  }
  void Flush() {
    out_.Flush();
    context_.sides_.Flush();
  }

  KeyedRows<In, KeySelector> rows_;
  F f_;
  mutable typename F::Context context_;  // Next() of timers drops deleted ones from a heap
  Collector<Out> out_;
  bool opened_ = false;
};

}  // namespace weir
