#include "state/checkpoint/directory_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "base/file/durable_file.h"

namespace weir {
namespace {

constexpr char kPoint[] = "storage";
constexpr size_t kCopyBytes = 1 << 20;

Timestamp ModifiedAt(const struct stat& s) {
  return Timestamp{int64_t{s.st_mtim.tv_sec} * 1000 + s.st_mtim.tv_nsec / 1'000'000};
}

absl::StatusOr<UniqueFd> OpenForReading(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "cannot open", path);
  return fd;
}

absl::Status CopyContent(int from, const std::string& from_path, int to,
                         const std::string& to_path) {
  std::string buffer(kCopyBytes, '\0');
  while (true) {
    const ssize_t n = read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", from_path);
    if (n == 0) return absl::OkStatus();
    const absl::Status written =
        AppendFully(to, std::string_view(buffer.data(), static_cast<size_t>(n)), to_path, kPoint);
    if (!written.ok()) return written;
  }
}

std::string WithoutTrailingSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

class DirectoryWriter final : public StorageWriter {
 public:
  DirectoryWriter(UniqueFd fd, std::string temp, std::string path)
      : fd_(std::move(fd)), temp_(std::move(temp)), path_(std::move(path)) {}
  ~DirectoryWriter() override {
    if (fd_.valid()) unlink(temp_.c_str());
  }

  absl::Status Append(std::string_view bytes) override {
    return AppendFully(fd_.get(), bytes, temp_, kPoint);
  }

  absl::Status Finish() override {
    const UniqueFd fd = std::move(fd_);
    const absl::Status synced = SyncFile(fd.get(), temp_, kPoint);
    if (!synced.ok()) {
      unlink(temp_.c_str());
      return synced;
    }
    return PublishExclusive(temp_, path_, kPoint);
  }

 private:
  UniqueFd fd_;
  const std::string temp_;
  const std::string path_;
};

}  // namespace

DirectoryStorage::DirectoryStorage(std::string root)
    : root_(std::move(root)), temporary_(root_ + "/.tmp") {}

absl::StatusOr<std::unique_ptr<DirectoryStorage>> DirectoryStorage::OpenExisting(
    const std::string& root) {
  const std::string trimmed = WithoutTrailingSlashes(root);
  struct stat s;
  if (stat(trimmed.c_str(), &s) != 0) return FileError(errno, "cannot open directory", trimmed);
  if (!S_ISDIR(s.st_mode)) {
    return absl::NotFoundError(absl::StrCat(trimmed, " is not a directory"));
  }
  return std::unique_ptr<DirectoryStorage>(new DirectoryStorage(trimmed));
}

absl::StatusOr<std::unique_ptr<DirectoryStorage>> DirectoryStorage::Open(const std::string& root) {
  if (root.empty()) {
    return absl::InvalidArgumentError("the checkpoint directory has an empty name");
  }
  std::unique_ptr<DirectoryStorage> storage(new DirectoryStorage(WithoutTrailingSlashes(root)));
  if (absl::Status s = storage->CheckUsable(); !s.ok()) return s;
  return storage;
}

absl::StatusOr<std::unique_ptr<DirectoryStorage>> DirectoryStorage::OpenShared(
    const std::string& root) {
  absl::StatusOr<std::unique_ptr<DirectoryStorage>> storage = OpenExisting(root);
  if (!storage.ok()) return storage;
  if (absl::Status s = (*storage)->CheckUsable(); !s.ok()) return s;
  return storage;
}

absl::Status DirectoryStorage::CheckUsable() {
  absl::Status usable = MakeDirectories(temporary_, kPoint);
  if (usable.ok()) {
    const std::string probe = NewTemporary();
    const absl::StatusOr<UniqueFd> fd = CreateNewFile(probe, kPoint);
    usable = fd.status();
    if (usable.ok()) unlink(probe.c_str());
  }
  if (usable.ok()) return usable;
  return absl::Status(usable.code(), absl::StrCat("checkpoint directory ", root_,
                                                  " is not usable: ", usable.message(),
                                                  "; choose one that this process can write"));
}

std::string DirectoryStorage::NewTemporary() const {
  return absl::StrCat(temporary_, "/", UniqueFileName("t"));
}

