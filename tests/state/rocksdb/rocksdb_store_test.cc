#include "state/rocksdb/rocksdb_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/failpoint.h"
#include "tests/state/rocksdb/store_fixture.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Small changes go through the memtable, large ones are ingested; what is read must not differ.
class RocksDbStoreTest : public StoreFixture, public testing::WithParamInterface<uint64_t> {
 protected:
  std::unique_ptr<RocksDbStore> store_ = NewStore(GetParam());
  StoreModel model_;

  void Both(const std::vector<OwnedEntry>& entries) {
    Apply(*store_, entries);
    model_.Apply(entries);
  }
  std::optional<std::string> Get(uint16_t state, uint16_t group, const std::string& key) {
    std::string value;
    const auto found = store_->Get({state, group, key}, &value);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!*found) return std::nullopt;
    return value;
  }
};

INSTANTIATE_TEST_SUITE_P(, RocksDbStoreTest, testing::Values(1, 1 << 30), [](const auto& info) {
  return info.param == 1 ? std::string("Ingesting") : "ByMemtable";
});

TEST_P(RocksDbStoreTest, WhatWasAppliedIsRead) {
  Both({{0, 3, "a", "1"}, {1, 3, "a", "2"}, {0, 4, "a", "3"}, {0, 4, "", "empty key"}});
  EXPECT_EQ(Get(0, 3, "a"), "1");
  EXPECT_EQ(Get(1, 3, "a"), "2");
  EXPECT_EQ(Get(0, 4, "a"), "3");
  EXPECT_EQ(Get(0, 5, "a"), std::nullopt);
  Both({{0, 3, "a", "new"}, {0, 4, "a", "", EntryKind::kTombstone}});
  EXPECT_EQ(Get(0, 3, "a"), "new");
  EXPECT_EQ(Get(0, 4, "a"), std::nullopt);
  ExpectHolds(*store_, model_);
}

TEST_P(RocksDbStoreTest, APrefixTombstoneDeletesWhatIsOlderAndNothingElse) {
  Both({{0, 1, "ab", "1"},
        {0, 1, "abc", "2"},
        {0, 1, "ac", "3"},
        {0, 2, "ab", "4"},
        {1, 1, "ab", "5"},
        {0, 1, std::string("a\xff", 2), "6"},
        {0, 1, std::string("a\xff\xff", 3), "7"}});
  Both(
      {{0, 1, "ab", "", EntryKind::kPrefixTombstone}, {0, 1, "ab", "again"}, {0, 1, "abd", "new"}});
  EXPECT_EQ(Get(0, 1, "ab"), "again");
  EXPECT_EQ(Get(0, 1, "abc"), std::nullopt);
  EXPECT_EQ(Get(0, 1, "abd"), "new");
  ExpectHolds(*store_, model_);
  Both({{0, 1, std::string("a\xff", 2), "", EntryKind::kPrefixTombstone}});
  EXPECT_EQ(Get(0, 1, std::string("a\xff\xff", 3)), std::nullopt);
  ExpectHolds(*store_, model_);
  Both({{0, 1, "", "", EntryKind::kPrefixTombstone}});
  EXPECT_EQ(Get(0, 2, "ab"), "4");
  ExpectHolds(*store_, model_);
}

TEST_P(RocksDbStoreTest, ScansOneKeyGroupInOrderFromAnywhere) {
  Both({{0, 7, "a1", "1"},
        {0, 7, "a2", "2"},
        {0, 7, "a3", "3"},
        {0, 7, "b", "4"},
        {0, 8, "a1", "5"}});
  const auto keys = [&](std::string_view prefix, std::string_view from) {
    std::vector<std::string> found;
    const auto scan = store_->Scan(0, 7, prefix, from);
    for (; scan->Valid(); scan->Next()) found.emplace_back(scan->key());
    EXPECT_TRUE(scan->status().ok());
    return found;
  };
  EXPECT_THAT(keys("a", ""), ElementsAre("a1", "a2", "a3"));
  EXPECT_THAT(keys("a", "a2"), ElementsAre("a2", "a3"));
  EXPECT_THAT(keys("", "a3"), ElementsAre("a3", "b"));
  EXPECT_THAT(keys("", ""), ElementsAre("a1", "a2", "a3", "b"));
  EXPECT_THAT(keys("a", "b"), ElementsAre());
}

