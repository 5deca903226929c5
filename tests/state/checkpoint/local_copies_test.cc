// Copies are read where there are any, and never believed: whatever is wrong with one, what comes
// out is what the storage below has.

#include "state/checkpoint/local_copies.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/file/durable_file.h"
#include "base/hash.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/state_file.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/forwarding_storage.h"
#include "tests/state/checkpoint/memory_storage.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kContent[] = "what the subtask had";

class LocalCopiesTest : public testing::Test {
 protected:
  LocalCopiesTest() {
    report_.on_damaged = [this](const std::string& copy) { damaged_.push_back(copy); };
    auto below = std::make_unique<MemoryStorage>();
    below_ = below.get();
    storage_ = std::make_unique<LocalCopies>(std::move(below), copies_, &report_, 0);
  }
  ~LocalCopiesTest() override { SetFailpoint("local_copy.write", ""); }

  static proto::StateHandle Written(CheckpointStorage& storage, const std::string& name,
                                    const std::string& content = kContent) {
    proto::StateHandle handle;
    handle.set_file("data/" + name);
    handle.set_length(content.size());
    proto::Extent* extent = handle.add_extents();
    extent->set_length(content.size());
    extent->set_checksum(StableHash(std::string_view(content)));
    auto writer = storage.Create(handle.file());
    EXPECT_TRUE(writer.ok() && (*writer)->Append(content).ok() && (*writer)->Finish().ok());
    return handle;
  }
  absl::StatusOr<std::string> Read(const proto::StateHandle& handle) {
    return ReadState(*storage_, handle, 1000);
  }
  std::string Copy(const std::string& name) const { return copies_ + "/" + name; }
  std::vector<std::string> Copies() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(copies_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  TemporaryDirectory directory_;
  const std::string copies_ = directory_ / "copies/job";
  LocalCopyReport report_;
  std::vector<std::string> damaged_;
  MemoryStorage* below_ = nullptr;
  std::unique_ptr<LocalCopies> storage_;
};

TEST_F(LocalCopiesTest, WhatWasWrittenHereIsReadHere) {
  const proto::StateHandle handle = Written(*storage_, "a");
  EXPECT_TRUE(below_->Stat("data/a").ok());
  EXPECT_THAT(Copies(), ElementsAre("a"));
  EXPECT_EQ(Read(handle).value(), kContent);
  EXPECT_EQ(report_.local_bytes, handle.length());
  EXPECT_EQ(report_.stored_bytes, 0u);
}

TEST_F(LocalCopiesTest, OutliveTheAttempt) {
  const proto::StateHandle handle = Written(*storage_, "a");
  LocalCopies next(std::make_unique<MemoryStorage>(), copies_, &report_, 0);
  EXPECT_EQ(ReadState(next, handle, 1000).value(), kContent);
}

TEST_F(LocalCopiesTest, WhatOthersWroteIsReadBelow) {
  const proto::StateHandle handle = Written(*below_, "a");
  EXPECT_EQ(Read(handle).value(), kContent);
  EXPECT_EQ(report_.local_bytes, 0u);
  EXPECT_EQ(report_.stored_bytes, handle.length());
}

TEST_F(LocalCopiesTest, ADamagedCopyIsNamedAndTheOriginalIsRead) {
  const proto::StateHandle handle = Written(*storage_, "a");
  std::ofstream(Copy("a"), std::ios::in) << "W";
  EXPECT_EQ(Read(handle).value(), kContent);
  EXPECT_THAT(damaged_, ElementsAre(Copy("a")));
  EXPECT_THAT(Copies(), IsEmpty());
}

// Two slot threads restore two sections of one file. Both have read the damaged copy before either
// says so: the second one finds it deleted.
TEST_F(LocalCopiesTest, ADamagedCopyThatTwoReadIsReadBelowByBoth) {
  class SecondReader final : public ForwardingStorage {
   public:
    SecondReader(CheckpointStorage& below, std::function<void()> between)
        : ForwardingStorage(below), between_(std::move(between)) {}
    absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override {
      const absl::Status status = below_.Read(path, offset, out);
      if (between_) std::exchange(between_, nullptr)();
      return status;
    }

   private:
    std::function<void()> between_;
  };
  const proto::StateHandle handle = Written(*storage_, "a");
  std::ofstream(Copy("a"), std::ios::in) << "W";
  absl::StatusOr<std::string> first;
  SecondReader second(*storage_, [&] { first = Read(handle); });
  EXPECT_EQ(ReadState(second, handle, 1000).value_or("damaged"), kContent);
  EXPECT_EQ(first.value_or("damaged"), kContent);
  EXPECT_THAT(damaged_, ElementsAre(Copy("a")));
}

// As on a disk that was remounted read-only: nobody may unlink a name in /proc/self/fd.
TEST_F(LocalCopiesTest, ADamagedCopyThatCannotBeDeletedIsReadNoMore) {
  std::ofstream(directory_ / "copy") << "What the subtask had";
  const UniqueFd fd(open((directory_ / "copy").c_str(), O_RDONLY | O_CLOEXEC));
  auto below = std::make_unique<MemoryStorage>();
  const proto::StateHandle handle = Written(*below, std::to_string(fd.get()));
  LocalCopies storage(std::move(below), "/proc/self/fd", &report_, 0);
  EXPECT_EQ(ReadState(storage, handle, 1000).value_or("damaged"), kContent);
  EXPECT_EQ(ReadState(storage, handle, 1000).value_or("damaged"), kContent);
  EXPECT_THAT(damaged_, ElementsAre("/proc/self/fd/" + std::to_string(fd.get())));
}

TEST_F(LocalCopiesTest, AShortCopyIsNoCopy) {
  const proto::StateHandle handle = Written(*storage_, "a");
  std::filesystem::resize_file(Copy("a"), 3);
  EXPECT_EQ(Read(handle).value(), kContent);
  EXPECT_EQ(report_.local_bytes, 0u);
  EXPECT_THAT(damaged_, ElementsAre(Copy("a")));
}

TEST_F(LocalCopiesTest, WithoutAGoodCopyADamagedOriginalIsDamage) {
  proto::StateHandle handle = Written(*storage_, "a");
  handle.mutable_extents(0)->set_checksum(1);
  const absl::Status status = Read(handle).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("data/a"));
  EXPECT_TRUE(absl::IsDataLoss(Read(handle).status()));  // and stays so
}

