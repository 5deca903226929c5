#include "state/store_writer.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "base/failpoint.h"
#include "state/keyed_state.h"
#include "state/segment/segment_builder.h"
#include "state/segment/segment_merge.h"
#include "state/value_table.h"
#include "tests/state/rocksdb/store_fixture.h"

namespace weir {
namespace {

class StoreWriterTest : public StoreFixture {
 protected:
  void Put(uint64_t segment, const std::string& key, const std::string& value,
           EntryKind kind = EntryKind::kValue,
           RecordLevel level = RecordLevel::kCheckpointAndStore) {
    const SnapshotRecordHeader header{0,
                                      1,
                                      kind,
                                      static_cast<uint8_t>(segment),
                                      level,
                                      static_cast<uint32_t>(key.size()),
                                      static_cast<uint32_t>(value.size())};
    chunk_.bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
    chunk_.bytes += key + value;
  }
  void Delete(uint64_t segment, const std::string& key) {
    Put(segment, key, "", EntryKind::kTombstone);
  }
  void DeletePrefix(uint64_t segment, const std::string& key) {
    Put(segment, key, "", EntryKind::kPrefixTombstone);
  }
  void Send(std::optional<SegmentEnd> end = std::nullopt) {
    chunk_.sequence = ++sequence_;
    chunk_.end = end;
    const absl::Status s = writer_.Add(chunk_);
    ASSERT_TRUE(s.ok()) << s;
    chunk_ = SnapshotChunk();
  }
  void End(uint64_t segment, bool aborted = false) {
    Send(SegmentEnd{segment, CheckpointId(100 + segment), SnapshotKind::kDelta, aborted});
  }
  /// What is in the store: "key=value key=value".
  static std::string Content(RocksDbStore& store) {
    std::string all;
    const auto scan = store.Scan(0, 1, "", "");
    for (; scan->Valid(); scan->Next()) {
      all += (all.empty() ? "" : " ") + std::string(scan->key()) + "=" + std::string(scan->value());
    }
    return all;
  }
  std::string Flushed() {
    EXPECT_TRUE(writer_.Flush().ok());
    return Content(*store_);
  }
  std::string EmptyDirectory() {
    const std::string name = NewDirectory();
    std::filesystem::create_directory(name);
    return name;
  }