TEST_P(RocksDbStoreTest, AScanShowsTheStoreAsItWas) {
  Both({{0, 1, "a", "1"}, {0, 1, "b", "2"}});
  const auto scan = store_->Scan(0, 1, "", "");
  Both({{0, 1, "a", "x"}, {0, 1, "b", "", EntryKind::kTombstone}, {0, 1, "c", "3"}});
  std::vector<std::string> values;
  for (; scan->Valid(); scan->Next()) values.emplace_back(scan->value());
  EXPECT_THAT(values, ElementsAre("1", "2"));
}

TEST_P(RocksDbStoreTest, ManyRoundsOfChangesAgreeWithAMap) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    std::map<std::tuple<uint16_t, uint16_t, std::string>, OwnedEntry> changes;
    std::vector<OwnedEntry> entries;
    for (int i = 0; i < 300; ++i) {
      const auto state = static_cast<uint16_t>(random() % 2);
      const auto group = static_cast<uint16_t>(random() % kMaxParallelism);
      const std::string key = std::to_string(random() % 500);
      const auto kind = random() % 4 == 0 ? EntryKind::kTombstone : EntryKind::kValue;
      changes[{state, group, key}] = {
          state, group, key, kind == EntryKind::kValue ? std::to_string(random()) : "", kind};
    }
    if (round % 3 == 0) {
      entries.push_back({static_cast<uint16_t>(random() % 2),
                         static_cast<uint16_t>(random() % kMaxParallelism),
                         std::to_string(random() % 10), "", EntryKind::kPrefixTombstone});
    }
    for (auto& [key, entry] : changes) entries.push_back(entry);
    Both(entries);
  }
  ExpectHolds(*store_, model_);
  // And so does a copy made of a base.
  const std::string base = NewDirectory();
  std::filesystem::create_directory(base);
  ASSERT_TRUE(store_->SnapshotBase(base).ok());
  const auto copy = NewStore();
  ASSERT_TRUE(copy->RestoreBase(base, 0, kMaxParallelism).ok());
  ExpectHolds(*copy, model_);
}

class RocksDbBaseTest : public StoreFixture {
 protected:
  /// A store with `keys` entries in the key groups of a range, and a base of it.
  std::string MakeBase(uint32_t first, uint32_t end, int keys, const std::string& value) {
    const auto store = NewStore(1);
    std::vector<OwnedEntry> entries;
    for (int i = 0; i < keys; ++i) {
      const auto group = static_cast<uint16_t>(first + i % (end - first));
      entries.push_back({static_cast<uint16_t>(i % 2), group, std::to_string(i), value});
    }
    Apply(*store, entries);
    all_.Apply(entries);
    const std::string base = NewDirectory();
    std::filesystem::create_directory(base);
    EXPECT_TRUE(store->SnapshotBase(base).ok());
    return base;
  }
  StoreModel all_;
};

TEST_F(RocksDbBaseTest, ABaseIsACutAndOutlivesItsStore) {
  auto store = NewStore();
  StoreModel model;
  const std::vector<OwnedEntry> entries = {{0, 1, "a", "1"}, {1, 2, "b", "2"}};
  Apply(*store, entries);
  model.Apply(entries);
  const std::string base = NewDirectory();
  std::filesystem::create_directory(base);
  ASSERT_TRUE(store->SnapshotBase(base).ok());
  Apply(*store, {{0, 1, "a", "later"}});
  store.reset();
  const auto restored = NewStore();
  ASSERT_TRUE(restored->RestoreBase(base, 0, kMaxParallelism).ok());
  ExpectHolds(*restored, model);
  Apply(*restored, {{0, 1, "a", "goes on"}});
  std::string value;
  EXPECT_TRUE(*restored->Get({0, 1, "a"}, &value));
  EXPECT_EQ(value, "goes on");
  const auto again = NewStore();
  ASSERT_TRUE(again->RestoreBase(base, 0, kMaxParallelism).ok()) << "the base was not touched";
  ExpectHolds(*again, model);
}

