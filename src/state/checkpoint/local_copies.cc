#include "state/checkpoint/local_copies.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "base/file/durable_file.h"

namespace weir {
namespace {

constexpr char kPoint[] = "local_copy";
constexpr char kDataFolder[] = "data/";
constexpr char kUnfinished[] = ".unfinished-";
// So much is written between two looks at the room that is left.
constexpr uint64_t kLookEvery = uint64_t{16} << 20;

bool HasRoom(const std::string& directory, double free_part) {
  struct statvfs fs;
  return statvfs(directory.c_str(), &fs) == 0 &&
         static_cast<double>(fs.f_bavail) >= free_part * static_cast<double>(fs.f_blocks);
}

enum class CopyRead { kAll, kNoCopy, kShort };

CopyRead ReadCopy(const std::string& path, uint64_t offset, std::span<char> out) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return CopyRead::kNoCopy;
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        pread(fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return CopyRead::kShort;
    done += static_cast<size_t>(n);
  }
  return CopyRead::kAll;
}

class CopyingWriter final : public StorageWriter {
 public:
  CopyingWriter(std::unique_ptr<StorageWriter> below, const std::string& directory,
                std::string copy, double free_part)
      : below_(std::move(below)),
        directory_(directory),
        unfinished_(directory + "/" + kUnfinished + UniqueFileName("c")),
        copy_(std::move(copy)),
        free_part_(free_part) {
    if (!HasRoom(directory_, free_part_)) return;
    if (absl::StatusOr<UniqueFd> fd = CreateNewFile(unfinished_, kPoint); fd.ok()) {
      fd_ = *std::move(fd);
    }
  }
  ~CopyingWriter() override { GiveUp(); }

  absl::Status Append(std::string_view bytes) override {
    absl::Status status = below_->Append(bytes);
    if (!status.ok()) {
      GiveUp();
      return status;
    }
    if (!fd_.valid()) return status;
    written_ += bytes.size();
    if (written_ >= kLookEvery && !HasRoom(directory_, free_part_)) GiveUp();
    written_ %= kLookEvery;
    if (fd_.valid() && !AppendFully(fd_.get(), bytes, unfinished_, kPoint).ok()) GiveUp();
    return status;
  }

  absl::Status Finish() override {
    absl::Status status = below_->Finish();
    if (!status.ok()) GiveUp();
    if (!fd_.valid()) return status;
    fd_ = UniqueFd();
    if (rename(unfinished_.c_str(), copy_.c_str()) != 0) unlink(unfinished_.c_str());
    return status;
  }

 private:
  void GiveUp() {
    if (!fd_.valid()) return;
    fd_ = UniqueFd();
    unlink(unfinished_.c_str());
  }

  const std::unique_ptr<StorageWriter> below_;
  const std::string directory_;
  const std::string unfinished_;
  const std::string copy_;
  const double free_part_;
  UniqueFd fd_;  // of the unfinished copy; invalid: there will be none
  uint64_t written_ = 0;
};

}  // namespace

LocalCopies::LocalCopies(std::unique_ptr<CheckpointStorage> below, std::string directory,
                         LocalCopyReport* report, double free_part)
    : below_(std::move(below)),
      directory_(std::move(directory)),
      report_(report),
      free_part_(free_part),
      pruned_at_(std::chrono::steady_clock::now()) {
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::create_directories(directory_, ignored);
}

std::string LocalCopies::CopyPath(const std::string& path) const {
  if (directory_.empty() || !path.starts_with(kDataFolder)) return {};
  const std::string name = path.substr(sizeof kDataFolder - 1);
  return name.find('/') == std::string::npos ? directory_ + "/" + name : std::string();
}

std::string LocalCopies::TrustedCopy(const std::string& path) {
  std::string copy = CopyPath(path);
  std::lock_guard lock(mutex_);
  return distrusted_.contains(path) ? std::string() : copy;
}

absl::StatusOr<std::unique_ptr<StorageWriter>> LocalCopies::Create(const std::string& path) {
  absl::StatusOr<std::unique_ptr<StorageWriter>> writer = below_->Create(path);
  std::string copy = CopyPath(path);
  if (!writer.ok() || copy.empty()) return writer;
  PruneIfDue();
  return std::unique_ptr<StorageWriter>(
      new CopyingWriter(*std::move(writer), directory_, std::move(copy), free_part_));
}