TEST_F(LocalCopiesTest, ThereIsNoneOfAFileThatWasNotWritten) {
  Written(*below_, "a");
  {
    auto writer = storage_->Create("data/a");
    ASSERT_TRUE(writer.ok() && (*writer)->Append("other").ok());
    EXPECT_TRUE(absl::IsAlreadyExists((*writer)->Finish()));
    ASSERT_TRUE((writer = storage_->Create("data/b")).ok() && (*writer)->Append("half").ok());
  }
  EXPECT_THAT(Copies(), IsEmpty());
}

TEST_F(LocalCopiesTest, ACopyThatCannotBeWrittenDisturbsNothing) {
  SetFailpoint("local_copy.write", "error");
  EXPECT_EQ(Read(Written(*storage_, "a")).value(), kContent);
  SetFailpoint("local_copy.write", "");
  EXPECT_THAT(Copies(), IsEmpty());
  std::filesystem::remove_all(copies_);
  EXPECT_EQ(Read(Written(*storage_, "b")).value(), kContent);
}

TEST_F(LocalCopiesTest, ADiskThatIsNearlyFullGetsNone) {
  LocalCopies storage(std::make_unique<MemoryStorage>(), copies_, &report_, 2);
  EXPECT_EQ(ReadState(storage, Written(storage, "a"), 1000).value(), kContent);
  EXPECT_THAT(Copies(), IsEmpty());
}

TEST_F(LocalCopiesTest, GoWhenTheOriginalHasGone) {
  Written(*storage_, "a");
  const proto::StateHandle kept = Written(*storage_, "b");
  auto unfinished = storage_->Create("data/c");
  ASSERT_TRUE(unfinished.ok() && (*unfinished)->Append("c").ok());
  ASSERT_TRUE(below_->Delete("data/a").ok());  // by the JobManager
  storage_->Prune();
  EXPECT_FALSE(std::filesystem::exists(Copy("a")));
  EXPECT_TRUE(std::filesystem::exists(Copy("b")));
  ASSERT_TRUE((*unfinished)->Finish().ok());
  EXPECT_TRUE(std::filesystem::exists(Copy("c")));
}

TEST_F(LocalCopiesTest, ThereAreNoneWithoutADirectory) {
  LocalCopies storage(std::make_unique<MemoryStorage>(), "", &report_);
  const proto::StateHandle handle = Written(storage, "a");
  EXPECT_EQ(ReadState(storage, handle, 1000).value(), kContent);
  EXPECT_EQ(report_.stored_bytes, handle.length());
}

// A sink's finished epoch: a second name of its file is a copy that costs nothing.
TEST_F(LocalCopiesTest, AFileTakenInByLinkIsGivenOutByLink) {
  auto below = DirectoryStorage::Open(directory_ / "storage");
  ASSERT_TRUE(below.ok());
  LocalCopies storage(*std::move(below), copies_, &report_);
  std::ofstream(directory_ / "epoch") << kContent;
  ASSERT_TRUE(storage.PutFile(directory_ / "epoch", "data/e", Transfer::kLinkOrCopy).ok());
  std::filesystem::remove(directory_ / "storage/data/e");
  ASSERT_TRUE(storage.GetFile("data/e", directory_ / "restored", Transfer::kLink).ok());
  EXPECT_TRUE(std::filesystem::equivalent(directory_ / "epoch", directory_ / "restored"));
}

