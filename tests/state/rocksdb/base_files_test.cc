#include "state/rocksdb/base_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "state/checkpoint/directory_storage.h"
#include "tests/state/rocksdb/store_fixture.h"

namespace weir {
namespace {

using testing::HasSubstr;

class BaseFilesTest : public StoreFixture {
 protected:
  BaseFilesTest() : storage_(*DirectoryStorage::Open(directory_ / "job")) {}

  std::vector<proto::StateHandle> Upload(RocksDbStore& store, BaseUploader& uploader,
                                         uint64_t checkpoint) {
    const std::string base = NewDirectory();
    std::filesystem::create_directory(base);
    EXPECT_TRUE(store.SnapshotBase(base).ok());
    proto::StateHandle pattern;
    pattern.set_operator_uid("count");
    const auto handles =
        uploader.Upload(base, {CheckpointId(checkpoint), LeaderEpoch(1), AttemptId(1)}, pattern);
    EXPECT_TRUE(handles.ok()) << handles.status();
    std::filesystem::remove_all(base);
    return *handles;
  }
  std::vector<OwnedEntry> Round(int round, int keys) {
    std::vector<OwnedEntry> entries;
    for (int i = 0; i < keys; ++i) {
      entries.push_back({0, static_cast<uint16_t>(i % kMaxParallelism),
                         std::to_string(round) + "/" + std::to_string(i), std::string(500, 'v')});
    }
    model_.Apply(entries);
    return entries;
  }
  static std::set<std::string> SortedFiles(const std::vector<proto::StateHandle>& handles) {
    std::set<std::string> files;
    for (const auto& h : handles) {
      if (h.store_file().ends_with(".sst")) files.insert(h.file());
    }
    return files;
  }

  std::unique_ptr<DirectoryStorage> storage_;
  StoreModel model_;
};

TEST_F(BaseFilesTest, GoesToTheStorageAndComesBack) {
  auto store = NewStore(1);
  Apply(*store, Round(1, 3000));
  BaseUploader uploader(*storage_);
  const auto handles = Upload(*store, uploader, 1);
  store.reset();
  for (const auto& handle : handles) {
    EXPECT_EQ(handle.kind(), proto::StateHandle::BASE);
    EXPECT_EQ(handle.operator_uid(), "count");
    EXPECT_FALSE(handle.store_file().empty());
  }
  const std::string base = NewDirectory();
  ASSERT_TRUE(DownloadBase(*storage_, handles, base).ok());
  const auto restored = NewStore();
  ASSERT_TRUE(restored->RestoreBase(base, 0, kMaxParallelism).ok());
  ExpectHolds(*restored, model_);
}

TEST_F(BaseFilesTest, OnlyWhatIsNewIsUploadedAfterACompletedCheckpoint) {
  const auto store = NewStore(1);
  Apply(*store, Round(1, 3000));
  BaseUploader uploader(*storage_);
  const auto first = Upload(*store, uploader, 1);
  const uint64_t full = uploader.uploaded_bytes();

  const auto aborted = Upload(*store, uploader, 2);
  EXPECT_GE(uploader.uploaded_bytes(), full) << "checkpoint 1 is not known to be complete";
  for (const std::string& file : SortedFiles(aborted))
    EXPECT_FALSE(SortedFiles(first).contains(file));

  uploader.Completed(CheckpointId(1));
  Apply(*store, Round(2, 10));
  const auto next = Upload(*store, uploader, 3);
  EXPECT_LT(uploader.uploaded_bytes(), full / 4);
  std::set<std::string> files = SortedFiles(next);
  for (const std::string& file : SortedFiles(first)) EXPECT_TRUE(files.contains(file));

  const std::string base = NewDirectory();
  ASSERT_TRUE(DownloadBase(*storage_, next, base).ok());
  const auto restored = NewStore();
  ASSERT_TRUE(restored->RestoreBase(base, 0, kMaxParallelism).ok());
  ExpectHolds(*restored, model_);

  // The restored store goes on from there: its first base uploads little as well.
  BaseUploader again(*storage_);
  again.Restored(next);
  Apply(*restored, Round(3, 10));
  const auto later = Upload(*restored, again, 4);
  EXPECT_LT(again.uploaded_bytes(), full / 4);
  const std::string last = NewDirectory();
  ASSERT_TRUE(DownloadBase(*storage_, later, last).ok());
  const auto copy = NewStore();
  ASSERT_TRUE(copy->RestoreBase(last, 0, kMaxParallelism).ok());
  ExpectHolds(*copy, model_);
}

TEST_F(BaseFilesTest, RestoredStoresDoNotChangeStoredFiles) {
  auto store = NewStore(1);
  Apply(*store, Round(1, 3000));
  BaseUploader uploader(*storage_);
  const auto handles = Upload(*store, uploader, 1);
  store.reset();
  for (int i = 0; i < 2; ++i) {
    const std::string base = NewDirectory();
    const absl::Status s = DownloadBase(*storage_, handles, base);  // verifies all checksums
    ASSERT_TRUE(s.ok()) << s;
    const auto restored = NewStore(1);
    ASSERT_TRUE(restored->RestoreBase(base, 0, kMaxParallelism / 2).ok());
    std::vector<OwnedEntry> entries = Round(5 + i, 2000);
    Apply(*restored, entries);
  }
}

TEST_F(BaseFilesTest, ADamagedFileIsNamedAndNothingIsLeft) {
  const auto store = NewStore(1);
  Apply(*store, Round(1, 3000));
  BaseUploader uploader(*storage_);
  auto handles = Upload(*store, uploader, 1);
  const std::string& file = handles.front().file();
  std::filesystem::resize_file(directory_ / ("job/" + file),
                               std::filesystem::file_size(directory_ / ("job/" + file)) - 1);
  const std::string base = NewDirectory();
  const absl::Status s = DownloadBase(*storage_, handles, base);
  EXPECT_TRUE(absl::IsDataLoss(s)) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr(file));
  EXPECT_FALSE(std::filesystem::exists(base));
  handles.back().set_store_file("../../escape");
  handles.erase(handles.begin());
  EXPECT_TRUE(absl::IsDataLoss(DownloadBase(*storage_, {handles.back()}, NewDirectory())));
}

}  // namespace
}  // namespace weir
