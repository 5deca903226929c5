#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "api/aggregates.h"
#include "api/data_stream.h"
#include "runtime/operator/keyed_process_operator.h"
#include "runtime/operator/rolling_operator.h"
#include "runtime/operator/window/time_windows.h"

namespace weir {

template <class K, class T, class KeySelector>
class WindowedStream;

/// A stream partitioned by key: rows with the same key are processed by the same subtask, which
/// owns the key's state. Give the operators made here a Uid before their state matters.
template <class K, class T, class KeySelector>
class KeyedStream {
  static_assert(!std::is_same_v<K, std::string_view>,
                "a key outlives its row: let the selector return a std::string");

 public:
  KeyedStream(DataStream<T> stream, KeySelector key)
      : stream_(std::move(stream)), key_(std::move(key)) {}

  /// The row reduced from all rows of the key so far, behind every row; the first one is taken as
  /// it is. `f` is `T f(const T& so_far, const T& row)`, or `void f(T& so_far, const T& row)`,
  /// which changes it in place.
  template <class F>
  DataStream<T> Reduce(F f) const {
    if constexpr (internal::ReduceFits<T, F>()) {
      const auto emit = [](const K&, const T& row, T& out) { out = row; };
      return Rolling<T>("reduce", Reduction<T, F>(std::move(f)), emit);
    } else {
      return stream_;  // refused
    }
  }

  /// The result of all rows of the key so far, behind every row: aggregates.h has the usual ones.
  template <class A>
  auto Aggregate(A aggregate) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      using Result = AggregateResult<A>;
      const auto emit = [](const K& key, const Result& result, Keyed<K, Result>& out) {
        out.key = key;
        out.value = result;
      };
      return Rolling<Keyed<K, Result>>("aggregate", std::move(aggregate), emit);
    } else {
      return stream_;
    }
  }
  /// The same as `Out f(const K&, const Result&)` makes it.
  template <class A, class F>
  auto Aggregate(A aggregate, F f) const {
    if constexpr (internal::AggregateFits<A, T>()) {
      return Made(std::move(aggregate), std::move(f));
    } else {
      return stream_;
    }
  }

  /// A class derived from KeyedProcessFunction<K, T, Out>: state and timers per key.
  template <class F>
  auto Process(F f) const {
    if constexpr (internal::KeyedProcessFits<K, T, F>()) {
      return Then<typename F::OutType>("keyed-process", [key = key_, f] {
        return std::make_unique<KeyedProcessOperator<F, KeySelector>>(key, f);
      });
    } else {
      return stream_;
    }
  }

  /// Cuts every key's rows into windows: Tumbling(1min), Sliding(10s, 2s). See windowed_stream.h.
  WindowedStream<K, T, KeySelector> Window(TimeWindows windows) const;

  /// Adds a keyed operator of one's own (see KeyedOperator). `make` gives a new one per subtask.
  template <class Out>
  DataStream<Out> Then(std::string kind, OperatorFactory make) const {
    DataStream<Out> stream = stream_.template Then<Out>(std::move(kind), std::move(make));
    internal::NodeOf(stream.environment(), stream.node()).keyed = true;
    return stream;
  }

  const KeySelector& key() const { return key_; }
  const DataStream<T>& stream() const { return stream_; }

 private:
  template <class A, class F>
  auto Made(A aggregate, F f) const {
    using Result = AggregateResult<A>;
    if constexpr (internal::ResultFits<internal::ResultOf::kKey, const F, const K&,
                                       const Result&>()) {
      using Out = std::remove_cvref_t<std::invoke_result_t<const F&, const K&, const Result&>>;
      const auto emit = [f](const K& key, const Result& result, Out& out) { out = f(key, result); };
      return Rolling<Out>("aggregate", std::move(aggregate), emit);
    } else {
      return stream_;
    }
  }

  template <class Out, class A, class Emit>
  DataStream<Out> Rolling(std::string kind, A aggregate, Emit emit) const {
    DataStream<Out> stream = Then<Out>(std::move(kind), [key = key_, aggregate, emit] {
      return std::make_unique<RollingOperator<T, KeySelector, A, Out, Emit>>(key, aggregate, emit);
    });
    internal::NodeOf(stream.environment(), stream.node()).any_side_output = false;
    return stream;
  }

  DataStream<T> stream_;
  KeySelector key_;
};

}  // namespace weir