// A link to the original would not be one to the copy that was verified.
TEST_F(LocalCopiesTest, WhereTheCopyCannotBeLinkedToNothingElseIs) {
  const char* const elsewhere = "/dev/shm";
  if (InOneFileSystem(copies_, elsewhere)) GTEST_SKIP() << "one file system";
  auto below = DirectoryStorage::Open(directory_ / "storage");
  ASSERT_TRUE(below.ok());
  LocalCopies storage(*std::move(below), copies_, &report_, 0);
  const proto::StateHandle handle = Written(storage, "e");
  const TemporaryDirectory other(elsewhere);
  const absl::Status status = storage.GetFile("data/e", other / "restored", Transfer::kLink);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot link " + Copy("e")));
  ASSERT_TRUE(DownloadFile(storage, handle, other / "restored", Transfer::kLinkOrCopy).ok());
  std::ifstream file(other / "restored");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), kContent);
}

/// A file of two extents, and of each where it lies.
class LinkedCopyTest : public LocalCopiesTest {
 protected:
  LinkedCopyTest() {
    auto below = DirectoryStorage::Open(directory_ / "storage");
    EXPECT_TRUE(below.ok());
    directories_ = std::make_unique<LocalCopies>(*std::move(below), copies_, &report_, 0);
    handle_ = Written(*directories_, "e");
    proto::Extent* first = handle_.mutable_extents(0);
    proto::Extent* second = handle_.add_extents();
    const std::string_view content = kContent;
    first->set_length(4);
    first->set_checksum(StableHash(content.substr(0, 4)));
    second->set_offset(4);
    second->set_length(content.size() - 4);
    second->set_checksum(StableHash(content.substr(4)));
  }
  static void Damage(const std::string& path, int at) {
    std::fstream(path, std::ios::in | std::ios::out).seekp(at) << "W";
  }
  absl::Status Download() {
    return DownloadFile(*directories_, handle_, restored_, Transfer::kLinkOrCopy);
  }
  std::string Restored() const {
    std::ifstream file(restored_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string original_ = directory_ / "storage/data/e";
  const std::string restored_ = directory_ / "restored";
  std::unique_ptr<LocalCopies> directories_;
  proto::StateHandle handle_;
};

TEST_F(LinkedCopyTest, OfACopyThatIsDamagedAtItsEndNothingCountsAsVerified) {
  Damage(Copy("e"), 7);
  ASSERT_TRUE(Download().ok());
  EXPECT_TRUE(std::filesystem::equivalent(original_, restored_));
  EXPECT_EQ(Restored(), kContent);
}

TEST_F(LinkedCopyTest, OneThatIsDamagedWhereTheOriginalIsNotHidesNoDamageOfThat) {
  Damage(Copy("e"), 7);
  Damage(original_, 0);
  const absl::Status status = Download();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status << ", restored: " << Restored();
  EXPECT_FALSE(std::filesystem::exists(restored_));
}

TEST_F(LinkedCopyTest, AShortOneIsNotLinkedTo) {
  std::filesystem::resize_file(Copy("e"), 4);
  ASSERT_TRUE(Download().ok());
  EXPECT_EQ(Restored(), kContent);
}

// Another slot thread restores the same file and finds the damage: this one has read what is good.
TEST_F(LinkedCopyTest, OneThatSomebodyElseFindsDamagedIsVerifiedFromItsBeginningElsewhere) {
  class FoundOut final : public ForwardingStorage {
   public:
    using ForwardingStorage::ForwardingStorage;
    absl::Status Read(const std::string& path, uint64_t offset, std::span<char> out) override {
      if (offset == 4) below_.ReadElsewhere(path);
      return below_.Read(path, offset, out);
    }
  };
  Damage(original_, 0);
  FoundOut storage(*directories_);
  const absl::Status status = DownloadFile(storage, handle_, restored_, Transfer::kLinkOrCopy);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status << ", restored: " << Restored();
  EXPECT_FALSE(std::filesystem::exists(restored_));
}

TEST(InOneFileSystem, TellsDirectoriesApart) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(InOneFileSystem(directory.path(), directory.path()));
  EXPECT_FALSE(InOneFileSystem(directory.path(), "/proc"));
  EXPECT_FALSE(InOneFileSystem(directory.path(), directory / "missing"));
}

}  // namespace
}  // namespace weir
