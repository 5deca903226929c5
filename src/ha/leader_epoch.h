#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace weir {

/// Takes the next leader epoch: higher than every one taken before in this directory, by any
/// process, at any time, crashes of the machine included. Each number is a file created if absent;
/// `holder` goes into it for people. The result may be higher than the last plus one.
absl::StatusOr<LeaderEpoch> RaiseLeaderEpoch(const std::string& directory,
                                             const std::string& holder);

/// Deletes what processes that were killed in RaiseLeaderEpoch left there. Only where one process
/// at a time calls that, by this one. Best effort.
void RemoveUnfinishedEpochs(const std::string& directory);

/// The highest epoch taken so far, 0 if none.
absl::StatusOr<LeaderEpoch> HighestLeaderEpoch(const std::string& directory);

}  // namespace weir
