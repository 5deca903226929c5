#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "jobmanager/options.h"

namespace weir::cli {

/// Where a JobManager that a launcher started says that it leads, and on which ports it listens: it
/// has bound them, nobody has guessed. One line of JSON with the writer's pid.
void WriteReadyFile(const std::string& path, const JobManagerOptions::Ready& ready);

/// What the process `writer` has written; nothing as long as it has not, whatever a dead one left.
std::optional<JobManagerOptions::Ready> ReadReadyFile(const std::string& path, pid_t writer);

}  // namespace weir::cli
