#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/context.h"

namespace weir::cli {

struct LocalOptions {
  std::optional<int64_t> task_managers;  // else taskmanager.min-instances
  std::optional<int64_t> slots;          // of each
  bool fresh = false;                    // forget the jobs of earlier runs
  bool broker = false;                   // and a Kafka broker
  /// What the daemons are started with, beside what the launcher decides: --config and --set.
  std::vector<std::string> inherited;
};

/// Runs a cluster on this machine until Ctrl-C: one JobManager and TaskManagers, each a process.
/// Starts the dead again and more TaskManagers when jobs wait for slots.
ExitCode RunLocal(const Context& context, const LocalOptions& options);

/// In the process that `weir local --broker` starts: becomes the broker whose files are in
/// `directory`, by the script that is for it.
ExitCode BecomeBroker(const Context& context, const std::string& script,
                      const std::string& directory);

}  // namespace weir::cli
