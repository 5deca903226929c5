#include "state/value_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "state/keyed_state.h"
#include "state/store_writer.h"
#include "tests/state/memory_store.h"
#include "tests/state/snapshot_collector.h"

/// Large, and counts how often its size is asked for.
struct Heavy {
  static inline uint64_t bytes = 0;
  static inline uint64_t looks = 0;
  uint64_t unused = 0;
  Heavy() = default;
  Heavy(const Heavy&) = default;
  ~Heavy() {}  // not trivial: it may have memory of its own
};

template <>
struct weir::Serde<Heavy> : weir::SerdeBase<Heavy> {
  static size_t Size(const Heavy&) {
    ++Heavy::looks;
    return Heavy::bytes;
  }
  static char* Write(const Heavy&, char* out) { return out + Heavy::bytes; }
  static bool Read(weir::ByteReader&, Heavy&) { return true; }
  static void Describe(weir::SchemaWriter& out) { out.Text("heavy"); }
};

namespace weir {
namespace {

using test::RecordsOf;
using test::SnapshotCollector;

KeyedStateOptions OptionsFor(SnapshotSink* sink) {
  return {.operator_uid = "op", .max_parallelism = 8, .key_groups = {0, 8}, .sink = sink};
}

template <class K>
uint64_t H(const K& key) {
  return KeyHash(key);
}

/// Key -> value as bytes says; "-" for a tombstone. Of the segment that ended last.
std::map<uint64_t, std::string> LastSegment(const SnapshotCollector& sink) {
  std::map<uint64_t, std::string> result;
  const uint64_t segment = sink.chunks.back().end->segment;
  for (const SnapshotChunk& chunk : sink.chunks) {
    for (const auto& record : RecordsOf(chunk)) {
      if (record.header.segment != (segment & 0xff)) continue;
      uint64_t key;
      std::memcpy(&key, record.key.data(), 8);
      EXPECT_EQ(record.header.key_group, KeyGroupOf(H(key), 8));
      uint64_t value = 0;
      if (record.header.kind == EntryKind::kValue) std::memcpy(&value, record.value.data(), 8);
      const bool inserted =
          result.emplace(key, record.header.kind == EntryKind::kValue ? std::to_string(value) : "-")
              .second;
      EXPECT_TRUE(inserted) << "key " << key << " was written twice";
    }
  }
  return result;
}

class ValueTableTest : public ::testing::Test {
 protected:
  void Put(uint64_t key, uint64_t value) { table_.FindOrInsert(key, H(key)) = value; }
  const uint64_t* Get(uint64_t key) { return table_.Find(key, H(key)); }
  void SnapshotAll(uint64_t id, SnapshotKind kind = SnapshotKind::kDelta) {
    backend_.BeginSnapshot(CheckpointId(id), kind);
    while (!backend_.SnapshotSlice()) {
    }
  }

