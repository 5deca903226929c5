#pragma once

#include <string>

#include "cli/context.h"

namespace weir::cli {

/// The newest `lines` lines that a process logged: of the local cluster's process by that name (its
/// file), otherwise of the TaskManager by that id. `follow` goes on with new ones until Ctrl-C.
/// An empty name lists the processes there are.
ExitCode ShowLogs(const Context& context, const std::string& process, int lines, bool follow);

}  // namespace weir::cli
