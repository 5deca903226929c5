#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/state/checkpoint/forwarding_storage.h"

namespace weir {

/// A storage whose create-if-absent has an unknown outcome on demand, and whose listing fails.
class FaultyStorage final : public ForwardingStorage {
 public:
  enum class Fault { kNone, kDone, kLost, kLate };

  using ForwardingStorage::ForwardingStorage;

  /// The next creation reports doubt, and was done, never happens, or happens at Deliver().
  Fault next = Fault::kNone;
  /// So do all that follow.
  bool sticky = false;
  /// What is asked after a doubt is not answered either.
  bool lists = true;

  void Deliver() {
    for (const auto& [path, content] : late_) (void)below_.CreateIfAbsent(path, content);
    late_.clear();
  }

  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override {
    const Fault fault = next;
    if (!sticky) next = Fault::kNone;
    if (fault == Fault::kNone) return below_.CreateIfAbsent(path, content);
    if (fault == Fault::kDone) {
      const absl::Status s = below_.CreateIfAbsent(path, content);
      if (!s.ok()) return s;
    }
    if (fault == Fault::kLate) late_.emplace_back(path, std::string(content));
    return absl::UnknownError("no answer");
  }

  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
    if (!lists) return absl::UnavailableError("too many open files");
    return below_.List(folder);
  }

 private:
  std::vector<std::pair<std::string, std::string>> late_;
};

}  // namespace weir
