#pragma once

#include <chrono>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/source/watermark_strategy.h"

namespace weir {
namespace internal {

template <class M>
struct MemberOwner;
template <class C, class V>
struct MemberOwner<V C::*> {
  using type = C;
};

inline Timestamp ToTimestamp(Timestamp t) { return t; }
inline Timestamp ToTimestamp(int64_t ms) { return Timestamp{ms}; }

template <class T, class F>
auto TimestampAssigner(F event_time) {
  return [event_time](RecordBatch<T>& batch) {
    for (uint32_t i = 0; i < batch.size(); ++i) {
      const uint32_t row = batch.RowAt(i);
      batch.SetTimestamp(row, ToTimestamp(std::invoke(event_time, std::as_const(batch.Row(row)))));
    }
  };
}

template <class T>
auto BoundedGenerator(std::chrono::milliseconds bound) {
  return [bound]() -> std::unique_ptr<WatermarkGenerator<T>> {
    return std::make_unique<BoundedOutOfOrdernessGenerator<T>>(bound);
  };
}

}  // namespace internal

/// Event time from a field (weir::Timestamp, or milliseconds); rows may be late by up to `bound`.
template <class C, class V>
WatermarkStrategy<C> BoundedOutOfOrderness(std::chrono::milliseconds bound, V C::*event_time) {
  return {.assign_timestamps = internal::TimestampAssigner<C>(event_time),
          .make_generator = internal::BoundedGenerator<C>(bound),
          .idle_after = {}};
}

/// The same with the source's own timestamps: BoundedOutOfOrderness<Order>(5s).
template <class T>
WatermarkStrategy<T> BoundedOutOfOrderness(std::chrono::milliseconds bound) {
  return {.assign_timestamps = {},
          .make_generator = internal::BoundedGenerator<T>(bound),
          .idle_after = {}};
}

/// The same with a function: BoundedOutOfOrderness<Order>(5s, [](const Order& o) { return o.at; }).
template <class T, class F>
requires std::is_invocable_v<F&, const T&> WatermarkStrategy<T> BoundedOutOfOrderness(
    std::chrono::milliseconds bound, F event_time) {
  return {.assign_timestamps = internal::TimestampAssigner<T>(event_time),
          .make_generator = internal::BoundedGenerator<T>(bound),
          .idle_after = {}};
}

/// Watermarks that the source emits itself, with its own timestamps. What a source without a
/// strategy has, too; here to be given idleness: SourceWatermarks<Order>().WithIdleness(1min).
template <class T>
WatermarkStrategy<T> SourceWatermarks() {
  return {};
}

/// A generator of the user's own, derived from WatermarkGenerator<T>: each split has a copy of it.
/// Event time comes from a field or function, or from the source.
template <class Generator, class F>
auto Watermarks(Generator generator, F event_time) {
  using T = typename Generator::RowType;
  WatermarkStrategy<T> strategy = Watermarks(std::move(generator));
  strategy.assign_timestamps = internal::TimestampAssigner<T>(event_time);
  return strategy;
}
template <class Generator>
auto Watermarks(Generator generator) {
  using T = typename Generator::RowType;
  return WatermarkStrategy<T>{
      .assign_timestamps = {},
      .make_generator = [generator]() -> std::unique_ptr<WatermarkGenerator<T>> {
        return std::make_unique<Generator>(generator);
      },
      .idle_after = {}};
}

/// Rows that carry watermarks: `std::optional<Timestamp> f(const T&)`. Event time from a field.
template <class C, class V, class F>
WatermarkStrategy<C> PunctuatedWatermarks(F f, V C::*event_time) {
  return Watermarks(PunctuatedGenerator<C, F>(std::move(f)), event_time);
}
/// The same with a function, or with the source's own timestamps: PunctuatedWatermarks<Order>(f).
template <class T, class F, class E>
requires std::is_invocable_v<E&, const T&> &&
    (!std::is_member_pointer_v<E>)WatermarkStrategy<T> PunctuatedWatermarks(F f, E event_time) {
  return Watermarks(PunctuatedGenerator<T, F>(std::move(f)), event_time);
}
template <class T, class F>
WatermarkStrategy<T> PunctuatedWatermarks(F f) {
  return Watermarks(PunctuatedGenerator<T, F>(std::move(f)));
}

/// Timestamps never fall within a split.
template <class C, class V>
WatermarkStrategy<C> MonotonousTimestamps(V C::*event_time) {
  return BoundedOutOfOrderness(std::chrono::milliseconds(0), event_time);
}
/// The same with a function, or with the source's own timestamps: MonotonousTimestamps<Order>(f).
template <class T, class F>
requires std::is_invocable_v<F&, const T&> WatermarkStrategy<T> MonotonousTimestamps(F event_time) {
  return BoundedOutOfOrderness<T>(std::chrono::milliseconds(0), event_time);
}
template <class T>
WatermarkStrategy<T> MonotonousTimestamps() {
  return BoundedOutOfOrderness<T>(std::chrono::milliseconds(0));
}

}  // namespace weir