  SnapshotCollector sink_;
  KeyedStateBackend& backend() { return backend_; }
  struct Backend : KeyedStateBackend {
    using KeyedStateBackend::KeyedStateBackend;
    ErasedState* OpenErased(const std::string&, StateKind, const ValueType*, uint64_t,
                            const std::string&, bool) override {
      return nullptr;
    }
  };
  Backend backend_{OptionsFor(&sink_)};
  ValueTable<uint64_t, uint64_t> table_ = ValueTable<uint64_t, uint64_t>::Open(backend_, "v");
};

TEST_F(ValueTableTest, HoldsWhatWasPutUntilErased) {
  for (uint64_t k = 0; k < 5000; ++k) Put(k, k * 3);
  for (uint64_t k = 0; k < 5000; k += 2) EXPECT_TRUE(table_.Erase(k, H(k)));
  for (uint64_t k = 0; k < 5000; ++k) {
    if (k % 2 == 0) {
      EXPECT_EQ(Get(k), nullptr);
    } else {
      ASSERT_NE(Get(k), nullptr);
      EXPECT_EQ(*Get(k), k * 3);
    }
  }
  EXPECT_FALSE(table_.Erase(0, H(uint64_t{0})));
  EXPECT_EQ(backend_.Metrics().entries, 2500u);
}

TEST_F(ValueTableTest, ADeltaHoldsWhatChangedSinceTheBarrierBefore) {
  Put(1, 10);
  Put(2, 20);
  SnapshotAll(1);
  EXPECT_EQ(LastSegment(sink_), (std::map<uint64_t, std::string>{{1, "10"}, {2, "20"}}));
  Put(2, 21);
  Put(3, 30);
  table_.Erase(1, H(uint64_t{1}));
  SnapshotAll(2);
  EXPECT_EQ(LastSegment(sink_), (std::map<uint64_t, std::string>{{1, "-"}, {2, "21"}, {3, "30"}}));
  SnapshotAll(3);
  EXPECT_TRUE(LastSegment(sink_).empty());
}

TEST_F(ValueTableTest, TheCutIsTheBarrierAlthoughWritesGoOn) {
  for (uint64_t k = 0; k < 1000; ++k) Put(k, k);
  backend_.BeginSnapshot(CheckpointId(1));
  for (uint64_t k = 0; k < 4000; ++k) Put(k, k + 7);  // changes all, and grows the tables
  table_.Erase(5, H(uint64_t{5}));
  while (!backend_.SnapshotSlice(64)) {
  }
  auto first = LastSegment(sink_);
  EXPECT_EQ(first.size(), 1000u);
  for (auto& [k, v] : first) EXPECT_EQ(v, std::to_string(k));
  SnapshotAll(2);
  auto second = LastSegment(sink_);
  EXPECT_EQ(second.size(), 4000u);
  EXPECT_EQ(second[5], "-");
  EXPECT_EQ(second[6], "13");
}

// Tables of many groups note which of them have something to write.
TEST_F(ValueTableTest, OfALargeTableTouchedAndUntouchedEntriesAreWrittenOnce) {
  constexpr uint64_t kKeys = 20'000;
  uint64_t checkpoint = 0;
  std::map<uint64_t, std::string> changed;
  for (uint64_t k = 0; k < kKeys; ++k) {
    Put(k, k);
    changed[k] = std::to_string(k);
  }
  for (const uint64_t every : {1, 3, 7, 1, 50}) {
    backend_.BeginSnapshot(CheckpointId(++checkpoint));
    std::map<uint64_t, std::string> touched;
    const auto touch = [&](uint64_t from, uint64_t to) {
      std::vector<uint64_t> keys;
      std::vector<uint64_t> hashes;
      for (uint64_t k = from; k < to; k += every) {
        keys.push_back(k);
        hashes.push_back(H(k));
      }
      table_.UpdateBatch(
          hashes.data(), keys.size(), [&](size_t i) -> const uint64_t& { return keys[i]; },
          [&](size_t i, uint64_t& value) { touched[keys[i]] = std::to_string(++value); });
    };
    touch(0, kKeys / 2);
    for (int i = 0; i < 20; ++i) backend_.SnapshotSlice(64);
    touch(kKeys / 2, kKeys);
    while (!backend_.SnapshotSlice(64)) {
    }
    EXPECT_EQ(LastSegment(sink_), changed) << "every " << every;
    sink_.chunks.clear();
    changed = std::move(touched);
  }
}

TEST_F(ValueTableTest, AnEntryThatCameAndWentBetweenBarriersLeavesNoTrace) {
  Put(1, 1);
  table_.Erase(1, H(uint64_t{1}));
  SnapshotAll(1);
  EXPECT_TRUE(LastSegment(sink_).empty());
}

TEST_F(ValueTableTest, AFullDumpHoldsEverything) {
  for (uint64_t k = 0; k < 1000; ++k) Put(k, k);
  SnapshotAll(1);
  Put(5, 55);
  table_.Erase(6, H(uint64_t{6}));
  backend_.BeginSnapshot(CheckpointId(2), SnapshotKind::kFull);
  Put(7, 77);                       // touched: written with its old value
  table_.Erase(8, H(uint64_t{8}));  // the same
  Put(5000, 1);                     // came after the barrier
  while (!backend_.SnapshotSlice(64)) {
  }
  auto full = LastSegment(sink_);
  EXPECT_EQ(full.size(), 1000u);
  EXPECT_EQ(full[5], "55");
  EXPECT_EQ(full[6], "-");
  EXPECT_EQ(full[7], "7");
  EXPECT_EQ(full[8], "8");
  EXPECT_EQ(full.count(5000), 0u);
}

TEST_F(ValueTableTest, WhatAnAbortedSnapshotDidNotWriteBelongsToTheNext) {
  for (uint64_t k = 0; k < 1000; ++k) Put(k, k);
  backend_.BeginSnapshot(CheckpointId(1));
  EXPECT_FALSE(backend_.SnapshotSlice(2000));
  Put(1, 100);
  backend_.AbortSnapshot(CheckpointId(1));
  EXPECT_FALSE(backend_.snapshot_running());
  ASSERT_TRUE(sink_.chunks.back().end->aborted);
  size_t written = LastSegment(sink_).size();
  SnapshotAll(2);
  auto rest = LastSegment(sink_);
  EXPECT_GE(rest.size() + written, 1000u);
  EXPECT_LT(rest.size(), 1000u);
  EXPECT_EQ(rest[1], "100");
}

TEST_F(ValueTableTest, ASinkWithoutRoomStopsTheSliceAndInTheEndTheSubtask) {
  sink_.room = false;
  for (uint64_t k = 0; k < 400'000; ++k) Put(k, k);
  backend_.BeginSnapshot(CheckpointId(1));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(backend_.SnapshotSlice());
  EXPECT_FALSE(backend_.Blocked());
  EXPECT_LT(backend_.Metrics().waiting_bytes, 2 * SnapshotStream::kChunkBytes);
  for (uint64_t k = 0; k < 400'000; ++k) Put(k, k);  // forces the frozen entries out
  EXPECT_TRUE(backend_.Blocked());
  sink_.room = true;
  EXPECT_FALSE(backend_.Blocked());
  EXPECT_TRUE(backend_.SnapshotSlice());
}

TEST_F(ValueTableTest, AKeyOfAnotherSubtaskIsRefused) {
  SnapshotCollector sink;
  Backend backend(
      {.operator_uid = "op", .max_parallelism = 8, .key_groups = {0, 1}, .sink = &sink});
  auto table = ValueTable<uint64_t, uint64_t>::Open(backend, "v");
  uint64_t foreign = 0;
  while (KeyGroupOf(H(foreign), 8) == 0) ++foreign;
  EXPECT_THROW(table.FindOrInsert(foreign, H(foreign)), Error);
}

TEST_F(ValueTableTest, BatchesAndStringKeysBehaveAsSingleCalls) {
  auto table = ValueTable<std::string, int64_t>::Open(backend_, "s");
  std::vector<std::string> keys;
  std::vector<uint64_t> hashes;
  std::map<std::string, int64_t> model;
  for (int i = 0; i < 60'000; ++i) {
    keys.push_back("customer-" + std::to_string(i * 7919 % 30'000));
    hashes.push_back(H(keys.back()));
    model[keys.back()] += i;
  }
  table.UpdateBatch(
      hashes.data(), keys.size(), [&](size_t i) -> const std::string& { return keys[i]; },
      [](size_t i, int64_t& sum) { sum += static_cast<int64_t>(i); });
  std::map<std::string, int64_t> seen;
  table.ForEach([&](const std::string& k, int64_t v) { seen[k] = v; });
  EXPECT_EQ(seen, model);
}

/// In front of a store whose writer settles what it is asked to, but later.
class CacheBoundTest : public ::testing::Test {
 protected:
  static constexpr size_t kCacheBytes = 64 << 10;
  static constexpr uint64_t kKeys = 20'000;

  explicit CacheBoundTest(size_t cache_bytes = kCacheBytes)
      : state_({.operator_uid = "op",
                .max_parallelism = 8,
                .key_groups = {0, 8},
                .sink = &sink_,
                .store = &store_,
                .cache_bytes = cache_bytes}) {}

  void Count(uint64_t key) { ++table_.FindOrInsert(key, H(key)); }
  void Settle() {
    for (const SnapshotChunk& chunk : sink_.chunks) ASSERT_TRUE(writer_.Add(chunk).ok());
    sink_.chunks.clear();
    ASSERT_TRUE(writer_.Flush().ok());
    sink_.settled = writer_.settled_through();
  }

  SnapshotCollector sink_;
  test::MemoryStore store_;
  StoreWriter writer_{&store_};
  KeyedState<uint64_t> state_;
  ValueTable<uint64_t, uint64_t> table_ = ValueTable<uint64_t, uint64_t>::Open(state_, "n");
};

class LargeCacheBoundTest : public CacheBoundTest {
 protected:
  static constexpr size_t kCacheBytes = 1 << 20;
  LargeCacheBoundTest() : CacheBoundTest(kCacheBytes) {}
};

TEST_F(CacheBoundTest, RoomIsMadeAheadOfNeedAndTheWriterIsAskedInTime) {
  uint64_t asked = 0, blocked = 0;
  size_t most = 0;
  for (uint64_t i = 0; i < 5 * kKeys; ++i) {
    Count(i * 7'919 % kKeys);
    if (i % 64 != 0) continue;
    blocked += state_.Blocked() ? 1 : 0;
    most = std::max(most, state_.Metrics().memory_bytes);
    // As late as the next batch.
    if (sink_.wanted > sink_.settled) {
      ++asked;
      Settle();
    }
  }
  EXPECT_EQ(blocked, 0u);
  EXPECT_LE(most, kCacheBytes + kCacheBytes / 8);
  EXPECT_GT(asked, 10u);
  EXPECT_LT(asked, 300u) << "in portions that are worth a file";
  for (uint64_t key = 0; key < kKeys; ++key) ASSERT_EQ(*table_.Find(key, H(key)), 5u) << key;
}

// The writer takes the time of a quarter of the cached rows for what it is asked to.
TEST_F(LargeCacheBoundTest, TablesStayFullAndPortionsLargeWhileTheWriterIsSlow) {
  constexpr uint64_t kRows = 400'000, kRowsToSettle = 8'000;
  constexpr size_t kSlotBytes = 18;  // key, value, tag, flags
  std::mt19937_64 random(5);
  uint64_t asked = 0, settled_at = UINT64_MAX;
  double load = 0;
  int samples = 0;
  for (uint64_t i = 0; i < kRows; ++i) {
    Count(random() % (10 * kKeys));
    if (i % 64 == 0 && state_.Blocked()) settled_at = i;  // rows wait for it
    if (sink_.wanted > sink_.settled && settled_at == UINT64_MAX) {
      ++asked;
      settled_at = i + kRowsToSettle;
    }
    if (i == settled_at) {
      Settle();
      settled_at = UINT64_MAX;
    }
    if (i < kRows / 4 || i % 1024 != 0) continue;
    const KeyedStateMetrics metrics = state_.Metrics();
    // A quarter above, and the table that grew before the slot was stopped.
    ASSERT_LE(metrics.memory_bytes, kCacheBytes + kCacheBytes / 4 + 8192 * kSlotBytes);
    load += static_cast<double>(metrics.entries * kSlotBytes) /
            static_cast<double>(metrics.memory_bytes);
    ++samples;
  }
  EXPECT_GT(load / samples, 0.62) << "one table that outgrew the bound must not empty the others";
  EXPECT_LT(asked, 60u);
}

TEST_F(CacheBoundTest, WhatTheWriterDoesNotSettleIsNotDropped) {
  for (uint64_t i = 0; i < kKeys / 2; ++i) Count(i);
  EXPECT_EQ(store_.entries().size(), 0u);
  EXPECT_TRUE(state_.Blocked()) << "above its bound";
  EXPECT_GT(sink_.wanted, 0u);
  for (uint64_t i = 0; i < kKeys / 2; ++i) ASSERT_EQ(*table_.Find(i, H(i)), 1u);
  // When it has, room is made.
  for (int i = 0; i < 20; ++i) {
    state_.Blocked();
    Settle();
  }
  EXPECT_FALSE(state_.Blocked());
  EXPECT_LE(state_.Metrics().memory_bytes, kCacheBytes + kCacheBytes / 4);
}

TEST(HeapOfValues, LargeOnesAreLookedAtAsMuchLessOften) {
  constexpr uint64_t kKeys = 100'000;
  const auto estimate = [](uint64_t bytes) {
    Heavy::bytes = bytes;
    Heavy::looks = 0;
    KeyedState<uint64_t> state(OptionsFor(nullptr));
    auto table = ValueTable<uint64_t, Heavy>::Open(state, "n");
    for (uint64_t key = 0; key < kKeys; ++key) table.FindOrInsert(key, H(key));
    return static_cast<double>(state.Metrics().memory_bytes) / kKeys;
  };
  EXPECT_NEAR(estimate(100), 130, 40);
  EXPECT_GT(Heavy::looks, kKeys / 40);
  for (const uint64_t bytes : {uint64_t{100'000}, uint64_t{10'000'000}}) {
    EXPECT_NEAR(estimate(bytes), static_cast<double>(bytes), 0.01 * static_cast<double>(bytes));
    EXPECT_GE(Heavy::looks, 8u) << "each key group at least once";
    // 128 bytes for each insertion, and the first look of each key group.
    EXPECT_LT(Heavy::looks * bytes, 130 * kKeys + 9 * bytes);
  }
}

}  // namespace
}  // namespace weir
