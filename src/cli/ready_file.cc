#include "cli/ready_file.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/proto_json.h"

namespace weir::cli {

void WriteReadyFile(const std::string& path, const JobManagerOptions::Ready& ready) {
  const std::string fresh = path + ".new";
  std::ofstream(fresh) << Dump({{"pid", getpid()},
                                {"rpc_port", ready.rpc_port},
                                {"metrics_port", ready.metrics_port},
                                {"cluster_id", ready.cluster_id}})
                       << '\n';
  std::error_code ignored;
  std::filesystem::rename(fresh, path, ignored);
}

std::optional<JobManagerOptions::Ready> ReadReadyFile(const std::string& path, pid_t writer) {
  std::ifstream in(path);
  const Json json = Json::parse(in, nullptr, false);
  if (!json.is_object() || json.value("pid", 0) != writer) return std::nullopt;
  return JobManagerOptions::Ready{json.value("rpc_port", 0), json.value("metrics_port", 0),
                                  json.value("cluster_id", "")};
}

}  // namespace weir::cli