  std::unique_ptr<RocksDbStore> store_ = NewStore();
  StoreWriter writer_{store_.get()};
  SnapshotChunk chunk_;
  uint64_t sequence_ = 0;
};

TEST_F(StoreWriterTest, TheNewestEntryOfAKeyCounts) {
  Put(1, "a", "1");
  Put(1, "b", "1");
  Put(1, "a", "2");
  Send();
  EXPECT_EQ(writer_.settled_through(), 0u);
  Delete(1, "b");
  Put(1, "c", "3");
  Send();
  EXPECT_EQ(Flushed(), "a=2 c=3");
  EXPECT_EQ(writer_.settled_through(), 2u);
}

TEST_F(StoreWriterTest, APrefixTombstoneTakesWhatWasWrittenBefore) {
  Put(1, "m/1", "old");
  Send();
  EXPECT_EQ(Flushed(), "m/1=old");
  Put(1, "m/2", "before");
  DeletePrefix(1, "m/");
  Put(1, "m/3", "after");
  Put(1, "n", "other");
  Delete(1, "m/");
  Put(1, "m/1x", "after");
  Send();
  EXPECT_EQ(Flushed(), "m/1x=after m/3=after n=other");
}

TEST_F(StoreWriterTest, TheOpenSegmentWaitsForTheEndOfTheRunningOne) {
  Put(1, "a", "1");
  Send();
  // The barrier: segment 1 is being written, 2 is open.
  Put(2, "b", "2");
  Send();
  Put(1, "c", "1");
  Send();
  EXPECT_EQ(Flushed(), "a=1 c=1");
  EXPECT_EQ(writer_.settled_through(), 1u) << "the second chunk cannot be read in full";
  End(1);
  EXPECT_EQ(Flushed(), "a=1 b=2 c=1");
  EXPECT_EQ(writer_.settled_through(), 4u);
}

TEST_F(StoreWriterTest, ADroppedPrefixIsNotBroughtBackByTheRunningSegment) {
  Put(1, "m/1", "1");
  Send();
  ASSERT_TRUE(writer_.Flush().ok());
  DeletePrefix(2, "m/");  // dropped after the barrier,
  Put(1, "m/2", "1");     // while the snapshot still had to write this
  Send();
  EXPECT_EQ(Flushed(), "m/1=1 m/2=1");
  End(1);
  EXPECT_EQ(Flushed(), "");
}

TEST_F(StoreWriterTest, WhatStaysInMemoryIsNotGivenToTheStore) {
  Put(1, "a", "1");
  Put(1, "b", "1", EntryKind::kValue, RecordLevel::kCheckpoint);
  Put(2, "c", "1", EntryKind::kValue, RecordLevel::kCheckpoint);
  Send();
  EXPECT_EQ(Flushed(), "a=1");
  EXPECT_EQ(writer_.settled_through(), 1u) << "nothing has to wait for the end of the segment";
  EXPECT_EQ(writer_.waiting_bytes(), 0u);
}

// A chunk is mostly of windows and timers, which the store is given none of.
TEST_F(StoreWriterTest, WhatWaitsTakesNoMoreMemoryThanTheRecordsOfTheStore) {
  const auto held = [] {
    const struct mallinfo2 m = mallinfo2();
    return static_cast<int64_t>(m.uordblks + m.hblkhd);
  };
  const int64_t before = held();
  std::string expected;
  for (int i = 100; i < 300; ++i) {
    Put(1, std::to_string(i), "1");
    Put(1, "timer", std::string(SnapshotStream::kChunkBytes, 't'), EntryKind::kValue,
        RecordLevel::kCheckpoint);
    Put(2, "z" + std::to_string(i), "1");
    Send();
    expected += (expected.empty() ? "" : " ") + std::to_string(i) + "=1";
  }
  EXPECT_LT(held() - before, int64_t{8} << 20);
  EXPECT_EQ(Flushed(), expected);
}

TEST_F(StoreWriterTest, SegmentNumbersGoOnPastTheByteThatCarriesThem) {
  for (uint64_t segment = 1; segment < 600; ++segment) {
    Put(segment, "a", std::to_string(segment));
    Put(segment + 1, "b", std::to_string(segment + 1));
    End(segment);
    ASSERT_EQ(Flushed(), "a=" + std::to_string(segment) + " b=" + std::to_string(segment + 1));
  }
}

TEST_F(StoreWriterTest, AfterAFailureNothingSettles) {
  Put(1, "a", "1");
  Send();
  SetFailpoint("rocksdb.apply", "error");
  EXPECT_FALSE(writer_.Flush().ok());
  SetFailpoint("rocksdb.apply", "");
  EXPECT_FALSE(writer_.Flush().ok()) << "the store may hold a part of it";
  EXPECT_EQ(writer_.settled_through(), 0u);
}

// The whole way: typed tables as a cache above RocksDB, checkpoints, restore at another
// parallelism. The answer is a plain map's.
class CachedStateTest : public StoreFixture {
 protected:
  static constexpr uint64_t kKeys = 20'000;

  /// A subtask whose state lies in RocksDB, with everything that runs beside it.
  struct Subtask final : SnapshotSink {
    Subtask(std::unique_ptr<RocksDbStore> s, KeyGroupRange range, const RestoredState* restored)
        : store(std::move(s)),
          writer(store.get(), {.batch_bytes = 64 << 10}),
          builder(::testing::TempDir()),
          state({.operator_uid = "count",
                 .max_parallelism = kMaxParallelism,
                 .key_groups = range,
                 .sink = this,
                 .store = store.get(),
                 .cache_bytes = 128 << 10,
                 .restored = restored}),
          counts(ValueTable<uint64_t, uint64_t>::Open(state, "counts")) {
      state.FinishOpen();
    }
    bool TryPush(SnapshotChunk&& chunk) override {
      EXPECT_TRUE(writer.Add(chunk).ok());
      EXPECT_TRUE(builder.Add(std::move(chunk)).ok());
      return true;
    }
    uint64_t SettledThrough() const override { return writer.settled_through(); }
    void SettleSoon(uint64_t) override { EXPECT_TRUE(writer.Flush().ok()); }

