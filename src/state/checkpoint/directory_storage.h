#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "state/checkpoint/storage.h"

namespace weir {

/// Checkpoint storage in a local directory, or in one that all machines share.
///
/// A file is written under a temporary name in `<root>/.tmp`, synced, given its name by link(2),
/// and its folder is synced. Nothing is ever overwritten or renamed onto something.
/// Thread-safe; keeps no file open between calls.
class DirectoryStorage final : public CheckpointStorage {
 public:
  /// Creates the directory if it is missing and proves that it can be written to.
  static absl::StatusOr<std::unique_ptr<DirectoryStorage>> Open(const std::string& root);

  /// Proves that the directory, which another process has made, is there and can be written to:
  /// NotFound if there is none, which then is not created. A machine on which the shared directory
  /// is not mounted must not make itself one of its own in that place.
  static absl::StatusOr<std::unique_ptr<DirectoryStorage>> OpenShared(const std::string& root);

  /// For reading what is there (a savepoint): NotFound if there is no such directory, which is
  /// not created and may be read-only.
  static absl::StatusOr<std::unique_ptr<DirectoryStorage>> OpenExisting(const std::string& root);

  std::string Describe() const override { return "directory " + root_; }
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override;
  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override;
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override;
  absl::StatusOr<StoredFile> Stat(const std::string& path) override;
  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override;
  absl::Status Delete(const std::string& path) override;
  absl::Status PutFile(const std::string& local_path, const std::string& path,
                       Transfer transfer) override;
  absl::Status GetFile(const std::string& path, const std::string& local_path,
                       Transfer transfer) override;
  absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds untouched) override;
  absl::Status RemoveEmptyFolders() override;

  const std::string& root() const { return root_; }

 private:
  explicit DirectoryStorage(std::string root);
  absl::Status CheckUsable();

  std::string Full(const std::string& path) const { return root_ + "/" + path; }
  std::string NewTemporary() const;
  /// Creates the folders above `path` and makes their names durable, once per process: another
  /// process may have created one and crashed before it was synced.
  absl::Status PrepareFolder(const std::string& path);

  const std::string root_;
  const std::string temporary_;
  std::mutex mutex_;
  std::set<std::string> durable_folders_;  // guarded by mutex_
};

}  // namespace weir
