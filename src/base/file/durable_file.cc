#include "base/file/durable_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/failpoint.h"

namespace weir {
namespace {

// True when both names are the same file. Network file systems may report a failure of a link
// that took place; this tells.
bool SameFile(const std::string& a, const std::string& b) {
  struct stat x, y;
  if (stat(a.c_str(), &x) != 0 || stat(b.c_str(), &y) != 0) return false;
  return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

absl::Status Injected(std::string_view what, std::string_view path) {
  return absl::UnavailableError(
      absl::StrCat("injected failure: ", std::string(what), " ", std::string(path)));
}

// Errors of link(2) and rename(2) that leave no doubt.
bool Definite(int error) {
  switch (error) {
    case EACCES:
    case EDQUOT:
    case EEXIST:
    case ELOOP:
    case EMLINK:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOSPC:
    case ENOTDIR:
    case EPERM:
    case EROFS:
    case EXDEV:
      return true;
    default:
      return false;
  }
}

absl::Status Doubtful(int error, std::string_view doing, const std::string& path) {
  return absl::UnknownError(FileError(error, doing, path).message());
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot write", path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status PublishByLink(const std::string& temp, const std::string& path,
                           std::string_view point) {
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".before_link"))) {
    return Injected("link", path);
  }
  const int error = link(temp.c_str(), path.c_str()) == 0 ? 0 : errno;
  if (error != 0 && !SameFile(temp, path)) {  // which has an error of its own
    if (error == EEXIST) return absl::AlreadyExistsError(absl::StrCat(path, " exists already"));
    if (error == EPERM || error == EOPNOTSUPP) {
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot create ", path,
          ": the file system has no hard links, which make a commit safe; use another one"));
    }
    return Definite(error) ? FileError(error, "cannot create", path)
                           : Doubtful(error, "cannot tell whether it was created:", path);
  }
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".after_link"))) {
    return absl::UnknownError(absl::StrCat("injected doubt: link ", path));
  }
  const absl::Status synced = SyncDirectory(ParentDirectory(path), point);
  return synced.ok() ? synced : absl::UnknownError(synced.message());
}

}  // namespace

void UniqueFd::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::Status FileError(int error, std::string_view doing, std::string_view path) {
  const std::string message =
      absl::StrCat(std::string(doing), " ", std::string(path), ": ", std::string(strerror(error)));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<UniqueFd> CreateNewFile(const std::string& path, std::string_view point) {
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".create"))) return Injected("create", path);
  UniqueFd fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!fd.valid()) return FileError(errno, "cannot create", path);
  return fd;
}

absl::Status AppendFully(int fd, std::string_view bytes, const std::string& path,
                         std::string_view point) {
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".write"))) return Injected("write", path);
#ifdef WEIR_FAILPOINTS
  // What fails between two halves leaves a torn file.
  const std::string_view half = bytes.substr(0, bytes.size() / 2);
  if (absl::Status s = WriteAll(fd, half, path); !s.ok()) return s;
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".half_written"))) {
    return Injected("write all of", path);
  }
  bytes.remove_prefix(half.size());
#endif
  return WriteAll(fd, bytes, path);
}

absl::Status SyncFile(int fd, const std::string& path, std::string_view point) {
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".sync"))) return Injected("sync", path);
  if (point == "storage" && WEIR_PLANTED_BUG("ack_before_sync")) return absl::OkStatus();
  if (fsync(fd) != 0) return FileError(errno, "cannot sync", path);
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path, std::string_view point) {
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".sync_directory"))) {
    return Injected("sync directory", path);
  }
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "cannot open directory", path);
  if (fsync(fd.get()) != 0) return FileError(errno, "cannot sync directory", path);
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& path, std::string_view point) {
  struct stat s;
  const std::string parent = ParentDirectory(path);
  if (stat(path.c_str(), &s) == 0) {
    if (!S_ISDIR(s.st_mode)) {
      return absl::FailedPreconditionError(absl::StrCat(path, " is not a directory"));
    }
    // Whoever created it may have died, or not yet come to this. A parent that we may not read is
    // none in which one of ours created it.
    const absl::Status synced = SyncDirectory(parent, point);
    return absl::IsPermissionDenied(synced) ? absl::OkStatus() : synced;
  }
  if (errno != ENOENT) return FileError(errno, "cannot look at", path);
  if (const absl::Status made = MakeDirectories(parent, point); !made.ok()) return made;
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return FileError(errno, "cannot create directory", path);
  }
  return SyncDirectory(parent, point);
}

absl::Status PublishExclusive(const std::string& temp, const std::string& path,
                              std::string_view point) {
  const absl::Status published = PublishByLink(temp, path, point);
  unlink(temp.c_str());
  return published;
}

absl::Status ReplaceFile(const std::string& path, std::string_view content,
                         std::string_view point) {
  const std::string directory = ParentDirectory(path);
  const std::string temp = UnfinishedPath(directory, "replace");
  absl::Status status = [&] {
    absl::StatusOr<UniqueFd> fd = CreateNewFile(temp, point);
    if (!fd.ok()) return fd.status();
    if (absl::Status s = AppendFully(fd->get(), content, temp, point); !s.ok()) return s;
    return SyncFile(fd->get(), temp, point);
  }();
  if (status.ok() && WEIR_FAILPOINT(absl::StrCat(std::string(point), ".before_rename"))) {
    status = Injected("rename", path);
  }
  if (status.ok() && rename(temp.c_str(), path.c_str()) != 0) {
    status = Definite(errno) ? FileError(errno, "cannot replace", path)
                             : Doubtful(errno, "cannot tell whether it was replaced:", path);
  }
  if (!status.ok()) {
    unlink(temp.c_str());
    return status;
  }
  if (WEIR_FAILPOINT(absl::StrCat(std::string(point), ".after_rename"))) {
    return absl::UnknownError(absl::StrCat("injected doubt: rename ", path));
  }
  status = SyncDirectory(directory, point);
  return status.ok() ? status : absl::UnknownError(status.message());
}

std::string UnfinishedPath(const std::string& directory, std::string_view hint) {
  return absl::StrCat(directory, "/.", UniqueFileName(hint));
}

void RemoveUnfinished(const std::string& directory, std::string_view hint) {
  const std::string begin = absl::StrCat(".", std::string(hint), "-");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return;
  for (const dirent* e = readdir(dir.get()); e != nullptr; e = readdir(dir.get())) {
    if (std::string_view(e->d_name).starts_with(begin)) unlinkat(dirfd(dir.get()), e->d_name, 0);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "cannot open", path);
  std::string content;
  char buffer[16 * 1024];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than ", limit, " bytes: not one of ours"));
    }
  }
}

std::string UniqueFileName(std::string_view hint) {
  // Different processes and machines draw different numbers (a forked child its pid); calls of
  // one process count.
  static const uint64_t process = [] {
    std::random_device random;
    return (uint64_t{random()} << 32) | random();
  }();
  static std::atomic<uint64_t> calls{0};
  return absl::StrFormat("%s-%016x-%d-%d", std::string(hint), process, getpid(),
                         calls.fetch_add(1, std::memory_order_relaxed));
}

std::string ParentDirectory(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace weir
