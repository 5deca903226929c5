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

/// Timestamps never fall within a split.
template <class C, class V>
WatermarkStrategy<C> MonotonousTimestamps(V C::*event_time) {
  return BoundedOutOfOrderness(std::chrono::milliseconds(0), event_time);
}
template <class T>
WatermarkStrategy<T> MonotonousTimestamps() {
  return BoundedOutOfOrderness<T>(std::chrono::milliseconds(0));
}

}  // namespace weir
