#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir {

/// What aggregates rows of type T into an accumulator:
///
///   struct Average {
///     using Accumulator = ...;                      // has a Serde; Accumulator() is the empty one
///     void Add(const T& row, Accumulator& into) const;
///     R GetResult(const Accumulator&) const;        // of at least one row
///     void Merge(const Accumulator& from, Accumulator& into) const;  // for sliding windows
///     Accumulator CreateAccumulator() const;        // only if the empty one is not Accumulator()
///   };
template <class A, class T>
concept AggregateFunction = requires(const A& a, const T& row, typename A::Accumulator& accumulator,
                                     const typename A::Accumulator& done) {
  a.Add(row, accumulator);
  a.GetResult(done);
};

template <class A>
concept MergingAggregate = requires(const A& a, typename A::Accumulator& into,
                                    const typename A::Accumulator& from) {
  a.Merge(from, into);
};

template <class A>
using AggregateResult = std::remove_cvref_t<decltype(std::declval<const A&>().GetResult(
    std::declval<const typename A::Accumulator&>()))>;

/// An aggregate function as state tables need it: accumulators begin as Stored().
template <class A>
class Aggregation {
  static constexpr bool kCreates = requires(const A& a) { a.CreateAccumulator(); };
  using Accumulator = typename A::Accumulator;

 public:
  using Stored = std::conditional_t<kCreates, std::optional<Accumulator>, Accumulator>;
  using Result = AggregateResult<A>;

  explicit Aggregation(A a) : a_(std::move(a)) {}

  template <class T>
  void Add(const T& row, Stored& into) const {
    if constexpr (kCreates) {
      if (!into) into = a_.CreateAccumulator();
      a_.Add(row, *into);
    } else {
      a_.Add(row, into);
    }
  }
  void Merge(const Stored& from, Stored& into) const requires MergingAggregate<A> {
    if constexpr (kCreates) {
      if (!from) return;
      if (!into) into = a_.CreateAccumulator();
      a_.Merge(*from, *into);
    } else {
      a_.Merge(from, into);
    }
  }
  decltype(auto) GetResult(const Stored& stored) const {
    if constexpr (kCreates) {
      return a_.GetResult(*stored);
    } else {
      return a_.GetResult(stored);
    }
  }

 private:
  A a_;
};

/// Reduction as an aggregate: the accumulator is the row reduced so far. `f` is `T f(const T&
/// so_far, const T& row)` or `void f(T& so_far, const T& row)`.
template <class T, class F>
class Reduction {
 public:
  using Accumulator = std::optional<T>;

  explicit Reduction(F f) : f_(std::move(f)) {}

  void Add(const T& row, Accumulator& into) const {
    if (!into) {
      into = row;
    } else if constexpr (std::is_void_v<std::invoke_result_t<const F&, T&, const T&>>) {
      f_(*into, row);
    } else {
      *into = f_(std::as_const(*into), row);
    }
  }
  void Merge(const Accumulator& from, Accumulator& into) const {
    if (from) Add(*from, into);
  }
  const T& GetResult(const Accumulator& accumulator) const { return *accumulator; }

 private:
  F f_;
};

}  // namespace weir