absl::Status DirectoryStorage::PrepareFolder(const std::string& path) {
  const std::string folder = ParentDirectory(Full(path));
  {
    std::lock_guard lock(mutex_);
    if (durable_folders_.contains(folder)) return absl::OkStatus();
  }
  if (absl::Status made = MakeDirectories(folder, kPoint); !made.ok()) return made;
  for (std::string at = folder; at != root_; at = ParentDirectory(at)) {
    if (absl::Status s = SyncDirectory(ParentDirectory(at), kPoint); !s.ok()) return s;
  }
  std::lock_guard lock(mutex_);
  durable_folders_.insert(folder);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StorageWriter>> DirectoryStorage::Create(const std::string& path) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  if (absl::Status s = PrepareFolder(path); !s.ok()) return s;
  std::string temp = NewTemporary();
  absl::StatusOr<UniqueFd> fd = CreateNewFile(temp, kPoint);
  if (!fd.ok()) return fd.status();
  return std::make_unique<DirectoryWriter>(*std::move(fd), std::move(temp), Full(path));
}

absl::Status DirectoryStorage::CreateIfAbsent(const std::string& path, std::string_view content) {
  absl::StatusOr<std::unique_ptr<StorageWriter>> writer = Create(path);
  if (!writer.ok()) return writer.status();
  if (absl::Status s = (*writer)->Append(content); !s.ok()) return s;
  return (*writer)->Finish();
}

absl::Status DirectoryStorage::Read(const std::string& path, uint64_t offset, std::span<char> out) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  if (WEIR_FAILPOINT("storage.read")) {
    return absl::UnavailableError(absl::StrCat("injected failure: read ", path));
  }
  absl::StatusOr<UniqueFd> fd = OpenForReading(Full(path));
  if (!fd.ok()) return fd.status();
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        pread(fd->get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", Full(path));
    if (n == 0) {
      return absl::DataLossError(absl::StrCat(Full(path), " is truncated: it ends at ",
                                              offset + done, ", wanted ", out.size(), " bytes at ",
                                              offset));
    }
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<StoredFile> DirectoryStorage::Stat(const std::string& path) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  struct stat s;
  if (stat(Full(path).c_str(), &s) != 0) return FileError(errno, "cannot look at", Full(path));
  if (!S_ISREG(s.st_mode)) {
    return absl::NotFoundError(absl::StrCat(Full(path), " is not a regular file"));
  }
  return StoredFile{path, static_cast<uint64_t>(s.st_size), ModifiedAt(s)};
}

absl::StatusOr<std::vector<StoredFile>> DirectoryStorage::List(const std::string& folder) {
  if (absl::Status s = CheckStoragePath(folder); !s.ok()) return s;
  std::vector<StoredFile> files;
  std::vector<std::string> folders = {folder};
  while (!folders.empty()) {
    const std::string current = std::move(folders.back());
    folders.pop_back();
    // A name that a crashed writer linked and did not sync becomes durable before it is believed.
    if (absl::Status s = SyncDirectory(Full(current), kPoint); !s.ok()) {
      if (absl::IsNotFound(s) && current == folder) return files;
      return s;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(Full(current).c_str()), closedir);
    if (dir == nullptr) return FileError(errno, "cannot list", Full(current));
    errno = 0;
    for (const dirent* e = readdir(dir.get()); e != nullptr; e = readdir(dir.get())) {
      if (e->d_name[0] == '.') continue;
      const std::string path = absl::StrCat(current, "/", e->d_name);
      struct stat s;
      if (stat(Full(path).c_str(), &s) != 0) {
        if (errno != ENOENT) return FileError(errno, "cannot look at", Full(path));
      } else if (S_ISDIR(s.st_mode)) {
        folders.push_back(path);
      } else {
        files.push_back({path, static_cast<uint64_t>(s.st_size), ModifiedAt(s)});
      }
      errno = 0;
    }
    if (errno != 0) return FileError(errno, "cannot list", Full(current));
  }
  std::sort(files.begin(), files.end(),
            [](const StoredFile& a, const StoredFile& b) { return a.path < b.path; });
  return files;
}

