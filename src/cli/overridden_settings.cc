#include "cli/overridden_settings.h"

#include <initializer_list>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/local_files.h"

namespace weir::cli {
namespace {

/// A setting that a command gives its processes itself, whatever is configured.
struct OverriddenSetting {
  std::string key;
  std::string mend;  ///< what is done in its place, and what can be set
  /// The same file sets it for other commands: whoever gives it by --set alone is told.
  bool is_for_others = false;
};

void Warn(const Context& context, const std::string& command,
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

}  // namespace

/// It starts its TaskManagers with these itself.
void WarnOfOverriddenByLocal(const Context& context) {
  const std::string ports =
      "each takes a free port, for several share one machine; where ports "
      "must be known, run `weir taskmanager` for each";
  Warn(context, "local",
       {{"taskmanager.id",
         "its TaskManagers are called tm-1, tm-2 and so on; run `weir taskmanager` "
         "for one of another name"},
        {"taskmanager.cluster-id",
         "its TaskManagers belong to the cluster that it runs; leave it out"},
        {"taskmanager.dir", "its TaskManagers have theirs below local.dir, '" +
                                LocalDirectory(context.config.options()).dir +
                                "', which is emptied of them at each start; set local.dir to a "
                                "directory on the disk that is wanted"},
        {"taskmanager.rpc-port", ports},
        {"taskmanager.data-port", ports},
        {"jobmanager.address",
         "its TaskManagers are given the address of its own JobManager, that of "
         "jobmanager.bind-host and jobmanager.rpc-port; set these",
         /*is_for_others=*/true}});
}

void WarnOfOverriddenInProcess(const Context& context) {
  const std::string own = "the process is a TaskManager and a JobManager of its own, for this job";
  const std::string here = own + ", whose parts meet at 127.0.0.1";
  Warn(context, "run --in-process",
       {{"taskmanager.id", own},
        {"taskmanager.dir", own + ", whose files are below /tmp while it runs"},
        {"taskmanager.rpc-port", own},
        {"taskmanager.data-port", own},
        {"taskmanager.bind-host", here},
        {"taskmanager.host", here},
        {"jobmanager.dir", own + ", whose files are below /tmp while it runs"},
        {"jobmanager.rpc-port", own},
        {"jobmanager.bind-host", here},
        {"metrics.port", own + ", without metrics"},
        {"log.dir", "its log goes to standard error"}});
}

}  // namespace weir::cli
