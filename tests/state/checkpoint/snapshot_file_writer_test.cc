#include "state/checkpoint/snapshot_file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/failpoint.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/state_file.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

using testing::HasSubstr;

class SnapshotFileWriterTest : public testing::Test {
 protected:
  SnapshotFileWriterTest() : storage_(*DirectoryStorage::Open(directory_.path())) {}

  proto::StateHandle Handle(const std::string& uid) {
    proto::StateHandle handle;
    handle.set_kind(proto::StateHandle::DELTA);
    handle.set_operator_uid(uid);
    return handle;
  }
  size_t Files() { return storage_->List("data")->size(); }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
};

TEST_F(SnapshotFileWriterTest, SectionsOfManyThreadsShareOneFile) {
  SnapshotFileWriter writer(*storage_, "data/c1", {.max_pending_bytes = 1 << 16});
  absl::StatusOr<std::vector<proto::StateHandle>> handles;
  std::thread snapshot([&] { handles = writer.Run(); });

  constexpr int kSlots = 4;
  std::vector<SnapshotFileWriter::SectionId> sections;
  for (int i = 0; i < kSlots; ++i) sections.push_back(writer.Open(Handle(std::to_string(i))));
  std::vector<std::string> expected(kSlots);
  std::vector<std::thread> slots;
  for (int i = 0; i < kSlots; ++i) {
    slots.emplace_back([&, i] {
      std::string slice;
      for (int n = 0; n < 200; ++n) {
        slice.append(static_cast<size_t>(n * 37 % 3000), static_cast<char>('a' + (n + i) % 26));
        expected[i] += slice;
        while (!writer.Append(sections[i], slice)) std::this_thread::yield();
        EXPECT_TRUE(slice.empty());
      }
      writer.Close(sections[i], 200);
    });
  }
  for (std::thread& t : slots) t.join();
  writer.Seal();
  snapshot.join();

  ASSERT_TRUE(handles.ok()) << handles.status();
  ASSERT_EQ(handles->size(), static_cast<size_t>(kSlots));
  EXPECT_EQ(Files(), 1u);
  for (int i = 0; i < kSlots; ++i) {
    const proto::StateHandle& handle = (*handles)[i];
    EXPECT_EQ(handle.operator_uid(), std::to_string(i));
    EXPECT_EQ(handle.entries(), 200u);
    EXPECT_EQ(handle.length(), expected[i].size());
    EXPECT_EQ(*ReadState(*storage_, handle, 1 << 30), expected[i]);
  }
}

TEST_F(SnapshotFileWriterTest, RefusesWhatExceedsTheLimitAndSaysWhenThereIsRoom) {
  std::atomic<int> woken{0};
  SnapshotFileWriter writer(*storage_, "data/c1",
                            {.max_pending_bytes = 10, .on_room = [&] { ++woken; }});
  const auto section = writer.Open(Handle("a"));
  std::string large(25, 'x');
  EXPECT_TRUE(writer.Append(section, large)) << "alone it passes";
  std::string more = "more";
  EXPECT_FALSE(writer.Append(section, more));
  EXPECT_EQ(more, "more");
  std::thread snapshot([&] {
    const auto handles = writer.Run();
    ASSERT_TRUE(handles.ok());
    EXPECT_EQ(handles->front().length(), 29u);
  });
  while (woken == 0) std::this_thread::yield();
  EXPECT_TRUE(writer.Append(section, more));
  writer.Close(section, 2);
  writer.Seal();
  snapshot.join();
}

TEST_F(SnapshotFileWriterTest, LongSlicesAreCutSoThatAReaderNeedsLittleMemory) {
  SnapshotFileWriter writer(*storage_, "data/c1", {});
  const auto section = writer.Open(Handle("a"));
  std::string slice(2 * kMaxExtentBytes + 5, 'x');
  ASSERT_TRUE(writer.Append(section, slice));
  writer.Close(section, 1);
  writer.Seal();
  const auto handles = writer.Run();
  ASSERT_TRUE(handles.ok());
  EXPECT_EQ(handles->front().extents_size(), 3);
  EXPECT_EQ(ReadState(*storage_, handles->front(), 1 << 30)->size(), 2 * kMaxExtentBytes + 5);
}

TEST_F(SnapshotFileWriterTest, TheMiddleOfASectionIsReadAcrossItsExtents) {
  SnapshotFileWriter writer(*storage_, "data/c1", {});
  const auto section = writer.Open(Handle("a")), other = writer.Open(Handle("b"));
  for (std::string slice : {"0123", "4567", "89"}) {
    std::string between = "between";
    ASSERT_TRUE(writer.Append(section, slice));
    ASSERT_TRUE(writer.Append(other, between));
  }
  writer.Close(section, 1);
  writer.Close(other, 1);
  writer.Seal();
  const auto handles = writer.Run();
  ASSERT_TRUE(handles.ok());
  const std::string all = "0123456789";
  for (size_t begin = 0; begin < all.size(); ++begin) {
    for (size_t size = 0; begin + size <= all.size(); ++size) {
      std::string out(size, '?');
      ASSERT_TRUE(ReadStateRange(*storage_, handles->front(), begin, std::span<char>(out)).ok());
      EXPECT_EQ(out, all.substr(begin, size));
    }
  }
  std::string out(2, '?');
  EXPECT_TRUE(absl::IsDataLoss(
      ReadStateRange(*storage_, handles->front(), all.size() - 1, std::span<char>(out))));
}

