#include "state/checkpoint/garbage_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/failpoint.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/deletion_order.h"
#include "tests/state/checkpoint/manifests.h"

namespace weir {
namespace {

using testing::UnorderedElementsAre;

class GarbageCollectorTest : public testing::Test {
 protected:
  GarbageCollectorTest()
      : storage_(*DirectoryStorage::Open(directory_ / "job")), log_(TakeOver(2)) {}

  std::unique_ptr<CheckpointLog> TakeOver(uint64_t epoch) {
    return *CheckpointLog::TakeOver(*storage_, LeaderEpoch(epoch), "", std::to_string(epoch),
                                    RestorePolicy::kNewest);
  }
  void Commit(uint64_t id, const std::vector<proto::StateHandle>& handles) {
    const absl::Status s = log_->Commit(MakeManifest(id, log_->epoch().value, handles));
    ASSERT_TRUE(s.ok()) << s;
  }
  proto::StateHandle Data(uint64_t id, uint64_t epoch = 2) {
    return WriteData(*storage_, id, epoch, "state");
  }
  bool Exists(const proto::StateHandle& handle) { return storage_->Stat(handle.file()).ok(); }
  /// Two sweeps that are longer apart than the grace; what the second says.
  absl::StatusOr<GarbageReport> SweepTwice(GarbageCollector& gc) {
    const absl::StatusOr<GarbageReport> first = gc.Sweep(std::chrono::hours(1));
    return first.ok() ? gc.Sweep(std::chrono::hours(3)) : first;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
  std::unique_ptr<CheckpointLog> log_;
};

TEST_F(GarbageCollectorTest, FilesOfDroppedCheckpointsGoOneCommitLater) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto base = Data(1), delta1 = Data(1), delta2 = Data(2), delta3 = Data(3);
  Commit(1, {base, delta1});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(2, {base, delta2});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_TRUE(Exists(delta1)) << "a checkpoint in flight may refer to it";
  Commit(3, {base, delta3});
  EXPECT_EQ(gc.AfterCommit()->deleted_files, 1u);
  EXPECT_FALSE(Exists(delta1));
  EXPECT_TRUE(Exists(base)) << "shared";
  EXPECT_TRUE(Exists(delta2));
  EXPECT_TRUE(Exists(delta3));
}

TEST_F(GarbageCollectorTest, ADroppedFileThatTheNextCheckpointUsesStays) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto old_base = Data(1), new_base = Data(2);
  Commit(1, {old_base});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(2, {new_base});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(3, {old_base});  // its writer had not heard of 2 yet
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_TRUE(Exists(old_base));
  Commit(4, {});
  Commit(5, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(6, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_FALSE(Exists(old_base));
}

// It may read for hours, or hang: others go, and its own when it has ended.
TEST_F(GarbageCollectorTest, WhatAnExportReadsStaysUntilItHasEnded) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto exported = Data(1), shared = Data(1), other = Data(2);
  Commit(1, {exported, shared});
  gc.BeginExport(log_->checkpoints().back().entry.manifest());
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(2, {shared, other});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_EQ(log_->checkpoints().size(), 1u) << "its manifest goes: the export has read it";
  for (uint64_t id = 3; id <= 4; ++id) {
    Commit(id, {});
    ASSERT_TRUE(gc.AfterCommit().ok());
  }
  EXPECT_FALSE(Exists(other));
  ASSERT_TRUE(SweepTwice(gc).ok());
  EXPECT_TRUE(Exists(exported));
  EXPECT_TRUE(Exists(shared));

  gc.EndExport(CheckpointId(1));
  Commit(5, {});
  EXPECT_EQ(gc.AfterCommit()->deleted_files, 2u);
  EXPECT_FALSE(Exists(exported));
  EXPECT_FALSE(Exists(shared));
}

// What is exported may be what the next checkpoint refers to all the same.
TEST_F(GarbageCollectorTest, AnExportThatHasEndedTakesNothingFromTheLog) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto base = Data(1);
  Commit(1, {base});
  gc.BeginExport(log_->checkpoints().back().entry.manifest());
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(2, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(3, {base});  // its writer had not heard of 2 yet
  gc.EndExport(CheckpointId(1));
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(4, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_TRUE(Exists(base)) << "a checkpoint in flight may refer to it";
  Commit(5, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_FALSE(Exists(base));
}

// No manifest names them any more, and this leader has not dropped any: it may have exported what
// an earlier one committed.
TEST_F(GarbageCollectorTest, TheSweepLeavesWhatIsExported) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto exported = Data(1);
  proto::Manifest manifest = MakeManifest(1, 2, {exported});
  Commit(2, {});
  gc.BeginExport(manifest);
  ASSERT_TRUE(SweepTwice(gc).ok());
  EXPECT_TRUE(Exists(exported));
}

// Whoever asked notes durably that they are gone; a power cut must not bring one back.
TEST_F(GarbageCollectorTest, WhatIsDeletedWithAJobIsGoneForGood) {
  DeletionOrder order(*storage_);
  const auto log = *CheckpointLog::TakeOver(order, LeaderEpoch(3), "", "3", RestorePolicy::kNewest);
  GarbageCollector gc(*log, {.retained = 1});
  const auto file = WriteData(*storage_, 1, 3, "state");
  ASSERT_TRUE(gc.DeleteAll().ok());
  EXPECT_FALSE(Exists(file));
  for (const std::string& path : order.undurable()) {
    EXPECT_FALSE(path.starts_with("data/")) << path;
  }
}

TEST_F(GarbageCollectorTest, KeepsTheRetainedNumber) {
  GarbageCollector gc(*log_, {.retained = 3});
  std::vector<proto::StateHandle> files;
  for (uint64_t id = 1; id <= 8; ++id) {
    files.push_back(Data(id));
    Commit(id, {files.back()});
    ASSERT_TRUE(gc.AfterCommit().ok());
  }
  EXPECT_EQ(log_->checkpoints().size(), 3u);
  for (size_t i = 5; i < 8; ++i) EXPECT_TRUE(Exists(files[i])) << i;
  for (size_t i = 0; i < 4; ++i) EXPECT_FALSE(Exists(files[i])) << i;
}

TEST_F(GarbageCollectorTest, AFileThatCannotBeDeletedIsTriedAgain) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto first = Data(1);
  Commit(1, {first});
  Commit(2, {});
  ASSERT_TRUE(gc.AfterCommit().ok());
  SetFailpoint("storage.delete", "error");
  EXPECT_EQ(gc.AfterCommit()->kept_in_doubt, 1u);
  SetFailpoint("storage.delete", "");
  EXPECT_TRUE(Exists(first));
  EXPECT_EQ(gc.AfterCommit()->deleted_files, 1u);
  EXPECT_FALSE(Exists(first));
}

TEST_F(GarbageCollectorTest, TheSweepTakesOldOrphansAndNothingElse) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto kept = Data(5), aborted = Data(4), predecessor = Data(900, 1);
  const auto in_flight = Data(6), successor = Data(1, 3);
  ASSERT_TRUE(storage_->CreateIfAbsent("data/notes.txt", "mine").ok());
  Commit(5, {kept});

