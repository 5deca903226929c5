#pragma once

#include <initializer_list>
#include <string>

#include "cli/context.h"

namespace weir::cli {

/// A setting that a command gives its processes itself, whatever is configured.
struct OverriddenSetting {
  std::string key;
  std::string mend;  ///< what is done in its place, and what can be set
  /// The same file sets it for other commands: whoever gives it by --set alone is told.
  bool is_for_others = false;
};

/// Whoever has set one of them, by --set or in the file, is told: it would be looked for in vain.
/// An environment is for all commands.
void WarnOfOverridden(const Context& context, const std::string& command,
                      std::initializer_list<OverriddenSetting> settings);

}  // namespace weir::cli
