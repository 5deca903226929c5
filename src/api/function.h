#pragma once

#include <type_traits>
#include <utility>

#include "runtime/operator/collector.h"

namespace weir {

namespace internal {

// The row type of the Collector that a flat map takes as its second parameter.
template <class F>
struct CollectedType;
template <class R, class C, class In, class Out>
struct CollectedType<R (C::*)(In, Collector<Out>&)> {
  using type = Out;
};
template <class R, class C, class In, class Out>
struct CollectedType<R (C::*)(In, Collector<Out>&) const> {
  using type = Out;
};
template <class R, class In, class Out>
struct CollectedType<R (*)(In, Collector<Out>&)> {
  using type = Out;
};

template <class F>
struct CollectedOf {
  using type = typename CollectedType<decltype(&F::operator())>::type;
};
template <class R, class In, class Out>
struct CollectedOf<R (*)(In, Collector<Out>&)> {
  using type = Out;
};

}  // namespace internal
}  // namespace weir