TEST_F(RocksDbBaseTest, AtALowerParallelismSeveralBasesBecomeOneStore) {
  const std::string large = MakeBase(0, 8, 3000, std::string(100, 'l'));
  const std::string small = MakeBase(8, 12, 500, std::string(100, 's'));
  const std::string third = MakeBase(12, 16, 400, std::string(100, 't'));
  const auto store = NewStore();
  ASSERT_TRUE(store->RestoreBase(large, 0, 8).ok());
  ASSERT_TRUE(store->RestoreBase(small, 8, 12).ok());
  ASSERT_TRUE(store->RestoreBase(third, 12, 14).ok());
  all_.KeepKeyGroups(0, 14);
  ExpectHolds(*store, all_);
}

TEST_F(RocksDbBaseTest, AtAHigherParallelismForeignKeyGroupsAreDropped) {
  const std::string base = MakeBase(0, 16, 4000, std::string(200, 'v'));
  const StoreModel all = all_;
  for (const auto& [first, end] : {std::pair{0u, 5u}, {5u, 11u}, {11u, 16u}}) {
    const auto store = NewStore();
    ASSERT_TRUE(store->RestoreBase(base, first, end).ok());
    StoreModel part = all;
    part.KeepKeyGroups(first, end);
    ExpectHolds(*store, part);
    // What was dropped stays dropped in its own base.
    const std::string next = NewDirectory();
    std::filesystem::create_directory(next);
    ASSERT_TRUE(store->SnapshotBase(next).ok());
    const auto copy = NewStore();
    ASSERT_TRUE(copy->RestoreBase(next, 0, kMaxParallelism).ok());
    ExpectHolds(*copy, part);
  }
}

TEST_F(RocksDbBaseTest, StatesAreFoundByNameNotById) {
  const std::string base = MakeBase(0, 16, 100, "v");
  auto store = *RocksDbStore::Open(&resources_, {.directory = NewDirectory()});
  ASSERT_TRUE(store->RestoreBase(base, 0, 16).ok());
  EXPECT_THAT(store->StateNames(), ElementsAre("counts", "totals"));
  ASSERT_TRUE(store->OpenState(0, "totals").ok());
  std::string value;
  EXPECT_TRUE(*store->Get({0, 1, "1"}, &value)) << "odd numbers were in totals";
  EXPECT_FALSE(*store->Get({0, 0, "0"}, &value));
  EXPECT_FALSE(store->DropState("totals").ok()) << "in use";
  EXPECT_TRUE(store->DropState("counts").ok());
  EXPECT_THAT(store->StateNames(), ElementsAre("totals"));
}

TEST_F(RocksDbBaseTest, ADamagedBaseIsRefused) {
  const std::string base = MakeBase(0, 16, 100, "v");
  std::filesystem::remove(base + "/CURRENT");
  const auto store = NewStore();
  const absl::Status s = store->RestoreBase(base, 0, 16);
  EXPECT_FALSE(s.ok());
  EXPECT_THAT(std::string(s.message()), HasSubstr(base));
  // An adopted base must not lose a file either.
  const std::string second = MakeBase(0, 16, 2000, std::string(100, 'v'));
  for (const auto& entry : std::filesystem::directory_iterator(second)) {
    if (entry.path().extension() != ".sst") continue;
    std::filesystem::remove(entry.path());
    break;
  }
  EXPECT_FALSE(NewStore()->RestoreBase(second, 0, 16).ok());
  const auto other = NewStore();
  std::ofstream(base + "/WEIR-BASE") << "WEIRBASE 9\n";
  EXPECT_TRUE(absl::IsFailedPrecondition(other->RestoreBase(base, 0, 16)));
}

