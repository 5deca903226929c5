#pragma once

#include "cli/context.h"

namespace weir::cli {

/// Runs a daemon in this process until it is told to end. `parent_pid`: the launcher it dies with;
/// 0: none.
ExitCode ServeTaskManager(const Context& context, int parent_pid);

}  // namespace weir::cli
