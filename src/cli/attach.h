#pragma once

#include <string>

#include "cli/context.h"
#include "cli/job_client.h"

namespace weir::cli {

/// Blocks the signals that Attach reads, for this thread and those it starts. Call before anything
/// starts threads.
void BlockTerminalSignals();

/// Shows what the job prints, on standard output, and how it fares, on standard error, until it
/// ends. Ctrl-C cancels the job (a second one lets go of it); a terminal that goes away, or
/// SIGTERM, leaves it running. A JobManager that goes away is waited for: the job runs on without
/// it.
ExitCode Attach(const Context& context, JobClient& client, const std::string& job_id);

}  // namespace weir::cli
