#pragma once

#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runtime/operator/aggregation.h"

namespace weir {

/// A value per key, as Aggregate emits it.
template <class K, class V>
struct Keyed {
  K key{};
  V value{};
  friend bool operator==(const Keyed&, const Keyed&) = default;
};

namespace internal {

// What a field selector gives: Selector is a member pointer or a function of a row.
template <class T, class Selector>
using Selected = std::remove_cvref_t<std::invoke_result_t<const Selector&, const T&>>;

// Sums of integers are 64 bits wide, so that counting cents in an int32_t field does not overflow.
template <class V>
using SumType = std::conditional_t<std::is_floating_point_v<V>, double,
                                   std::conditional_t<std::is_unsigned_v<V>, uint64_t, int64_t>>;

}  // namespace internal

/// The best value so far, if there is any yet. A string in it keeps its capacity.
template <class V>
struct Best {
  bool present = false;
  V value{};
};

/// Sum: of a number in each row, 64 bits wide or a double.
template <class T, class Selector>
class SumAggregate {
 public:
  using Accumulator = internal::SumType<internal::Selected<T, Selector>>;
  static_assert(std::is_arithmetic_v<internal::Selected<T, Selector>>, "Sum takes a number");

  explicit SumAggregate(Selector field) : field_(field) {}
  void Add(const T& row, Accumulator& into) const {
    into += static_cast<Accumulator>(std::invoke(field_, row));
  }
  Accumulator GetResult(const Accumulator& sum) const { return sum; }
  void Merge(const Accumulator& from, Accumulator& into) const { into += from; }

 private:
  Selector field_;
};

/// Count: how many rows.
class CountAggregate {
 public:
  using Accumulator = uint64_t;
  template <class T>
  void Add(const T&, Accumulator& into) const {
    ++into;
  }
  Accumulator GetResult(const Accumulator& count) const { return count; }
  void Merge(const Accumulator& from, Accumulator& into) const { into += from; }
};

/// Avg: the mean of a number in each row, as a double; not a number without rows.
template <class T, class Selector>
class AvgAggregate {
 public:
  struct Accumulator {
    internal::SumType<internal::Selected<T, Selector>> sum{};
    uint64_t count = 0;
  };
  static_assert(std::is_arithmetic_v<internal::Selected<T, Selector>>, "Avg takes a number");

  explicit AvgAggregate(Selector field) : field_(field) {}
  void Add(const T& row, Accumulator& into) const {
    into.sum += static_cast<decltype(into.sum)>(std::invoke(field_, row));
    ++into.count;
  }
  double GetResult(const Accumulator& a) const {
    return static_cast<double>(a.sum) / static_cast<double>(a.count);
  }
  void Merge(const Accumulator& from, Accumulator& into) const {
    into.sum += from.sum;
    into.count += from.count;
  }

 private:
  Selector field_;
};

/// Min and Max: `Better` is std::less or std::greater.
template <class T, class Selector, class Better>
class BestAggregate {
 public:
  using Value = internal::Selected<T, Selector>;
  using Accumulator = Best<Value>;

  explicit BestAggregate(Selector field) : field_(field) {}
  void Add(const T& row, Accumulator& into) const { Offer(std::invoke(field_, row), into); }
  const Value& GetResult(const Accumulator& best) const { return best.value; }
  void Merge(const Accumulator& from, Accumulator& into) const {
    if (from.present) Offer(from.value, into);
  }

 private:
  static void Offer(const Value& value, Accumulator& into) {
    if (into.present && !Better()(value, into.value)) return;
    into.present = true;
    into.value = value;
  }
  Selector field_;
};

/// MinBy and MaxBy: the whole row; of equal ones the first.
template <class T, class Selector, class Better>
class BestRowAggregate {
 public:
  using Accumulator = Best<T>;

  explicit BestRowAggregate(Selector field) : field_(field) {}
  void Add(const T& row, Accumulator& into) const {
    if (into.present && !Better()(std::invoke(field_, row), std::invoke(field_, into.value)))
      return;
    into.present = true;
    into.value = row;
  }
  const T& GetResult(const Accumulator& best) const { return best.value; }
  void Merge(const Accumulator& from, Accumulator& into) const {
    if (from.present) Add(from.value, into);
  }

 private:
  Selector field_;
};

/// Several aggregates of the same rows.
template <class... As>
class CombinedAggregate {
 public:
  using Accumulator = std::tuple<typename As::Accumulator...>;