  EXPECT_EQ(gc.Sweep(std::chrono::hours(5))->deleted_files, 0u) << "seen for the first time";
  EXPECT_EQ(gc.Sweep(std::chrono::minutes(359))->deleted_files, 0u) << "within the grace";
  const auto report = gc.Sweep(std::chrono::minutes(360));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->deleted_files, 2u);
  EXPECT_EQ(report->kept_in_doubt, 3u);
  EXPECT_FALSE(Exists(aborted));
  EXPECT_FALSE(Exists(predecessor));
  EXPECT_TRUE(Exists(kept));
  EXPECT_TRUE(Exists(in_flight)) << "its checkpoint is still to come";
  EXPECT_TRUE(Exists(successor)) << "written under a leader that this one has not heard of";
  EXPECT_TRUE(storage_->Stat("data/notes.txt").ok());
}

// On a small disk they are what the next checkpoint has no room for.
TEST_F(GarbageCollectorTest, BetweenAttemptsWhatNoManifestNamesGoesAtOnce) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto kept = Data(5), aborted = Data(4), of_the_next = Data(6), predecessor = Data(900, 1);
  const auto successor = Data(1, 3), exported = Data(3);
  ASSERT_TRUE(storage_->CreateIfAbsent("data/notes.txt", "mine").ok());
  Commit(5, {kept});
  gc.BeginExport(MakeManifest(3, 2, {exported}));
  auto torn = storage_->Create("data/torn");
  ASSERT_TRUE(torn.ok() && (*torn)->Append("half").ok());

  const auto report = gc.SweepBetweenAttempts();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->deleted_files, 4u) << "and the torn one";
  EXPECT_FALSE(Exists(aborted));
  EXPECT_FALSE(Exists(of_the_next));
  EXPECT_FALSE(Exists(predecessor));
  EXPECT_TRUE(Exists(kept));
  EXPECT_TRUE(Exists(exported));
  EXPECT_TRUE(Exists(successor)) << "written under a leader that this one has not heard of";
  EXPECT_TRUE(storage_->Stat("data/notes.txt").ok());
  EXPECT_FALSE((*torn)->Finish().ok()) << "a writer that is still there finds its file gone";
}

