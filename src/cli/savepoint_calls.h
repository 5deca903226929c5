#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/job_client.h"
#include "proto/client.pb.h"

namespace weir::cli {

/// `weir stop` and `weir savepoint`, whichever JobManager comes to carry them out. One that is lost
/// meanwhile is waited for, and the next one is asked what has become of it. What may be under way
/// still, with a JobManager that leads on, is not asked for again, and nothing more than three
/// times.
struct SavepointCalls {
  /// For the job to run again or to end, once a JobManager is back: what a checkpoint may take
  /// unless the job says otherwise. A stop that is found is followed however long it takes.
  static constexpr std::chrono::milliseconds kPatience{600'000};

  JobClient& client;
  /// Gets sentences for people. Any thread.
  std::function<void(const std::string&)> remark;
  std::chrono::milliseconds patience = kPatience;

  struct Stopped {
    proto::SavepointReply savepoint;
    proto::JobStatus end;
  };
  /// Returns when the job has ended. A stop that was asked for before, by whomever, is joined if it
  /// is the same; FailedPrecondition tells the difference. What was lost before it was recorded is
  /// asked for again.
  absl::StatusOr<Stopped> Stop(const proto::StopJobRequest& request) const;

  /// One that was lost with its JobManager is taken anew.
  absl::StatusOr<proto::SavepointReply> Take(const proto::TriggerSavepointRequest& request) const;
};

}  // namespace weir::cli
