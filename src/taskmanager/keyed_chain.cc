#include "taskmanager/keyed_chain.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/hash.h"
#include "state/checkpoint/state_file.h"

namespace weir {
namespace {

constexpr size_t kMergeSliceBytes = 1 << 20;

// A handle's extents as one range of bytes. The extent that was read last is kept, verified: a
// merge and a restore read front to back, a block at a time, and an extent holds many blocks.
class StoredSegment final : public SegmentSource {
 public:
  StoredSegment(CheckpointStorage& storage, proto::StateHandle handle)
      : storage_(storage), handle_(std::move(handle)) {
    uint64_t begin = 0;
    for (const proto::Extent& extent : handle_.extents()) {
      begins_.push_back(begin);
      begin += extent.length();
    }
  }

  std::string Describe() const override { return handle_.file(); }
  uint64_t size() const override { return handle_.length(); }

  absl::Status Read(uint64_t offset, size_t size, std::string& out) const override {
    out.clear();
    std::lock_guard lock(mutex_);
    const auto after = std::upper_bound(begins_.begin(), begins_.end(), offset);
    for (auto at = after - begins_.begin() - 1;
         out.size() < size && at >= 0 && at < handle_.extents_size(); ++at) {
      if (absl::Status s = Keep(static_cast<int>(at)); !s.ok()) return s;
      const uint64_t from = offset + out.size() - begins_[static_cast<size_t>(at)];
      if (from >= extent_.size()) continue;  // past the end
      out.append(extent_, from, size - out.size());
    }
    if (out.size() == size) return absl::OkStatus();
    return absl::DataLossError(handle_.file() + ": segment ends before byte " +
                               std::to_string(offset + size));
  }

 private:
  // mutex_ held.
  absl::Status Keep(int extent) const {
    if (kept_ == extent) return absl::OkStatus();
    kept_ = -1;
    if (absl::Status s = ReadExtent(storage_, handle_, handle_.extents(extent), extent_); !s.ok()) {
      return s;
    }
    kept_ = extent;
    return absl::OkStatus();
  }

