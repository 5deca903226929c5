#include "jobmanager/status.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

grpc::Status ToGrpc(ReplyCode code, const std::string& message) {
  switch (code) {
    case ReplyCode::kOk:
      return grpc::Status::OK;
    case ReplyCode::kNotFound:
      return {grpc::StatusCode::NOT_FOUND, message};
    case ReplyCode::kFailedPrecondition:
      return {grpc::StatusCode::FAILED_PRECONDITION, message};
    case ReplyCode::kResourceExhausted:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, message};
    case ReplyCode::kAborted:
      return {grpc::StatusCode::ABORTED, message};
  }
  return {grpc::StatusCode::INTERNAL, message};
}

grpc::Status ShuttingDown() {
  return {grpc::StatusCode::UNAVAILABLE, "the JobManager is shutting down; try again"};
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
