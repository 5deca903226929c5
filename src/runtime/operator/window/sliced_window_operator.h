#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "runtime/operator/aggregation.h"
#include "runtime/operator/collector.h"
#include "runtime/operator/keyed_operator.h"
#include "runtime/operator/keyed_rows.h"
#include "runtime/operator/process_operator.h"
#include "runtime/operator/window/firing_progress.h"
#include "runtime/operator/window/restored_windows.h"
#include "runtime/operator/window/time_windows.h"
#include "runtime/operator/window/window_options.h"
#include "state/sliced_table.h"

namespace weir {

/// Aggregates per key and window with the default trigger: a window fires when time has passed its
/// last millisecond. An accumulator per slice and key; a window's result is merged from its slices
/// when it fires.
///
/// Firing goes window by window in order of their ends, and key by key in order of their hashes. It
/// yields between two keys, and where it stands is part of a checkpoint. With allowed lateness a
/// slice stays until its last window is final; a late row fires the windows anew that have fired
/// and are not final, for its key only.
///
/// emit(key, TimeWindow, result, Out& row) assigns the emitted row.
template <class T, class KeySelector, class A, class Out, class Emit>
class SlicedWindowOperator final : public KeyedOperator<typename KeyedRows<T, KeySelector>::K> {
  using K = typename KeyedRows<T, KeySelector>::K;
  using Stored = typename Aggregation<A>::Stored;
  using Slices = SlicedTable<K, Stored>;

 public:
  SlicedWindowOperator(KeySelector key, TimeWindows windows, WindowOptions<T> options, A aggregate,
                       Emit emit)
      : windows_(windows),
        options_(std::move(options)),
        lateness_(windows.domain() == TimeDomain::kEventTime ? options_.allowed_lateness.count()
                                                             : 0),
        rows_(std::move(key)),
        aggregate_(std::move(aggregate)),
        emit_(std::move(emit)) {}

  void ProcessBatch(uint32_t, Batch& batch) override {
    rows_.Load(static_cast<RecordBatch<T>&>(batch));
    const bool event_time = windows_.domain() == TimeDomain::kEventTime;
    const bool even = !event_time || this->even_time();
    // A clock that goes back does not reach into windows that have fired.
    const int64_t now = event_time ? 0 : std::max(clock_->Now().ms, passed_ + 1);
    const bool prefetch = this->state().directory().bytes > kPrefetchAboveBytes;
    uint64_t dropped = 0;
    for (uint32_t i = 0, n = rows_.size(); i < n; ++i) {
      const int64_t time = event_time ? rows_.timestamp(i).ms : now;
      if (time < current_.start || time >= current_.end || !even) Locate(time, rows_.hash(i));
      if (current_.slice == nullptr) [[unlikely]] {
        if (current_.late) dropped += TooLate(i);
        continue;
      }
      if (prefetch && i + kAhead < n) slices_.Prefetch(*current_.slice, rows_.hash(i + kAhead));
      Stored& stored =
          slices_.FindOrInsert(current_.end, *current_.slice, rows_.key(i), rows_.hash(i));
      aggregate_.Add(std::as_const(rows_.row(i)), stored);
      if (current_.has_fired) [[unlikely]]
        FireAgain(rows_.key(i), rows_.hash(i));
    }
    if (dropped > 0 && add_to_counter_)
      add_to_counter_(kLateRecordsDropped, static_cast<int64_t>(dropped));
    next_timer_.reset();
    Flush();
  }

  Timestamp NextProcessingTimer() const override {
    if (windows_.domain() != TimeDomain::kProcessingTime) return Timestamp::Max();
    if (!next_timer_) {
      const auto end = NextWindowEnd(progress_.fired_end());
      next_timer_ = end ? Timestamp{*end} : Timestamp::Max();
    }
    return *next_timer_;
  }
  void OnProcessingTime(Timestamp now) override {
    if (windows_.domain() != TimeDomain::kProcessingTime) return;
    passed_ = std::max(passed_, now.ms - 1);
    Fire();
    next_timer_.reset();
  }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& snapshot) override {
    KeyedOperator<K>::Snapshot(id, snapshot);
    snapshot.values[kFiring] = progress_.Encode();
    snapshot.values[kWindowsValue] = windows_.Describe();
  }