TEST_F(SnapshotFileWriterTest, WithoutStateThereIsNoFile) {
  SnapshotFileWriter writer(*storage_, "data/c1", {});
  writer.Close(writer.Open(Handle("a")), 0);
  writer.Seal();
  const auto handles = writer.Run();
  ASSERT_TRUE(handles.ok());
  EXPECT_EQ(handles->front().file(), "");
  EXPECT_EQ(*ReadState(*storage_, handles->front(), 10), "");
  EXPECT_EQ(Files(), 0u);
}

TEST_F(SnapshotFileWriterTest, CancellingLeavesNothing) {
  SnapshotFileWriter writer(*storage_, "data/c1", {});
  const auto section = writer.Open(Handle("a"));
  std::string slice = "x";
  ASSERT_TRUE(writer.Append(section, slice));
  std::thread snapshot([&] { EXPECT_TRUE(absl::IsCancelled(writer.Run().status())); });
  while (writer.written_bytes() == 0) std::this_thread::yield();
  writer.Cancel(absl::CancelledError("checkpoint 1 timed out"));
  snapshot.join();
  EXPECT_EQ(Files(), 0u);
  slice = "late";
  EXPECT_TRUE(writer.Append(section, slice)) << "a slot goes on undisturbed";
}

TEST_F(SnapshotFileWriterTest, AFailureAtAnyStepIsReportedAndSlotsGoOn) {
  for (const char* point : {"storage.create", "storage.write", "storage.half_written",
                            "storage.sync", "storage.before_link", "storage.after_link"}) {
    SetFailpoint(point, "error");
    SnapshotFileWriter writer(*storage_, std::string("data/") + point, {.max_pending_bytes = 1});
    const auto section = writer.Open(Handle("a"));
    std::string slice = "x";
    ASSERT_TRUE(writer.Append(section, slice));
    writer.Close(section, 1);
    writer.Seal();
    EXPECT_FALSE(writer.Run().ok()) << point;
    SetFailpoint(point, "");
    slice = "more than the limit";
    EXPECT_TRUE(writer.Append(section, slice)) << point;
  }
}

TEST_F(SnapshotFileWriterTest, ADamagedExtentIsNamedByFileOperatorAndPlace) {
  SnapshotFileWriter writer(*storage_, "data/c1", {});
  const auto section = writer.Open(Handle("totals"));
  std::string slice = "abcdef";
  ASSERT_TRUE(writer.Append(section, slice));
  writer.Close(section, 1);
  writer.Seal();
  const auto handles = writer.Run();
  ASSERT_TRUE(handles.ok());
  std::fstream(directory_ / "data/c1", std::ios::in | std::ios::out).seekp(18) << "?";
  const absl::Status s = ReadState(*storage_, handles->front(), 100).status();
  EXPECT_TRUE(absl::IsDataLoss(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr("data/c1"));
  EXPECT_THAT(std::string(s.message()), HasSubstr("totals"));
}

TEST_F(SnapshotFileWriterTest, LocalFilesAreTakenInAndGivenBackVerified) {
  const std::string local = directory_ / "local.sst";
  const std::string content(kMaxExtentBytes + 100, 's');
  std::ofstream(local) << content;
  for (const Transfer transfer : {Transfer::kCopy, Transfer::kLinkOrCopy}) {
    const std::string suffix = transfer == Transfer::kCopy ? "copy" : "link";
    auto handle = UploadFile(*storage_, local, "data/" + suffix, transfer);
    ASSERT_TRUE(handle.ok()) << handle.status();
    EXPECT_EQ(handle->extents_size(), 2);
    EXPECT_TRUE(DownloadFile(*storage_, *handle, directory_ / ("back-" + suffix), transfer).ok());
    EXPECT_EQ(std::filesystem::file_size(directory_ / ("back-" + suffix)), content.size());
    handle->mutable_extents(1)->set_checksum(1);
    const std::string bad = directory_ / ("bad-" + suffix);
    EXPECT_TRUE(absl::IsDataLoss(DownloadFile(*storage_, *handle, bad, transfer)));
    EXPECT_FALSE(std::filesystem::exists(bad));
  }
}

TEST(DataFileName, SaysWhoWroteTheFile) {
  const DataFileName name{CheckpointId(12), LeaderEpoch(3), AttemptId(4)};
  const std::string path = name.NewPath("tm1");
  EXPECT_NE(path, name.NewPath("tm1")) << "never twice";
  EXPECT_TRUE(CheckStoragePath(path).ok()) << path;
  const auto parsed = DataFileName::Parse(path);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->checkpoint, CheckpointId(12));
  EXPECT_EQ(parsed->epoch, LeaderEpoch(3));
  EXPECT_EQ(parsed->attempt, AttemptId(4));
  for (const char* other : {"data/x", "data/c1.e1.ax.l", "data/c.e1.a1.l", "c1.e1.a1.l",
                            "data/sub/c1.e1.a1.l", "data/c1x.e1.a1.l"}) {
    EXPECT_FALSE(DataFileName::Parse(other).ok()) << other;
  }
}

}  // namespace
}  // namespace weir
