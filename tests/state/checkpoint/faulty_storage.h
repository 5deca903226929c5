#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "state/checkpoint/storage.h"

namespace weir {

/// A storage whose create-if-absent has an unknown outcome on demand.
class FaultyStorage final : public CheckpointStorage {
 public:
  enum class Fault { kNone, kDone, kLost, kLate };

  explicit FaultyStorage(CheckpointStorage& below) : below_(below) {}

  /// The next creation reports doubt, and was done, never happens, or happens at Deliver().
  Fault next = Fault::kNone;
  /// So do all that follow.
  bool sticky = false;

  void Deliver() {
    for (const auto& [path, content] : late_) (void)below_.CreateIfAbsent(path, content);
    late_.clear();
  }

  std::string Describe() const override { return below_.Describe(); }
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    return below_.Create(path);
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
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override {
    return below_.Read(path, offset, out);
  }
  absl::StatusOr<StoredFile> Stat(const std::string& path) override { return below_.Stat(path); }
  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
    return below_.List(folder);
  }
  absl::Status Delete(const std::string& path) override { return below_.Delete(path); }
  absl::Status PutFile(const std::string& local, const std::string& path, Transfer t) override {
    return below_.PutFile(local, path, t);
  }
  absl::Status GetFile(const std::string& path, const std::string& local, Transfer t) override {
    return below_.GetFile(path, local, t);
  }
  absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds untouched) override {
    return below_.RemoveAbandoned(untouched);
  }
  absl::Status RemoveEmptyFolders() override { return below_.RemoveEmptyFolders(); }

 private:
  CheckpointStorage& below_;
  std::vector<std::pair<std::string, std::string>> late_;
};

}  // namespace weir
