// Which segments of a chain are merged, and when: the number of segments stays bounded, and what a
// merge rewrites is in proportion to what has changed, not to the state.

#include "taskmanager/keyed_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

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

}  // namespace
}  // namespace weir
