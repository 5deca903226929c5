#include "cli/local_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace weir::cli {

std::string HomeDirectory() {
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.weir";
  return "/tmp/weir-" + std::to_string(getuid());
}

LocalFiles LocalDirectory(const config::Options& options) {
  return {options.local.dir.empty() ? HomeDirectory() + "/local" : options.local.dir};
}

bool IsTaken(const LocalFiles& files) {
  const int fd = open(files.Lock().c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
  close(fd);
  return held;
}

std::optional<RunningCluster> ReadRunningCluster(const LocalFiles& files) {
  if (!IsTaken(files)) return std::nullopt;
  std::ifstream in(files.Cluster());
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || !json.contains("address") || !json["address"].is_string()) {
    return std::nullopt;
  }
  return RunningCluster{json.value("pid", 0), json["address"].get<std::string>(),
                        json.value("cluster_id", "")};
}

}  // namespace weir::cli
