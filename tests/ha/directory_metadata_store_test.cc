#include "ha/directory_metadata_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/failpoint.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kAbsent = MetadataStore::kAbsent;
constexpr LeaderEpoch kEpoch{1};

class MetadataStoreTest : public testing::Test {
 protected:
  MetadataStoreTest() : store_(Open()) {}

  std::unique_ptr<MetadataStore> Open() { return *DirectoryMetadataStore::Open(directory_ / "m"); }
  std::string OnlyFile() {
    return std::filesystem::directory_iterator(directory_ / "m/entries")->path().string();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<MetadataStore> store_;
};

TEST_F(MetadataStoreTest, WhatWasPutIsFoundByTheNextProcess) {
  const auto version = store_->Put("job/1", kAbsent, "graph", LeaderEpoch(3));
  ASSERT_TRUE(version.ok()) << version.status();
  const auto entry = Open()->Get("job/1");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->key, "job/1");
  EXPECT_EQ(entry->value, "graph");
  EXPECT_EQ(entry->version, *version);
  EXPECT_EQ(entry->epoch, LeaderEpoch(3));
  EXPECT_TRUE(absl::IsNotFound(store_->Get("job/2").status()));
}

TEST_F(MetadataStoreTest, OnlyTheExpectedVersionIsReplaced) {
  const uint64_t v1 = *store_->Put("k", kAbsent, "1", kEpoch);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Put("k", kAbsent, "x", kEpoch).status()));
  const uint64_t v2 = *store_->Put("k", v1, "2", kEpoch);
  EXPECT_GT(v2, v1);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Put("k", v1, "x", kEpoch).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->Delete("k", v1, kEpoch)));
  EXPECT_EQ(store_->Get("k")->value, "2");
  EXPECT_TRUE(store_->Delete("k", v2, kEpoch).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Get("k").status()));
}

TEST_F(MetadataStoreTest, AVersionIsNotUsedAgainAfterADeletion) {
  uint64_t v = *store_->Put("k", kAbsent, "1", kEpoch);
  v = *store_->Put("k", v, "2", kEpoch);
  ASSERT_TRUE(store_->Delete("k", v, kEpoch).ok());
  EXPECT_GT(*store_->Put("k", kAbsent, "3", kEpoch), v);
}

TEST_F(MetadataStoreTest, ListsByPrefixInOrder) {
  for (const char* key : {"job/b", "job/a", "jobs", "other"}) {
    ASSERT_TRUE(store_->Put(key, kAbsent, "", kEpoch).ok());
  }
  EXPECT_THAT(*store_->List("job/"), ElementsAre("job/a", "job/b"));
  EXPECT_THAT(*store_->List(""), ElementsAre("job/a", "job/b", "jobs", "other"));
  EXPECT_THAT(*store_->List("z"), IsEmpty());
}

TEST_F(MetadataStoreTest, AnyBytesMakeAKeyAndNoneLeavesTheDirectory) {
  for (const std::string& key :
       {std::string("../../etc/passwd"), std::string("."), std::string("a\0b", 3),
        std::string("%2F"), std::string("\xff\n"), std::string("A"), std::string("a")}) {
    ASSERT_TRUE(store_->Put(key, kAbsent, key, kEpoch).ok());
  }
  EXPECT_EQ(store_->List("")->size(), 7u);
  EXPECT_EQ(store_->Get("../../etc/passwd")->value, "../../etc/passwd");
  EXPECT_EQ(store_->Get("A")->value, "A");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_ / "m/entries"), {}), 7);
  for (const std::string& key : {std::string(), std::string(201, 'k'), std::string(200, '/')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(store_->Put(key, kAbsent, "", kEpoch).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      store_->Put("k", kAbsent, std::string(MetadataStore::kMaxValueBytes + 1, 'v'), kEpoch)
          .status()));
}

TEST_F(MetadataStoreTest, AReplacedLeaderChangesNothing) {
  const uint64_t v = *store_->Put("k", kAbsent, "old", LeaderEpoch(1));
  ASSERT_TRUE(Open()->Fence(LeaderEpoch(2)).ok());
  for (const absl::Status& s : {store_->Put("k", v, "late", LeaderEpoch(1)).status(),
                                store_->Delete("k", v, LeaderEpoch(1)),
                                store_->Put("new", kAbsent, "late", LeaderEpoch(1)).status(),
                                store_->Fence(LeaderEpoch(1))}) {
    EXPECT_TRUE(absl::IsAborted(s)) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr("epoch 2"));
  }
  EXPECT_EQ(store_->Get("k")->value, "old");
  EXPECT_TRUE(store_->Put("k", v, "new", LeaderEpoch(2)).ok());
  // A write under a higher epoch fences like Fence itself.
  EXPECT_TRUE(store_->Put("x", kAbsent, "", LeaderEpoch(3)).ok());
  EXPECT_TRUE(absl::IsAborted(store_->Fence(LeaderEpoch(2))));
}

