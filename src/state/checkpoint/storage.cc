#include "state/checkpoint/storage.h"

#include "absl/strings/str_cat.h"

namespace weir {

absl::StatusOr<std::string> ReadWhole(CheckpointStorage& storage, const std::string& path,
                                      uint64_t limit) {
  const absl::StatusOr<StoredFile> file = storage.Stat(path);
  if (!file.ok()) return file.status();
  if (file->size > limit) {
    return absl::ResourceExhaustedError(absl::StrCat(path, " in ", storage.Describe(), " has ",
                                                     file->size, " bytes, more than the limit of ",
                                                     limit, ": not one of ours"));
  }
  std::string content(file->size, '\0');
  if (absl::Status s = storage.Read(path, 0, std::span<char>(content)); !s.ok()) return s;
  return content;
}

absl::Status CheckStoragePath(std::string_view path) {
  bool start = true;
  bool good = !path.empty() && path.size() <= 1024;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
    good = good && (plain || (!start && (c == '.' || c == '/')));
    start = c == '/';
  }
  if (good && !start) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", std::string(path),
                   "\" is no path of a checkpoint storage: it takes relative paths of letters, "
                   "digits, '.', '_' and '-', without hidden or empty components"));
}

}  // namespace weir
