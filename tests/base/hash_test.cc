#include "base/hash.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

// These values are on disk in every checkpoint: a change here orphans all of them.
TEST(StableHash, NeverChanges) {
  EXPECT_EQ(StableHash(uint64_t{0}), 0xe220a8397b1dcdafu);
  EXPECT_EQ(StableHash(uint64_t{1}), 0x910a2dec89025cc1u);
  EXPECT_EQ(StableHash(std::string_view("")), 0x2d06800538d394c2u);
}

TEST(KeyGroups, RangesCoverAllGroupsWithoutOverlap) {
  for (uint32_t max : {1u, 7u, 128u, 32768u}) {
    for (uint32_t p : {1u, 2u, 3u, 7u, 100u}) {
      if (p > max) continue;
      EXPECT_EQ(FirstKeyGroup(0, max, p), 0u);
      EXPECT_EQ(FirstKeyGroup(p, max, p), max);
      for (uint32_t i = 0; i < p; ++i) {
        for (uint32_t g = FirstKeyGroup(i, max, p); g < FirstKeyGroup(i + 1, max, p); ++g) {
          ASSERT_EQ(SubtaskOfKeyGroup(g, max, p), i)
              << "group " << g << " of " << max << ", p=" << p;
        }
      }
    }
  }
}

TEST(KeyGroups, KeysSpreadEvenly) {
  int counts[8] = {};
  for (uint64_t key = 0; key < 80'000; ++key) ++counts[KeyGroupOf(StableHash(key), 8)];
  for (int count : counts) EXPECT_NEAR(count, 10'000, 500);
}

}  // namespace
}  // namespace weir