absl::Status LocalCopies::Read(const std::string& path, uint64_t offset, std::span<char> out) {
  const std::string copy = TrustedCopy(path);
  switch (copy.empty() ? CopyRead::kNoCopy : ReadCopy(copy, offset, out)) {
    case CopyRead::kAll:
      report_->local_bytes += out.size();
      return absl::OkStatus();
    case CopyRead::kShort:
      Distrust(path, copy);  // or GetFile would link to it
      break;
    case CopyRead::kNoCopy:
      break;
  }
  absl::Status status = below_->Read(path, offset, out);
  if (status.ok()) report_->stored_bytes += out.size();
  return status;
}

bool LocalCopies::ReadElsewhere(const std::string& path) {
  const std::string copy = CopyPath(path);
  if (copy.empty()) return below_->ReadElsewhere(path);
  // Whoever comes second may have read the copy before, and reads the storage below from now on.
  Distrust(path, copy);
  return true;
}

void LocalCopies::Distrust(const std::string& path, const std::string& copy) {
  {
    std::lock_guard lock(mutex_);
    if (!distrusted_.insert(path).second) return;
  }
  const bool there = unlink(copy.c_str()) == 0 || errno != ENOENT;
  if (there && report_->on_damaged) report_->on_damaged(copy);
}

bool LocalCopies::HasCopy(const std::string& path) {
  const std::string copy = TrustedCopy(path);
  return !copy.empty() && access(copy.c_str(), F_OK) == 0;
}

absl::Status LocalCopies::Delete(const std::string& path) {
  const std::string copy = CopyPath(path);
  if (!copy.empty()) unlink(copy.c_str());
  return below_->Delete(path);
}

absl::Status LocalCopies::PutFile(const std::string& local_path, const std::string& path,
                                  Transfer transfer) {
  absl::Status status = below_->PutFile(local_path, path, transfer);
  // Only what is never written again may be shared.
  const std::string copy = transfer == Transfer::kCopy ? std::string() : CopyPath(path);
  // In another file system there is no copy then, which is as good.
  std::error_code ignored;
  if (status.ok() && !copy.empty()) std::filesystem::create_hard_link(local_path, copy, ignored);
  return status;
}

absl::Status LocalCopies::GetFile(const std::string& path, const std::string& local_path,
                                  Transfer transfer) {
  const std::string copy = transfer == Transfer::kCopy ? std::string() : TrustedCopy(path);
  if (!copy.empty()) {
    if (link(copy.c_str(), local_path.c_str()) == 0) return absl::OkStatus();
    // A link to the file below would not be one to what is read.
    if (transfer == Transfer::kLink && errno != ENOENT) {
      return FileError(errno, "cannot link " + copy + " to", local_path);
    }
  }
  return below_->GetFile(path, local_path, transfer);
}

void LocalCopies::PruneIfDue() {
  {
    const auto now = std::chrono::steady_clock::now();
    std::lock_guard lock(mutex_);
    if (now - pruned_at_ < kPruneInterval) return;
    pruned_at_ = now;
  }
  Prune();
}

void LocalCopies::Prune() {
  if (directory_.empty()) return;
  // First the copies: none of them is of a file that the storage gets only now.
  std::vector<std::string> copies;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory_, error), end; !error && at != end;
       at.increment(error)) {
    std::string name = at->path().filename();
    if (!name.starts_with(kUnfinished)) copies.push_back(std::move(name));
  }
  const absl::StatusOr<std::vector<StoredFile>> stored = below_->List("data");
  if (error || !stored.ok()) return;
  std::set<std::string> known;
  for (const StoredFile& file : *stored) known.insert(file.path);
  for (const std::string& name : copies) {
    if (known.contains(kDataFolder + name)) continue;
    unlink((directory_ + "/" + name).c_str());
  }
  std::lock_guard lock(mutex_);
  std::erase_if(distrusted_, [&](const std::string& path) { return !known.contains(path); });
}

bool InOneFileSystem(const std::string& a, const std::string& b) {
  struct stat of_a, of_b;
  return stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev;
}

}  // namespace weir