  CheckpointStorage& storage_;
  const proto::StateHandle handle_;
  std::vector<uint64_t> begins_;  // of the extents, in the segment
  mutable std::mutex mutex_;
  mutable std::string extent_;  // mutex_
  mutable int kept_ = -1;       // mutex_: which one that is
};

}  // namespace

void KeyedChain::Add(proto::StateHandle segment) {
  if (segment.kind() == proto::StateHandle::BASE) handles_.clear();
  handles_.push_back(std::move(segment));
}

std::optional<KeyedChain::Merge> KeyedChain::WantedMerge() const {
  if (handles_.size() < 2) return std::nullopt;
  uint64_t deltas = 0;
  for (size_t i = 1; i < handles_.size(); ++i) deltas += handles_[i].length();
  const Merge all{.first = 0, .count = handles_.size(), .kind = proto::StateHandle::BASE};
  if (deltas > kMinMergeBytes && deltas > handles_[0].length() / 4) return all;
  if (handles_.size() <= kMaxDeltas + 1) return std::nullopt;
  if (handles_[0].length() <= 4 * kMinMergeBytes) return all;
  // The newest half, and those before it that are not larger than what they are merged with: no
  // entry is written again more often than there are doublings between a delta and the base.
  size_t first = handles_.size();
  uint64_t bytes = 0;
  while (first > 1 &&
         (handles_.size() - first < kMaxDeltas / 2 || handles_[first - 1].length() <= bytes)) {
    bytes += handles_[--first].length();
    // Of a former subtask.
    if (handles_[first].kind() == proto::StateHandle::BASE) return all;
  }
  return Merge{.first = first, .count = handles_.size() - first, .kind = proto::StateHandle::DELTA};
}

bool KeyedChain::BeginsWith(const std::vector<proto::StateHandle>& before,
                            const Merge& merge) const {
  const size_t end = merge.first + merge.count;
  return handles_.size() >= end &&
         std::equal(before.begin(), before.begin() + static_cast<ptrdiff_t>(end), handles_.begin(),
                    [](const auto& a, const auto& b) {
                      return a.file() == b.file() && a.checkpoint_id() == b.checkpoint_id();
                    });
}

bool KeyedChain::Replace(const std::vector<proto::StateHandle>& before, const Merge& merge,
                         proto::StateHandle merged) {
  if (!BeginsWith(before, merge)) return false;
  const size_t end = merge.first + merge.count;
  const auto at = handles_.begin() + static_cast<ptrdiff_t>(merge.first);
  *at = std::move(merged);
  handles_.erase(at + 1, handles_.begin() + static_cast<ptrdiff_t>(end));
  return true;
}

absl::StatusOr<std::shared_ptr<const SegmentReader>> OpenSegment(CheckpointStorage& storage,
                                                                 const proto::StateHandle& handle) {
  return SegmentReader::Open(std::make_shared<StoredSegment>(storage, handle));
}

absl::StatusOr<std::vector<SegmentLink>> OpenChain(CheckpointStorage& storage,
                                                   const std::vector<proto::StateHandle>& handles,
                                                   KeyGroupRange range) {
  std::vector<SegmentLink> links;
  for (const proto::StateHandle& handle : handles) {
    const KeyGroupRange ours{std::max(range.first, handle.key_groups().first()),
                             std::min(range.end, handle.key_groups().end())};
    if (ours.first >= ours.end) continue;
    absl::StatusOr<std::shared_ptr<const SegmentReader>> reader = OpenSegment(storage, handle);
    if (!reader.ok()) return reader.status();
    links.push_back({*std::move(reader), ours});
  }
  return links;
}

absl::StatusOr<proto::StateHandle> MergeChain(CheckpointStorage& storage,
                                              const std::vector<proto::StateHandle>& handles,
                                              const KeyedChain::Merge& merge, KeyGroupRange range,
                                              const std::string& path) {
  if (WEIR_FAILPOINT("snapshot.merge")) {
    return absl::UnavailableError("injected failure: merging state deltas");
  }
  const auto first = handles.begin() + static_cast<ptrdiff_t>(merge.first);
  const std::vector<proto::StateHandle> part(first, first + static_cast<ptrdiff_t>(merge.count));
  absl::StatusOr<std::vector<SegmentLink>> links = OpenChain(storage, part, range);
  if (!links.ok()) return links.status();
  if (links->empty()) return absl::InternalError("a chain without segments cannot be merged");
  absl::StatusOr<std::unique_ptr<StorageWriter>> file = storage.Create(path);
  if (!file.ok()) return file.status();

  proto::StateHandle merged = part.back();
  merged.set_kind(merge.kind);
  merged.set_file(path);
  merged.clear_extents();
  merged.mutable_key_groups()->set_first(range.first);
  merged.mutable_key_groups()->set_end(range.end);
  std::string slice;
  uint64_t offset = 0;
  const auto write = [&]() -> absl::Status {
    if (absl::Status s = (*file)->Append(slice); !s.ok()) return s;
    proto::Extent& extent = *merged.add_extents();
    extent.set_offset(offset);
    extent.set_length(slice.size());
    extent.set_checksum(StableHash(std::string_view(slice)));
    offset += slice.size();
    slice.clear();
    return absl::OkStatus();
  };
  SegmentInfo info = links->back().reader->info();
  const bool base = merge.kind == proto::StateHandle::BASE;
  info.kind = base ? SnapshotKind::kFull : SnapshotKind::kDelta;
  const absl::StatusOr<uint64_t> size =
      MergeSegments(*links, range, /*changes=*/!base, std::move(info),
                    [&](std::string_view bytes) -> absl::Status {
                      slice.append(bytes);
                      return slice.size() < kMergeSliceBytes ? absl::OkStatus() : write();
                    });
  if (!size.ok()) return size.status();
  if (!slice.empty()) {
    if (absl::Status s = write(); !s.ok()) return s;
  }
  if (absl::Status s = (*file)->Finish(); !s.ok()) return s;
  merged.set_length(offset);
  return merged;
}

}  // namespace weir
