#include "cli/context.h"

#include <ostream>

#include "absl/strings/ascii.h"
#include "cli/local_files.h"

namespace weir::cli {

std::string Context::Address() const {
  if (!config.IsSet("jobmanager.address")) {
    const auto local = ReadRunningCluster(LocalDirectory(config.options()));
    if (local) return local->address;
  }
  return config.options().jobmanager.address;
}

ExitCode Context::Fail(const absl::Status& status) const {
  const std::string message(status.message());
  if (json) {
    std::string code = absl::StatusCodeToString(status.code());
    *err << Dump({{"error", message}, {"code", code}}) << '\n';
  } else {
    *err << "weir: " << message << '\n';
  }
  return ExitCodeOf(status);
}

void Context::Print(const Json& json_value) const { *out << Dump(json_value) << std::endl; }

}  // namespace weir::cli