 private:
  static constexpr const char* kFiring = "firing";
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::min();
  static constexpr uint32_t kAhead = 16;
  /// Below this the tables are in the processor's caches.
  static constexpr size_t kPrefetchAboveBytes = size_t{1} << 20;

  /// The slice of the last row: rows come in runs of the same one.
  struct CurrentSlice {
    int64_t start = 0;
    int64_t end = 0;
    int64_t passed = 0;                       // for the row's key
    typename Slices::Slice* slice = nullptr;  // null: late, or between windows
    bool late = false;
    bool has_fired = false;  // some of its windows have fired and are not final
  };

  void OpenKeyed(OperatorContext& context) override {
    CheckRestoredWindows(context.runtime.restored_state, context.runtime.operator_uid, windows_);
    slices_ = Slices::Open(this->state(), "slices");
    out_.Open(this->output_);
    clock_ = context.runtime.clock;
    add_to_counter_ = context.runtime.add_to_counter;
    operator_uid_ = context.runtime.operator_uid;
    sides_.Open(context.side_outputs, context.runtime.log_warning);
    const bool event_time = windows_.domain() == TimeDomain::kEventTime;
    if (event_time) passed_ = this->watermark().ms;
    // Of event time that begins anew nothing has fired, whatever had before.
    progress_ = FiringProgress::Restore(
        context.runtime.restored_state, kFiring, this->state().key_groups(),
        this->state().max_parallelism(), [&](uint64_t hash) {
          return event_time ? PassedEnd(hash) : std::numeric_limits<int64_t>::max();
        });
    // Every former subtask had its clock: no row goes into a window that has fired by one of them.
    if (!event_time && progress_.last_fired_end() != kNever) {
      passed_ = progress_.last_fired_end() - 1;
    }
  }

  /// The last millisecond that is over for a key.
  int64_t Passed(uint64_t hash) const {
    return windows_.domain() == TimeDomain::kEventTime ? this->TimeOf(hash).ms : passed_;
  }
  /// Windows that end at or before this are over for a key.
  int64_t PassedEnd(uint64_t hash) const {
    const int64_t passed = Passed(hash);
    return passed == kNever ? kNever : AddLateness(passed, 1);
  }

  void Locate(int64_t time, uint64_t hash) {
    if (time == kNoTimestamp.ms) ThrowNoTimestamp(operator_uid_);
    time = TimeWindows::Within(time);
    current_ = {
        .start = windows_.SliceStart(time), .end = windows_.SliceEnd(time), .passed = Passed(hash)};
    if (!windows_.InSomeWindow(time)) return;
    const int64_t last_end = windows_.LastWindowEndOf(current_.end);
    current_.late = AddLateness(last_end - 1, lateness_) <= current_.passed;
    if (current_.late) return;
    current_.slice = &slices_.MakeSlice(current_.end);
    current_.has_fired = windows_.WindowEndFrom(current_.end) - 1 <= current_.passed;
  }

  uint64_t TooLate(uint32_t i) {
    if (!options_.late) return 1;
    sides_.Collect(*options_.late, rows_.row(i), rows_.timestamp(i));
    return 0;
  }

  // The windows of the current slice that have fired and are not final, for one key.
  void FireAgain(const K& key, uint64_t hash) {
    for (int64_t end = windows_.WindowEndFrom(current_.end);
         end - 1 <= current_.passed && end <= windows_.LastWindowEndOf(current_.end);
         end += windows_.slide()) {
      if (AddLateness(end - 1, lateness_) <= current_.passed) continue;
      std::optional<Stored> joined;
      for (int64_t slice = windows_.SliceEnd(end - windows_.size()); slice <= end;
           slice = windows_.SliceEnd(slice)) {
        const Stored* part = slices_.Find(slice, key, hash);
        if (part == nullptr) continue;
        if (!joined) {
          joined = *part;
        } else {
          Merge(*joined, *part);
        }
      }
      EmitResult(key, end, *joined);
    }
  }

