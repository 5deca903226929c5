#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "state/checkpoint/storage.h"

namespace weir {

/// Hands every call to another storage. What a test wants otherwise it overrides.
class ForwardingStorage : public CheckpointStorage {
 public:
  explicit ForwardingStorage(CheckpointStorage& below) : below_(below) {}

  std::string Describe() const override { return below_.Describe(); }
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    return below_.Create(path);
  }
  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override {
    return below_.CreateIfAbsent(path, content);
  }
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override {
    return below_.Read(path, offset, out);
  }
  bool ReadElsewhere(const std::string& path) override { return below_.ReadElsewhere(path); }
  bool HasCopy(const std::string& path) override { return below_.HasCopy(path); }
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

 protected:
  CheckpointStorage& below_;
};

}  // namespace weir
