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
}

using RocksDbStoreOnDiskTest = StoreFixture;

TEST_F(RocksDbStoreOnDiskTest, TheDirectoryIsScratch) {
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

TEST_F(RocksDbStoreOnDiskTest, AClosedStoreLeavesNothingInTheSharedMemory) {
  const auto used = [&] {
    for (const auto& [name, value] : resources_.Metrics()) {
      if (name == "rocksdb_cache_used_bytes") return value;
    }
    return -1.0;
  };
  for (int job = 0; job < 3; ++job) {
    auto store = NewStore(1);
    std::vector<OwnedEntry> entries;
    for (int i = 0; i < 4000; ++i)
      entries.push_back({0, 1, std::to_string(i), std::string(1000, 'v')});
    StoreModel model;
    model.Apply(entries);
    Apply(*store, entries);
    ExpectHolds(*store, model);
    EXPECT_GT(used(), 1e6);
    store.reset();
    resources_.DropUnusedBlocks();
    EXPECT_LT(used(), 100e3) << "after job " << job;
  }
}

TEST_F(RocksDbStoreOnDiskTest, FailuresAreReported) {
  const auto store = NewStore();
  const std::vector<StoreEntry> entry = {{0, 1, EntryKind::kValue, "a", "1"}};
  SetFailpoint("rocksdb.apply", "error");
  EXPECT_FALSE(store->Apply(entry).ok());
  SetFailpoint("rocksdb.apply", "");
  EXPECT_TRUE(store->Apply(entry).ok());
}

// RocksDB as Debian builds it aborts the process when it writes on behind a write that failed.
TEST_F(RocksDbStoreOnDiskTest, AFullDiskIsReportedAndEndsNothingElse) {
  const std::unique_ptr<RocksDbStore> bystander = NewStore();
  SetFailpoint("rocksdb.write", "error");
  const auto unopened = RocksDbStore::Open(&resources_, {.directory = NewDirectory()});
  EXPECT_TRUE(absl::IsResourceExhausted(unopened.status())) << unopened.status();
  SetFailpoint("rocksdb.write", "");

  for (const uint64_t ingest_from : {uint64_t{1}, uint64_t{1} << 30}) {
    const std::unique_ptr<RocksDbStore> store = NewStore(ingest_from);
    SetFailpoint("rocksdb.write", "error");
    const std::string value(64 << 10, 'v');
    absl::Status status;
    // Memtables go to the disk beside the calls: the one that fails comes some calls later.
    for (int i = 0; status.ok() && i < 10'000; ++i) {
      const std::string key = "k" + std::to_string(i % 50);
      const StoreEntry entry{0, 1, EntryKind::kValue, key, value};
      status = store->Apply({&entry, 1});
    }
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_FALSE(store->OpenState(2, "more").ok());
    SetFailpoint("rocksdb.write", "");
  }
  Apply(*bystander, {{0, 1, "k", "v"}});
  EXPECT_EQ(ReadAll(*bystander, {{0, 1, "k"}})[0], "v");
}

TEST_F(RocksDbStoreOnDiskTest, StateLargerThanTheMemoryBudgetIsReadWhileItChanges) {
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
    const int before = round.load();
    const std::vector<std::optional<std::string>> values = ReadAll(*store, keys);
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
  uint64_t disk = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory_.path())) {
    if (file.is_regular_file()) disk += file.file_size();
  }
  EXPECT_GT(disk, 20'000'000u);
  for (const auto& [name, value] : resources_.Metrics()) {
    if (name == "rocksdb_cache_used_bytes") {
      EXPECT_LT(value, 24e6);
    }
  }
}

using RocksDbResourcesTest = StoreFixture;

