#pragma once

#include <string>
#include <vector>

#include "tests/state/checkpoint/forwarding_storage.h"

namespace weir {

/// Knows which deletions a power cut would undo: those in folders that were not listed since.
class DeletionOrder final : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
    std::erase_if(undurable_, [&](const std::string& p) { return p.starts_with(folder + "/"); });
    return below_.List(folder);
  }
  absl::Status Delete(const std::string& path) override {
    undurable_at_last_ = undurable_;
    undurable_.push_back(path);
    return below_.Delete(path);
  }

  /// Of the deletions so far.
  const std::vector<std::string>& undurable() const { return undurable_; }
  /// Of those before the last one.
  const std::vector<std::string>& undurable_at_last() const { return undurable_at_last_; }

 private:
  std::vector<std::string> undurable_;
  std::vector<std::string> undurable_at_last_;
};

}  // namespace weir
