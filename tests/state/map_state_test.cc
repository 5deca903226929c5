#include "state/map_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "state/store_writer.h"
#include "tests/state/memory_store.h"
#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::Restorable;
using test::Subtask;
using Map = MapState<std::string, int64_t>;

std::map<std::string, int64_t> Contents(const Map& map) {
  std::map<std::string, int64_t> result;
  map.ForEach([&](const std::string& k, int64_t v) { result[k] = v; });
  return result;
}

TEST(MapStateTest, EachKeyHasAMapOfItsOwn) {
  Subtask<uint64_t> task;
  Map map = Map::Open(task.state, "m");
  task.Key(1);
  map.Put("a", 1);
  map.Mutable("b") += 5;
  task.Key(2);
  EXPECT_TRUE(map.Empty());
  EXPECT_EQ(map.Get("a"), nullptr);
  map.Put("a", 7);
  task.Key(1);
  EXPECT_EQ(Contents(map), (std::map<std::string, int64_t>{{"a", 1}, {"b", 5}}));
  map.Remove("a");
  EXPECT_FALSE(map.Contains("a"));
  map.Remove("b");
  EXPECT_TRUE(map.Empty());
}

TEST(MapStateOnAStore, WhatIsOnlyReadIsNothingForTheNextSnapshotToVisit) {
  test::MemoryStore store;
  test::SnapshotCollector sink;
  KeyedState<uint64_t> state(KeyedStateOptions{.operator_uid = "op",
                                               .max_parallelism = 8,
                                               .key_groups = {0, 8},
                                               .sink = &sink,
                                               .store = &store});
  Map map = Map::Open(state, "m");
  state.FinishOpen();
  const auto tables_to_visit = [&] {
    const TableDirectory& directory = state.directory();
    const auto& changed = directory.changed[TableDirectory::Index(directory.epoch.dirty)];
    return changed.size() - std::count(changed.begin(), changed.end(), nullptr);
  };
  for (uint64_t key = 0; key < 100; ++key) {
    state.SetCurrentKey(key, KeyHash(key));
    EXPECT_EQ(map.Get("a"), nullptr);
    EXPECT_TRUE(map.Empty());
    map.Remove("a");
  }
  EXPECT_EQ(tables_to_visit(), 0u);
  const uint64_t key = 7;
  state.SetCurrentKey(key, KeyHash(key));
  map.Put("a", 1);
  EXPECT_EQ(tables_to_visit(), 1u) << "the map's own";
  map.Clear();
  EXPECT_EQ(tables_to_visit(), 1u) << "the key's, until the store has seen the deletion";
  EXPECT_EQ(map.Get("a"), nullptr);
}

// Maps that are mostly read: what makes room is nearly all in tables inside of values.
TEST(MapStateOnAStore, TheCacheKeepsItsBoundAndTheSubtaskGoesOn) {
  constexpr size_t kCacheBytes = 1 << 20;
  constexpr uint64_t kMaps = 64, kEntries = 2'000;
  test::MemoryStore store;
  test::SnapshotCollector sink;
  StoreWriter writer(&store);
  KeyedState<uint64_t> state(KeyedStateOptions{.operator_uid = "op",
                                               .max_parallelism = 8,
                                               .key_groups = {0, 8},
                                               .sink = &sink,
                                               .store = &store,
                                               .cache_bytes = kCacheBytes});
  auto map = MapState<uint64_t, int64_t>::Open(state, "m");
  state.FinishOpen();
  const auto settle = [&] {
    for (const SnapshotChunk& chunk : sink.chunks) ASSERT_TRUE(writer.Add(chunk).ok());
    sink.chunks.clear();
    ASSERT_TRUE(writer.Flush().ok());
    sink.settled = writer.settled_through();
  };
  std::mt19937_64 random(7);
  size_t blocked = 0, most = 0;
  const auto access = [&](uint64_t n, bool write) {
    const uint64_t key = n % kMaps, entry = n / kMaps % kEntries;
    state.SetCurrentKey(key, KeyHash(key));
    if (write) {
      ++map.Mutable(entry);
    } else {
      ASSERT_NE(map.Get(entry), nullptr);
    }
  };
  for (uint64_t i = 0; i < kMaps * kEntries; ++i) {
    access(i, true);
    if (i % 64 == 0 && (state.Blocked() || sink.wanted > sink.settled)) settle();
  }
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    access(random(), i % 16 == 0);
    if (i % 64 != 0) continue;
    // As late as the next batch.
    const bool stands = state.Blocked();
    blocked += stands ? 1 : 0;
    most = std::max(most, state.Metrics().memory_bytes);
    if (stands || sink.wanted > sink.settled) settle();
  }
  EXPECT_EQ(blocked, 0u);
  EXPECT_LE(most, kCacheBytes + kCacheBytes / 4);
}

