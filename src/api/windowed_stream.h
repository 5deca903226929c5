#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "api/aggregates.h"
#include "api/data_stream.h"
#include "api/keyed_stream.h"
#include "runtime/operator/window/sliced_window_operator.h"
#include "runtime/operator/window/time_windows.h"
#include "runtime/operator/window/window_process_operator.h"

namespace weir {

/// Windows that follow one another: Tumbling(1min), Tumbling(24h).Offset(-2h),
/// Tumbling(10s).ProcessingTime().
inline TimeWindows Tumbling(std::chrono::milliseconds size) { return TimeWindows(size, size); }

/// Windows of `size`, one every `slide`: Sliding(10s, 2s).
inline TimeWindows Sliding(std::chrono::milliseconds size, std::chrono::milliseconds slide) {
  return TimeWindows(size, slide);
}

/// A keyed stream cut into windows. A window fires when the watermark reaches its last millisecond;
/// what it emits has that millisecond as its timestamp. By default later rows are dropped and
/// counted (late_records_dropped).
template <class K, class T, class KeySelector>
class WindowedStream {
 public:
  WindowedStream(KeyedStream<K, T, KeySelector> stream, TimeWindows windows)
      : stream_(std::move(stream)), windows_(windows) {}

  /// Rows that come after their window has fired, by no more event time than this, make it emit its
  /// result anew for their key. The window's state is kept as much longer.
  WindowedStream AllowedLateness(std::chrono::milliseconds lateness) const {
    if (lateness.count() < 0) {
      ThrowError(ErrorKind::kUser,
                 "allowed lateness of " + std::to_string(lateness.count()) + " ms: give 0 or more");
    }
    WindowedStream windowed = *this;
    windowed.options_.allowed_lateness = lateness;
    return windowed;
  }
  /// Rows that are too late go to this side output of the window operator.
  WindowedStream SideOutputLate(OutputTag<T> tag) const {
    WindowedStream windowed = *this;
    windowed.options_.late = std::move(tag);
    return windowed;
  }

  /// The rows of key and window reduced to one. `f` as in KeyedStream::Reduce.
  template <class F>
  DataStream<T> Reduce(F f) const {
    if constexpr (internal::ReduceFits<T, F>()) {
      return Sliced<T>(Reduction<T, F>(std::move(f)),
                       [](const K&, const TimeWindow&, const T& row, T& out) { out = row; });
    } else {
      return stream_.stream();  // refused
    }
  }
  /// The same as `Out make(const K&, const TimeWindow&, const T& reduced)` makes it.
  template <class F, class G>
  auto Reduce(F f, G make) const {
    if constexpr (internal::ReduceFits<T, F>()) {
      return Made(Reduction<T, F>(std::move(f)), std::move(make));
    } else {
      return stream_.stream();
    }
  }

  /// The result for key and window: aggregates.h has the usual aggregates.
  template <class A>
  auto Aggregate(A aggregate) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      using Result = AggregateResult<A>;
      return Sliced<Keyed<K, Result>>(
          std::move(aggregate),
          [](const K& key, const TimeWindow&, const Result& result, Keyed<K, Result>& out) {
            out.key = key;
            out.value = result;
          });
    } else {
      return stream_.stream();
    }
  }
  /// The same as `Out make(const K&, const TimeWindow&, const Result&)` makes it.
  template <class A, class G>
  auto Aggregate(A aggregate, G make) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      return Made(std::move(aggregate), std::move(make));
    } else {
      return stream_.stream();
    }
  }

  /// A class derived from ProcessWindowFunction<K, T, Out>: all rows of key and window at once.
  template <class F>
  auto Process(F f) const {
    if constexpr (internal::WindowProcessFits<K, T, F>()) {
      return WithLate(stream_.template Then<typename F::OutType>(
          "window", [key = stream_.key(), windows = windows_, options = options_, f] {
            return std::make_unique<WindowProcessOperator<F, KeySelector>>(key, windows, options,
                                                                           f);
          }));
    } else {
      return stream_.stream();
    }
  }

 private:
  template <class A, class G>
  auto Made(A aggregate, G make) const {
    using Result = AggregateResult<A>;
    if constexpr (internal::ResultFits<internal::ResultOf::kKeyAndWindow, const G, const K&,
                                       const TimeWindow&, const Result&>()) {
      using Out = std::remove_cvref_t<
          std::invoke_result_t<const G&, const K&, const TimeWindow&, const Result&>>;
      return Sliced<Out>(std::move(aggregate),
                         [make](const K& key, const TimeWindow& window, const Result& result,
                                Out& out) { out = make(key, window, result); });
    } else {
      return stream_.stream();
    }
  }

  template <class Out, class A, class Emit>
  DataStream<Out> Sliced(A aggregate, Emit emit) const {
    if (windows_.overlap() && !MergingAggregate<A>) {
      ThrowError(ErrorKind::kUser,
                 "overlapping windows share what they aggregate: give the aggregate a `void "
                 "Merge(const Accumulator& from, Accumulator& into) const`");
    }
    using Operator = SlicedWindowOperator<T, KeySelector, A, Out, Emit>;
    DataStream<Out> stream = WithLate(stream_.template Then<Out>(
        "window", [key = stream_.key(), windows = windows_, options = options_, aggregate, emit] {
          return std::make_unique<Operator>(key, windows, options, aggregate, emit);
        }));
    internal::NodeOf(stream.environment(), stream.node()).any_side_output = false;
    return stream;
  }

  // The window operator has a side output for late rows.
  template <class Out>
  DataStream<Out> WithLate(DataStream<Out> stream) const {
    if (options_.late) {
      internal::CheckSideOutput(internal::NodeOf(stream.environment(), stream.node()),
                                options_.late->name, RecordTypeOf<T>());
    }
    return stream;
  }

  template <class U>
  friend class AllWindowedStream;
  const DataStream<T>& stream() const { return stream_.stream(); }

  KeyedStream<K, T, KeySelector> stream_;
  TimeWindows windows_;
  WindowOptions<T> options_;
};

