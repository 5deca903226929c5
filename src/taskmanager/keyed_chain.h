#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"
#include "state/segment/segment_merge.h"
#include "state/segment/segment_reader.h"
#include "state/state_schema.h"

namespace weir {

/// The segments that one operator's keyed state of one subtask consists of: a base, then deltas
/// from old to new. After a change of parallelism it begins with the segments of several former
/// subtasks, each cut down to the key groups that are ours now. Single-threaded.
class KeyedChain {
 public:
  /// More deltas are merged among themselves. A new base is only worth its price when the deltas
  /// are a quarter of it, or it is small.
  static constexpr size_t kMaxDeltas = 16;
  static constexpr uint64_t kMinMergeBytes = 1 << 20;

  /// Neighbours in the chain that are to be one.
  struct Merge {
    size_t first = 0;
    size_t count = 0;
    proto::StateHandle::Kind kind = proto::StateHandle::BASE;
  };

  KeyedChain() = default;
  explicit KeyedChain(std::vector<proto::StateHandle> handles) : handles_(std::move(handles)) {}

  /// A segment of a checkpoint that is durable.
  void Add(proto::StateHandle segment);
  const std::vector<proto::StateHandle>& handles() const { return handles_; }

  std::optional<Merge> WantedMerge() const;
  /// False when `before`, the chain that the merge was asked of, has been replaced since.
  bool BeginsWith(const std::vector<proto::StateHandle>& before, const Merge& merge) const;
  /// `merged` takes the place of those it was made of. False, and nothing happens, when `before`,
  /// the chain that the merge was asked of, has been replaced by a full snapshot since.
  bool Replace(const std::vector<proto::StateHandle>& before, const Merge& merge,
               proto::StateHandle merged);

 private:
  std::vector<proto::StateHandle> handles_;
};

/// A stored segment as a source of bytes. Checks extents' checksums as it reads.
absl::StatusOr<std::shared_ptr<const SegmentReader>> OpenSegment(CheckpointStorage& storage,
                                                                 const proto::StateHandle& handle);

/// Opens all segments of a chain, for a restore or a merge. Only key groups in `range` count.
absl::StatusOr<std::vector<SegmentLink>> OpenChain(CheckpointStorage& storage,
                                                   const std::vector<proto::StateHandle>& handles,
                                                   KeyGroupRange range);

/// Writes what a part of the chain comes to in `range` as one segment under `path`. Blocks for as
/// long as that part takes to be read and written; costs no memory to speak of.
absl::StatusOr<proto::StateHandle> MergeChain(CheckpointStorage& storage,
                                              const std::vector<proto::StateHandle>& handles,
                                              const KeyedChain::Merge& merge, KeyGroupRange range,
                                              const std::string& path);

}  // namespace weir
