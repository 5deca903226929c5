#include "config/markdown.h"

#include "absl/strings/str_cat.h"
#include "config/keys.h"
#include "config/later.h"

namespace weir::config {

std::string ConfigurationPage() {
  std::string page = R"(# Configuration

Weir works without any. What is set comes from one YAML file (`--config FILE`, or the variable
`WEIR_CONFIG`), then environment variables, then `--set key=value`; later ones win. Keys may be
nested or written with dots. An unknown name or a bad value is refused by name, with the nearest
valid one. `weir config` prints every setting, its value and where it came from.

Durations are written 100ms, 5s, 1min (or 1m), 2h; sizes 32kb, 64mb, 2gb (powers of 1024).
Variables that Kubernetes injects for Services (`*_SERVICE_HOST`, `*_PORT_6123_TCP` ...) are ignored.

This page is written by `weir config --markdown`.
)";
  const Options defaults;
  std::string section;
  for (const Key& key : Keys()) {
    if (key.section != section) {
      section = key.section;
      absl::StrAppend(&page, "\n## ", section,
                      "\n| key | default | value | what it is | environment |\n"
                      "|---|---|---|---|---|\n");
    }
    const std::string value = key.write(defaults);
    absl::StrAppend(&page, "| `", key.name, "` | ",
                    value.empty() ? "" : absl::StrCat("`", value, "`"), " | ", key.expects, " | ",
                    key.doc, " | ");
    for (const std::string& name : key.environment) {
      absl::StrAppend(&page, name == key.environment.front() ? "`" : ", `", name, "`");
    }
    absl::StrAppend(&page, " |\n");
  }
  absl::StrAppend(&page, R"(
## Not in this version
These names are understood. What asks for behaviour that is not there is refused; what only tunes it
is accepted with a warning.

| key | environment | part | accepted |
|---|---|---|---|
)");
  for (const LaterName& later : LaterNames()) {
    const bool all_below = later.name.back() == '.';
    const std::string variable = EnvironmentNameOf(later);
    const std::string key = variable == later.name ? "" : absl::StrCat("`", later.name, "`");
    absl::StrAppend(&page, "| ", all_below ? absl::StrCat("`", later.name, "*`") : key, " | `",
                    variable, all_below ? "*" : "", "` | ", later.what, " | ",
                    later.off == "*"    ? "any value, without effect"
                    : all_below         ? "no"
                    : later.off.empty() ? "empty"
                                        : absl::StrCat("`", later.off, "`"),
                    " |\n");
  }
  return page;
}

}  // namespace weir::config
