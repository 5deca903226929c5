#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "state/keyed_state.h"
#include "state/segment/segment_builder.h"
#include "state/segment/segment_merge.h"
#include "state/segment/segment_reader.h"
#include "tests/state/snapshot_collector.h"

namespace weir::test {

/// The chain of segments of one backend: takes what its sink collected and writes it out.
class Chain {
 public:
  explicit Chain(KeyGroupRange range, size_t memory_limit = SegmentBuilder::kDefaultMemoryLimit)
      : range_(range), builder_(::testing::TempDir(), memory_limit) {}

  /// Takes what is in the sink; each segment that has ended joins the chain.
  void Collect(SnapshotCollector& sink, const KeyedStateBackend& backend) {
    for (SnapshotChunk& chunk : sink.chunks) {
      const absl::Status status = builder_.Add(std::move(chunk));
      ASSERT_TRUE(status.ok()) << status;
      if (builder_.ended()) WriteEnded(backend);
    }
    sink.chunks.clear();
  }

  /// The next checkpoints' files are lost after they were written.
  void FailFiles(bool fail) { fail_files_ = fail; }

  const std::vector<std::shared_ptr<const SegmentReader>>& segments() const { return segments_; }
  KeyGroupRange range() const { return range_; }
  void Add(std::shared_ptr<const SegmentReader> reader) { segments_.push_back(std::move(reader)); }

 private:
  void WriteEnded(const KeyedStateBackend& backend) {
    const bool full = builder_.ended()->kind == SnapshotKind::kFull;
    const SegmentInfo info{.max_parallelism = backend.max_parallelism(),
                           .key_groups = backend.key_groups(),
                           .operator_uid = backend.operator_uid(),
                           .states = backend.Schemas()};
    std::string bytes;
    const absl::StatusOr<uint64_t> size = builder_.Write(info, [&](std::string_view part) {
      bytes.append(part);
      return absl::OkStatus();
    });
    ASSERT_TRUE(size.ok()) << size.status();
    ASSERT_EQ(*size, bytes.size());
    if (fail_files_) return builder_.Reject();
    builder_.Confirm();
    if (full) segments_.clear();  // a base: nothing before
    auto reader = SegmentReader::Open(
        MemorySegment("segment-" + std::to_string(segments_.size()), std::move(bytes)));
    ASSERT_TRUE(reader.ok()) << reader.status();
    segments_.push_back(*std::move(reader));
  }

  const KeyGroupRange range_;
  SegmentBuilder builder_;
  bool fail_files_ = false;
  std::vector<std::shared_ptr<const SegmentReader>> segments_;
};

inline KeyGroupRange RangeOf(uint32_t index, uint32_t parallelism, uint32_t max_parallelism) {
  return {FirstKeyGroup(index, max_parallelism, parallelism),
          FirstKeyGroup(index + 1, max_parallelism, parallelism)};
}

inline SegmentSet Restorable(const std::vector<const Chain*>& chains) {
  SegmentSet set;
  for (const Chain* chain : chains) {
    for (const auto& reader : chain->segments()) set.Add(reader, chain->range());
  }
  return set;
}

/// One subtask's backend with its sink and chain.
template <class K>
struct Subtask {
  static constexpr uint32_t kMax = 16;

  explicit Subtask(KeyGroupRange range = {0, kMax}, const RestoredState* restored = nullptr)
      : chain(range),
        state(KeyedStateOptions{.operator_uid = "op",
                                .max_parallelism = kMax,
                                .key_groups = range,
                                .sink = &sink,
                                .restored = restored}) {}

  void Snapshot(uint64_t id, SnapshotKind kind = SnapshotKind::kDelta) {
    state.BeginSnapshot(CheckpointId(id), kind);
    Finish();
  }
  void Finish() {
    while (!state.SnapshotSlice()) {
    }
    chain.Collect(sink, state);
  }
  void Key(const K& key) {
    current = key;
    state.SetCurrentKey(current, KeyHash(current));
  }

  SnapshotCollector sink;
  Chain chain;
  KeyedState<K> state;
  K current{};
};

}  // namespace weir::test
