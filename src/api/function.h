#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "api/aggregates.h"
#include "runtime/operator/collector.h"
#include "runtime/operator/keyed_process_operator.h"
#include "runtime/operator/process_operator.h"
#include "runtime/operator/window/window_process_operator.h"

/// What a lambda or function class may look like, and what the compiler says to another one. Each
/// check says what to write in its first error; it is false then, so that the caller can leave the
/// operator out and no errors of its inside follow.

namespace weir::internal {

/// False, but only once the template around it is used.
template <class...>
inline constexpr bool kNever = false;

// Map.
template <class T, class Out, class F>
consteval bool MapFits() {
  if constexpr (!std::is_void_v<Out>) {
    constexpr bool kAssigns = std::is_invocable_v<F&, const T&, Out&>;
    constexpr bool kReturns = std::is_invocable_r_v<Out, F&, const T&>;
    static_assert(kAssigns || kReturns,
                  "Map<Out> takes `void f(const T& row, Out& out)`, which assigns every field of "
                  "`out`, or `Out f(const T& row)`; T is the row type of this stream");
    return kAssigns || kReturns;
  } else if constexpr (!std::is_invocable_v<F&, const T&>) {
    static_assert(kNever<F>,
                  "Map's function is `Out f(const T& row)`, where T is the row type of this "
                  "stream: it takes the row as `const T&` (or by value: `T row`, to change the "
                  "copy) and returns the new one. For `void f(const T&, Out&)` write Map<Out>(f)");
    return false;
  } else {
    constexpr bool kReturns = !std::is_void_v<std::invoke_result_t<F&, const T&>>;
    static_assert(kReturns,
                  "Map's function returns nothing: let it return the new row, or write Map<Out>(f) "
                  "with `void f(const T& row, Out& out)`");
    return kReturns;
  }
}

// Filter.
template <class T, class F>
consteval bool FilterFits() {
  if constexpr (!std::is_invocable_v<F&, const T&>) {
    static_assert(kNever<F>,
                  "Filter's function is `bool f(const T& row)`, where T is the row type of this "
                  "stream; it cannot change the row");
    return false;
  } else {
    constexpr bool kBool = std::is_constructible_v<bool, std::invoke_result_t<F&, const T&>>;
    static_assert(kBool,
                  "Filter's function returns something else than bool: `bool f(const T& row)` is "
                  "true for the rows that stay");
    return kBool;
  }
}

// What a flat map's second parameter says: `Rows` is void when it is no Collector.
template <class P>
struct CollectorParameter {
  using Rows = void;
  static constexpr bool kByReference = false;
};
template <class Out>
struct CollectorParameter<Collector<Out>&> {
  using Rows = Out;
  static constexpr bool kByReference = true;
};
template <class Out>
struct CollectorParameter<Collector<Out>> {
  using Rows = Out;
  static constexpr bool kByReference = false;
};
template <class Out>
struct CollectorParameter<const Collector<Out>&> : CollectorParameter<Collector<Out>> {};
template <class Out>
struct CollectorParameter<Collector<Out>&&> : CollectorParameter<Collector<Out>> {};

template <class F>
struct SecondParameter : CollectorParameter<void> {};
template <class R, class C, class In, class P>
struct SecondParameter<R (C::*)(In, P)> : CollectorParameter<P> {};
template <class R, class C, class In, class P>
struct SecondParameter<R (C::*)(In, P) const> : CollectorParameter<P> {};
template <class R, class C, class In, class P>
struct SecondParameter<R (C::*)(In, P) noexcept> : CollectorParameter<P> {};
template <class R, class C, class In, class P>
struct SecondParameter<R (C::*)(In, P) const noexcept> : CollectorParameter<P> {};
template <class R, class In, class P>
struct SecondParameter<R (*)(In, P)> : CollectorParameter<P> {};

template <class F>
struct CollectedOf : SecondParameter<F> {};
template <class F>
requires requires { &F::operator(); }
struct CollectedOf<F> : SecondParameter<decltype(&F::operator())> {};

/// What a flat map emits: what it was told to, or what its Collector says.
template <class Out, class F>
using FlatMapRows = std::conditional_t<std::is_void_v<Out>, typename CollectedOf<F>::Rows, Out>;

// FlatMap.
template <class T, class Rows, class F>
consteval bool FlatMapFits() {
  using Deduced = CollectedOf<F>;
  if constexpr (std::is_void_v<Rows>) {
    static_assert(kNever<F>,
                  "FlatMap's function is `void f(const T& row, Collector<Out>& out)`: it puts any "
                  "number of rows into `out` by out.Collect(row) and returns nothing. With `auto` "
                  "among its parameters the row type must be named: FlatMap<Out>(f)");
    return false;
  } else if constexpr (!std::is_void_v<typename Deduced::Rows> && !Deduced::kByReference) {
    static_assert(kNever<F>,
                  "FlatMap's function takes its Collector by reference: "
                  "`void f(const T& row, Collector<Out>& out)`");
    return false;
  } else if constexpr (!std::is_invocable_v<F&, const T&, Collector<Rows>&>) {
    static_assert(kNever<F>,
                  "FlatMap's function does not take a row of this stream: `void f(const T& row, "
                  "Collector<Out>& out)`, where T is the row type of this stream");
    return false;
  } else {
    constexpr bool kNothing = std::is_void_v<std::invoke_result_t<F&, const T&, Collector<Rows>&>>;
    static_assert(kNothing,
                  "FlatMap's function returns something, which would be lost: put rows "
                  "into its Collector by out.Collect(row), and return nothing");
    return kNothing;
  }
}

template <class F>
concept HasRowTypes = requires {
  typename F::InType;
  typename F::OutType;
};
template <class F>
concept HasKeyType = HasRowTypes<F> && requires {
  typename F::KeyType;
};

template <class F>
inline constexpr bool kIsProcessFunction = false;
template <HasRowTypes F>
inline constexpr bool kIsProcessFunction<F> =
    std::is_base_of_v<ProcessFunction<typename F::InType, typename F::OutType>, F>;
template <class F>
inline constexpr bool kIsKeyedProcessFunction = false;
template <HasKeyType F>
inline constexpr bool kIsKeyedProcessFunction<F> = std::is_base_of_v<
    KeyedProcessFunction<typename F::KeyType, typename F::InType, typename F::OutType>, F>;
template <class F>
inline constexpr bool kIsProcessWindowFunction = false;
template <HasKeyType F>
inline constexpr bool kIsProcessWindowFunction<F> = std::is_base_of_v<
    ProcessWindowFunction<typename F::KeyType, typename F::InType, typename F::OutType>, F>;

// Process of a stream without a key.
template <class T, class F>
consteval bool ProcessFits() {
  if constexpr (kIsKeyedProcessFunction<F>) {
    static_assert(kNever<F>,
                  "a KeyedProcessFunction runs on a keyed stream: put .KeyBy(key) before .Process");
    return false;
  } else if constexpr (kIsProcessWindowFunction<F>) {
    static_assert(kNever<F>,
                  "a ProcessWindowFunction runs on windows: put .KeyBy(key).Window(windows), or "
                  ".WindowAll(windows), before .Process");
    return false;
  } else if constexpr (!kIsProcessFunction<F>) {
    static_assert(kNever<F>,
                  "Process takes an object of a class that is derived from ProcessFunction<T, "
                  "Out>, where T is the row type of this stream; a lambda goes to Map, Filter or "
                  "FlatMap");
    return false;
  } else {
    constexpr bool kSameRows = std::is_same_v<typename F::InType, T>;
    static_assert(kSameRows,
                  "this ProcessFunction is for rows of another type: the first "
                  "parameter of ProcessFunction<T, Out> is the row type of the stream");
    return kSameRows;
  }
}

// Process of a keyed stream.
template <class K, class T, class F>
consteval bool KeyedProcessFits() {
  if constexpr (kIsProcessFunction<F>) {
    static_assert(kNever<F>,
                  "a ProcessFunction has no key: call .Process before .KeyBy, or derive it from "
                  "KeyedProcessFunction<K, T, Out>");
    return false;
  } else if constexpr (kIsProcessWindowFunction<F>) {
    static_assert(kNever<F>,
                  "a ProcessWindowFunction runs on windows: put .Window(windows) before .Process");
    return false;
  } else if constexpr (!kIsKeyedProcessFunction<F>) {
    static_assert(kNever<F>,
                  "Process of a keyed stream takes an object of a class that is derived from "
                  "KeyedProcessFunction<K, T, Out>, where K is what KeyBy's selector returns and T "
                  "the row type of the stream");
    return false;
  } else {
    constexpr bool kSameKey = std::is_same_v<typename F::KeyType, K>;
    static_assert(kSameKey,
                  "F::KeyType is not the key of KeyBy: the first parameter of "
                  "KeyedProcessFunction<K, T, Out> is what KeyBy's selector returns");
    constexpr bool kSameRows = std::is_same_v<typename F::InType, T>;
    static_assert(kSameRows,
                  "F::InType is not the stream's row type: it is the second parameter "
                  "of KeyedProcessFunction<K, T, Out>");
    return kSameKey && kSameRows;
  }
}

// Process of windows.
template <class K, class T, class F>
consteval bool WindowProcessFits() {
  if constexpr (!kIsProcessWindowFunction<F>) {
    static_assert(kNever<F>,
                  "Process of windows takes an object of a class that is derived from "
                  "ProcessWindowFunction<K, T, Out>, where K is what KeyBy's selector returns "
                  "(std::monostate behind WindowAll) and T the row type of the stream");
    return false;
  } else {
    constexpr bool kSameKey = std::is_same_v<typename F::KeyType, K>;
    static_assert(kSameKey,
                  "F::KeyType is not the key of KeyBy: the first parameter of "
                  "ProcessWindowFunction<K, T, Out> is what KeyBy's selector returns "
                  "(std::monostate behind WindowAll)");
    constexpr bool kSameRows = std::is_same_v<typename F::InType, T>;
    static_assert(kSameRows,
                  "F::InType is not the stream's row type: it is the second parameter "
                  "of ProcessWindowFunction<K, T, Out>");
    return kSameKey && kSameRows;
  }
}

// KeyBy.
template <class T, class F>
consteval bool KeyByFits() {
  if constexpr (!std::is_invocable_v<F&, const T&>) {
    static_assert(kNever<F>,
                  "KeyBy takes a field of this stream's rows, &T::field, or a function "
                  "`K f(const T& row)`, where T is the row type of this stream");
    return false;
  } else {
    constexpr bool kReturns = !std::is_void_v<std::invoke_result_t<F&, const T&>>;
    static_assert(kReturns, "KeyBy's function returns nothing: `K f(const T& row)` gives the key");
    return kReturns;
  }
}

// PartitionCustom.
template <class T, class F>
consteval bool PartitionFits() {
  constexpr bool kFits = std::is_invocable_r_v<uint32_t, F&, const T&, uint32_t>;
  static_assert(kFits,
                "PartitionCustom's function is `uint32_t f(const T& row, uint32_t channels)`, "
                "where T is the row type of this stream; it returns a number below `channels`");
  return kFits;
}

// Reduce.
template <class T, class F>
consteval bool ReduceFits() {
  if constexpr (!std::is_invocable_v<const F&, T&, const T&>) {
    static_assert(kNever<F>,
                  "Reduce's function is `T f(const T& so_far, const T& row)` or `void f(T& so_far, "
                  "const T& row)`, where T is the row type of the stream; a lambda is not mutable");
    return false;
  } else {
    using Result = std::invoke_result_t<const F&, T&, const T&>;
    constexpr bool kFits =
        std::is_void_v<Result> ||
        (std::is_convertible_v<Result, T> && std::is_invocable_v<const F&, const T&, const T&>);
    static_assert(kFits,
                  "Reduce's function returns a row of the stream, `T f(const T& so_far, const T& "
                  "row)`, or changes the first and returns nothing, `void f(T& so_far, const T& "
                  "row)`");
    return kFits;
  }
}

// Aggregate: its first argument.
template <class A, class T>
consteval bool AggregateFits() {
  constexpr bool kFits = AggregateFunction<A, T>;
  static_assert(kFits,
                "this is no aggregate of this stream's rows: Aggregate takes Count(), "
                "Sum(&T::field) and the others, where T is the row type of the stream, or a class "
                "that has `using Accumulator`, `void Add(const T& row, Accumulator&) const` and "
                "`GetResult(const Accumulator&) const`");
  return kFits;
}

/// Aggregate and Reduce: their second argument. It is called with `Args`, of which the first are
/// Key, if there is one, and Window.
enum class ResultOf { kKey, kKeyAndWindow, kWindow };
template <ResultOf kOf, class F, class... Args>
consteval bool ResultFits() {
  constexpr bool kTakes = std::is_invocable_v<F&, Args...>;
  if constexpr (!kTakes) {
    static_assert(kTakes || kOf != ResultOf::kKey,
                  "Aggregate's second function is `Out f(const K& key, const R& result)`, where K "
                  "is the key and R what the aggregate gives");
    static_assert(kTakes || kOf != ResultOf::kKeyAndWindow,
                  "the second function of a window's Aggregate or Reduce is `Out f(const K& key, "
                  "const TimeWindow& window, const R& result)`, where K is the key and R what the "
                  "aggregate gives (the row, with Reduce)");
    static_assert(kTakes || kOf != ResultOf::kWindow,
                  "behind WindowAll Aggregate's second function is `Out f(const TimeWindow& "
                  "window, const R& result)`, where R is what the aggregate gives");
    return false;
  } else {
    constexpr bool kReturns = !std::is_void_v<std::invoke_result_t<F&, Args...>>;
    static_assert(kReturns,
                  "the second function of Aggregate or Reduce returns nothing: it makes "
                  "the row that is emitted");
    return kReturns;
  }
}

}  // namespace weir::internal
