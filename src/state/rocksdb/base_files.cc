#include "state/rocksdb/base_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "state/checkpoint/snapshot_file_writer.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// The only files that are never written again once they have their name.
bool IsSortedFile(const std::string& name) { return name.ends_with(".sst"); }

// RocksDB's MANIFEST, CURRENT and OPTIONS: a few kilobytes, more after many changes.
constexpr uint64_t kMaxSmallFile = uint64_t{1} << 30;

absl::StatusOr<std::string> ReadLocal(const std::string& path) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  if (error || size > kMaxSmallFile) {
    return absl::UnavailableError(
        absl::StrCat("cannot read ", path, ": ", error ? error.message() : "it is too large"));
  }
  std::string content(size, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(content.data(), static_cast<std::streamsize>(size))) {
    return absl::UnavailableError(absl::StrCat("cannot read ", path));
  }
  return content;
}

// All small files in one stored file.
absl::StatusOr<std::vector<proto::StateHandle>> UploadSmall(CheckpointStorage& storage,
                                                            const std::string& directory,
                                                            const std::vector<std::string>& names,
                                                            const std::string& path,
                                                            const proto::StateHandle& pattern) {
  SnapshotFileWriter writer(storage, path, {.max_pending_bytes = ~uint64_t{0}, .on_room = {}});
  for (const std::string& name : names) {
    absl::StatusOr<std::string> content = ReadLocal(directory + "/" + name);
    if (!content.ok()) return content.status();
    proto::StateHandle handle = pattern;
    handle.set_store_file(name);
    const SnapshotFileWriter::SectionId section = writer.Open(std::move(handle));
    writer.Append(section, *content);
    writer.Close(section, 0);
  }
  writer.Seal();
  return writer.Run();
}

}  // namespace

void BaseUploader::Restored(const std::vector<proto::StateHandle>& base) {
  reusable_.clear();
  for (const proto::StateHandle& handle : base) {
    if (IsSortedFile(handle.store_file())) reusable_[handle.store_file()] = handle;
  }
}

absl::StatusOr<std::vector<proto::StateHandle>> BaseUploader::Upload(
    const std::string& directory, const DataFileName& name, const proto::StateHandle& pattern) {
  uploaded_bytes_ = 0;
  std::vector<std::string> sorted, small;
  std::error_code error;
  for (auto it = fs::directory_iterator(directory, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string file = it->path().filename().string();
    (IsSortedFile(file) ? sorted : small).push_back(file);
  }
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot list ", directory, ": ", error.message()));
  }
  std::sort(sorted.begin(), sorted.end());
  std::sort(small.begin(), small.end());

  proto::StateHandle shared = pattern;
  shared.set_kind(proto::StateHandle::BASE);
  shared.set_checkpoint_id(name.checkpoint.value);
  std::vector<proto::StateHandle> handles;
  for (const std::string& file : sorted) {
    const std::string local = directory + "/" + file;
    const auto known = reusable_.find(file);
    const bool reuse =
        known != reusable_.end() && known->second.length() == fs::file_size(local, error);
    proto::StateHandle handle = shared;
    if (reuse) {
      handle.set_checkpoint_id(known->second.checkpoint_id());
      handle.set_file(known->second.file());
      handle.set_length(known->second.length());
      *handle.mutable_extents() = known->second.extents();
    } else {
      const absl::StatusOr<proto::StateHandle> stored =
          UploadFile(storage_, local, name.NewPath("base"), Transfer::kLinkOrCopy);
      if (!stored.ok()) return stored.status();
      handle.MergeFrom(*stored);
      uploaded_bytes_ += stored->length();
    }
    handle.set_store_file(file);
    handles.push_back(std::move(handle));
  }
  const absl::StatusOr<std::vector<proto::StateHandle>> rest =
      UploadSmall(storage_, directory, small, name.NewPath("base"), shared);
  if (!rest.ok()) return rest.status();
  auto& kept = uncommitted_[name.checkpoint];
  for (const proto::StateHandle& handle : handles) kept[handle.store_file()] = handle;
  for (const proto::StateHandle& handle : *rest) uploaded_bytes_ += handle.length();
  handles.insert(handles.end(), rest->begin(), rest->end());
  return handles;
}

void BaseUploader::Completed(CheckpointId checkpoint) {
  const auto found = uncommitted_.find(checkpoint);
  if (found != uncommitted_.end()) reusable_ = std::move(found->second);
  // Older ones were overtaken or aborted.
  uncommitted_.erase(uncommitted_.begin(), uncommitted_.upper_bound(checkpoint));
}

absl::Status DownloadBase(CheckpointStorage& storage, const std::vector<proto::StateHandle>& base,
                          const std::string& directory) {
  std::error_code error;
  if (!fs::create_directories(directory, error) || error) {
    return absl::UnavailableError(absl::StrCat("cannot create ", directory, ": ",
                                               error ? error.message() : "it exists already"));
  }
  absl::Status status;
  for (const proto::StateHandle& handle : base) {
    const std::string& name = handle.store_file();
    if (name.find('/') != std::string::npos || !CheckStoragePath(name).ok()) {
      status = absl::DataLossError(absl::StrCat("a base of operator ", handle.operator_uid(),
                                                " names a file \"", name, "\""));
    } else {
      status = DownloadFile(storage, handle, directory + "/" + name,
                            IsSortedFile(name) ? Transfer::kLinkOrCopy : Transfer::kCopy);
    }
    if (!status.ok()) break;
  }
  if (!status.ok()) fs::remove_all(directory, error);
  return status;
}

}  // namespace weir