    void Count(uint64_t key) {
      ++counts.FindOrInsert(key, KeyHash(key));
      if (++records % 64 != 0) return;
      EXPECT_TRUE(writer.Flush().ok());
    }
    /// Takes a checkpoint; its delta joins the chain.
    void Checkpoint(uint64_t id) {
      state.BeginSnapshot(CheckpointId(id));
      while (!state.SnapshotSlice(1024)) Count(id * 7919 % kKeys % 16);  // key goes on changing
      SegmentInfo info{.max_parallelism = kMaxParallelism,
                       .key_groups = state.key_groups(),
                       .operator_uid = "count",
                       .states = state.Schemas()};
      std::string bytes;
      ASSERT_TRUE(builder.ended().has_value());
      const auto written = builder.Write(info, [&](std::string_view part) {
        bytes.append(part);
        return absl::OkStatus();
      });
      ASSERT_TRUE(written.ok()) << written.status();
      builder.Confirm();
      chain.push_back(*SegmentReader::Open(MemorySegment("delta", std::move(bytes))));
    }

    std::unique_ptr<RocksDbStore> store;
    StoreWriter writer;
    SegmentBuilder builder;
    KeyedState<uint64_t> state;
    ValueTable<uint64_t, uint64_t> counts;
    uint64_t records = 0;
    std::vector<std::shared_ptr<const SegmentReader>> chain;
  };

  std::unique_ptr<RocksDbStore> EmptyStore() {
    return *RocksDbStore::Open(&resources_, {.directory = NewDirectory(),
                                             .tuning = {.write_buffer_bytes = 1 << 20},
                                             .ingest_from_bytes = 32 << 10});
  }
};

TEST_F(CachedStateTest, CountsSurviveEvictionCheckpointsAndRescaling) {
  std::mt19937_64 random(11);
  std::map<uint64_t, uint64_t> expected;
  Subtask one(EmptyStore(), {0, kMaxParallelism}, nullptr);
  std::map<uint64_t, uint64_t> at_checkpoint;
  for (uint64_t id = 1; id <= 6; ++id) {
    for (int i = 0; i < 15'000; ++i) {
      const uint64_t key = random() % kKeys;
      one.Count(key);
      ++expected[key];
    }
    at_checkpoint = expected;
    const uint64_t before = one.records;
    one.Checkpoint(id);
    const uint64_t during = one.records - before;
    if (during > 0) expected[id * 7919 % kKeys % 16] += during;
  }
  EXPECT_GT(one.state.Metrics().store_reads, 0u) << "the state was larger than the cache";
  for (const auto& [key, count] : expected) {
    const uint64_t* found = one.counts.Find(key, KeyHash(key));
    ASSERT_NE(found, nullptr) << key;
    ASSERT_EQ(*found, count) << key;
  }

  // The last checkpoint: the deltas of all, at parallelism 3.
  ASSERT_EQ(one.chain.size(), 6u);
  SegmentSet deltas;
  for (const auto& segment : one.chain) deltas.Add(segment, {0, kMaxParallelism});
  uint64_t keys = 0;
  for (uint32_t index = 0; index < 3; ++index) {
    const KeyGroupRange range{FirstKeyGroup(index, kMaxParallelism, 3),
                              FirstKeyGroup(index + 1, kMaxParallelism, 3)};
    Subtask part(EmptyStore(), range, &deltas);
    for (const auto& [key, count] : at_checkpoint) {
      const uint64_t hash = KeyHash(key);
      if (!range.Contains(KeyGroupOf(hash, kMaxParallelism))) continue;
      const uint64_t* found = part.counts.Find(key, hash);
      ASSERT_NE(found, nullptr) << key;
      ASSERT_EQ(*found, count) << key;
      ++keys;
    }
  }
  EXPECT_EQ(keys, at_checkpoint.size());
}

TEST_F(CachedStateTest, ASmallerCacheGivesItsMemoryBackAndForgetsNothing) {
  Subtask one(EmptyStore(), {0, kMaxParallelism}, nullptr);
  for (uint64_t key = 0; key < kKeys; ++key) one.Count(key);
  const uint64_t before = one.state.Metrics().memory_bytes;
  ASSERT_GT(before, 64u << 10);
  one.state.SetCacheBytes(before / 4);
  const auto small = [&] { return one.state.Metrics().memory_bytes <= before / 4 + before / 16; };
  for (int turn = 0; turn < 1000 && !small(); ++turn) one.state.Blocked();
  EXPECT_TRUE(small()) << one.state.Metrics().memory_bytes << " of " << before;
  for (uint64_t key = 0; key < kKeys; ++key) {
    const uint64_t* found = one.counts.Find(key, KeyHash(key));
    ASSERT_NE(found, nullptr) << key;
    ASSERT_EQ(*found, 1u) << key;
  }
}

}  // namespace
}  // namespace weir
