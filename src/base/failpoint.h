#pragma once

#include <string>
#include <string_view>

namespace weir {

/// Named places at each durable step where a test can make the process crash, fail or wait.
///
/// Compiled in with WEIR_FAILPOINTS (the dev and sanitizer presets); otherwise the macro is false
/// and costs nothing. Set by the environment variable WEIR_FAILPOINTS, a comma-separated list of
/// `name=action`, or in-process with SetFailpoint. Actions:
///   crash         SIGKILL to this process          crash:N   at the N-th pass
///   error         the place reports a failure      error:N   at the N-th pass only
///   sleep:MS      waits, then goes on
/// Thread-safe.
bool EvaluateFailpoint(std::string_view name);

/// Replaces the action of one failpoint; an empty action removes it.
void SetFailpoint(std::string_view name, std::string_view action);

}  // namespace weir

#ifdef WEIR_FAILPOINTS
/// True when the failpoint says that this step must report a failure.
#define WEIR_FAILPOINT(name) (::weir::EvaluateFailpoint(name))
#else
#define WEIR_FAILPOINT(name) (static_cast<void>(sizeof(name)), false)
#endif
