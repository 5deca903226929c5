#pragma once

#include <cstdint>
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
  /// A new base is worth its price when the deltas are this many, or a quarter of the base.
  static constexpr size_t kMaxDeltas = 16;
  static constexpr uint64_t kMinMergeBytes = 1 << 20;

  KeyedChain() = default;
  explicit KeyedChain(std::vector<proto::StateHandle> handles) : handles_(std::move(handles)) {}

  /// A segment of a checkpoint that is durable.
  void Add(proto::StateHandle segment);
  const std::vector<proto::StateHandle>& handles() const { return handles_; }

  bool WantsMerge() const;
  /// `merged` replaces the first `count` handles.
  void Replace(size_t count, proto::StateHandle merged);

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

/// Writes what the chain comes to in `range` as one new base under `path`. Blocks for as long as
/// the state takes to be read and written; costs no memory to speak of.
absl::StatusOr<proto::StateHandle> MergeChain(CheckpointStorage& storage,
                                              const std::vector<proto::StateHandle>& handles,
                                              KeyGroupRange range, const std::string& path);

}  // namespace weir
