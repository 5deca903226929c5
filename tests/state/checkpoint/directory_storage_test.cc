#include "state/checkpoint/directory_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/failpoint.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DirectoryStorageTest : public testing::Test {
 protected:
  DirectoryStorageTest() : storage_(*DirectoryStorage::Open(directory_ / "root")) {}

  absl::Status Put(const std::string& path, std::string_view content) {
    auto writer = storage_->Create(path);
    if (!writer.ok()) return writer.status();
    if (absl::Status s = (*writer)->Append(content); !s.ok()) return s;
    return (*writer)->Finish();
  }
  std::string Content(const std::string& path) { return *ReadWhole(*storage_, path, 1 << 20); }
  std::vector<std::string> Names(const std::string& folder) {
    std::vector<std::string> names;
    const std::vector<StoredFile> files = *storage_->List(folder);
    for (const StoredFile& f : files) names.push_back(f.path);
    return names;
  }
  size_t Temporaries() {
    return std::distance(std::filesystem::directory_iterator(directory_ / "root/.tmp"), {});
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
};

TEST_F(DirectoryStorageTest, AFileIsSeenOnlyWhenItIsFinished) {
  auto writer = storage_->Create("data/a");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("one").ok());
  EXPECT_THAT(Names("data"), IsEmpty());
  ASSERT_TRUE((*writer)->Append("two").ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_THAT(Names("data"), ElementsAre("data/a"));
  EXPECT_EQ(Content("data/a"), "onetwo");
  EXPECT_EQ(Temporaries(), 0u);
}

TEST_F(DirectoryStorageTest, AnUnfinishedFileLeavesNothing) {
  {
    auto writer = storage_->Create("data/a");
    ASSERT_TRUE((*writer)->Append("one").ok());
  }
  EXPECT_THAT(Names("data"), IsEmpty());
  EXPECT_EQ(Temporaries(), 0u);
}

TEST_F(DirectoryStorageTest, NothingIsOverwritten) {
  ASSERT_TRUE(Put("data/a", "first").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Put("data/a", "second")));
  EXPECT_TRUE(absl::IsAlreadyExists(storage_->CreateIfAbsent("data/a", "third")));
  EXPECT_EQ(Content("data/a"), "first");
}

TEST_F(DirectoryStorageTest, OfManyContendersForANameOneWins) {
  constexpr int kContenders = 8;
  std::vector<absl::Status> outcomes(kContenders);
  std::vector<std::thread> threads;
  for (int i = 0; i < kContenders; ++i) {
    threads.emplace_back([&, i] {
      auto own = DirectoryStorage::Open(directory_ / "root");
      outcomes[i] = (*own)->CreateIfAbsent("log/1", std::to_string(i));
    });
  }
  for (std::thread& t : threads) t.join();
  int winners = 0;
  for (int i = 0; i < kContenders; ++i) {
    if (outcomes[i].ok()) {
      ++winners;
      EXPECT_EQ(Content("log/1"), std::to_string(i));
    } else {
      EXPECT_TRUE(absl::IsAlreadyExists(outcomes[i])) << outcomes[i];
    }
  }
  EXPECT_EQ(winners, 1);
}

