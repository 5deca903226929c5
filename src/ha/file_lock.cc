#include "ha/file_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace weir {
namespace {

struct flock WholeFile() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

absl::StatusOr<std::optional<FileLock>> FileLock::TryAcquire(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
  if (!fd.valid()) return FileError(errno, "cannot open lock file", path);
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return std::optional<FileLock>();
    return FileError(errno, "cannot lock", path);
  }
  FileLock held(path, std::move(fd));
  if (!held.StillTheFile()) return std::optional<FileLock>();  // replaced in between
  return std::optional<FileLock>(std::move(held));
}

absl::StatusOr<int> FileLock::HandOver() const {
  const int descriptor = dup(fd_.get());  // of the same open file, without close-on-exec
  if (descriptor < 0) return FileError(errno, "cannot keep the lock", path_);
  return descriptor;
}

std::optional<FileLock> FileLock::Inherit(const std::string& path, int descriptor) {
  struct stat ours, named;
  // Only what is our file is ours to close.
  if (fstat(descriptor, &ours) != 0 || stat(path.c_str(), &named) != 0 ||
      ours.st_dev != named.st_dev || ours.st_ino != named.st_ino) {
    return std::nullopt;
  }
  UniqueFd fd(descriptor);
  struct flock lock = WholeFile();
  if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0 || fcntl(descriptor, F_OFD_SETLK, &lock) != 0) {
    return std::nullopt;
  }
  return FileLock(path, std::move(fd));
}

bool FileLock::StillTheFile() const {
  struct stat ours, named;
  return fstat(fd_.get(), &ours) == 0 && stat(path_.c_str(), &named) == 0 &&
         ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

absl::StatusOr<bool> FileLock::IsHeld(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return false;
  if (!fd.valid()) return FileError(errno, "cannot open lock file", path);
  struct flock lock = WholeFile();
  if (fcntl(fd.get(), F_OFD_GETLK, &lock) != 0) return FileError(errno, "cannot query lock", path);
  return lock.l_type != F_UNLCK;
}

}  // namespace weir
