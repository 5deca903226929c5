#include "cli/context.h"

#include <chrono>
#include <ostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/job_client.h"
#include "cli/local_files.h"
#include "cli/output.h"

namespace weir::cli {
namespace {

// A cluster that was started a moment ago is ready within this; a loaded machine needs a while.
constexpr std::chrono::seconds kStartPatience{10};
constexpr std::chrono::milliseconds kStartPoll{20};

/// While a JobManager is away, another cluster's may have got its port.
absl::Status CheckIsOurs(const RunningCluster& local, const LocalFiles& files) {
  const auto answer = JobClient(local.address).StatusNow();
  if (!answer.ok() || answer->cluster_id() == local.cluster_id) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "the JobManager of the local cluster in '", files.dir, "' is away, and at its address ",
      local.address,
      " another cluster's answers; stop that one, or this cluster and start it again"));
}

}  // namespace

absl::StatusOr<std::string> Context::Address() const {
  if (config.IsSet("jobmanager.address")) return config.options().jobmanager.address;
  const LocalFiles files = LocalDirectory(config.options());
  const auto give_up = std::chrono::steady_clock::now() + kStartPatience;
  for (;;) {
    if (const auto local = ReadRunningCluster(files)) {
      if (absl::Status s = CheckIsOurs(*local, files); !s.ok()) return s;
      return local->address;
    }
    if (!IsTaken(files) || std::chrono::steady_clock::now() > give_up) break;
    std::this_thread::sleep_for(kStartPoll);
  }
  if (!config.IsSet("local.dir")) return config.options().jobmanager.address;
  return absl::UnavailableError(absl::StrCat(
      "no local cluster is ready in '", files.dir, "' (local.dir); start one there with `weir ",
      "local`, set local.dir to the directory of another, or name a JobManager with --jobmanager ",
      "HOST:PORT"));
}

ExitCode Context::Fail(const absl::Status& status) const {
  const std::string message(status.message());
  if (json) {
    std::string code = absl::StatusCodeToString(status.code());
    *err << Dump({{"error", message}, {"code", code}}) << '\n';
  } else {
    *err << "weir: " << Shown(message) << '\n';
  }
  return ExitCodeOf(status);
}

void Context::Warn(const std::string& text) const {
  if (json) {
    *err << Dump({{"warning", text}}) << std::endl;
  } else {
    *err << "Warning: " << text << '\n';
  }
}

void Context::Print(const Json& json_value) const { *out << Dump(json_value) << std::endl; }

}  // namespace weir::cli
