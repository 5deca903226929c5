#include "state/checkpoint/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file/durable_file.h"
#include "base/hash.h"

namespace weir {
namespace {

template <class T>
bool ParseField(const std::string& text, char letter, T& value) {
  if (text.size() < 2 || text[0] != letter) return false;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data() + 1, end, value);
  return error == std::errc() && at == end;
}

absl::StatusOr<size_t> ReadSome(int fd, std::string& buffer, const std::string& path) {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n = read(fd, buffer.data() + done, buffer.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

bool IsWholeFile(const proto::StateHandle& handle) {
  uint64_t at = 0;
  for (const proto::Extent& e : handle.extents()) {
    if (e.offset() != at) return false;
    at += e.length();
  }
  return true;
}

// A file that a checkpoint names and that is gone is damage: it does not come back by waiting.
absl::Status Named(const proto::StateHandle& handle, const absl::Status& read) {
  if (!absl::IsNotFound(read)) return read;
  return absl::DataLossError(absl::StrCat(read.message(), "; checkpoint ", handle.checkpoint_id(),
                                          " wrote it (operator ", handle.operator_uid(),
                                          ", subtask ", handle.subtask(), ")"));
}

}  // namespace

std::string DataFileName::NewPath(const std::string& label) const {
  return absl::StrCat("data/c", checkpoint.value, ".e", epoch.value, ".a", attempt.value, ".",
                      UniqueFileName(label));
}

absl::StatusOr<DataFileName> DataFileName::Parse(const std::string& path) {
  const std::vector<std::string> folders = absl::StrSplit(path, '/');
  const std::vector<std::string> fields = absl::StrSplit(folders.back(), '.');
  DataFileName name;
  if (folders.size() == 2 && folders[0] == "data" && fields.size() >= 4 &&
      ParseField(fields[0], 'c', name.checkpoint.value) &&
      ParseField(fields[1], 'e', name.epoch.value) &&
      ParseField(fields[2], 'a', name.attempt.value)) {
    return name;
  }
  return absl::NotFoundError(absl::StrCat(path, " is not the name of a data file"));
}

absl::Status ReadExtent(CheckpointStorage& storage, const proto::StateHandle& handle,
                        const proto::Extent& extent, std::string& bytes) {
  if (extent.length() > kExtentLimit) {
    return absl::DataLossError(absl::StrCat(handle.file(), " in ", storage.Describe(),
                                            " has an extent of ", extent.length(),
                                            " bytes, above the limit of ", kExtentLimit));
  }
  bytes.resize(extent.length());
  bool elsewhere = false;  // asked for once: what is damaged there, too, is damaged
  for (bool again = true; again;) {
    const absl::Status read = storage.Read(handle.file(), extent.offset(), std::span<char>(bytes));
    if (!read.ok()) return Named(handle, read);
    if (StableHash(std::string_view(bytes)) == extent.checksum()) return read;
    again = !std::exchange(elsewhere, true) && storage.ReadElsewhere(handle.file());
  }
  return absl::DataLossError(
      absl::StrCat(handle.file(), " in ", storage.Describe(), " is damaged: the checksum of the ",
                   extent.length(), " bytes at ", extent.offset(), " does not match (operator ",
                   handle.operator_uid(), ", subtask ", handle.subtask(),
                   ", written by checkpoint ", handle.checkpoint_id(), ")"));
}

absl::StatusOr<bool> StateReader::Next(std::string& bytes) {
  bytes.clear();
  if (next_ == handle_.extents_size()) return false;
  if (absl::Status s = ReadExtent(storage_, handle_, handle_.extents(next_), bytes); !s.ok()) {
    return s;
  }
  ++next_;
  return true;
}

absl::StatusOr<std::string> ReadState(CheckpointStorage& storage, const proto::StateHandle& handle,
                                      uint64_t limit) {
  if (handle.length() > limit) {
    return absl::ResourceExhaustedError(absl::StrCat(handle.file(), " holds ", handle.length(),
                                                     " bytes, above the limit of ", limit));
  }
  StateReader reader(storage, handle);
  std::string all, part;
  while (true) {
    const absl::StatusOr<bool> more = reader.Next(part);
    if (!more.ok()) return more.status();
    if (!*more) return all;
    all += part;
  }
}

absl::Status ReadStateRange(CheckpointStorage& storage, const proto::StateHandle& handle,
                            uint64_t offset, std::span<char> out) {
  uint64_t begin = 0;  // of the extent, in the handle's bytes
  for (const proto::Extent& e : handle.extents()) {
    if (out.empty()) break;
    if (offset < begin + e.length()) {
      const uint64_t skip = offset - begin;
      const size_t n = std::min<uint64_t>(out.size(), e.length() - skip);
      const absl::Status s = storage.Read(handle.file(), e.offset() + skip, out.first(n));
      if (!s.ok()) return Named(handle, s);
      out = out.subspan(n);
      offset += n;
    }
    begin += e.length();
  }
  if (out.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(handle.file(), ": ", out.size(), " bytes at ", offset,
                                          " are past the end of the state"));
}

absl::StatusOr<proto::StateHandle> UploadFile(CheckpointStorage& storage,
                                              const std::string& local_path,
                                              const std::string& path, Transfer transfer) {
  const UniqueFd fd(open(local_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "cannot open", local_path);
  proto::StateHandle handle;
  handle.set_file(path);
  std::string buffer(kMaxExtentBytes, '\0');
  while (true) {
    const absl::StatusOr<size_t> n = ReadSome(fd.get(), buffer, local_path);
    if (!n.ok()) return n.status();
    if (*n == 0) break;
    proto::Extent* extent = handle.add_extents();
    extent->set_offset(handle.length());
    extent->set_length(*n);
    extent->set_checksum(StableHash(std::string_view(buffer.data(), *n)));
    handle.set_length(handle.length() + *n);
  }
  if (absl::Status s = storage.PutFile(local_path, path, transfer); !s.ok()) return s;
  return handle;
}

namespace {

absl::Status Verify(CheckpointStorage& storage, const proto::StateHandle& handle) {
  StateReader reader(storage, handle);
  std::string bytes;
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = reader.Next(bytes);
  return more.status();
}

/// What is linked to must be what was verified: a copy that is found wanting at some extent gives
/// way to the file below, of which nobody has read those before. `verified` is false when it is the
/// file itself that is not as it should be.
absl::Status LinkVerified(CheckpointStorage& storage, const proto::StateHandle& handle,
                          const std::string& local_path, bool& verified) {
  while (true) {
    const bool has_copy = storage.HasCopy(handle.file());
    absl::Status status = Verify(storage, handle);
    verified = status.ok();
    if (!verified) return status;
    status = storage.GetFile(handle.file(), local_path, Transfer::kLink);
    if (!has_copy || storage.HasCopy(handle.file())) return status;
    if (status.ok()) unlink(local_path.c_str());
  }
}

}  // namespace

absl::Status DownloadFile(CheckpointStorage& storage, const proto::StateHandle& handle,
                          const std::string& local_path, Transfer transfer) {
  if (transfer == Transfer::kLinkOrCopy && !handle.extents().empty()) {
    if (!IsWholeFile(handle)) {
      return absl::InvalidArgumentError(
          absl::StrCat(handle.file(), " is not referred to as a whole: it cannot be linked to"));
    }
    bool verified = false;
    const absl::Status linked = LinkVerified(storage, handle, local_path, verified);
    const bool final = linked.ok() || absl::IsAlreadyExists(linked) || absl::IsCancelled(linked);
    if (!verified || final) return linked;
  }
  StateReader reader(storage, handle);
  std::string bytes;
  absl::StatusOr<bool> more = true;
  const absl::StatusOr<UniqueFd> fd = CreateNewFile(local_path, "storage");
  if (!fd.ok()) return fd.status();
  absl::Status status;
  while (status.ok()) {
    more = reader.Next(bytes);
    status = more.status();
    if (status.ok() && !*more) return status;
    if (status.ok()) status = AppendFully(fd->get(), bytes, local_path, "storage");
  }
  unlink(local_path.c_str());
  return status;
}

absl::Status CopyFile(CheckpointStorage& from, CheckpointStorage& to, const std::string& path) {
  const absl::StatusOr<StoredFile> file = from.Stat(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::unique_ptr<StorageWriter>> writer = to.Create(path);
  if (!writer.ok()) return writer.status();
  std::string buffer;
  for (uint64_t at = 0; at < file->size; at += buffer.size()) {
    buffer.resize(std::min(kMaxExtentBytes, file->size - at));
    if (absl::Status s = from.Read(path, at, std::span<char>(buffer)); !s.ok()) return s;
    if (absl::Status s = (*writer)->Append(buffer); !s.ok()) return s;
  }
  return (*writer)->Finish();
}

}  // namespace weir
