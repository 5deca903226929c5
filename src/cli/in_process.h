#pragma once

#include "cli/run.h"

namespace weir::cli {

/// Runs the job's subtasks in this very process, where a debugger or a sanitizer sees them: this
/// process becomes the one TaskManager of a cluster that lives as long as the job. The JobManager
/// and the command line (the same words again, without --in-process) are its children.
ExitCode RunInProcess(const Context& context, const RunOptions& options);

}  // namespace weir::cli
