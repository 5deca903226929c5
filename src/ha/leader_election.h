#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"

namespace weir {

/// What a leader tells the others.
struct LeaderInfo {
  /// host:port of its RPC service.
  std::string address;
  /// For people: host, process, start.
  std::string holder;
  LeaderEpoch epoch;
};

/// Called on a thread of the election, one call at a time. Post and return; do not block.
class LeaderElectionListener {
 public:
  virtual ~LeaderElectionListener() = default;

  /// Lead, under this epoch, which is higher than that of any leader before.
  virtual void OnElected(LeaderEpoch epoch) = 0;

  /// No longer leader, or not sure of it. Comes before anybody else can be elected by the same
  /// rules, if time permits; what comes too late is stopped by the epoch.
  virtual void OnLost(const absl::Status& reason) = 0;

  /// Something other than another leader keeps this candidate from being elected. It goes on
  /// trying; the same trouble is reported once.
  virtual void OnTrouble(const absl::Status& why) = 0;
};

/// Makes one of several candidates the leader. The epoch is what protects data: being elected is
/// only the reason to act under it.
class LeaderElection {
 public:
  virtual ~LeaderElection() = default;

  /// Becomes a candidate, who would serve at `address`. `listener` must outlive Stop. Call once.
  [[nodiscard]] virtual absl::Status Start(const std::string& address,
                                           LeaderElectionListener* listener) = 0;

  /// Steps down and stops being a candidate. No call to the listener after it returns.
  virtual void Stop() = 0;

  /// Whether a leader may still act: false once its lease could have expired, before OnLost if
  /// need be, and then until OnElected comes with another epoch: who was told no stops for good.
  /// Cheap; ask before every act that is visible outside. Any thread.
  virtual bool MayAct() const = 0;

  /// Who leads, for clients and for those that are not elected; nothing if nobody does.
  virtual absl::StatusOr<std::optional<LeaderInfo>> CurrentLeader() = 0;
};

}  // namespace weir
