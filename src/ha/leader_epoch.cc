#include "ha/leader_epoch.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file/durable_file.h"

namespace weir {
namespace {

constexpr char kPoint[] = "epoch";
constexpr char kUnfinished[] = "raise";
constexpr int kTries = 100;
constexpr size_t kKept = 16;  // older numbers are only of historical interest

std::string PathOf(const std::string& directory, uint64_t number) {
  return absl::StrFormat("%s/%020d", directory, number);
}

// All numbers taken, ascending.
absl::StatusOr<std::vector<uint64_t>> Taken(const std::string& directory) {
  std::vector<uint64_t> numbers;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr && errno == ENOENT) return numbers;
  if (dir == nullptr) return FileError(errno, "cannot list", directory);
  errno = 0;
  for (const dirent* e = readdir(dir.get()); e != nullptr; e = readdir(dir.get())) {
    uint64_t number = 0;
    const char* end = e->d_name + strlen(e->d_name);
    const auto [at, error] = std::from_chars(e->d_name, end, number);
    if (error == std::errc() && at == end) numbers.push_back(number);
    errno = 0;
  }
  if (errno != 0) return FileError(errno, "cannot list", directory);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

absl::StatusOr<LeaderEpoch> HighestLeaderEpoch(const std::string& directory) {
  const absl::StatusOr<std::vector<uint64_t>> taken = Taken(directory);
  if (!taken.ok()) return taken.status();
  return LeaderEpoch(taken->empty() ? 0 : taken->back());
}

absl::StatusOr<LeaderEpoch> RaiseLeaderEpoch(const std::string& directory,
                                             const std::string& holder) {
  if (absl::Status s = MakeDirectories(directory, kPoint); !s.ok()) return s;
  absl::Status last;
  for (int i = 0; i < kTries; ++i) {
    const absl::StatusOr<std::vector<uint64_t>> taken = Taken(directory);
    if (!taken.ok()) return taken.status();
    const uint64_t number = taken->empty() ? 1 : taken->back() + 1;
    const std::string temp = UnfinishedPath(directory, kUnfinished);
    last = [&] {
      const absl::StatusOr<UniqueFd> fd = CreateNewFile(temp, kPoint);
      if (!fd.ok()) return fd.status();
      absl::Status s = AppendFully(fd->get(), holder + "\n", temp, kPoint);
      if (s.ok()) s = SyncFile(fd->get(), temp, kPoint);
      if (!s.ok()) unlink(temp.c_str());
      return s.ok() ? PublishExclusive(temp, PathOf(directory, number), kPoint) : s;
    }();
    // Taken by another, or perhaps by us without certainty: the next number is as good.
    if (absl::IsAlreadyExists(last) || absl::IsUnknown(last)) continue;
    if (!last.ok()) return last;
    for (size_t k = 0; k + kKept < taken->size(); ++k) {
      unlink(PathOf(directory, (*taken)[k]).c_str());
    }
    return LeaderEpoch(number);
  }
  return absl::UnavailableError(
      absl::StrCat("cannot raise the leader epoch in ", directory, ": ", last.message()));
}

void RemoveUnfinishedEpochs(const std::string& directory) {
  RemoveUnfinished(directory, kUnfinished);
}

}  // namespace weir
