#pragma once

#include <string>
#include <string_view>

namespace weir {

/// Named places at each durable step where a test can make the process crash, fail or wait.
///
/// Compiled in with WEIR_FAILPOINTS (the dev and sanitizer presets); otherwise the macro is false
/// and costs nothing. Set by the environment variable WEIR_FAILPOINTS, a comma-separated list of
/// `name=action` or `@FILE`, a file with such a list that is read again whenever another file takes
/// its place; or in-process with SetFailpoint. The first time that one is reached standard error
/// says "failpoint NAME: ACTION". Actions:
///   crash         SIGKILL to this process          crash:N   at the N-th pass
///   error         the place reports a failure      error:N   at the N-th pass only
///   sleep:MS      waits, then goes on
///   hold          waits until it is set to something else, or to nothing
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

/// True when this bug is wanted: a place that does the wrong thing on purpose, to show that the
/// tests would notice. Set like a failpoint, "planted.NAME=error"; tests/faults has the list.
#define WEIR_PLANTED_BUG(name) WEIR_FAILPOINT("planted." name)
