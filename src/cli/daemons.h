#pragma once

#include "cli/context.h"
#include "taskmanager/options.h"

namespace weir::cli {

/// Run a daemon in this process until it is told to end. `parent_pid`: the launcher it dies with;
/// 0: none.
ExitCode ServeJobManager(const Context& context, int parent_pid);
ExitCode ServeTaskManager(const Context& context, int parent_pid);

/// What the configuration says of a TaskManager.
TaskManagerOptions TaskManagerOptionsOf(const config::Options& options);

}  // namespace weir::cli