TEST_F(RocksDbResourcesTest, LessMemoryIsGivenBackAtOnceAndMayComeAgain) {
  const auto store = NewStore(/*ingest_from=*/1);
  std::vector<OwnedEntry> entries;
  for (int i = 0; i < 100'000; ++i) {
    entries.push_back({0, 1, std::to_string(1'000'000 + i), std::string(60, 'v')});
  }
  Apply(*store, entries);
  const auto read = [&] {
    for (const OwnedEntry& e : entries) {
      std::string value;
      ASSERT_TRUE(*store->Get({e.state, e.key_group, e.key}, &value));
    }
  };
  const auto used = [&] {
    double bytes = 0;
    for (const auto& [name, value] : resources_.Metrics()) {
      if (name == "rocksdb_cache_used_bytes") bytes = value;
    }
    return bytes;
  };
  read();
  EXPECT_GT(used(), 4 << 20);
  resources_.SetMemoryBytes(2 << 20);
  EXPECT_LT(used(), 3 << 20);
  read();
  EXPECT_LT(used(), 3 << 20);
  resources_.SetMemoryBytes(16 << 20);
  read();
  EXPECT_GT(used(), 4 << 20);
}

// A subtask with 16 states in a process of little memory.
TEST_F(RocksDbResourcesTest, StatesWithNearlyNothingInMemoryLeaveRoomForTheRest) {
  for (const uint64_t memory : {uint64_t{25} << 20, uint64_t{256} << 20}) {
    RocksDbResources resources({.memory_bytes = memory});
    const auto memtables = [&] {
      double bytes = 0;
      for (const auto& [name, value] : resources.Metrics()) {
        if (name == "rocksdb_memtable_bytes") bytes = value;
      }
      return bytes;
    };
    auto store = RocksDbStore::Open(&resources, {.directory = NewDirectory()});
    ASSERT_TRUE(store.ok()) << store.status();
    std::vector<OwnedEntry> entries;
    for (uint16_t state = 0; state < 16; ++state) {
      ASSERT_TRUE((*store)->OpenState(state, "state" + std::to_string(state)).ok());
      entries.push_back({state, 1, "key", "value"});
    }
    Apply(**store, entries);
    EXPECT_GT(memtables(), 0);
    EXPECT_LT(memtables(), static_cast<double>(memory) / 4 / 2) << "half of their share";
  }
}

// What RocksDB says that it runs with: it writes that down beside its files.
std::string WrittenOptions(const std::string& directory) {
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string path = entry.path();
    if (entry.path().filename().string().starts_with("OPTIONS-")) newest = std::max(newest, path);
  }
  std::ifstream in(newest);
  return {std::istreambuf_iterator<char>(in), {}};
}

class RocksDbTuningTest : public StoreFixture {
 protected:
  std::string OptionsOf(RocksDbTuning tuning) {
    const std::string directory = NewDirectory();
    auto store = RocksDbStore::Open(&resources_, {.directory = directory, .tuning = tuning});
    EXPECT_TRUE(store.ok()) << store.status();
    EXPECT_TRUE((*store)->OpenState(0, "counts").ok());
    const std::string all = WrittenOptions(directory + "/db");
    const size_t state = all.find("[CFOptions \"counts\"]");
    EXPECT_NE(state, std::string::npos) << all;
    return all.substr(std::min(state, all.size()));
  }
};

TEST_F(RocksDbTuningTest, WhatIsSetReachesRocksDb) {
  const std::string set = OptionsOf(
      {.write_buffer_bytes = 64 << 20, .block_bytes = 64 << 10, .bloom_bits_per_key = 12});
  EXPECT_THAT(set, HasSubstr("write_buffer_size=67108864"));
  EXPECT_THAT(set, HasSubstr("block_size=65536"));
  EXPECT_THAT(set, HasSubstr("filter_policy=bloomfilter:12:false"));
}

TEST_F(RocksDbTuningTest, WithoutBitsThereAreNoFilters) {
  EXPECT_THAT(OptionsOf({.bloom_bits_per_key = 0}), HasSubstr("filter_policy=nullptr"));
}

}  // namespace
}  // namespace weir
