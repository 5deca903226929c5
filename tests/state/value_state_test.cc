#include "state/value_state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "state/keyed_state.h"
#include "state/store_writer.h"
#include "tests/state/memory_store.h"
#include "tests/state/snapshot_collector.h"
#include "tests/state/state_harness.h"

namespace weir {
namespace {

class ValueStateTest : public ::testing::Test {
 protected:
  void Key(const std::string& key) {
    key_ = key;
    state_.SetCurrentKey(key_, KeyHash(key_));
  }

  test::SnapshotCollector sink_;
  KeyedState<std::string> state_{KeyedStateOptions{
      .operator_uid = "op", .max_parallelism = 8, .key_groups = {0, 8}, .sink = &sink_}};
  std::string key_;
};

TEST_F(ValueStateTest, BelongsToTheCurrentKey) {
  auto name = ValueState<std::string>::Open(state_, "name");
  auto count = ValueState<int>::Open(state_, "count");
  state_.FinishOpen();
  Key("a");
  name.Update("Ada");
  ++count.Mutable();
  Key("b");
  EXPECT_EQ(name.Get(), nullptr);
  EXPECT_EQ(count.GetOr(7), 7);
  Key("a");
  EXPECT_EQ(*name.Get(), "Ada");
  EXPECT_EQ(count.GetOr(7), 1);
  name.Clear();
  EXPECT_FALSE(name.Exists());
  EXPECT_TRUE(count.Exists());
}

TEST_F(ValueStateTest, WithANamespaceEachWindowHasItsOwn) {
  auto count = ValueState<int>::Open(state_, "count", StateScope::kKeyAndNamespace);
  Key("a");
  state_.SetCurrentNamespace(1000);
  count.Update(1);
  state_.SetCurrentNamespace(-2000);
  EXPECT_FALSE(count.Exists());
  count.Update(2);
  state_.SetCurrentNamespace(1000);
  EXPECT_EQ(*count.Get(), 1);
}

TEST_F(ValueStateTest, ReducesAndAggregates) {
  auto max = [](int a, int b) { return a > b ? a : b; };
  auto highest = ReducingState<int, decltype(max)>::Open(state_, "highest", max);
  struct Mean {
    struct Accumulator {
      int64_t sum = 0;
      int64_t n = 0;
    };
    void Add(int v, Accumulator& a) const { a.sum += v, ++a.n; }
    double GetResult(const Accumulator& a) const {
      return a.n == 0 ? 0 : static_cast<double>(a.sum) / static_cast<double>(a.n);
    }
  };
  auto mean = AggregatingState<Mean>::Open(state_, "mean", Mean());
  Key("a");
  EXPECT_EQ(highest.Get(), nullptr);
  for (int v : {3, 9, 6}) {
    highest.Add(v);
    mean.Add(v);
  }
  EXPECT_EQ(*highest.Get(), 9);
  EXPECT_EQ(mean.Get(), 6.0);
}

TEST_F(ValueStateTest, TwoStatesOfOneNameAndLateOpeningAreRefused) {
  ValueState<int>::Open(state_, "x");
  EXPECT_THROW(ValueState<int>::Open(state_, "x"), Error);
  state_.FinishOpen();
  EXPECT_THROW(ValueState<int>::Open(state_, "y"), Error);
}

// A restore may take minutes: whoever wants the subtask to go does not wait for its end.
TEST(Restore, IsEndedByWhatItsCallerThrows) {
  test::Subtask<int> former;
  auto number = ValueState<int>::Open(former.state, "number");
  former.state.FinishOpen();
  for (int key = 0; key < 5'000; ++key) {
    former.Key(key);
    number.Update(key);
  }
  former.Snapshot(1);
  const SegmentSet restored = test::Restorable({&former.chain});
  struct Cancelled {};
  test::MemoryStore store;
  for (StateStore* below : {static_cast<StateStore*>(nullptr), static_cast<StateStore*>(&store)}) {
    int looks = 0;
    KeyedState<int> state(KeyedStateOptions{.operator_uid = "op",
                                            .max_parallelism = test::Subtask<int>::kMax,
                                            .key_groups = {0, test::Subtask<int>::kMax},
                                            .store = below,
                                            .restored = &restored,
                                            .while_restoring = [&] {
                                              if (++looks == 3) throw Cancelled();
                                            }});
    EXPECT_THROW(ValueState<int>::Open(state, "number"), Cancelled);
    EXPECT_EQ(looks, 3);
  }
}

TEST(ValueStateOnAStore, WhatABatchNeedsIsReadAtOnce) {
  constexpr uint64_t kKeys = 500;
  test::MemoryStore store;
  const auto options = [&](SnapshotSink* sink) {
    return KeyedStateOptions{.operator_uid = "op",
                             .max_parallelism = 8,
                             .key_groups = {0, 8},
                             .sink = sink,
                             .store = &store,
                             .cache_bytes = 1 << 20};
  };
  const auto at = [](KeyedState<uint64_t>& state, const uint64_t& key) {
    state.SetCurrentKey(key, KeyHash(key));
  };
  std::vector<uint64_t> keys;
  std::vector<uint64_t> hashes;
  {
    test::SnapshotCollector sink;
    KeyedState<uint64_t> state(options(&sink));
    auto twice = ValueState<uint64_t>::Open(state, "twice");
    auto thrice = ValueState<uint64_t>::Open(state, "thrice");
    state.FinishOpen();
    for (uint64_t key = 0; key < kKeys; ++key) {
      keys.push_back(key);
      hashes.push_back(KeyHash(key));
      at(state, keys.back());
      twice.Update(2 * key);
      if (key % 2 == 0) thrice.Update(3 * key);
    }
    state.BeginSnapshot(CheckpointId(1), SnapshotKind::kDelta);
    while (!state.SnapshotSlice()) {
    }
    StoreWriter writer(&store);
    for (const SnapshotChunk& chunk : sink.chunks) ASSERT_TRUE(writer.Add(chunk).ok());
    ASSERT_TRUE(writer.Flush().ok());
  }
  store.gets = 0;
  // Nothing of it is cached by one that opens the same store.
  test::SnapshotCollector sink;
  KeyedState<uint64_t> state(options(&sink));
  auto twice = ValueState<uint64_t>::Open(state, "twice");
  auto thrice = ValueState<uint64_t>::Open(state, "thrice");
  state.FinishOpen();
  state.ReadValuesOf(hashes.data(), kKeys, [&](size_t i) -> const uint64_t& { return keys[i]; });
  EXPECT_EQ(store.multi_gets, 2u);
  for (const uint64_t& key : keys) {
    at(state, key);
    EXPECT_EQ(twice.GetOr(0), 2 * key);
    EXPECT_EQ(thrice.Exists(), key % 2 == 0);
  }
  EXPECT_EQ(store.gets, 0u);
}

TEST(ValueStateOnAStore, AStateThatIsCachedIsNotLookedThroughBecauseAnotherIsNot) {
  constexpr uint64_t kBatch = 100;
  test::MemoryStore store;
  test::SnapshotCollector sink;
  KeyedState<uint64_t> state(KeyedStateOptions{.operator_uid = "op",
                                               .max_parallelism = 8,
                                               .key_groups = {0, 8},
                                               .sink = &sink,
                                               .store = &store});
  auto warm = ValueState<uint64_t>::Open(state, "warm");
  (void)ValueState<uint64_t>::Open(state, "cold");
  state.FinishOpen();
  for (uint64_t key = 0; key < 5 * kBatch; ++key) {
    state.SetCurrentKey(key, KeyHash(key));
    EXPECT_FALSE(warm.Exists());  // cached as absent
  }
  const auto multi_gets_of = [&](uint64_t batch) {
    std::vector<uint64_t> keys;
    std::vector<uint64_t> hashes;
    for (uint64_t key = batch * kBatch; key < (batch + 1) * kBatch; ++key) {
      keys.push_back(key);
      hashes.push_back(KeyHash(key));
    }
    const uint64_t before = store.multi_gets;
    state.ReadValuesOf(hashes.data(), kBatch, [&](size_t i) -> const uint64_t& { return keys[i]; });
    return store.multi_gets - before;
  };
  for (uint64_t batch = 0; batch < 5; ++batch) EXPECT_EQ(multi_gets_of(batch), 1u) << "of cold";
  EXPECT_EQ(multi_gets_of(5), 1u) << "of cold: warm has hit ever since, and is not looked through";
}

}  // namespace
}  // namespace weir
