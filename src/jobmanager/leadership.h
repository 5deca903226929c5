#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/ids.h"
#include "ha/leader_election.h"
#include "ha/metadata_store.h"

namespace weir::jobmanager {

/// Under whose name this process writes. The same for all jobs of one leadership.
struct Leadership {
  LeaderEpoch epoch;
  std::string holder;       ///< for people
  std::string incarnation;  ///< unique to this start of the process
  MetadataStore* metadata = nullptr;
  const Clock* clock = nullptr;
  const LeaderElection* election = nullptr;

  /// Asked before every act that is visible outside. The epoch is what keeps a late act from doing
  /// harm where epochs are compared; this keeps it from being tried, and elsewhere.
  absl::Status MayAct() const {
    if (election->MayAct()) return absl::OkStatus();
    return absl::AbortedError("this JobManager may not be the leader any more");
  }
};

}  // namespace weir::jobmanager