TEST(MapStateTest, ADeltaHoldsTheEntriesThatChanged) {
  Subtask<uint64_t> task;
  Map map = Map::Open(task.state, "m");
  task.Key(1);
  for (int i = 0; i < 1000; ++i) map.Put(std::to_string(i), i);
  task.Snapshot(1);
  EXPECT_EQ(task.chain.segments().back()->entries(), 1000u);
  map.Put("5", 55);
  map.Remove("6");
  task.Snapshot(2);
  EXPECT_EQ(task.chain.segments().back()->entries(), 2u);
}

TEST(MapStateTest, ClearingIsOneEntryAndWhatComesAfterItStays) {
  Subtask<uint64_t> task;
  Map map = Map::Open(task.state, "m");
  task.Key(1);
  for (int i = 0; i < 1000; ++i) map.Put(std::to_string(i), i);
  task.Snapshot(1);
  map.Clear();
  map.Put("new", 1);
  task.Snapshot(2);
  EXPECT_EQ(task.chain.segments().back()->entries(), 2u);

  SegmentSet set = Restorable({&task.chain});
  Subtask<uint64_t> restored({0, 16}, &set);
  Map again = Map::Open(restored.state, "m");
  restored.state.FinishOpen();
  restored.Key(1);
  EXPECT_EQ(Contents(again), (std::map<std::string, int64_t>{{"new", 1}}));
}

TEST(MapStateTest, AMapClearedWhileItsSnapshotRunsIsStillInTheSnapshot) {
  for (const SnapshotKind kind : {SnapshotKind::kDelta, SnapshotKind::kFull}) {
    Subtask<uint64_t> task;
    Map map = Map::Open(task.state, "m");
    for (uint64_t k = 0; k < 100; ++k) {
      task.Key(k);
      for (int i = 0; i < 10; ++i) map.Put(std::to_string(i), i);
    }
    if (kind == SnapshotKind::kFull) task.Snapshot(1);
    task.state.BeginSnapshot(CheckpointId(2), kind);
    for (uint64_t k = 0; k < 100; ++k) {
      task.Key(k);
      if (k % 2 == 0) {
        map.Clear();
      } else {
        for (int i = 0; i < 10; ++i) map.Remove(std::to_string(i));
      }
    }
    task.Finish();
    EXPECT_EQ(task.chain.segments().back()->entries(), 1000u);
    {
      SegmentSet set = Restorable({&task.chain});
      Subtask<uint64_t> restored({0, 16}, &set);
      Map again = Map::Open(restored.state, "m");
      restored.Key(7);
      EXPECT_EQ(Contents(again).size(), 10u);
      restored.Key(8);
      EXPECT_EQ(Contents(again).size(), 10u);
    }
    task.Snapshot(3);
    SegmentSet set = Restorable({&task.chain});
    Subtask<uint64_t> restored({0, 16}, &set);
    Map::Open(restored.state, "m");
    EXPECT_EQ(restored.state.Metrics().entries, 0u);
  }
}

}  // namespace
}  // namespace weir
