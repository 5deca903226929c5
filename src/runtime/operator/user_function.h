#pragma once

#include "runtime/operator/runtime_context.h"

namespace weir {

/// A user function may be a lambda or a class. A class may have `Open(const RuntimeContext&)` and
/// `Close()`: they run once per subtask, before the first record and after the last.
/// One with other parameters is refused by the compiler: it would never be called.
template <class F>
void OpenFunction(F& f, const RuntimeContext& context) {
  if constexpr (requires { f.Open(context); }) {
    f.Open(context);
  } else {
    static_assert(
        !requires { &F::Open; },
        "the function's Open must be public and take a const weir::RuntimeContext&");
  }
}
template <class F>
void CloseFunction(F& f) {
  if constexpr (requires { f.Close(); }) {
    f.Close();
  } else {
    static_assert(
        !requires { &F::Close; }, "the function's Close must be public and have no parameters");
  }
}

}  // namespace weir
