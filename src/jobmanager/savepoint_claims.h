#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace weir::jobmanager {

/// Who is about to begin from a savepoint, to begin from it and own it, or to dispose of it: never
/// two but to begin from it. A submission holds its claim from before it reads the savepoint until
/// its job is admitted, and is then known by that.
/// Thread-safe; looks at the disk outside its lock.
class SavepointClaims {
 public:
  /// Given back when it goes.
  using Claim = std::shared_ptr<void>;

  /// Several may begin from one. FailedPrecondition while it is being disposed of or taken over,
  /// NotFound if there is no such directory.
  absl::StatusOr<Claim> ToRestore(const std::string& directory);
  /// FailedPrecondition while a submission begins from it, or somebody else owns or disposes of it.
  absl::StatusOr<Claim> ToOwn(const std::string& directory) { return Alone(directory); }
  absl::StatusOr<Claim> ToDispose(const std::string& directory) { return Alone(directory); }

 private:
  absl::StatusOr<Claim> Alone(const std::string& directory);

  using Directory = std::pair<dev_t, ino_t>;  // however it is named
  struct Claims {
    std::mutex mutex;
    std::map<Directory, int> restoring;  // guarded by mutex; how many
    std::set<Directory> alone;           // guarded by mutex
  };

  const std::shared_ptr<Claims> claims_ = std::make_shared<Claims>();
};

}  // namespace weir::jobmanager
