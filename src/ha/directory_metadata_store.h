#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ha/metadata_store.h"

namespace weir {

/// The metadata store in a directory of one machine.
///
///   <root>/lock            held during every change, so that checks and writes are one step
///   <root>/fence           highest leader epoch seen, and the highest version of a deleted key
///   <root>/entries/<key>   one file per key, its name escaped; replaced whole by rename
///
/// Every file: magic "WEIRMETA", u32 version, u32 features, payload, XXH3-64 of what precedes.
class DirectoryMetadataStore final : public MetadataStore {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryMetadataStore>> Open(const std::string& root);

  std::string Describe() const override { return "directory " + root_; }
  absl::Status Fence(LeaderEpoch epoch) override;
  absl::StatusOr<MetadataEntry> Get(const std::string& key) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& prefix) override;
  absl::StatusOr<uint64_t> Put(const std::string& key, uint64_t expected, const std::string& value,
                               LeaderEpoch epoch) override;
  absl::Status Delete(const std::string& key, uint64_t expected, LeaderEpoch epoch) override;

 private:
  struct FenceState {
    LeaderEpoch epoch;
    uint64_t deleted_version = 0;
  };

  explicit DirectoryMetadataStore(std::string root)
      : root_(std::move(root)), entries_(root_ + "/entries") {}

  std::string PathOf(const std::string& key) const;
  absl::StatusOr<FenceState> ReadFence() const;
  absl::Status WriteFence(const FenceState& fence);
  /// Runs `change` alone among all processes, after the epoch was found to be the highest.
  absl::Status Exclusively(LeaderEpoch epoch,
                           const std::function<absl::Status(FenceState&)>& change);
  /// The present version, kAbsent if none, if it is `expected`; else FailedPrecondition.
  absl::Status CheckVersion(const std::string& key, uint64_t expected);
  /// What a crashed process renamed and did not sync becomes durable before it is believed.
  absl::Status SyncIfNeeded();

  const std::string root_;
  const std::string entries_;
  std::mutex mutex_;  // one change at a time in this process
  std::atomic<bool> needs_sync_{true};
  bool tidied_ = false;  // mutex_: what processes that were killed left unfinished has gone
};

}  // namespace weir
