#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "state/checkpoint/storage.h"

namespace weir {

/// What the copies of a process were good for. Outlives the storages that tell it; any thread.
struct LocalCopyReport {
  /// Read of data files, from copies and from the storage below.
  std::atomic<uint64_t> local_bytes{0};
  std::atomic<uint64_t> stored_bytes{0};
  /// Called once with the name of a copy that was found damaged and is read no more. Set before the
  /// first storage is made.
  std::function<void(const std::string& copy)> on_damaged;
};

/// A storage of which this process keeps copies of the data files that it writes itself, in a
/// directory on its own disk that outlives attempts: what is restored or merged here again is read
/// from there, and from the storage below only what others wrote.
///
/// A copy is never more than that. The file below is written as ever, first, and alone makes a
/// checkpoint; a copy that cannot be written, or would leave its file system with less than a tenth
/// of its room free, is given up without a word; one that is short, or damaged by its reader's
/// checksums (ReadElsewhere), is distrusted from then on, whether it can be deleted or not. What is
/// read in their place is the storage below. Copies are not synced: they are worth nothing after a
/// crash of the machine.
///
/// Copies of files that the storage below no longer has are deleted as others are made: what no
/// retained checkpoint names goes there, and here after it. Thread-safe.
class LocalCopies final : public CheckpointStorage {
 public:
  /// How often copies are compared with what the storage below has.
  static constexpr std::chrono::seconds kPruneInterval{10};

  /// Of its file system, left free: stores and open epochs need it more.
  static constexpr double kFreePart = 0.1;

  /// `directory` is made if it is missing, and belongs to one job's copies; empty: none are kept,
  /// reads are counted all the same.
  LocalCopies(std::unique_ptr<CheckpointStorage> below, std::string directory,
              LocalCopyReport* report, double free_part = kFreePart);

  std::string Describe() const override { return below_->Describe(); }
  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override;
  absl::Status CreateIfAbsent(const std::string& path, std::string_view content) override {
    return below_->CreateIfAbsent(path, content);
  }
  absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override;
  bool ReadElsewhere(const std::string& path) override;
  bool HasCopy(const std::string& path) override;
  absl::StatusOr<StoredFile> Stat(const std::string& path) override { return below_->Stat(path); }
  absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
    return below_->List(folder);
  }
  absl::Status Delete(const std::string& path) override;
  absl::Status PutFile(const std::string& local_path, const std::string& path,
                       Transfer transfer) override;
  absl::Status GetFile(const std::string& path, const std::string& local_path,
                       Transfer transfer) override;
  absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds untouched) override {
    return below_->RemoveAbandoned(untouched);
  }
  absl::Status RemoveEmptyFolders() override { return below_->RemoveEmptyFolders(); }

  /// Deletes copies of what the storage below does not have. Also called by Create, now and then.
  void Prune();

 private:
  /// Where its copy is, if there is one; empty for what is not copied.
  std::string CopyPath(const std::string& path) const;
  /// The same, and empty for a copy that was found damaged.
  std::string TrustedCopy(const std::string& path);
  void Distrust(const std::string& path, const std::string& copy);
  void PruneIfDue();

  const std::unique_ptr<CheckpointStorage> below_;
  const std::string directory_;
  LocalCopyReport* const report_;
  const double free_part_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point pruned_at_;  // mutex_
  /// Paths of files whose copies are damaged: an unlink that fails must not bring one back, nor end
  /// a job that only came second to a damaged copy.
  std::set<std::string> distrusted_;  // mutex_
};

/// True when both are in one file system: a copy would be no nearer than the original. Paths that
/// do not exist are in none.
bool InOneFileSystem(const std::string& a, const std::string& b);

}  // namespace weir
