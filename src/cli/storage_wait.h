#pragma once

#include <string>

#include "proto/client.pb.h"

namespace weir::cli {

/// "storage keeps the JobManager waiting for 12 s", or nothing when it does not.
std::string StorageWait(const proto::JobStatus& status);

/// The same for somebody who waits for the job's end: where to look, and what follows.
std::string StorageHoldsUpEnd(const proto::JobStatus& status, const std::string& directory);

}  // namespace weir::cli
