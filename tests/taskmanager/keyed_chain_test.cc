// Which segments of a chain are merged, and when: the number of segments stays bounded, and what a
// merge rewrites is in proportion to what has changed, not to the state.

#include "taskmanager/keyed_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "state/checkpoint/local_copies.h"
#include "state/segment/segment_writer.h"
#include "tests/state/checkpoint/memory_storage.h"

namespace weir {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;

proto::StateHandle Segment(proto::StateHandle::Kind kind, uint64_t id, uint64_t length) {
  proto::StateHandle handle;
  handle.set_kind(kind);
  handle.set_checkpoint_id(id);
  handle.set_file("c" + std::to_string(id));
  handle.set_length(length);
  return handle;
}

/// Merges as the merging thread does; the bytes that this writes.
uint64_t MergeAll(KeyedChain& chain, std::string* kinds = nullptr) {
  uint64_t written = 0;
  while (const auto merge = chain.WantedMerge()) {
    const auto before = chain.handles();
    const auto first = before.begin() + static_cast<ptrdiff_t>(merge->first);
    uint64_t length = 0;
    std::for_each(first, first + static_cast<ptrdiff_t>(merge->count),
                  [&](const auto& handle) { length += handle.length(); });
    written += length;
    if (merge->kind == proto::StateHandle::BASE) length = before.front().length();  // updates
    auto merged = Segment(merge->kind, before.back().checkpoint_id(), length);
    merged.set_file("merged" + merged.file());
    EXPECT_TRUE(chain.Replace(before, *merge, merged));
    if (kinds != nullptr) *kinds += merge->kind == proto::StateHandle::BASE ? 'b' : 'd';
  }
  return written;
}

TEST(KeyedChain, AMergeRewritesWhatChangedAFewTimesHoweverLargeTheBase) {
  KeyedChain chain({Segment(proto::StateHandle::BASE, 1, 1'000'000 * kMegabyte)});
  constexpr uint64_t kDeltas = 10'000;
  uint64_t written = 0;
  for (uint64_t id = 2; id < 2 + kDeltas; ++id) {
    chain.Add(Segment(proto::StateHandle::DELTA, id, kMegabyte));
    std::string kinds;
    written += MergeAll(chain, &kinds);
    EXPECT_EQ(kinds.find('b'), std::string::npos);
    ASSERT_LE(chain.handles().size(), KeyedChain::kMaxDeltas + 1);
  }
  EXPECT_LT(written, 8 * kDeltas * kMegabyte);
  EXPECT_EQ(chain.handles().front().checkpoint_id(), 1u);
}

TEST(KeyedChain, ABaseIsMadeWhenTheDeltasAreAQuarterOfIt) {
  KeyedChain chain({Segment(proto::StateHandle::BASE, 1, 100 * kMegabyte)});
  std::string kinds;
  for (uint64_t id = 2; id <= 26; ++id) {
    chain.Add(Segment(proto::StateHandle::DELTA, id, kMegabyte));
    MergeAll(chain, &kinds);
  }
  EXPECT_EQ(kinds.find('b'), std::string::npos);
  chain.Add(Segment(proto::StateHandle::DELTA, 27, kMegabyte));
  MergeAll(chain, &kinds);
  EXPECT_EQ(kinds.back(), 'b');
  EXPECT_EQ(chain.handles().size(), 1u);
}

TEST(KeyedChain, ASmallBaseIsMadeAnewWhenDeltasHaveBecomeMany) {
  KeyedChain chain({Segment(proto::StateHandle::BASE, 1, 1000)});
  std::string kinds;
  for (uint64_t id = 2; id <= 200; ++id) {
    chain.Add(Segment(proto::StateHandle::DELTA, id, 1000));
    MergeAll(chain, &kinds);
    ASSERT_LE(chain.handles().size(), KeyedChain::kMaxDeltas + 1);
  }
  EXPECT_EQ(kinds, std::string(199 / (KeyedChain::kMaxDeltas + 1), 'b'));
}

// After a change of parallelism.
TEST(KeyedChain, SegmentsOfFormerSubtasksBecomeOneBase) {
  KeyedChain chain({Segment(proto::StateHandle::BASE, 1, 1000 * kMegabyte),
                    Segment(proto::StateHandle::DELTA, 2, kMegabyte),
                    Segment(proto::StateHandle::BASE, 3, 1000 * kMegabyte)});
  const auto merge = chain.WantedMerge();
  ASSERT_TRUE(merge.has_value());
  EXPECT_EQ(merge->kind, proto::StateHandle::BASE);
  EXPECT_EQ(merge->count, 3u);
}

TEST(KeyedChain, AMergeIsDroppedWhenAFullSnapshotHasReplacedTheChain) {
  KeyedChain chain({Segment(proto::StateHandle::BASE, 1, 4 * kMegabyte),
                    Segment(proto::StateHandle::DELTA, 2, 2 * kMegabyte)});
  const auto before = chain.handles();
  const auto merge = chain.WantedMerge();
  ASSERT_TRUE(merge.has_value());
  chain.Add(Segment(proto::StateHandle::BASE, 3, 5 * kMegabyte));
  chain.Add(Segment(proto::StateHandle::DELTA, 4, 100));
  EXPECT_FALSE(chain.Replace(before, *merge, Segment(proto::StateHandle::BASE, 2, 5 * kMegabyte)));
  ASSERT_EQ(chain.handles().size(), 2u);
  EXPECT_EQ(chain.handles().front().checkpoint_id(), 3u);
}

// A restore reads block after block, and many of them are in one extent.
TEST(StoredSegment, EachExtentIsReadOnceFrontToBackWhereverBlocksEnd) {
  std::string bytes;
  SegmentWriter writer({.checkpoint = CheckpointId(1),
                        .max_parallelism = 1,
                        .key_groups = {0, 1},
                        .operator_uid = "op",
                        .states = {{.name = "values"}}},
                       [&](std::string_view part) {
                         bytes.append(part);
                         return absl::OkStatus();
                       });
  constexpr uint32_t kEntries = 20'000;
  const auto key = [](uint32_t i) { return std::to_string(100'000 + i); };
  for (uint32_t i = 0; i < kEntries; ++i) {
    const std::string k = key(i);
    ASSERT_TRUE(writer.Add({.key = k, .value = k + std::string(100, 'x')}).ok());
  }
  ASSERT_TRUE(writer.Finish().ok());

  auto below = std::make_unique<MemoryStorage>();
  ASSERT_TRUE(below->CreateIfAbsent("data/segment", bytes).ok());
  LocalCopyReport report;
  LocalCopies storage(std::move(below), "", &report);
  proto::StateHandle handle;
  handle.set_file("data/segment");
  handle.set_length(bytes.size());
  constexpr size_t kExtentBytes = 300'001;
  for (size_t at = 0; at < bytes.size(); at += kExtentBytes) {
    proto::Extent& extent = *handle.add_extents();
    const std::string_view part = std::string_view(bytes).substr(at, kExtentBytes);
    extent.set_offset(at);
    extent.set_length(part.size());
    extent.set_checksum(StableHash(part));
  }
  const auto reader = OpenSegment(storage, handle);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const uint64_t opened = report.stored_bytes;
  EXPECT_LE(opened, 3 * kExtentBytes);

  SegmentReader::Cursor cursor(**reader, 0, {0, 1});
  SegmentEntry entry;
  for (uint32_t i = 0; i < kEntries; ++i) {
    const auto more = cursor.Next(entry);
    ASSERT_TRUE(more.ok() && *more) << more.status();
    ASSERT_EQ(entry.key, key(i));
  }
  EXPECT_FALSE(cursor.Next(entry).value());
  EXPECT_LE(report.stored_bytes - opened, bytes.size());
}

}  // namespace
}  // namespace weir
