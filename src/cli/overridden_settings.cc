#include "cli/overridden_settings.h"

#include <ostream>

namespace weir::cli {

void WarnOfOverridden(const Context& context, const std::string& command,
                      std::initializer_list<OverriddenSetting> settings) {
  if (context.json) return;
  for (const OverriddenSetting& overridden : settings) {
    for (const config::Setting& given : context.config.settings()) {
      const bool in_file = given.source.find(':') != std::string::npos;  // "weir.yaml:3"
      if (given.key != overridden.key || (given.source != "--set" && !in_file)) continue;
      *context.err << "Warning: " << given.key << " (" << given.source
                   << ") has no effect on `weir " << command << "`: " << overridden.mend << '\n';
    }
  }
}

}  // namespace weir::cli
