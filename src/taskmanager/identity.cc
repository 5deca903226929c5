#include "taskmanager/identity.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weir {
namespace {

// TaskManagers that may share a directory.
constexpr int kMost = 1000;

}  // namespace

absl::StatusOr<Identity> ClaimIdentity(const std::string& directory, const std::string& host) {
  const std::string kept = directory + "/identities";
  std::error_code error;
  std::filesystem::create_directories(kept, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot create ", kept, " for the TaskManager's name: ", error.message(),
                     "; set taskmanager.dir to a directory that can be written to"));
  }
  for (int n = 1; n <= kMost; ++n) {
    const std::string path = absl::StrCat(kept, "/", n);
    absl::StatusOr<std::optional<FileLock>> lock = FileLock::TryAcquire(path + ".lock");
    if (!lock.ok()) return lock.status();
    if (!*lock) continue;
    std::string id;
    std::ifstream(path) >> id;
    if (id.empty()) {
      id = absl::StrFormat("%s-%08x", host, std::random_device()());
      std::ofstream out(path);
      out << id << '\n';
      if (!out.flush()) {
        return absl::UnavailableError(absl::StrCat(
            "cannot write ", path, "; give taskmanager.dir room, or set taskmanager.id"));
      }
    }
    return Identity{std::move(id), **std::move(lock)};
  }
  return absl::ResourceExhaustedError(absl::StrCat(kMost, " TaskManagers run in ", directory,
                                                   "; give this one its own "
                                                   "taskmanager.dir"));
}

}  // namespace weir