TEST_F(MetadataStoreTest, ManyWritersLoseNoUpdate) {
  ASSERT_TRUE(store_->Put("counter", kAbsent, "0", kEpoch).ok());
  constexpr int kThreads = 4, kTimes = 10;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const auto own = Open();
      for (int n = 0; n < kTimes;) {
        const auto entry = own->Get("counter");
        ASSERT_TRUE(entry.ok()) << entry.status();
        const auto put = own->Put("counter", entry->version,
                                  std::to_string(std::stoi(entry->value) + 1), kEpoch);
        if (put.ok()) ++n;
        ASSERT_TRUE(put.ok() || absl::IsFailedPrecondition(put.status())) << put.status();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(store_->Get("counter")->value, std::to_string(kThreads * kTimes));
}

TEST_F(MetadataStoreTest, ADamagedEntryIsNamedAndNeverRead) {
  ASSERT_TRUE(store_->Put("k", kAbsent, "value", kEpoch).ok());
  const std::string file = OnlyFile();
  std::stringstream content;
  content << std::ifstream(file).rdbuf();
  const std::string good = content.str();
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << (i % 8)));
    std::ofstream(file) << bad;
    const absl::Status s = store_->Get("k").status();
    ASSERT_FALSE(s.ok()) << "bit " << i;
    ASSERT_THAT(std::string(s.message()), HasSubstr(file));
  }
  for (size_t n = 0; n < good.size(); ++n) {
    std::ofstream(file) << good.substr(0, n);
    ASSERT_FALSE(store_->Get("k").ok()) << n << " bytes";
  }
  EXPECT_TRUE(absl::IsDataLoss(store_->Put("k", kAbsent, "x", kEpoch).status()))
      << "not taken for an absent one";
  std::ofstream(file) << good;
  EXPECT_TRUE(store_->Get("k").ok());
}

TEST_F(MetadataStoreTest, ADamagedFenceStopsEveryChange) {
  ASSERT_TRUE(store_->Put("k", kAbsent, "v", kEpoch).ok());
  std::fstream(directory_ / "m/fence", std::ios::in | std::ios::out).seekp(17) << "?";
  EXPECT_TRUE(absl::IsDataLoss(store_->Put("k2", kAbsent, "v", LeaderEpoch(9)).status()));
  EXPECT_TRUE(absl::IsDataLoss(store_->Fence(LeaderEpoch(9))));
}

TEST_F(MetadataStoreTest, ACrashAtAnyStepLeavesTheOldOrTheNewValue) {
  uint64_t version = *store_->Put("k", kAbsent, "old", kEpoch);
  for (const char* point : {"metadata.create", "metadata.write", "metadata.half_written",
                            "metadata.sync", "metadata.before_rename", "metadata.after_rename"}) {
    EXPECT_EXIT(
        {
          SetFailpoint(point, "crash");
          (void)Open()->Put("k", version, "new", kEpoch);
        },
        testing::KilledBySignal(SIGKILL), "")
        << point;
    const auto next = Open();
    const auto entry = next->Get("k");
    ASSERT_TRUE(entry.ok()) << point << ": " << entry.status();
    const bool renamed = std::string(point) == "metadata.after_rename";
    EXPECT_EQ(entry->value, renamed ? "new" : "old") << point;
    EXPECT_THAT(*next->List(""), ElementsAre("k"));
    version = *next->Put("k", entry->version, "old", kEpoch);
  }
  EXPECT_EXIT(
      {
        SetFailpoint("metadata.before_unlink", "crash");
        (void)Open()->Delete("k", version, kEpoch);
      },
      testing::KilledBySignal(SIGKILL), "");
  EXPECT_EQ(Open()->Get("k")->version, version);
  EXPECT_TRUE(Open()->Delete("k", version, kEpoch).ok());
}

TEST_F(MetadataStoreTest, WhatAProcessThatWasKilledLeftUnfinishedGoesWithTheNextChange) {
  const auto unfinished = [this] {
    size_t count = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(directory_ / "m")) {
      count += file.path().filename().string().starts_with(".");
    }
    return count;
  };
  // The first file is the fence, the second the entry.
  for (const int file : {1, 2}) {
    EXPECT_EXIT(
        {
          SetFailpoint("metadata.before_rename", "crash:" + std::to_string(file));
          (void)Open()->Put("k", kAbsent, "v", LeaderEpoch(5));
        },
        testing::KilledBySignal(SIGKILL), "");
  }
  EXPECT_EQ(unfinished(), 1u) << "the second one has tidied behind the first";
  ASSERT_TRUE(Open()->Put("k", kAbsent, "v", LeaderEpoch(5)).ok());
  EXPECT_EQ(unfinished(), 0u);
}

TEST_F(MetadataStoreTest, AFailureIsDefiniteBeforeTheRenameAndDoubtfulAfterIt) {
  uint64_t version = *store_->Put("k", kAbsent, "0", kEpoch);
  for (const char* point : {"metadata.create", "metadata.write", "metadata.half_written",
                            "metadata.sync", "metadata.before_rename"}) {
    SetFailpoint(point, "error");
    const auto put = store_->Put("k", version, "x", kEpoch);
    SetFailpoint(point, "");
    EXPECT_TRUE(absl::IsUnavailable(put.status())) << point << put.status();
    EXPECT_EQ(store_->Get("k")->value, "0") << point;
  }
  for (const char* point : {"metadata.after_rename", "metadata.sync_directory"}) {
    SetFailpoint(point, "error");
    const auto put = store_->Put("k", version, "x", kEpoch);
    SetFailpoint(point, "");
    EXPECT_TRUE(absl::IsUnknown(put.status())) << point << put.status();
    const auto entry = store_->Get("k");
    EXPECT_EQ(entry->value, "x") << point;
    version = entry->version;
  }
}

}  // namespace
}  // namespace weir
