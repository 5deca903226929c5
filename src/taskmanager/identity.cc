#include "taskmanager/identity.h"

#include <stdlib.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weir {
namespace {

// TaskManagers that may share a directory.
constexpr int kMost = 1000;
// "DESCRIPTOR PATH" of what HandOver left. No name of a setting: the configuration refuses those of
// WEIR_ that it does not know.
constexpr char kHandedOver[] = "_WEIR_HANDED_OVER_IDENTITY";

std::string LockOf(const std::string& path) { return path + ".lock"; }

std::string ReadId(const std::string& path) {
  std::string id;
  std::ifstream(path) >> id;
  return id;
}

std::optional<Identity> Inherited() {
  const char* const left = getenv(kHandedOver);
  if (left == nullptr) return std::nullopt;
  const std::string text = left;
  unsetenv(kHandedOver);  // it is not for processes that this one starts
  int descriptor = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), descriptor);
  if (error != std::errc() || end == text.data() + text.size() || *end != ' ') return std::nullopt;
  std::string path(end + 1);
  std::optional<FileLock> lock = FileLock::Inherit(LockOf(path), descriptor);
  std::string id = ReadId(path);
  if (!lock || id.empty()) return std::nullopt;
  return Identity{std::move(id), std::move(path), *std::move(lock)};
}

}  // namespace

absl::Status HandOver(const Identity& identity) {
  const absl::StatusOr<int> descriptor = identity.lock.HandOver();
  if (!descriptor.ok()) return descriptor.status();
  setenv(kHandedOver, absl::StrCat(*descriptor, " ", identity.path).c_str(), 1);
  return absl::OkStatus();
}

absl::StatusOr<Identity> ClaimIdentity(const std::string& directory, const std::string& host) {
  if (std::optional<Identity> inherited = Inherited()) return *std::move(inherited);
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
    absl::StatusOr<std::optional<FileLock>> lock = FileLock::TryAcquire(LockOf(path));
    if (!lock.ok()) return lock.status();
    if (!*lock) continue;
    std::string id = ReadId(path);
    if (id.empty()) {
      id = absl::StrFormat("%s-%08x", host, std::random_device()());
      std::ofstream out(path);
      out << id << '\n';
      if (!out.flush()) {
        return absl::UnavailableError(absl::StrCat(
            "cannot write ", path, "; give taskmanager.dir room, or set taskmanager.id"));
      }
    }
    return Identity{std::move(id), path, **std::move(lock)};
  }
  return absl::ResourceExhaustedError(absl::StrCat(kMost, " TaskManagers run in ", directory,
                                                   "; give this one its own "
                                                   "taskmanager.dir"));
}

}  // namespace weir
