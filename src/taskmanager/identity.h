#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ha/file_lock.h"

namespace weir {

/// Under which name a TaskManager works that was given none. Held until destroyed.
struct Identity {
  std::string id;
  std::string path;  ///< of the file that keeps it
  FileLock lock;
};

/// For the program that this process executes next: puts into the environment what ClaimIdentity
/// finds there, so that no other process takes the identity in between. On an error the next one is
/// on its own.
absl::Status HandOver(const Identity& identity);

/// The identity that HandOver left for this process. Otherwise takes the first identity of
/// `directory` that no living process holds, and makes a new one when all are held: so a process
/// that is started again goes on under the name of the one that died, finds what that left behind,
/// and two beside each other have different names. `host` begins the names of new ones.
absl::StatusOr<Identity> ClaimIdentity(const std::string& directory, const std::string& host);

}  // namespace weir