template <class K, class T, class KeySelector>
WindowedStream<K, T, KeySelector> KeyedStream<K, T, KeySelector>::Window(
    TimeWindows windows) const {
  return WindowedStream<K, T, KeySelector>(*this, windows);
}

/// A whole stream cut into windows, in one subtask. As WindowedStream, without a key.
template <class T>
class AllWindowedStream {
  struct OneKey {
    std::monostate operator()(const T&) const { return {}; }
  };
  using Keyed = KeyedStream<std::monostate, T, OneKey>;
  using Windowed = WindowedStream<std::monostate, T, OneKey>;

 public:
  AllWindowedStream(const DataStream<T>& stream, TimeWindows windows)
      : windowed_(Keyed(stream.Global(), OneKey()), windows) {}

  AllWindowedStream AllowedLateness(std::chrono::milliseconds lateness) const {
    return AllWindowedStream(windowed_.AllowedLateness(lateness));
  }
  AllWindowedStream SideOutputLate(OutputTag<T> tag) const {
    return AllWindowedStream(windowed_.SideOutputLate(std::move(tag)));
  }

  template <class F>
  DataStream<T> Reduce(F f) const {
    return InOneSubtask(windowed_.Reduce(std::move(f)));
  }
  /// The result of each window.
  template <class A>
  auto Aggregate(A aggregate) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      using Result = AggregateResult<A>;
      return Aggregate(std::move(aggregate),
                       [](const TimeWindow&, const Result& result) { return result; });
    } else {
      return windowed_.stream();
    }
  }
  /// The same as `Out make(const TimeWindow&, const Result&)` makes it.
  template <class A, class G>
  auto Aggregate(A aggregate, G make) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      return Made(std::move(aggregate), std::move(make));
    } else {
      return windowed_.stream();
    }
  }
  /// A class derived from ProcessWindowFunction<std::monostate, T, Out>.
  template <class F>
  auto Process(F f) const {
    return InOneSubtask(windowed_.Process(std::move(f)));
  }

 private:
  explicit AllWindowedStream(Windowed windowed) : windowed_(std::move(windowed)) {}

  template <class A, class G>
  auto Made(A aggregate, G make) const {
    using Result = AggregateResult<A>;
    if constexpr (internal::ResultFits<internal::ResultOf::kWindow, const G, const TimeWindow&,
                                       const Result&>()) {
      return InOneSubtask(windowed_.Aggregate(
          std::move(aggregate), [make](std::monostate, const TimeWindow& window,
                                       const Result& result) { return make(window, result); }));
    } else {
      return windowed_.stream();
    }
  }

  template <class Out>
  static DataStream<Out> InOneSubtask(DataStream<Out> stream) {
    internal::NodeOf(stream.environment(), stream.node()).max_operator_parallelism = 1;
    return stream;
  }

  Windowed windowed_;
};

template <class T>
AllWindowedStream<T> DataStream<T>::WindowAll(TimeWindows windows) const {
  return AllWindowedStream<T>(*this, windows);
}

}  // namespace weir
