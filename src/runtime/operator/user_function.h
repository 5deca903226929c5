#pragma once

#include "runtime/operator/runtime_context.h"

namespace weir {

/// A user function may be a lambda or a class. A class may have `Open(const RuntimeContext&)` and
/// `Close()`: they run once per subtask, before the first record and after the last.
template <class F>
void OpenFunction(F& f, const RuntimeContext& context) {
  if constexpr (requires { f.Open(context); }) f.Open(context);
}
template <class F>
void CloseFunction(F& f) {
  if constexpr (requires { f.Close(); }) f.Close();
}

}  // namespace weir
