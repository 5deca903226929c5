#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file/durable_file.h"

namespace weir {

/// A lock on a file, held until destroyed or until the process ends, however it ends. Not
/// inherited by processes that the holder executes. (An open file description lock: it belongs to
/// this object, so that two objects of one process exclude each other too.)
class FileLock {
 public:
  /// Nothing if somebody holds it. Creates the file; never deletes it.
  static absl::StatusOr<std::optional<FileLock>> TryAcquire(const std::string& path);

  /// A descriptor of the held lock that the program this process executes next inherits, to be
  /// given to Inherit there: nobody gets the lock in between.
  absl::StatusOr<int> HandOver() const;
  /// The lock on the file of that name from the program that this process executed before.
  /// Nothing if the descriptor is no such lock.
  static std::optional<FileLock> Inherit(const std::string& path, int descriptor);

  /// True while the locked file is still the one of that name: if somebody deleted or replaced
  /// it, another process can lock the new one.
  bool StillTheFile() const;

  /// Whether anybody holds the lock, without taking it.
  static absl::StatusOr<bool> IsHeld(const std::string& path);

 private:
  FileLock(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;
};

}  // namespace weir
