#include "cli/overridden_settings.h"

#include "absl/strings/str_cat.h"

namespace weir::cli {

void WarnOfOverridden(const Context& context, const std::string& command,
                      std::initializer_list<OverriddenSetting> settings) {
  for (const OverriddenSetting& overridden : settings) {
    for (const config::Setting& given : context.config.settings()) {
      const bool in_file = given.source.find(':') != std::string::npos;  // "weir.yaml:3"
      if (given.key != overridden.key) continue;
      if (given.source != "--set" && (!in_file || overridden.is_for_others)) continue;
      context.Warn(absl::StrCat(given.key, " (", given.source, ") has no effect on `weir ", command,
                                "`: ", overridden.mend));
    }
  }
}

}  // namespace weir::cli
