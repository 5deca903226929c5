#pragma once

#include "absl/status/status.h"

namespace weir::cli {

/// What scripts can tell from `weir`'s exit code; docs/cli.md lists them.
enum ExitCode {
  kDone = 0,
  kFailed = 1,  ///< what was asked for did not succeed: the job failed, the savepoint was aborted
  kUsage = 2,   ///< wrong arguments, configuration, job library; a savepoint that does not fit
  kUnreachable = 3,  ///< no JobManager answered
  kNotFound = 4,     ///< no such job or savepoint
  kCanceled = 5,     ///< the job one was attached to was cancelled
  // As a shell tells of a command that a signal ended.
  kHungUp = 129,      ///< attached, by SIGHUP: the job runs on
  kTerminated = 143,  ///< attached, by SIGTERM: the job runs on
};

inline ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kDone;
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kUnavailable:
      return kUnreachable;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    default:
      return kFailed;
  }
}

}  // namespace weir::cli
