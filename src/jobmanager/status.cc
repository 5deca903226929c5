#include "jobmanager/status.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

absl::Status CheckDirectoryExists(const std::string& path, const std::string& what) {
  if (!path.starts_with("/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " path '", path, "' must be absolute"));
  }
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat("there is no ", what, " at ", path));
  }
  return absl::OkStatus();
}

}  // namespace weir::jobmanager