TEST_F(RocksDbBaseTest, TheDirectoryIsScratch) {
  const std::string used = directory_ / "used";
  std::filesystem::create_directory(used);
  std::ofstream(used + "/precious") << "x";
  EXPECT_TRUE(
      absl::IsFailedPrecondition(RocksDbStore::Open(&resources_, {.directory = used}).status()));
  EXPECT_TRUE(std::filesystem::exists(used + "/precious"));
  const std::string fresh = directory_ / "fresh";
  { auto store = *RocksDbStore::Open(&resources_, {.directory = fresh}); }
  EXPECT_FALSE(std::filesystem::exists(fresh));
}

TEST_F(RocksDbBaseTest, FailuresAreReported) {
  const auto store = NewStore();
  const std::vector<StoreEntry> entry = {{0, 1, EntryKind::kValue, "a", "1"}};
  for (const char* point : {"rocksdb.apply", "rocksdb.snapshot_base", "rocksdb.restore_base"}) {
    SetFailpoint(point, "error");
    EXPECT_EQ(store->Apply(entry).ok(), std::string(point) != "rocksdb.apply");
    EXPECT_EQ(store->SnapshotBase(NewDirectory()).ok(),
              std::string(point) != "rocksdb.snapshot_base");
    EXPECT_FALSE(store->RestoreBase(NewDirectory(), 0, 1).ok());
    SetFailpoint(point, "");
  }
}

TEST_F(RocksDbBaseTest, StateLargerThanTheMemoryBudgetIsReadWhileItChanges) {
  // 24 MB of state under a budget of 16 MB. One thread applies rounds of changes, the other reads:
  // each key's value is the number of the round that wrote it and never goes back.
  const auto store = NewStore();
  constexpr int kKeys = 24'000, kRounds = 5;
  const auto key = [](int i) { return "key" + std::to_string(i); };
  const auto group = [](int i) { return static_cast<uint16_t>(i % kMaxParallelism); };
  std::atomic<int> round{0};
  std::thread writer([&] {
    for (int r = 1; r <= kRounds; ++r) {
      std::vector<OwnedEntry> entries;
      // Every third round changes little and goes through the memtable.
      for (int i = 0; i < (r % 3 == 0 ? 500 : kKeys); ++i) {
        std::string value(1000, static_cast<char>(i));
        value[0] = static_cast<char>(r);
        entries.push_back({0, group(i), key(i), value});
      }
      Apply(*store, entries);
      round.store(r);
    }
  });
  std::mt19937 random(3);
  std::vector<int> seen(kKeys, 0);
  uint64_t reads = 0;
  while (round.load() < kRounds || reads < 20'000) {
    std::vector<int> batch;
    for (int i = 0; i < 256; ++i) batch.push_back(static_cast<int>(random() % kKeys));
    std::sort(batch.begin(), batch.end());
    batch.erase(std::unique(batch.begin(), batch.end()), batch.end());
    std::vector<std::string> names;
    for (int i : batch) names.push_back(key(i));
    std::vector<StoreKey> keys;
    for (size_t i = 0; i < batch.size(); ++i) keys.push_back({0, group(batch[i]), names[i]});
    std::vector<std::optional<std::string>> values(keys.size());
    const int before = round.load();
    ASSERT_TRUE(store->MultiGet(keys, values).ok());
    for (size_t i = 0; i < batch.size(); ++i) {
      const int found = values[i] ? values[i]->at(0) : 0;
      int least = before;  // the last round that wrote this key and had returned
      while (least > 0 && least % 3 == 0 && batch[i] >= 500) --least;
      ASSERT_GE(found, least) << "an applied change is not visible";
      ASSERT_GE(found, seen[batch[i]]) << "a read went back";
      seen[batch[i]] = found;
    }
    reads += keys.size();
  }
  writer.join();
  double disk = 0;
  for (const auto& [name, value] : store->Metrics()) {
    if (name == "store_disk_bytes") disk = value;
  }
  EXPECT_GT(disk, 20e6);
  for (const auto& [name, value] : resources_.Metrics()) {
    if (name == "rocksdb_cache_used_bytes") {
      EXPECT_LT(value, 24e6);
    }
  }
}

}  // namespace
}  // namespace weir