TEST_F(GarbageCollectorTest, BetweenAttemptsNothingWaitsForTheNextCommit) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto former = Data(1), newest = Data(2);
  Commit(1, {former});
  ASSERT_TRUE(gc.AfterCommit().ok());
  Commit(2, {newest});
  ASSERT_TRUE(gc.AfterCommit().ok());
  ASSERT_TRUE(gc.SweepBetweenAttempts().ok());
  EXPECT_FALSE(Exists(former)) << "else the next checkpoint has room beside two of them only";
  EXPECT_TRUE(Exists(newest));
  Commit(3, {Data(3)});
  EXPECT_EQ(gc.AfterCommit()->deleted_files, 0u);
}

// A writer merges segments into a file that is called after the newest checkpoint, and that the
// next one names: nobody's until then, but no orphan, whatever time of day it is called by its
// clock.
TEST_F(GarbageCollectorTest, WhatTheNextCheckpointNamesIsNoOrphanWhateverItsDate) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto segment = Data(1), merged = Data(1);
  for (const auto& file : std::filesystem::directory_iterator(directory_ / "job/data")) {
    std::filesystem::last_write_time(
        file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(9));
  }
  Commit(1, {segment});
  ASSERT_TRUE(gc.Sweep(std::chrono::hours(1)).ok());
  EXPECT_TRUE(Exists(merged));
  Commit(2, {merged});
  ASSERT_TRUE(gc.Sweep(std::chrono::hours(3)).ok());
  EXPECT_TRUE(Exists(merged));
}

TEST_F(GarbageCollectorTest, TheSweepStopsWhenItCannotReadAnEntryOrIsReplaced) {
  GarbageCollector gc(*log_, {.retained = 2});
  const auto orphan = Data(1);
  Commit(2, {});
  Commit(3, {});
  std::fstream(directory_ / "job/" + log_->checkpoints().front().path, std::ios::in | std::ios::out)
      << "?";
  EXPECT_TRUE(absl::IsFailedPrecondition(SweepTwice(gc).status()));
  ASSERT_TRUE(storage_->Delete(log_->checkpoints().front().path).ok());
  TakeOver(3);
  EXPECT_TRUE(IsFenced(SweepTwice(gc).status()));
  EXPECT_TRUE(Exists(orphan));
}

TEST_F(GarbageCollectorTest, ACrashAtAnyDeletionLeavesTheNewestCheckpointWhole) {
  const auto a = Data(1), b = Data(2), c = Data(3);
  for (int pass = 1; pass <= 3; ++pass) {
    SCOPED_TRACE(pass);
    TemporaryDirectory directory;
    EXPECT_EXIT(
        {
          const auto storage = *DirectoryStorage::Open(directory.path());
          const auto log =
              *CheckpointLog::TakeOver(*storage, LeaderEpoch(1), "", "1", RestorePolicy::kNewest);
          GarbageCollector gc(*log, {.retained = 1});
          SetFailpoint("storage.delete", "crash:" + std::to_string(pass));
          for (uint64_t id = 1; id <= 6; ++id) {
            const auto handle = WriteData(*storage, id, 1, "state");
            if (!log->Commit(MakeManifest(id, 1, {handle})).ok()) exit(1);
            if (!gc.AfterCommit().ok()) exit(2);
          }
        },
        testing::KilledBySignal(SIGKILL), "");
    const auto storage = *DirectoryStorage::Open(directory.path());
    const auto log =
        CheckpointLog::TakeOver(*storage, LeaderEpoch(2), "", "2", RestorePolicy::kNewest);
    ASSERT_TRUE(log.ok()) << log.status();
    for (const CheckpointLogEntry& e : (*log)->checkpoints()) {
      EXPECT_TRUE(VerifyChecksums(*storage, e.entry.manifest()).ok());
    }
    // And the next leader cleans up what was left.
    GarbageCollector gc(**log, {.retained = 1});
    ASSERT_TRUE((*log)->Commit(MakeManifest((*log)->first_checkpoint_id().value, 2, {})).ok());
    ASSERT_TRUE(gc.AfterCommit().ok());
    ASSERT_TRUE(SweepTwice(gc).ok());
    ASSERT_TRUE((*log)->Commit(MakeManifest((*log)->first_checkpoint_id().value + 1, 2, {})).ok());
    ASSERT_TRUE(gc.AfterCommit().ok());
    EXPECT_TRUE(storage->List("data")->empty());
  }
}

