#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

/// The codes are the same numbers in both.
grpc::Status ToGrpc(const absl::Status& status);
grpc::Status ToGrpc(ReplyCode code, const std::string& message);
/// What a call gets that comes too late.
grpc::Status ShuttingDown();

/// NotFound or InvalidArgument unless `path` is an absolute path of a directory that is there.
[[nodiscard]] absl::Status CheckDirectoryExists(const std::string& path, const std::string& what);

}  // namespace weir::jobmanager
