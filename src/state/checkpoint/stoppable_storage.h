#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "state/checkpoint/storage.h"

namespace weir {

/// A storage for one piece of work that somebody may call off: once `stop` is set, every further
/// call, and every further part of a file that is being written, is Cancelled. What reads state in
/// parts ends so, whatever it is doing with them.
class StoppableStorage final : public CheckpointStorage {
 public:
  /// `below` outlives it.
  StoppableStorage(CheckpointStorage& below, std::shared_ptr<const std::atomic<bool>> stop)
      : below_(below), stop_(std::move(stop)) {}

  std::string Describe() const override { return below_.Describe(); }
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override;
  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override;
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override;
  bool ReadElsewhere(const std::string& path) override { return below_.ReadElsewhere(path); }
  bool HasCopy(const std::string& path) override { return below_.HasCopy(path); }
  absl::StatusOr<StoredFile> Stat(const std::string& path) override;
  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override;
  absl::Status Delete(const std::string& path) override;
  absl::Status PutFile(const std::string& local_path, const std::string& path,
                       Transfer transfer) override;
  absl::Status GetFile(const std::string& path, const std::string& local_path,
                       Transfer transfer) override;
  absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds untouched) override;
  absl::Status RemoveEmptyFolders() override;

 private:
  CheckpointStorage& below_;
  const std::shared_ptr<const std::atomic<bool>> stop_;
};

}  // namespace weir
