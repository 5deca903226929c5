#include "state/checkpoint/savepoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/failpoint.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/deletion_order.h"
#include "tests/state/checkpoint/manifests.h"

namespace weir {
namespace {

using testing::HasSubstr;

class SavepointTest : public testing::Test {
 protected:
  SavepointTest()
      : job_(*DirectoryStorage::Open(directory_ / "job")),
        target_(*DirectoryStorage::Open(directory_ / "savepoint")) {
    log_ = *CheckpointLog::TakeOver(*job_, LeaderEpoch(1), "", "1", RestorePolicy::kNewest);
    handles_ = {WriteData(*job_, 1, 1, "base"), WriteData(*job_, 2, 1, "delta")};
    manifest_ = MakeManifest(2, 1, handles_);
    EXPECT_TRUE(log_->Commit(manifest_).ok());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> job_, target_;
  std::unique_ptr<CheckpointLog> log_;
  std::vector<proto::StateHandle> handles_;
  proto::Manifest manifest_;
};

TEST_F(SavepointTest, IsWholeWhereverItIsMoved) {
  ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok());
  std::filesystem::remove_all(directory_ / "job");
  std::filesystem::rename(directory_ / "savepoint", directory_ / "elsewhere");
  const auto moved = *DirectoryStorage::Open(directory_ / "elsewhere");
  const auto read = ReadSavepoint(*moved);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->kind(), proto::Manifest::SAVEPOINT);
  EXPECT_EQ(read->exported_from(), 2u);
  EXPECT_TRUE(VerifyChecksums(*moved, *read).ok());
  EXPECT_EQ(*ReadState(*moved, handles_[0], 100), "base");
}

TEST_F(SavepointTest, ADamagedFileIsNotExported) {
  std::fstream(directory_ / "job/" + handles_[1].file(), std::ios::in | std::ios::out) << "D";
  const absl::Status s = ExportSavepoint(*job_, manifest_, *target_).status();
  EXPECT_TRUE(absl::IsDataLoss(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(handles_[1].file()));
  EXPECT_TRUE(absl::IsNotFound(ReadSavepoint(*target_).status()));
}

TEST_F(SavepointTest, ADirectoryInUseIsRefused) {
  ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok());
  EXPECT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok()) << "the same again is a retry";
  EXPECT_FALSE(ExportSavepoint(*job_, MakeManifest(3, 1, {}), *target_).ok());
  EXPECT_FALSE(ExportSavepoint(*job_, manifest_, *job_).ok());
}

/// Passes of "storage.sync": the note, two data files, the manifest.
constexpr int kPasses = 4;
constexpr const char* kPoints[] = {"storage.sync", "storage.before_link", "storage.after_link"};

class SavepointCrashTest : public SavepointTest {
 protected:
  /// Runs `check` on what an export left that was killed at each of its steps.
  void AfterEach(const std::function<void(const std::string& where, bool whole)>& check) {
    for (int pass = 1; pass <= kPasses; ++pass) {
      for (const std::string point : kPoints) {
        SCOPED_TRACE(point + " " + std::to_string(pass));
        const std::string where = directory_ / ("sp-" + point + std::to_string(pass));
        EXPECT_EXIT(
            {
              const auto target = *DirectoryStorage::Open(where);
              SetFailpoint(point, "crash:" + std::to_string(pass));
              (void)ExportSavepoint(*job_, manifest_, *target);
            },
            testing::KilledBySignal(SIGKILL), "");
        const auto target = *DirectoryStorage::Open(where);
        const bool whole = ReadSavepoint(*target).ok();
        EXPECT_EQ(whole, pass == kPasses && point == "storage.after_link");
        check(where, whole);
      }
    }
  }
};

TEST_F(SavepointCrashTest, TheExportGoesOn) {
  AfterEach([&](const std::string& where, bool) {
    const auto target = *DirectoryStorage::Open(where);
    const auto again = ExportSavepoint(*job_, manifest_, *target);
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(VerifyChecksums(*target, *ReadSavepoint(*target)).ok());
    EXPECT_FALSE(std::filesystem::exists(where + "/exporting"));
  });
}

TEST_F(SavepointCrashTest, WhatIsNotWholeIsSweptAndWhatIsStays) {
  AfterEach([&](const std::string& where, bool whole) {
    const auto swept = SweepExport(**DirectoryStorage::Open(where), manifest_.job_id());
    ASSERT_TRUE(swept.ok()) << swept.status();
    EXPECT_EQ(*swept == SweptExport::kWhole, whole);
    EXPECT_EQ(std::filesystem::exists(where), whole);
    if (whole) {
      EXPECT_TRUE(ReadSavepoint(**DirectoryStorage::Open(where)).ok());
    }
  });
}

