#include "cli/settings.h"

#include <ostream>

#include "cli/output.h"

namespace weir::cli {

ExitCode ShowSettings(const Context& context, bool only_set) {
  Json list = Json::array();
  Table table({{"KEY"}, {"VALUE"}, {"FROM"}, {"WHAT IT IS"}});
  for (const config::Setting& s : context.config.settings()) {
    if (only_set && s.source == "default") continue;
    list.push_back({{"key", s.key},
                    {"value", s.value},
                    {"default", s.default_value},
                    {"source", s.source},
                    {"doc", s.doc}});
    table.Add({s.key, s.value.empty() ? "\"\"" : s.value, s.source, s.doc});
  }
  if (context.json) {
    context.Print(list);
  } else {
    table.Print(*context.out);
  }
  return kDone;
}

}  // namespace weir::cli
