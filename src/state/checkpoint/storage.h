#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/timestamp.h"

namespace weir {

/// A file of a checkpoint storage. Paths are relative to the storage's root.
struct StoredFile {
  std::string path;
  uint64_t size = 0;
  /// By the storage's clock, which may differ from ours.
  Timestamp modified;
};

/// True when the storage cannot say whether the change took place (absl::StatusCode::kUnknown,
/// which a storage uses for nothing else). The caller reads back before it decides, and keeps
/// what it is in doubt about. Any other error means that the change did not take place.
inline bool OutcomeUnknown(const absl::Status& status) { return absl::IsUnknown(status); }

/// A file that is being written. Nobody sees it before Finish; destroyed without Finish, it is
/// gone. Used by one thread at a time.
class StorageWriter {
 public:
  virtual ~StorageWriter() = default;

  [[nodiscard]] virtual absl::Status Append(std::string_view bytes) = 0;

  /// Makes the file durable, then visible under its name. AlreadyExists if the name is taken:
  /// no file is ever overwritten. Nothing may be appended afterwards.
  [[nodiscard]] virtual absl::Status Finish() = 0;
};

enum class Transfer {
  kCopy,
  /// A hard link where that is possible. Only for files that are never written again.
  kLinkOrCopy,
  /// A hard link or nothing; only from a storage.
  kLink,
};

/// Where checkpoints live: a tree of immutable files. Injected, so that tests and other stores
/// (object stores) take its place.
///
/// Every call may block on I/O: from I/O, snapshot and control-store threads only, never from a
/// slot thread. Thread-safe.
///
/// Paths: components of [A-Za-z0-9._-] that do not begin with a dot, separated by '/'.
///
/// Errors: NotFound, AlreadyExists, DataLoss (fewer bytes than asked for), ResourceExhausted
/// (full), PermissionDenied, InvalidArgument (path), Unavailable (other I/O errors), Unknown (see
/// OutcomeUnknown). Messages name the file.
class CheckpointStorage {
 public:
  virtual ~CheckpointStorage() = default;

  /// For messages: what and where, for example "directory /var/lib/weir/checkpoints".
  virtual std::string Describe() const = 0;

  virtual absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) = 0;

  /// Creates the file with this content, durably, if and only if nothing has the name: of any
  /// number of concurrent callers one wins, the others get AlreadyExists. The commit point of a
  /// checkpoint rests on this.
  [[nodiscard]] virtual absl::Status CreateIfAbsent(const std::string& path,
                                                    std::string_view content) = 0;

  /// Fills `out` with the bytes from `offset` on, or fails with DataLoss.
  [[nodiscard]] virtual absl::Status Read(const std::string& path, uint64_t offset,
                                          std::span<char> out) = 0;

  /// What Read gave of the file is damaged, says whoever knows its checksums. True when the file is
  /// read from another place from now on, or was already when this was asked, so that reading once
  /// more may help.
  virtual bool ReadElsewhere(const std::string&) { return false; }

  /// True while Read and GetFile give the file, or some of it, from a copy. It turns false when the
  /// copy is found wanting, by whoever reads it, and never true again: what was read before then is
  /// not what is given from then on.
  virtual bool HasCopy(const std::string&) { return false; }

  virtual absl::StatusOr<StoredFile> Stat(const std::string& path) = 0;

  /// All files below a folder, at any depth, sorted by path; none if there is no such folder.
  /// What is listed is durable: it survives a crash that comes after the call.
  virtual absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) = 0;

  /// Ok if there is no such file.
  [[nodiscard]] virtual absl::Status Delete(const std::string& path) = 0;

  /// Takes a finished local file in, with the guarantees of Create and Finish. Ok if the name
  /// is a link to this very file already.
  [[nodiscard]] virtual absl::Status PutFile(const std::string& local_path, const std::string& path,
                                             Transfer transfer) = 0;

  /// Makes a local file of a stored one. AlreadyExists if there is one. Not durable. A link is one
  /// to what Read gives.
  [[nodiscard]] virtual absl::Status GetFile(const std::string& path, const std::string& local_path,
                                             Transfer transfer) = 0;

  /// Removes what crashed writers left half-written and did not touch for so long, 0: all of it, by
  /// the storage's own clock; a writer that was only slow fails. Returns how many files.
  virtual absl::StatusOr<uint64_t> RemoveAbandoned(std::chrono::milliseconds untouched) = 0;

  /// Removes folders that hold no file, the root included, where a storage has such a thing.
  [[nodiscard]] virtual absl::Status RemoveEmptyFolders() = 0;
};

/// Reads a whole small file; refuses one above `limit` bytes with ResourceExhausted.
absl::StatusOr<std::string> ReadWhole(CheckpointStorage& storage, const std::string& path,
                                      uint64_t limit);

/// InvalidArgument unless `path` has the form that every storage accepts.
[[nodiscard]] absl::Status CheckStoragePath(std::string_view path);

}  // namespace weir
