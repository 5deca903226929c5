// An LD_PRELOAD library for power cuts: it remembers what was synced, so that power.py can take
// away everything else.
//
// fsync and fdatasync below FAULTS_SYNCED_ROOT store a copy in the folder FAULTS_SYNCED instead: of
// a file its bytes, of a directory the names in it and what each stands for. A file is called by
// its inode and the time that this was made, so nothing is taken for another that has its number
// now. What no one ever synced has no copy there.
//
// One sync after another per file and directory, in whichever process: an older list of names must
// not take the place of a newer one whose sync has returned.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "synced: %s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

/// "d 17-1700000000000000000": what it is and what it is called; empty if it has gone.
std::string NameOf(int fd, const char* path) {
  struct statx s = {};
  const int flags = AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (statx(fd, path, flags, STATX_INO | STATX_TYPE | STATX_BTIME, &s) != 0) return "";
  const char type = S_ISDIR(s.stx_mode) ? 'd' : S_ISREG(s.stx_mode) ? 'f' : 'o';
  return std::string(1, type) + " " + std::to_string(s.stx_ino) + "-" +
         std::to_string(s.stx_btime.tv_sec * 1'000'000'000LL + s.stx_btime.tv_nsec);
}

void WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n <= 0) Die("cannot write a copy");
    data += n;
    size -= static_cast<size_t>(n);
  }
}

std::string Names(int fd) {
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  DIR* dir = opendir(self.c_str());
  if (dir == nullptr) Die("cannot list " + self);
  std::string names;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string what = NameOf(fd, entry->d_name);
    if (!what.empty()) names += what + " " + name + "\n";
  }
  closedir(dir);
  return names;
}

// By a descriptor of its own: that of the caller may be for writing only.
void CopyContent(int fd, int to) {
  const int from = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC);
  if (from < 0) return;  // deleted
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(from, buffer, sizeof buffer);
    if (n < 0) Die("cannot read what is synced");
    if (n == 0) break;
    WriteAll(to, buffer, static_cast<size_t>(n));
  }
  close(from);
}

void Keep(int fd) {
  const char* const root = std::getenv("FAULTS_SYNCED_ROOT");
  const char* const folder = std::getenv("FAULTS_SYNCED");
  if (root == nullptr || folder == nullptr) return;
  char path[4096];
  const ssize_t length =
      readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1);
  if (length < 0) return;
  path[length] = '\0';
  const size_t prefix = std::strlen(root);
  if (std::strncmp(path, root, prefix) != 0 || (path[prefix] != '/' && path[prefix] != '\0')) {
    return;
  }
  const std::string what = NameOf(fd, "");
  const std::string kept = std::string(folder) + "/" + what.substr(2);
  const int lock = open((kept + ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) Die("cannot lock " + kept);
  static std::atomic<unsigned> number{0};
  const std::string fresh =
      kept + "." + std::to_string(getpid()) + "." + std::to_string(++number) + ".new";
  const int to = open(fresh.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (to < 0) Die("cannot create " + fresh);
  if (what[0] == 'd') {
    const std::string names = Names(fd);
    WriteAll(to, names.data(), names.size());
  } else {
    CopyContent(fd, to);
  }
  close(to);
  if (rename(fresh.c_str(), kept.c_str()) != 0) Die("cannot rename " + fresh);
  close(lock);
}

int KeepAsSync(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0) return -1;
  const int before = errno;
  Keep(fd);
  errno = before;
  return 0;  // the power that is cut is not the machine's: a real sync would only take time
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int fsync(int fd) { return KeepAsSync(fd); }
__attribute__((visibility("default"))) int fdatasync(int fd) { return KeepAsSync(fd); }

/// For power.py. Syncs a path.
__attribute__((visibility("default"))) void FaultsKeep(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die(std::string("cannot open ") + path);
  Keep(fd);
  close(fd);
}

/// For power.py. "d 17-..." of a path.
__attribute__((visibility("default"))) void FaultsNameOf(const char* path, char* out, size_t size) {
  std::snprintf(out, size, "%s", NameOf(AT_FDCWD, path).c_str());
}
}