  bool FireEventTime() override {
    if (windows_.domain() != TimeDomain::kEventTime) return true;
    passed_ = this->watermark().ms;
    return Fire();
  }

  // Every window that is over and has not fired. False when it yielded.
  bool Fire() {
    for (auto& stretch : progress_.stretches()) {
      const int64_t passed_end = PassedEnd(stretch.first_hash);
      if (passed_end == kNever) continue;
      while (const auto end = NextWindowEnd(stretch.fired_end)) {
        if (*end > passed_end) break;
        if (!FireWindow(stretch, *end)) {
          Flush();
          return false;
        }
      }
      if (stretch.fired_end < passed_end) {
        stretch.fired_end = passed_end;
        stretch.next_hash = 0;
      }
    }
    const bool even = windows_.domain() != TimeDomain::kEventTime || this->even_time();
    if (even) progress_.Complete(progress_.fired_end());
    DropFinal();
    Flush();
    return true;
  }

  bool FireWindow(FiringProgress::Stretch& stretch, int64_t end) {
    ends_.clear();
    for (auto slice = slices_.SliceFrom(end - windows_.size() + 1); slice && *slice <= end;
         slice = slices_.SliceFrom(*slice + 1)) {
      ends_.push_back(*slice);
    }
    HashRange range{.next = std::max(stretch.next_hash, stretch.first_hash),
                    .last = stretch.last_hash};
    const bool done = slices_.ForEach(
        ends_, range, [this](Stored& into, const Stored& from) { Merge(into, from); },
        [&](const K& key, uint64_t, const Stored& stored) {
          EmitResult(key, end, stored);
          return !this->yield_();
        });
    if (!done) {
      stretch.next_hash = range.next;
      return false;
    }
    stretch.fired_end = end;
    stretch.next_hash = 0;
    return true;
  }

  // The first window with rows that ends after `fired_end`.
  std::optional<int64_t> NextWindowEnd(int64_t fired_end) const {
    if (fired_end == std::numeric_limits<int64_t>::max()) return std::nullopt;
    if (fired_end == kNever) {
      const auto first = slices_.FirstSlice();
      if (!first) return std::nullopt;
      return windows_.WindowEndFrom(*first);
    }
    const int64_t next = windows_.WindowEndFrom(fired_end + 1);
    const auto slice = slices_.SliceFrom(next - windows_.size() + 1);
    if (!slice) return std::nullopt;
    return std::max(next, windows_.WindowEndFrom(*slice));
  }

  // Slices whose last window can neither fire nor be fired anew.
  void DropFinal() {
    current_ = CurrentSlice();
    while (const auto slice = slices_.FirstSlice()) {
      if (AddLateness(windows_.LastWindowEndOf(*slice) - 1, lateness_) > passed_) break;
      slices_.Drop(*slice);
    }
  }

  void Merge(Stored& into, const Stored& from) const {
    if constexpr (MergingAggregate<A>) {
      aggregate_.Merge(from, into);
    } else {
      // Without overlap a window is one slice; the API refuses the others.
      ThrowError(ErrorKind::kInternal, "an aggregate without Merge in overlapping windows");
    }
  }

  void EmitResult(const K& key, int64_t end, const Stored& stored) {
    const TimeWindow window = windows_.WindowOf(end);
    emit_(key, window, aggregate_.GetResult(stored), out_.Next(window.MaxTimestamp()));
  }
  void Flush() {
    out_.Flush();
    sides_.Flush();
  }

  const TimeWindows windows_;
  const WindowOptions<T> options_;
  const int64_t lateness_;
  KeyedRows<T, KeySelector> rows_;
  const Aggregation<A> aggregate_;
  Emit emit_;

  Slices slices_;
  CurrentSlice current_;
  /// The watermark, or in processing time the last millisecond that is over.
  int64_t passed_ = kNever;
  FiringProgress progress_;
  std::vector<int64_t> ends_;  // scratch: the slices of a window
  mutable std::optional<Timestamp> next_timer_;

  Collector<Out> out_;
  SideOutputs sides_;
  const Clock* clock_ = nullptr;
  std::function<void(const std::string&, int64_t)> add_to_counter_;
  std::string operator_uid_;
};

}  // namespace weir
