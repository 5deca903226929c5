#pragma once

#include "cli/context.h"

namespace weir::cli {

/// Every setting, its value and where it came from; `only_set` leaves the defaults out.
ExitCode ShowSettings(const Context& context, bool only_set);

}  // namespace weir::cli
