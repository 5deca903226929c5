#include "state/sliced_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::RangeOf;
using test::Restorable;
using test::Subtask;
using Sums = SlicedTable<uint64_t, int64_t>;

void AddTo(int64_t& into, const int64_t& more) { into += more; }

void Put(Sums& sums, int64_t end, uint64_t key, int64_t value) {
  sums.FindOrInsert(end, key, KeyHash(key)) += value;
}

std::map<uint64_t, int64_t> Contents(Sums& sums, std::vector<int64_t> ends) {
  std::map<uint64_t, int64_t> result;
  HashRange range;
  EXPECT_TRUE(sums.ForEach(ends, range, AddTo, [&](uint64_t key, uint64_t, int64_t sum) {
    EXPECT_TRUE(result.emplace(key, sum).second) << "visited twice: " << key;
    return true;
  }));
  return result;
}

TEST(SlicedTableTest, SlicesComeInOrderAndAreDroppedWhole) {
  Subtask<uint64_t> task;
  Sums sums = Sums::Open(task.state, "w");
  for (int64_t end : {3000, -1000, 2000}) Put(sums, end, 1, end);
  EXPECT_EQ(sums.FirstSlice(), -1000);
  sums.Drop(-1000);
  EXPECT_EQ(sums.FirstSlice(), 2000);
  EXPECT_EQ(sums.SliceFrom(2001), 3000);
  EXPECT_EQ(sums.Find(-1000, 1, KeyHash(uint64_t{1})), nullptr);
  EXPECT_EQ(*sums.Find(2000, 1, KeyHash(uint64_t{1})), 2000);
}

TEST(SlicedTableTest, AWindowOfSeveralSlicesVisitsEachKeyOnce) {
  Subtask<uint64_t> task;
  Sums sums = Sums::Open(task.state, "w");
  std::map<uint64_t, int64_t> expected;
  for (uint64_t k = 0; k < 3000; ++k) {
    for (int64_t s = 0; s < 3; ++s) {
      if ((k + s) % 3 == 0 && k % 2 == 0) continue;
      Put(sums, 1000 * s, k, 1 + s);
      expected[k] += 1 + s;
    }
  }
  EXPECT_EQ(Contents(sums, {0, 1000, 2000}), expected);
  EXPECT_EQ(Contents(sums, {5000}).size(), 0u);
}

TEST(SlicedTableTest, FiringStopsAndGoesOnAlthoughTheSliceGrows) {
  Subtask<uint64_t> task;
  Sums sums = Sums::Open(task.state, "w");
  for (uint64_t k = 0; k < 2000; ++k) Put(sums, 1000, k, 1);
  const std::vector<int64_t> ends{1000};
  std::map<uint64_t, int> visits;
  HashRange range;
  int calls = 0;
  uint64_t late = 1'000'000;
  while (!sums.ForEach(ends, range, AddTo, [&](uint64_t key, uint64_t, int64_t) {
    ++visits[key];
    return visits.size() % 7 != 0;
  })) {
    ++calls;
    Put(sums, 1000, late++, 1);  // some come in ahead of the cursor, some behind
  }
  EXPECT_GT(calls, 200);
  for (uint64_t k = 0; k < 2000; ++k) EXPECT_EQ(visits[k], 1);
  for (auto& [k, n] : visits) EXPECT_EQ(n, 1);
}

TEST(SlicedTableTest, FiringGoesOnBehindTheCursorAfterARestoreAtOtherParallelism) {
  Subtask<uint64_t> task;
  Sums sums = Sums::Open(task.state, "w");
  for (uint64_t k = 0; k < 2000; ++k) Put(sums, 1000, k, 1);
  const std::vector<int64_t> ends{1000};
  std::map<uint64_t, int> visits;
  HashRange range;
  EXPECT_FALSE(sums.ForEach(ends, range, AddTo, [&](uint64_t key, uint64_t, int64_t) {
    ++visits[key];
    return visits.size() < 700;
  }));
  EXPECT_EQ(visits.size(), 700u);
  task.Snapshot(1);
  SegmentSet set = Restorable({&task.chain});
  for (uint32_t i = 0; i < 3; ++i) {
    Subtask<uint64_t> part(RangeOf(i, 3, 16), &set);
    Sums again = Sums::Open(part.state, "w");
    HashRange rest = range;
    EXPECT_TRUE(again.ForEach(ends, rest, AddTo, [&](uint64_t key, uint64_t, int64_t) {
      ++visits[key];
      return true;
    }));
  }
  EXPECT_EQ(visits.size(), 2000u);
  for (auto& [k, n] : visits) EXPECT_EQ(n, 1) << k;
}

TEST(SlicedTableTest, ADroppedSliceIsGoneAfterARestoreAndTheRunningSnapshotStillHasIt) {
  Subtask<uint64_t> task;
  Sums sums = Sums::Open(task.state, "w");
  for (uint64_t k = 0; k < 500; ++k) {
    Put(sums, 1000, k, 1);
    Put(sums, 2000, k, 2);
  }
  task.state.BeginSnapshot(CheckpointId(1));
  sums.Drop(1000);
  Put(sums, 2000, 3, 5);
  task.Finish();
  {
    SegmentSet set = Restorable({&task.chain});
    Subtask<uint64_t> restored({0, 16}, &set);
    Sums again = Sums::Open(restored.state, "w");
    EXPECT_EQ(Contents(again, {1000}).size(), 500u);
    EXPECT_EQ(Contents(again, {2000})[3], 2);
  }
  task.Snapshot(2);
  EXPECT_LE(task.chain.segments().back()->entries(), 17u);  // a mark per key group, and a key
  SegmentSet set = Restorable({&task.chain});
  Subtask<uint64_t> restored({0, 16}, &set);
  Sums again = Sums::Open(restored.state, "w");
  EXPECT_EQ(again.FirstSlice(), 2000);
  EXPECT_EQ(Contents(again, {2000})[3], 7);
}

}  // namespace
}  // namespace weir
