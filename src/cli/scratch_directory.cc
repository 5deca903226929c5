#include "cli/scratch_directory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <vector>

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "/lock";
// Between the making of a directory and that of its lock.
constexpr time_t kBirthSeconds = 60;

UniqueFd Locked(const std::string& directory, int flags) {
  UniqueFd lock(open((directory + kLock).c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.get() >= 0 && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return {};
  return lock;
}

/// Of this user, and of a process that is gone.
bool IsDead(const std::string& directory) {
  struct stat info {};
  if (lstat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return false;
  if (info.st_uid != getuid()) return false;
  if (access((directory + kLock).c_str(), F_OK) != 0) {
    return time(nullptr) - info.st_mtime > kBirthSeconds;
  }
  return Locked(directory, 0).get() >= 0;
}

}  // namespace

ScratchDirectory::ScratchDirectory(const std::string& kind, const std::string& parent) {
  const std::string beginning = "weir-" + kind + "-";
  std::error_code ignored;
  std::vector<std::string> dead;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(beginning)) continue;
    if (IsDead(entry.path().string())) dead.push_back(entry.path().string());
  }
  for (const std::string& directory : dead) fs::remove_all(directory, ignored);
  std::string pattern = parent + "/" + beginning + "XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return;
  path_ = pattern;
  lock_ = Locked(path_, O_CREAT);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace weir::cli
