#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace weir::cli {

/// A connection to a daemon: no proxy, quick to reconnect, messages up to 64 MiB.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

absl::Status ToStatus(const grpc::Status& status);

}  // namespace weir::cli