absl::Status DirectoryStorage::Delete(const std::string& path) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  if (WEIR_FAILPOINT("storage.delete")) {
    return absl::UnavailableError(absl::StrCat("injected failure: delete ", path));
  }
  if (unlink(Full(path).c_str()) != 0 && errno != ENOENT) {
    return FileError(errno, "cannot delete", Full(path));
  }
  return absl::OkStatus();
}

absl::Status DirectoryStorage::PutFile(const std::string& local_path, const std::string& path,
                                       Transfer transfer) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  absl::StatusOr<UniqueFd> from = OpenForReading(local_path);
  if (!from.ok()) return from.status();
  if (absl::Status s = PrepareFolder(path); !s.ok()) return s;
  const std::string temp = NewTemporary();
  if (transfer == Transfer::kLinkOrCopy && link(local_path.c_str(), temp.c_str()) == 0) {
    if (absl::Status s = SyncFile(from->get(), local_path, kPoint); !s.ok()) {
      unlink(temp.c_str());
      return s;
    }
    return PublishExclusive(temp, Full(path), kPoint);
  }
  absl::StatusOr<UniqueFd> to = CreateNewFile(temp, kPoint);
  if (!to.ok()) return to.status();
  const int to_fd = to->get();
  DirectoryWriter writer(*std::move(to), temp, Full(path));
  const absl::Status copied = CopyContent(from->get(), local_path, to_fd, temp);
  return copied.ok() ? writer.Finish() : copied;
}

absl::Status DirectoryStorage::GetFile(const std::string& path, const std::string& local_path,
                                       Transfer transfer) {
  if (absl::Status s = CheckStoragePath(path); !s.ok()) return s;
  if (transfer != Transfer::kCopy) {
    if (link(Full(path).c_str(), local_path.c_str()) == 0) return absl::OkStatus();
    if (errno == EEXIST || transfer == Transfer::kLink) {
      return FileError(errno, "cannot create", local_path);
    }
  }
  absl::StatusOr<UniqueFd> from = OpenForReading(Full(path));
  if (!from.ok()) return from.status();
  absl::StatusOr<UniqueFd> to = CreateNewFile(local_path, kPoint);
  if (!to.ok()) return to.status();
  const absl::Status copied = CopyContent(from->get(), Full(path), to->get(), local_path);
  if (!copied.ok()) unlink(local_path.c_str());
  return copied;
}

absl::StatusOr<uint64_t> DirectoryStorage::RemoveAbandoned(std::chrono::milliseconds untouched) {
  // What time it is to whoever dates the files.
  const std::string probe = NewTemporary();
  const absl::StatusOr<UniqueFd> fd = CreateNewFile(probe, kPoint);
  if (!fd.ok()) return fd.status();
  struct stat fresh;
  const bool dated = fstat(fd->get(), &fresh) == 0;
  unlink(probe.c_str());
  if (!dated) return FileError(errno, "cannot look at", probe);
  const Timestamp before = ModifiedAt(fresh) - untouched;
  uint64_t removed = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(temporary_, error)) {
    struct stat s;
    if (stat(entry.path().c_str(), &s) != 0 || !S_ISREG(s.st_mode)) continue;
    if (ModifiedAt(s) <= before && unlink(entry.path().c_str()) == 0) ++removed;
  }
  if (error) return FileError(error.value(), "cannot list", temporary_);
  return removed;
}

absl::Status DirectoryStorage::RemoveEmptyFolders() {
  {
    std::lock_guard lock(mutex_);
    durable_folders_.clear();
  }
  std::error_code error;
  std::vector<std::string> folders;
  for (auto it = std::filesystem::recursive_directory_iterator(root_, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_directory() && it->path() != temporary_) folders.push_back(it->path().string());
  }
  if (error) return FileError(error.value(), "cannot list", root_);
  // Longer names first: children before their parents. rmdir refuses what is not empty.
  std::sort(folders.begin(), folders.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  for (const std::string& folder : folders) {
    if (rmdir(folder.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT) {
      return FileError(errno, "cannot remove", folder);
    }
  }
  const auto left = std::distance(std::filesystem::directory_iterator(root_, error), {});
  if (left == 1 && rmdir(temporary_.c_str()) == 0) rmdir(root_.c_str());
  return absl::OkStatus();
}

}  // namespace weir