  explicit CombinedAggregate(As... aggregates) : aggregates_(std::move(aggregates)...) {}

  template <class T>
  requires(AggregateFunction<As, T>&&...) void Add(const T& row, Accumulator& into) const {
    Each([&](auto i) { std::get<i>(aggregates_).Add(row, std::get<i>(into)); });
  }
  std::tuple<AggregateResult<As>...> GetResult(const Accumulator& done) const {
    return Results(done, std::index_sequence_for<As...>());
  }
  void Merge(const Accumulator& from, Accumulator& into) const requires(MergingAggregate<As>&&...) {
    Each([&](auto i) { std::get<i>(aggregates_).Merge(std::get<i>(from), std::get<i>(into)); });
  }
  Accumulator CreateAccumulator() const {
    return std::apply([](const auto&... a) { return Accumulator(Create(a)...); }, aggregates_);
  }

 private:
  template <class A>
  static typename A::Accumulator Create(const A& a) {
    if constexpr (requires { a.CreateAccumulator(); }) {
      return a.CreateAccumulator();
    } else {
      return typename A::Accumulator();
    }
  }
  template <class F>
  static void Each(F&& f) {
    [&]<size_t... I>(std::index_sequence<I...>) { (f(std::integral_constant<size_t, I>()), ...); }
    (std::index_sequence_for<As...>());
  }
  template <size_t... I>
  auto Results(const Accumulator& done, std::index_sequence<I...>) const {
    return std::tuple<AggregateResult<As>...>(
        std::get<I>(aggregates_).GetResult(std::get<I>(done))...);
  }

  std::tuple<As...> aggregates_;
};

/// Number of rows (uint64_t).
inline CountAggregate Count() { return {}; }

// The others take a field, Sum(&Order::cents), or a function, Sum<Order>([](const Order& o) {...}).

/// Integers add up to int64_t (unsigned ones to uint64_t), floating point to double.
template <class T, class Selector>
SumAggregate<T, Selector> Sum(Selector field) {
  return SumAggregate<T, Selector>(field);
}
template <class T, class V>
SumAggregate<T, V T::*> Sum(V T::*field) {
  return SumAggregate<T, V T::*>(field);
}

/// As double.
template <class T, class Selector>
AvgAggregate<T, Selector> Avg(Selector field) {
  return AvgAggregate<T, Selector>(field);
}
template <class T, class V>
AvgAggregate<T, V T::*> Avg(V T::*field) {
  return AvgAggregate<T, V T::*>(field);
}

template <class T, class Selector>
BestAggregate<T, Selector, std::less<>> Min(Selector field) {
  return BestAggregate<T, Selector, std::less<>>(field);
}
template <class T, class V>
BestAggregate<T, V T::*, std::less<>> Min(V T::*field) {
  return BestAggregate<T, V T::*, std::less<>>(field);
}

template <class T, class Selector>
BestAggregate<T, Selector, std::greater<>> Max(Selector field) {
  return BestAggregate<T, Selector, std::greater<>>(field);
}
template <class T, class V>
BestAggregate<T, V T::*, std::greater<>> Max(V T::*field) {
  return BestAggregate<T, V T::*, std::greater<>>(field);
}

/// The row with the smallest (largest) value of a field; of several the first.
template <class T, class Selector>
BestRowAggregate<T, Selector, std::less<>> MinBy(Selector field) {
  return BestRowAggregate<T, Selector, std::less<>>(field);
}
template <class T, class V>
BestRowAggregate<T, V T::*, std::less<>> MinBy(V T::*field) {
  return BestRowAggregate<T, V T::*, std::less<>>(field);
}
template <class T, class Selector>
BestRowAggregate<T, Selector, std::greater<>> MaxBy(Selector field) {
  return BestRowAggregate<T, Selector, std::greater<>>(field);
}
template <class T, class V>
BestRowAggregate<T, V T::*, std::greater<>> MaxBy(V T::*field) {
  return BestRowAggregate<T, V T::*, std::greater<>>(field);
}

/// Several aggregates at once; the result is a tuple: Combine(Count(), Sum(&Order::cents)).
template <class... As>
CombinedAggregate<As...> Combine(As... aggregates) {
  return CombinedAggregate<As...>(std::move(aggregates)...);
}

}  // namespace weir
