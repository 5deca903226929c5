#pragma once

#include <string>

#include "cli/context.h"
#include "cli/job_client.h"

namespace weir::cli {

/// Blocks the signals that Attach reads, for this thread and those it starts. Call before anything
/// starts threads.
void BlockTerminalSignals();

/// One of these that is waiting, which it is then no more; 0: none is.
int TakeTerminalSignal();

/// How a command ends that one of these has ended.
ExitCode CodeOfSignal(int signal);

/// What becomes of the job when whoever is attached lets go of it.
enum class LetGo {
  kRunsOn,
  kEnds,  ///< it runs in a cluster that ends with this command (--in-process)
};

/// Shows what the job prints, on standard output, and how it fares, on standard error, until it
/// ends. Ctrl-C cancels the job (a second one lets go of it); a terminal that goes away, or
/// SIGTERM, leaves it running: the exit code tells that it has not ended. A JobManager that goes
/// away is waited for: the job runs on without it.
ExitCode Attach(const Context& context, JobClient& client, const std::string& job_id,
                LetGo let_go = LetGo::kRunsOn);

}  // namespace weir::cli
