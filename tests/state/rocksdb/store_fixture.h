#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {

/// An entry that owns its bytes.
struct OwnedEntry {
  uint16_t state;
  uint16_t key_group;
  std::string key;
  std::string value;
  EntryKind kind = EntryKind::kValue;
};

/// What a store should hold: a plain map.
class StoreModel {
 public:
  void Apply(const std::vector<OwnedEntry>& entries) {
    for (const OwnedEntry& e : entries) {
      if (e.kind != EntryKind::kPrefixTombstone) continue;
      std::erase_if(entries_, [&](const auto& entry) {
        const auto& [state, key_group, key] = entry.first;
        return state == e.state && key_group == e.key_group && key.starts_with(e.key);
      });
    }
    for (const OwnedEntry& e : entries) {
      if (e.kind == EntryKind::kValue) entries_[{e.state, e.key_group, e.key}] = e.value;
      if (e.kind == EntryKind::kTombstone) entries_.erase({e.state, e.key_group, e.key});
    }
  }
  const std::map<std::tuple<uint16_t, uint16_t, std::string>, std::string>& entries() const {
    return entries_;
  }

 private:
  std::map<std::tuple<uint16_t, uint16_t, std::string>, std::string> entries_;
};

class StoreFixture : public testing::Test {
 protected:
  static constexpr uint16_t kMaxParallelism = 16;

  std::unique_ptr<RocksDbStore> NewStore(uint64_t ingest_from = 1 << 20) {
    auto store = RocksDbStore::Open(&resources_, {.directory = NewDirectory(),
                                                  .tuning = {.write_buffer_bytes = 1 << 20},
                                                  .target_file_bytes = 1 << 20,
                                                  .ingest_from_bytes = ingest_from});
    EXPECT_TRUE(store.ok()) << store.status();
    EXPECT_TRUE((*store)->OpenState(0, "counts").ok());
    EXPECT_TRUE((*store)->OpenState(1, "totals").ok());
    return *std::move(store);
  }
  std::string NewDirectory() { return directory_ / ("d" + std::to_string(++directories_)); }

  static void Apply(RocksDbStore& store, std::vector<OwnedEntry> entries) {
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return std::tie(a.state, a.key_group, a.key) < std::tie(b.state, b.key_group, b.key);
    });
    std::vector<StoreEntry> views;
    for (const OwnedEntry& e : entries)
      views.push_back({e.state, e.key_group, e.kind, e.key, e.value});
    const absl::Status s = store.Apply(views);
    ASSERT_TRUE(s.ok()) << s;
  }

  static std::vector<std::optional<std::string>> ReadAll(RocksDbStore& store,
                                                         const std::vector<StoreKey>& keys) {
    std::vector<std::optional<std::string>> values(keys.size());
    size_t calls = 0;
    const absl::Status s =
        store.MultiGet(keys, [&](size_t i, std::optional<std::string_view> value) {
          EXPECT_EQ(i, calls++) << "in the order of the keys";
          if (value) values.at(i) = std::string(*value);
        });
    EXPECT_TRUE(s.ok()) << s;
    EXPECT_EQ(calls, keys.size());
    return values;
  }

  /// Everything in the store, by scanning; and every entry once more by MultiGet.
  static void ExpectHolds(RocksDbStore& store, const StoreModel& model) {
    std::map<std::tuple<uint16_t, uint16_t, std::string>, std::string> found;
    for (uint16_t state : {0, 1}) {
      for (uint16_t group = 0; group < kMaxParallelism; ++group) {
        const auto scan = store.Scan(state, group, "", "");
        for (; scan->Valid(); scan->Next()) {
          found[{state, group, std::string(scan->key())}] = std::string(scan->value());
        }
        ASSERT_TRUE(scan->status().ok()) << scan->status();
      }
    }
    EXPECT_EQ(found.size(), model.entries().size());
    EXPECT_TRUE(found == model.entries());
    for (uint16_t state : {0, 1}) {
      std::vector<StoreKey> keys;
      std::vector<std::optional<std::string>> expected;
      for (const auto& [key, value] : model.entries()) {
        if (std::get<0>(key) != state || keys.size() == 1000) continue;
        keys.push_back({state, std::get<1>(key), std::get<2>(key)});
        expected.push_back(value);
      }
      EXPECT_TRUE(ReadAll(store, keys) == expected);
    }
  }

  TemporaryDirectory directory_;
  RocksDbResources resources_{{.memory_bytes = 16 << 20}};
  int directories_ = 0;
};

}  // namespace weir
