#include "jobmanager/savepoint_claims.h"

#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file/durable_file.h"

namespace weir::jobmanager {
namespace {

absl::StatusOr<std::pair<dev_t, ino_t>> Identify(const std::string& directory) {
  struct stat s;
  if (stat(directory.c_str(), &s) != 0) return FileError(errno, "cannot look at", directory);
  return std::pair(s.st_dev, s.st_ino);
}

}  // namespace

absl::StatusOr<SavepointClaims::Claim> SavepointClaims::ToRestore(const std::string& directory) {
  const absl::StatusOr<Directory> key = Identify(directory);
  if (!key.ok()) return key.status();
  std::lock_guard lock(claims_->mutex);
  if (claims_->alone.contains(*key)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the savepoint ", directory, " is being disposed of, or claimed by a job; choose another"));
  }
  ++claims_->restoring[*key];
  return Claim(nullptr, [claims = claims_, key = *key](void*) {
    std::lock_guard lock(claims->mutex);
    if (--claims->restoring[key] == 0) claims->restoring.erase(key);
  });
}

absl::StatusOr<SavepointClaims::Claim> SavepointClaims::Alone(const std::string& directory) {
  const absl::StatusOr<Directory> key = Identify(directory);
  if (!key.ok()) return key.status();
  std::lock_guard lock(claims_->mutex);
  if (claims_->restoring.contains(*key)) {
    return absl::FailedPreconditionError(absl::StrCat("a job that is being submitted begins from ",
                                                      directory, "; cancel that job first"));
  }
  if (claims_->alone.contains(*key)) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " is being disposed of, or claimed by a job, already; wait for that"));
  }
  claims_->alone.insert(*key);
  return Claim(nullptr, [claims = claims_, key = *key](void*) {
    std::lock_guard lock(claims->mutex);
    claims->alone.erase(key);
  });
}

}  // namespace weir::jobmanager
