#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/job_client.h"
#include "proto/client.pb.h"

namespace weir::cli {

bool Ended(const proto::JobStatus& job);

/// JobManagers, behind the first, while one job is followed. What kills each is left to people.
inline constexpr int kLostAtMost = 3;

/// The last that was heard of the job: `enough` said so, or `limit` has passed. A JobManager that
/// is lost meanwhile is waited for (JobClient::AwaitAnswer), kLostAtMost of them, and `limit`
/// counts anew when another one answers. A connection that is lost alone is made again, however
/// often. `remark`, unless null, is told once when storage holds up the job's end.
absl::StatusOr<proto::JobStatus> FollowJob(
    JobClient& client, const std::string& id, const std::function<void(const std::string&)>& remark,
    const std::function<bool(const proto::JobStatus&)>& enough,
    std::optional<std::chrono::milliseconds> limit = std::nullopt);

}  // namespace weir::cli
