#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ha/leader_election.h"
#include "jobmanager/options.h"

namespace weir::jobmanager {

/// A JobManager in this process: leadership, recovery, RPC and metrics servers, the control loop.
/// Blocks in Start and Stop; thread-safe otherwise.
class JobManager {
 public:
  /// Returns when it leads, its jobs are recovered and its ports are open. InvalidArgument for an
  /// option, Unavailable for a taken port or a directory in which another JobManager leads,
  /// DataLoss for a damaged record; every message names the thing and the mend.
  /// `election` decides who leads; without one it is a lock in the directory, on this machine.
  static absl::StatusOr<std::unique_ptr<JobManager>> Start(
      const JobManagerOptions& options, std::unique_ptr<LeaderElection> election = nullptr);
  virtual ~JobManager() = default;

  /// Suspends the jobs (their tasks run on), ends streams and servers, gives up leadership.
  virtual void Stop() = 0;

  virtual int rpc_port() const = 0;
  virtual int metrics_port() const = 0;
  virtual const std::string& cluster_id() const = 0;  ///< 0: off

  /// Set when another leader has taken over, or could have, and this process must stop. It does
  /// nothing that is visible outside from then on.
  virtual bool fenced() const = 0;
};

}  // namespace weir::jobmanager
