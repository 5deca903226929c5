#pragma once

#include <string>

#include "cli/context.h"
#include "taskmanager/options.h"

namespace weir::cli {

/// What a launcher that starts a JobManager wants of it.
struct Launched {
  int parent_pid = 0;           ///< it dies with this one; 0: there is no launcher
  std::string ready_file;       ///< see ready_file.h; empty: none
  bool other_rpc_port = false;  ///< where the port is taken, take another
  bool other_metrics_port = false;
};

/// Run a daemon in this process until it is told to end. `parent_pid`: as in Launched.
ExitCode ServeJobManager(const Context& context, const Launched& launched);
ExitCode ServeTaskManager(const Context& context, int parent_pid);

/// What the configuration says of a TaskManager.
TaskManagerOptions TaskManagerOptionsOf(const config::Options& options);

}  // namespace weir::cli