TEST_F(SavepointTest, ASweepTakesNothingThatTheExportDidNotBegin) {
  const std::string id = manifest_.job_id();
  ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok());
  EXPECT_EQ(*SweepExport(*target_, id), SweptExport::kForeign) << "a savepoint, and no note";
  EXPECT_EQ(*SweepExport(*job_, id), SweptExport::kForeign) << "the job's own checkpoints";

  const auto other = *DirectoryStorage::Open(directory_ / "other");
  ASSERT_TRUE(other->CreateIfAbsent("data/kept", "bytes").ok());
  EXPECT_EQ(*SweepExport(*other, id), SweptExport::kForeign) << "files, and no note";
  EXPECT_FALSE(ExportSavepoint(*job_, manifest_, *other).ok());
  ASSERT_TRUE(other->CreateIfAbsent("exporting", "another-job 7\n").ok());
  EXPECT_EQ(*SweepExport(*other, id), SweptExport::kForeign) << "another job's note";
  EXPECT_FALSE(ExportSavepoint(*job_, manifest_, *other).ok());
  EXPECT_TRUE(other->Stat("data/kept").ok());

  const auto damaged = *DirectoryStorage::Open(directory_ / "damaged");
  ASSERT_TRUE(damaged->CreateIfAbsent("exporting", id + " 2\n").ok());
  ASSERT_TRUE(damaged->CreateIfAbsent("data/kept", "bytes").ok());
  ASSERT_TRUE(damaged->CreateIfAbsent("log/1", "not a manifest").ok());
  EXPECT_EQ(*SweepExport(*damaged, id), SweptExport::kWhole) << "any doubt keeps it";
  EXPECT_TRUE(damaged->Stat("data/kept").ok());
}

TEST_F(SavepointTest, DisposingLeavesNothing) {
  ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok());
  EXPECT_TRUE(DisposeSavepoint(*target_).ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "savepoint"));
  EXPECT_TRUE(VerifyChecksums(*job_, manifest_).ok()) << "the job's own files are its own";
}

// Its manifest goes first: whoever comes again finds none.
TEST_F(SavepointTest, ADisposalThatWasCutOffGoesOn) {
  constexpr int kDeletions = 4;  // the manifest, two files, the note
  for (int failing = 1; failing <= kDeletions; ++failing) {
    SCOPED_TRACE(failing);
    const std::string where = directory_ / ("sp-" + std::to_string(failing));
    const auto target = *DirectoryStorage::Open(where);
    ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target).ok());
    ASSERT_TRUE(target->CreateIfAbsent("data/of-another", "bytes").ok());
    SetFailpoint("storage.delete", "error:" + std::to_string(failing));
    EXPECT_FALSE(DisposeSavepoint(*target).ok());
    SetFailpoint("storage.delete", "");
    const absl::Status again = DisposeSavepoint(*target);
    EXPECT_TRUE(again.ok()) << again;
    for (const proto::StateHandle& handle : handles_) {
      EXPECT_FALSE(target->Stat(handle.file()).ok()) << handle.file();
    }
    EXPECT_TRUE(target->Stat("data/of-another").ok()) << "it never was the savepoint's";
    EXPECT_TRUE(absl::IsNotFound(DisposeSavepoint(*target))) << "nothing is left to be done";
  }
}

// A writer that was killed, in a job that was cancelled and retains its checkpoints.
TEST_F(SavepointTest, DisposingTakesWhatWasLeftHalfWritten) {
  std::ofstream(directory_ / "job/.tmp/t-left-by-a-writer") << "half";
  EXPECT_TRUE(DisposeSavepoint(*job_).ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "job"));
}

TEST_F(SavepointTest, TheNoteOfADisposalGoesWhenAllElseIsGoneForGood) {
  DeletionOrder order(*job_);
  ASSERT_TRUE(DisposeSavepoint(order).ok());
  EXPECT_THAT(order.undurable(), testing::Contains("disposing"));
  for (const std::string& path : order.undurable_at_last()) {
    EXPECT_FALSE(path.starts_with("data/")) << path;
  }
}

// Room is what it is disposed of for.
TEST_F(SavepointTest, AFullDiskIsNoReasonNotToDispose) {
  ASSERT_TRUE(ExportSavepoint(*job_, manifest_, *target_).ok());
  SetFailpoint("storage.write", "error");
  EXPECT_TRUE(DisposeSavepoint(*target_).ok());
  SetFailpoint("storage.write", "");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "savepoint"));
}

TEST_F(SavepointTest, RetainedCheckpointsAreDisposedOfWithAllThatTheJobLeft) {
  EXPECT_TRUE(absl::IsNotFound(DisposeSavepoint(*target_)));
  EXPECT_TRUE(DisposeSavepoint(*job_).ok());
  EXPECT_TRUE(job_->List("log")->empty());
  EXPECT_TRUE(job_->List("data")->empty());
}

TEST_F(SavepointTest, RetainedCheckpointsOfACancelledJobCanBeRestoredLikeOne) {
  const auto read = ReadSavepoint(*job_);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->checkpoint_id(), 2u);
}

}  // namespace
}  // namespace weir
