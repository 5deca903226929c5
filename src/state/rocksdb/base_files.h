#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/state_file.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// Brings the bases of one store into the checkpoint storage. Sorted files that a completed
/// checkpoint has brought there are referred to again and not uploaded; RocksDB never gives the
/// name of one to another within the life of a store.
///
/// Owned by one thread at a time; blocks.
class BaseUploader {
 public:
  explicit BaseUploader(CheckpointStorage& storage) : storage_(storage) {}

  /// The store has adopted a base that these handles name (its first RestoreBase): its files are in
  /// the storage already.
  void Restored(const std::vector<proto::StateHandle>& base);

  /// Uploads what StateStore::SnapshotBase wrote into `directory`, for checkpoint
  /// `name.checkpoint`. `pattern` has the fields that all handles share (operator, subtask, key
  /// groups, states). Returns one handle per file.
  absl::StatusOr<std::vector<proto::StateHandle>> Upload(const std::string& directory,
                                                         const DataFileName& name,
                                                         const proto::StateHandle& pattern);

  /// The checkpoint is committed: later bases may refer to the files of its base.
  void Completed(CheckpointId checkpoint);

  /// Bytes that the last Upload had to write.
  uint64_t uploaded_bytes() const { return uploaded_bytes_; }

 private:
  CheckpointStorage& storage_;
  std::map<std::string, proto::StateHandle> reusable_;  // by local name
  std::map<CheckpointId, std::map<std::string, proto::StateHandle>> uncommitted_;
  uint64_t uploaded_bytes_ = 0;
};

/// Makes the directory of a base again, for StateStore::RestoreBase, every byte verified. Sorted
/// files may become links into the storage. `directory` must not exist; it is removed on failure.
[[nodiscard]] absl::Status DownloadBase(CheckpointStorage& storage,
                                        const std::vector<proto::StateHandle>& base,
                                        const std::string& directory);

}  // namespace weir
