#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// Longest extent that our writers produce: what a reader holds in memory at once.
inline constexpr uint64_t kMaxExtentBytes = uint64_t{4} << 20;

/// Longest extent that a reader accepts.
inline constexpr uint64_t kExtentLimit = uint64_t{64} << 20;

/// Where a data file of a checkpoint goes and who wrote it:
/// data/c<checkpoint>.e<leader epoch>.a<attempt>.<label>.<unique>. Never reused, so that a file
/// which nothing refers to stays so (garbage collection depends on it).
struct DataFileName {
  CheckpointId checkpoint;
  LeaderEpoch epoch;
  AttemptId attempt;

  /// `label` is for people ("tm1", "base"): letters, digits, '-', '_'.
  std::string NewPath(const std::string& label) const;

  /// NotFound if the path is none of ours.
  static absl::StatusOr<DataFileName> Parse(const std::string& path);
};

/// Reads and verifies one extent of a handle. A file that is gone is DataLoss, as a damaged one is:
/// a checkpoint names it, and waiting does not bring it back.
[[nodiscard]] absl::Status ReadExtent(CheckpointStorage& storage, const proto::StateHandle& handle,
                                      const proto::Extent& extent, std::string& bytes);

/// Reads the bytes of a handle, extent by extent, each verified before it is given out.
/// Used by one thread at a time; blocks.
class StateReader {
 public:
  StateReader(CheckpointStorage& storage, proto::StateHandle handle)
      : storage_(storage), handle_(std::move(handle)) {}

  /// Puts the next verified bytes into `bytes`; false at the end. DataLoss names the file.
  absl::StatusOr<bool> Next(std::string& bytes);

 private:
  CheckpointStorage& storage_;
  const proto::StateHandle handle_;
  int next_ = 0;
};

/// All bytes of a handle; ResourceExhausted above `limit`.
absl::StatusOr<std::string> ReadState(CheckpointStorage& storage, const proto::StateHandle& handle,
                                      uint64_t limit);

/// Takes a finished local file into the storage. The handle has file, extents and length; the
/// caller adds the rest.
absl::StatusOr<proto::StateHandle> UploadFile(CheckpointStorage& storage,
                                              const std::string& local_path,
                                              const std::string& path, Transfer transfer);

/// Bytes in the middle of a handle, not verified: for formats with checksums of their own.
[[nodiscard]] absl::Status ReadStateRange(CheckpointStorage& storage,
                                          const proto::StateHandle& handle, uint64_t offset,
                                          std::span<char> out);

/// Makes a local file of a handle, verified. With kLinkOrCopy, for which the handle must be a
/// whole stored file, the local one may be a link to it: it must not be written to.
[[nodiscard]] absl::Status DownloadFile(CheckpointStorage& storage,
                                        const proto::StateHandle& handle,
                                        const std::string& local_path, Transfer transfer);

/// Copies a file to another storage under the same path. AlreadyExists if it has one.
[[nodiscard]] absl::Status CopyFile(CheckpointStorage& from, CheckpointStorage& to,
                                    const std::string& path);

}  // namespace weir
