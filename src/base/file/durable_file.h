#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weir {

/// An open file descriptor, closed with its owner.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~UniqueFd() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

/// The status of a failed system call: `doing` is a phrase ("cannot open"), the message becomes
/// "cannot open /a/b: No space left on device".
absl::Status FileError(int error, std::string_view doing, std::string_view path);

/// All functions below: `point` prefixes the names of the failpoints passed (see README.md).
/// absl::StatusCode::kUnknown means, and is used only when, the change may or may not have taken
/// place, or may or may not survive a crash of the machine; other errors mean that it did not.

/// Creates a file that must not exist, for writing.
absl::StatusOr<UniqueFd> CreateNewFile(const std::string& path, std::string_view point);

absl::Status AppendFully(int fd, std::string_view bytes, const std::string& path,
                         std::string_view point);

/// fsync of the content.
absl::Status SyncFile(int fd, const std::string& path, std::string_view point);

/// fsync of a directory: names created in it survive.
absl::Status SyncDirectory(const std::string& path, std::string_view point);

/// Creates the directory and what is missing above it, durably; one that is there is made durable.
absl::Status MakeDirectories(const std::string& path, std::string_view point);

/// Gives the finished and synced file `temp` its name, durably, unless the name is taken
/// (AlreadyExists), by link(2): of several contenders exactly one succeeds. `temp` is gone
/// afterwards in every case.
absl::Status PublishExclusive(const std::string& temp, const std::string& path,
                              std::string_view point);

/// Replaces the content of `path`, whole or not at all, durably. One writer at a time.
absl::Status ReplaceFile(const std::string& path, std::string_view content, std::string_view point);

/// Deletes what a ReplaceFile in this directory, or a caller of UnfinishedPath, left that was
/// killed before it had an end. The caller holds the lock under which all of them write: of the
/// files of others nothing is left. Best effort.
void RemoveUnfinished(const std::string& directory, std::string_view hint = "replace");

/// A hidden name in the directory for a file that gets its own later, known to RemoveUnfinished.
std::string UnfinishedPath(const std::string& directory, std::string_view hint);

/// NotFound if it does not exist; ResourceExhausted if it is larger than `limit`.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit);

/// A name that no other process and no other call comes up with, for temporary files.
std::string UniqueFileName(std::string_view hint);

/// "/a/b/c" -> "/a/b"; "c" -> ".".
std::string ParentDirectory(const std::string& path);

}  // namespace weir
