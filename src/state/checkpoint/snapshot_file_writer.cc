#include "state/checkpoint/snapshot_file_writer.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "state/checkpoint/state_file.h"

namespace weir {
namespace {

constexpr std::string_view kMagic = "WEIRDATA";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kFeatures = 0;
constexpr size_t kSpareSlices = 16;

}  // namespace

SnapshotFileWriter::SnapshotFileWriter(CheckpointStorage& storage, std::string path,
                                       Options options)
    : storage_(storage), path_(std::move(path)), options_(std::move(options)) {}

SnapshotFileWriter::SectionId SnapshotFileWriter::Open(proto::StateHandle handle) {
  std::lock_guard lock(mutex_);
  sections_.push_back({std::move(handle)});
  return static_cast<SectionId>(sections_.size() - 1);
}

bool SnapshotFileWriter::Append(SectionId section, std::string& slice) {
  if (slice.empty()) return true;
  std::lock_guard lock(mutex_);
  if (!failed_.ok()) {
    slice.clear();
    return true;
  }
  // A slice larger than the limit passes when nothing else is pending.
  if (pending_bytes_ > 0 && pending_bytes_ + slice.size() > options_.max_pending_bytes) {
    refused_ = true;
    return false;
  }
  pending_bytes_ += slice.size();
  pending_.push_back({section, std::move(slice)});
  slice.clear();
  if (!spare_.empty()) {
    slice = std::move(spare_.back());
    spare_.pop_back();
  }
  changed_.notify_one();
  return true;
}

void SnapshotFileWriter::Close(SectionId section, uint64_t entries) {
  std::lock_guard lock(mutex_);
  sections_[section].handle.set_entries(entries);
  sections_[section].closed = true;
  changed_.notify_one();
}

void SnapshotFileWriter::Seal() {
  std::lock_guard lock(mutex_);
  sealed_ = true;
  changed_.notify_one();
}

void SnapshotFileWriter::Cancel(absl::Status reason) {
  std::lock_guard lock(mutex_);
  if (failed_.ok()) failed_ = std::move(reason);
  changed_.notify_one();
}

uint64_t SnapshotFileWriter::written_bytes() const {
  std::lock_guard lock(mutex_);
  return written_;
}

bool SnapshotFileWriter::AllClosed() const {
  return sealed_ &&
         std::all_of(sections_.begin(), sections_.end(), [](const Section& s) { return s.closed; });
}

absl::Status SnapshotFileWriter::EnsureFile() {
  if (file_ != nullptr) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<StorageWriter>> file = storage_.Create(path_);
  if (!file.ok()) return file.status();
  file_ = *std::move(file);
  ByteWriter header;
  header.PutBytes(kMagic);
  header.Put(kVersion);
  header.Put(kFeatures);
  offset_ = header.size();
  return file_->Append(header.bytes());
}

absl::Status SnapshotFileWriter::Write(const Slice& slice) {
  if (absl::Status s = EnsureFile(); !s.ok()) return s;
  if (absl::Status s = file_->Append(slice.bytes); !s.ok()) return s;
  std::vector<proto::Extent> extents;
  for (std::string_view rest = slice.bytes; !rest.empty();) {
    const std::string_view part = rest.substr(0, kMaxExtentBytes);
    rest.remove_prefix(part.size());
    proto::Extent& extent = extents.emplace_back();
    extent.set_offset(offset_);
    extent.set_length(part.size());
    extent.set_checksum(StableHash(part));
    offset_ += part.size();
  }
  std::lock_guard lock(mutex_);
  proto::StateHandle& handle = sections_[slice.section].handle;
  handle.set_file(path_);
  handle.set_length(handle.length() + slice.bytes.size());
  for (proto::Extent& extent : extents) *handle.add_extents() = std::move(extent);
  written_ = offset_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<proto::StateHandle>> SnapshotFileWriter::Run() {
  std::unique_lock lock(mutex_);
  while (failed_.ok()) {
    changed_.wait(lock, [&] { return !failed_.ok() || !pending_.empty() || AllClosed(); });
    if (!failed_.ok() || pending_.empty()) break;
    Slice slice = std::move(pending_.front());
    pending_.pop_front();
    lock.unlock();
    absl::Status written = Write(slice);
    const uint64_t size = slice.bytes.size();
    slice.bytes.clear();
    lock.lock();
    if (!written.ok() && failed_.ok()) failed_ = std::move(written);
    pending_bytes_ -= size;
    if (spare_.size() < kSpareSlices) spare_.push_back(std::move(slice.bytes));
    const bool room = pending_bytes_ <= options_.max_pending_bytes / 2 || !failed_.ok();
    if (refused_ && room) {
      refused_ = false;
      lock.unlock();
      if (options_.on_room) options_.on_room();
      lock.lock();
    }
  }
  pending_.clear();
  pending_bytes_ = 0;
  const absl::Status failed = failed_;
  const bool wake = std::exchange(refused_, false);
  lock.unlock();
  if (wake && options_.on_room) options_.on_room();
  if (!failed.ok()) {
    file_.reset();
    return failed;
  }
  if (file_ != nullptr) {
    const absl::Status finished = file_->Finish();
    file_.reset();
    if (!finished.ok()) {
      // Even if it exists: nothing refers to it, so it is garbage and not a danger.
      Cancel(finished);
      return finished;
    }
  }
  std::vector<proto::StateHandle> handles;
  lock.lock();
  for (Section& section : sections_) handles.push_back(std::move(section.handle));
  return handles;
}

}  // namespace weir