TEST_F(DirectoryStorageTest, AReadPastTheEndIsDataLossThatNamesTheFile) {
  ASSERT_TRUE(Put("data/a", "12345").ok());
  std::string out(3, ' ');
  ASSERT_TRUE(storage_->Read("data/a", 1, std::span<char>(out)).ok());
  EXPECT_EQ(out, "234");
  const absl::Status s = storage_->Read("data/a", 3, std::span<char>(out));
  EXPECT_TRUE(absl::IsDataLoss(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr("data/a"));
  EXPECT_TRUE(absl::IsNotFound(storage_->Read("data/b", 0, std::span<char>(out))));
}

TEST_F(DirectoryStorageTest, ListsAllDepthsInOrder) {
  for (const char* path : {"d/b/2", "d/a", "d/b/1", "e/x"}) ASSERT_TRUE(Put(path, "").ok());
  EXPECT_THAT(Names("d"), ElementsAre("d/a", "d/b/1", "d/b/2"));
  EXPECT_THAT(Names("nowhere"), IsEmpty());
}

TEST_F(DirectoryStorageTest, DeletingWhatIsGoneIsFine) {
  ASSERT_TRUE(Put("data/a", "x").ok());
  EXPECT_TRUE(storage_->Delete("data/a").ok());
  EXPECT_TRUE(storage_->Delete("data/a").ok());
  EXPECT_TRUE(absl::IsNotFound(storage_->Stat("data/a").status()));
}

TEST_F(DirectoryStorageTest, PathsThatLeaveTheRootOrHideAreRefused) {
  for (const char* path :
       {"", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".tmp/x", "a/.b", "a b", "a\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(storage_->CreateIfAbsent(path, ""))) << path;
    EXPECT_TRUE(absl::IsInvalidArgument(storage_->Delete(path))) << path;
  }
}

TEST_F(DirectoryStorageTest, ALocalFileIsTakenInByLinkOrByCopyAndGivenBack) {
  const std::string local = directory_ / "local";
  std::ofstream(local) << "content";
  ASSERT_TRUE(storage_->PutFile(local, "shared/linked", Transfer::kLinkOrCopy).ok());
  ASSERT_TRUE(storage_->PutFile(local, "shared/copied", Transfer::kCopy).ok());
  EXPECT_TRUE(storage_->PutFile(local, "shared/linked", Transfer::kLinkOrCopy).ok())
      << "it is there already";
  EXPECT_TRUE(absl::IsAlreadyExists(storage_->PutFile(local, "shared/linked", Transfer::kCopy)));
  struct stat a, b, c;
  ASSERT_EQ(stat(local.c_str(), &a), 0);
  ASSERT_EQ(stat((directory_ / "root/shared/linked").c_str(), &b), 0);
  ASSERT_EQ(stat((directory_ / "root/shared/copied").c_str(), &c), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_NE(a.st_ino, c.st_ino);
  EXPECT_EQ(Temporaries(), 0u);

  const std::string back = directory_ / "back";
  ASSERT_TRUE(storage_->GetFile("shared/copied", back, Transfer::kCopy).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(storage_->GetFile("shared/copied", back, Transfer::kCopy)));
  std::string text;
  std::getline(std::ifstream(back), text);
  EXPECT_EQ(text, "content");
}

TEST_F(DirectoryStorageTest, ADirectoryThatCannotBeWrittenIsRefusedByName) {
  std::ofstream(directory_ / "file") << "x";
  const absl::Status s = DirectoryStorage::Open(directory_ / "file/below").status();
  EXPECT_FALSE(s.ok());
  EXPECT_THAT(std::string(s.message()), HasSubstr(directory_ / "file/below"));
}

TEST_F(DirectoryStorageTest, OpeningForReadingCreatesNothing) {
  ASSERT_TRUE(Put("a/b", "x").ok());
  EXPECT_EQ(*ReadWhole(**DirectoryStorage::OpenExisting(directory_ / "root/"), "a/b", 10), "x");
  const absl::Status s = DirectoryStorage::OpenExisting(directory_ / "nowhere").status();
  EXPECT_TRUE(absl::IsNotFound(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(directory_ / "nowhere"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "nowhere"));
}

TEST_F(DirectoryStorageTest, OpeningWhatIsSharedCreatesNothingButWrites) {
  const auto other = DirectoryStorage::OpenShared(directory_ / "root/");
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE((*other)->CreateIfAbsent("a/b", "x").ok());
  EXPECT_EQ(*ReadWhole(*storage_, "a/b", 10), "x");
  const absl::Status s = DirectoryStorage::OpenShared(directory_ / "not/mounted").status();
  EXPECT_TRUE(absl::IsNotFound(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(directory_ / "not/mounted"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "not"));
}

TEST_F(DirectoryStorageTest, WhatCrashedWritersLeftIsRemovedOnceItIsOld) {
  std::ofstream(directory_ / "root/.tmp/left") << "x";
  EXPECT_EQ(*storage_->RemoveAbandoned(std::chrono::hours(1)), 0u);
  EXPECT_EQ(*storage_->RemoveAbandoned(std::chrono::milliseconds(0)), 1u);
  EXPECT_EQ(Temporaries(), 0u);
}

TEST_F(DirectoryStorageTest, EmptyFoldersGoAndFullOnesStay) {
  ASSERT_TRUE(Put("a/b/c", "x").ok());
  ASSERT_TRUE(Put("d/e", "x").ok());
  ASSERT_TRUE(storage_->Delete("a/b/c").ok());
  ASSERT_TRUE(storage_->RemoveEmptyFolders().ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "root/a"));
  EXPECT_EQ(Content("d/e"), "x");
  ASSERT_TRUE(Put("a/b/c", "again").ok()) << "a removed folder is made again";
  ASSERT_TRUE(storage_->Delete("a/b/c").ok());
  ASSERT_TRUE(storage_->Delete("d/e").ok());
  ASSERT_TRUE(storage_->RemoveEmptyFolders().ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "root"));
}

// Each durable step fails in turn: what fails before the name exists is a plain no that leaves
// nothing; what fails after it is doubt, and the file is there.
TEST_F(DirectoryStorageTest, FailuresBeforeTheLinkAreDefiniteAndAfterItDoubtful) {
  ASSERT_TRUE(Put("log/0", "").ok()) << "the folder exists";
  for (const char* point : {"storage.create", "storage.write", "storage.half_written",
                            "storage.sync", "storage.before_link"}) {
    SetFailpoint(point, "error");
    const absl::Status s = storage_->CreateIfAbsent("log/1", "x");
    SetFailpoint(point, "");
    EXPECT_FALSE(s.ok()) << point;
    EXPECT_FALSE(OutcomeUnknown(s)) << point;
    EXPECT_THAT(Names("log"), ElementsAre("log/0")) << point;
    EXPECT_EQ(Temporaries(), 0u) << point;
  }
  int n = 1;
  for (const char* point : {"storage.after_link", "storage.sync_directory"}) {
    const std::string path = "log/" + std::to_string(n++);
    SetFailpoint(point, "error");
    const absl::Status s = storage_->CreateIfAbsent(path, "x");
    SetFailpoint(point, "");
    EXPECT_TRUE(OutcomeUnknown(s)) << point << ": " << s;
    EXPECT_EQ(Content(path), "x") << point;
    EXPECT_EQ(Temporaries(), 0u) << point;
  }
}

// The directory may be there because its creator died before it was synced: used as it is, a power
// cut would take it away with all checkpoints in it.
TEST_F(DirectoryStorageTest, ADirectoryThatIsThereIsMadeDurableBeforeItIsUsed) {
  SetFailpoint("storage.sync_directory", "error");
  EXPECT_FALSE(DirectoryStorage::Open(directory_ / "root").ok());
  EXPECT_FALSE(DirectoryStorage::OpenShared(directory_ / "root").ok());
  SetFailpoint("storage.sync_directory", "");
  EXPECT_TRUE(DirectoryStorage::Open(directory_ / "root").ok());
}

// A crash at any step leaves either no file or the whole one.
TEST_F(DirectoryStorageTest, ACrashLeavesAllOrNothing) {
  ASSERT_TRUE(Put("log/0", "").ok());
  const std::string content(100'000, 'c');
  int n = 1;
  for (const char* point :
       {"storage.create", "storage.write", "storage.half_written", "storage.sync",
        "storage.before_link", "storage.after_link", "storage.sync_directory"}) {
    const std::string path = "log/" + std::to_string(n++);
    EXPECT_EXIT(
        {
          SetFailpoint(point, "crash");
          (void)storage_->CreateIfAbsent(path, content);
        },
        testing::KilledBySignal(SIGKILL), "")
        << point;
    const auto found = ReadWhole(*storage_, path, 1 << 20);
    const bool linked = std::string(point) == "storage.after_link" ||
                        std::string(point) == "storage.sync_directory";
    EXPECT_EQ(found.ok(), linked) << point;
    EXPECT_EQ(found.value_or(content), content) << point;
  }
}

}  // namespace
}  // namespace weir
