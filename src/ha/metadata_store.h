#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"

namespace weir {

struct MetadataEntry {
  std::string key;
  std::string value;
  /// Grows with every write of the key, deletions in between included; never 0.
  uint64_t version = 0;
  /// The leader that wrote it.
  LeaderEpoch epoch;
};

/// The few small things that a new leader must know: submitted jobs, ids, settings. Linearizable.
/// Implementations keep it in a directory, in etcd, in a Kubernetes object.
///
/// Every change carries the leader's epoch and is refused with Aborted once a higher one is known
/// to the store. Calls block: never from a control loop's thread. Thread-safe.
///
/// Errors: NotFound; FailedPrecondition (the version is another one); Aborted (a newer leader:
/// stop); InvalidArgument (key or value too long); DataLoss (an entry is damaged; named); Unknown
/// (the change may or may not have taken place: read back); Unavailable and others: it did not.
class MetadataStore {
 public:
  /// The version of what does not exist.
  static constexpr uint64_t kAbsent = 0;
  static constexpr size_t kMaxKeyBytes = 200;
  /// What etcd takes by default, with room to spare. Larger things go to the checkpoint storage.
  static constexpr size_t kMaxValueBytes = 1 << 20;

  virtual ~MetadataStore() = default;

  virtual std::string Describe() const = 0;

  /// Shuts out all leaders with a lower epoch, durably. A new leader's first call; it may trust
  /// what it reads afterwards to be changed by nobody else.
  [[nodiscard]] virtual absl::Status Fence(LeaderEpoch epoch) = 0;

  virtual absl::StatusOr<MetadataEntry> Get(const std::string& key) = 0;

  /// All keys that begin with `prefix`, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& prefix) = 0;

  /// Writes the key if its version is `expected` (kAbsent: if there is none), and returns the new
  /// version.
  virtual absl::StatusOr<uint64_t> Put(const std::string& key, uint64_t expected,
                                       const std::string& value, LeaderEpoch epoch) = 0;

  /// Deletes the key if its version is `expected`.
  [[nodiscard]] virtual absl::Status Delete(const std::string& key, uint64_t expected,
                                            LeaderEpoch epoch) = 0;
};

/// InvalidArgument unless every store takes them.
[[nodiscard]] absl::Status CheckMetadataKey(const std::string& key);
[[nodiscard]] absl::Status CheckMetadataValue(const std::string& key, const std::string& value);

}  // namespace weir
