#pragma once

#include "cli/context.h"

namespace weir::cli {

// Settings that a command gives its processes itself, whatever is configured. Whoever has set one,
// by --set or in the file, is told: it would be looked for in vain. An environment is for all
// commands.

void WarnOfOverriddenByLocal(const Context& context);
void WarnOfOverriddenInProcess(const Context& context);

}  // namespace weir::cli