TEST_F(GarbageCollectorTest, DeletingAJobOfOneLeaderLeavesNothing) {
  GarbageCollector gc(*log_, {.retained = 2});
  Commit(1, {Data(1)});
  Commit(2, {Data(2)});
  std::ofstream(directory_ / "job/.tmp/cut-off") << "by a crash";
  ASSERT_TRUE(gc.DeleteAll().ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "job"));
  EXPECT_FALSE(log_->Commit(MakeManifest(3, 2, {})).ok()) << "the job is over";
  EXPECT_FALSE(std::filesystem::exists(directory_ / "job"));
}

TEST_F(GarbageCollectorTest, DeletingAJobLeavesTheTracesThatFenceItsEarlierLeaders) {
  Commit(1, {Data(1)});
  const std::unique_ptr<CheckpointLog> former = std::move(log_);
  log_ = TakeOver(3);
  GarbageCollector gc(*log_, {.retained = 2});
  ASSERT_TRUE(log_->Commit(MakeManifest(log_->first_checkpoint_id().value, 3, {})).ok());
  ASSERT_TRUE(gc.DeleteAll().ok());
  EXPECT_TRUE(storage_->List("data")->empty());
  const CheckpointLogContents contents = *ReadCheckpointLog(*storage_);
  ASSERT_EQ(contents.entries.size(), 2u);
  for (const CheckpointLogEntry& entry : contents.entries) {
    EXPECT_TRUE(entry.entry.has_leader());
  }
  EXPECT_TRUE(IsFenced(former->Commit(MakeManifest(2, 2, {}))));
}

TEST_F(GarbageCollectorTest, DeletingAJobWaitsForALeaderThatCameLater) {
  Commit(1, {Data(1)});
  GarbageCollector gc(*log_, {.retained = 2});
  const std::unique_ptr<CheckpointLog> later = TakeOver(3);
  EXPECT_TRUE(IsFenced(gc.DeleteAll().status()));
  EXPECT_EQ(later->checkpoints().size(), 1u);
  EXPECT_TRUE(storage_->Stat(later->checkpoints()[0].path).ok());
}

// A savepoint's files keep their names, and with them the epoch of the cluster that wrote them.
TEST_F(GarbageCollectorTest, DeletingAJobTakesWhatItAdoptedFromAnotherCluster) {
  GarbageCollector gc(*log_, {.retained = 1});
  const auto adopted = Data(1, 9), dropped_before = Data(1, 9), of_nobody = Data(1, 9);
  Commit(1, {adopted, dropped_before});
  Commit(2, {adopted, Data(2)});
  ASSERT_TRUE(gc.AfterCommit().ok());
  EXPECT_TRUE(Exists(dropped_before)) << "until the next commit";
  SetFailpoint("storage.delete", "error:3");
  EXPECT_FALSE(gc.DeleteAll().ok());
  SetFailpoint("storage.delete", "");
  ASSERT_TRUE(gc.DeleteAll().ok());
  EXPECT_FALSE(Exists(adopted));
  EXPECT_FALSE(Exists(dropped_before));
  EXPECT_FALSE(Exists(of_nobody)) << "adopted by an attempt that no checkpoint followed";
}

}  // namespace
}  // namespace weir
