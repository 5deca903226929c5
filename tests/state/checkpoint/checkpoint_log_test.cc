#include "state/checkpoint/checkpoint_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/failpoint.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/faulty_storage.h"
#include "tests/state/checkpoint/manifests.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckpointLogTest : public testing::Test {
 protected:
  CheckpointLogTest() : storage_(*DirectoryStorage::Open(directory_ / "job")), faulty_(*storage_) {}

  absl::StatusOr<std::unique_ptr<CheckpointLog>> TakeOver(
      uint64_t epoch, RestorePolicy policy = RestorePolicy::kNewest) {
    return CheckpointLog::TakeOver(faulty_, LeaderEpoch(epoch), "leader",
                                   "incarnation " + std::to_string(epoch), policy);
  }
  /// Ids of the checkpoints that a newcomer finds.
  std::vector<uint64_t> Found() {
    std::vector<uint64_t> ids;
    const CheckpointLogContents contents = *ReadCheckpointLog(*storage_);
    for (const CheckpointLogEntry& e : contents.entries) {
      if (e.is_checkpoint()) ids.push_back(e.entry.manifest().checkpoint_id());
    }
    return ids;
  }
  void Damage(const std::string& path) {
    std::fstream(directory_ / "job/" + path, std::ios::in | std::ios::out).seekp(40) << "?!";
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
  FaultyStorage faulty_;
};

TEST_F(CheckpointLogTest, ACommittedCheckpointIsFoundByTheNextLeader) {
  {
    const auto log = *TakeOver(1);
    EXPECT_TRUE(log->checkpoints().empty());
    EXPECT_EQ(log->first_checkpoint_id(), CheckpointId(1));
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(4, 1, {})).ok()) << "2 and 3 were aborted";
  }
  const auto log = *TakeOver(2);
  ASSERT_EQ(log->checkpoints().size(), 2u);
  const auto newest = log->contents_at_takeover().FindRestorable(RestorePolicy::kNewest);
  ASSERT_TRUE(newest.ok());
  EXPECT_EQ((*newest)->entry.manifest().checkpoint_id(), 4u);
  EXPECT_EQ(ReadManifest(*storage_, (*newest)->path)->checkpoint_id(), 4u);
}

TEST_F(CheckpointLogTest, AnEntryInThePlaceOfAnotherIsDamage) {
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
  }
  const std::string newest = CheckpointLogPath(3);
  std::filesystem::copy_file(directory_ / "job/" + CheckpointLogPath(2),
                             directory_ / "job/" + newest,
                             std::filesystem::copy_options::overwrite_existing);
  const absl::Status read = ReadManifest(*storage_, newest).status();
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr(newest));
  const absl::Status taken = TakeOver(2).status();
  EXPECT_TRUE(absl::IsDataLoss(taken)) << taken;
  EXPECT_THAT(std::string(taken.message()), HasSubstr(newest));
}

TEST_F(CheckpointLogTest, ATruncatedEntryIsToldWithItsDirectory) {
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
  }
  const std::string newest = CheckpointLogPath(2);
  const std::string job = directory_ / "job";
  const std::filesystem::path file = job + "/" + newest;
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  const std::string named = newest + " in directory " + job + " has " +
                            std::to_string(std::filesystem::file_size(file)) +
                            " bytes, its header says";
  EXPECT_THAT(std::string(ReadManifest(*storage_, newest).status().message()), HasSubstr(named));
  EXPECT_THAT(std::string(TakeOver(2).status().message()), HasSubstr(named));
}

TEST_F(CheckpointLogTest, IdsAreNeverUsedAgainNotEvenAbortedOnes) {
  CheckpointId limit;
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    EXPECT_FALSE(log->Commit(MakeManifest(1, 1, {})).ok());
    limit = log->id_limit();
    EXPECT_FALSE(log->Commit(MakeManifest(limit.value, 1, {})).ok()) << "not reserved";
    ASSERT_TRUE(log->ReserveIds().ok());
    EXPECT_GT(log->id_limit(), limit);
    EXPECT_TRUE(log->Commit(MakeManifest(limit.value, 1, {})).ok());
    limit = log->id_limit();
  }
  const auto log = *TakeOver(2);
  EXPECT_GE(log->first_checkpoint_id(), limit);
  EXPECT_FALSE(log->Commit(MakeManifest(limit.value - 1, 2, {})).ok()) << "a predecessor's id";
}

TEST_F(CheckpointLogTest, ALeaderThatWasReplacedCannotCommitHoweverLate) {
  const auto old = *TakeOver(1);
  ASSERT_TRUE(old->Commit(MakeManifest(1, 1, {})).ok());
  const auto now = *TakeOver(2);
  const uint64_t first = now->first_checkpoint_id().value;
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(now->Commit(MakeManifest(first + i, 2, {})).ok());
    ASSERT_TRUE(now->Retain(1).ok()) << "deleted slots must not become free for the old leader";
  }
  const absl::Status late = old->Commit(MakeManifest(2, 1, {}));
  EXPECT_TRUE(IsFenced(late)) << late;
  EXPECT_THAT(std::string(late.message()), HasSubstr("epoch 2"));
  EXPECT_TRUE(IsFenced(old->Commit(MakeManifest(3, 1, {})))) << "and it stays so";
  EXPECT_TRUE(IsFenced(old->Retain(1).status()));
  EXPECT_TRUE(IsFenced(old->ReserveIds()));
  EXPECT_THAT(Found(), ElementsAre(first + 4));
}

// A job that runs for a year reserves ids many times.
TEST_F(CheckpointLogTest, OfItsReservationsALeaderKeepsTheNewest) {
  const auto old = *TakeOver(1);
  ASSERT_TRUE(old->Commit(MakeManifest(1, 1, {})).ok());
  CheckpointId limit;
  {
    const auto now = *TakeOver(2);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(now->ReserveIds().ok());
      ASSERT_TRUE(now->Commit(MakeManifest(now->id_limit().value - 1, 2, {})).ok());
      ASSERT_TRUE(now->Retain(1).ok());
    }
    limit = now->id_limit();
  }
  // Both took over; the last manifest and the last reservation.
  EXPECT_EQ(storage_->List("log")->size(), 4u);
  EXPECT_TRUE(IsFenced(old->Commit(MakeManifest(2, 1, {})))) << "its slot is taken for good";
  const auto next = *TakeOver(3);
  EXPECT_GE(next->first_checkpoint_id(), limit) << "all of them may have been used";
}

// A write that is still on its way must find its slot taken.
TEST_F(CheckpointLogTest, AReservationThatSettledADoubtStays) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLate;
  faulty_.sticky = true;
  EXPECT_TRUE(OutcomeUnknown(log->Commit(MakeManifest(1, 1, {}))));
  faulty_.next = FaultyStorage::Fault::kNone;
  ASSERT_TRUE(log->ReserveIds().ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(log->ReserveIds().ok());
    ASSERT_TRUE(log->Commit(MakeManifest(log->id_limit().value - 1, 1, {})).ok());
    ASSERT_TRUE(log->Retain(1).ok());
  }
  faulty_.Deliver();
  EXPECT_THAT(Found(), ElementsAre(log->id_limit().value - 1));
}

// Each listing syncs the folder, and looks at each file.
TEST_F(CheckpointLogTest, RetainListsTheLogOnce) {
  class Listings final : public ForwardingStorage {
   public:
    using ForwardingStorage::ForwardingStorage;
    absl::StatusOr<std::vector<StoredFile>> List(const std::string& folder) override {
      count += folder == "log";
      return below_.List(folder);
    }
    int count = 0;
  };
  Listings listings(*storage_);
  const auto log =
      *CheckpointLog::TakeOver(listings, LeaderEpoch(1), "", "1", RestorePolicy::kNewest);
  for (uint64_t id : {1, 2}) ASSERT_TRUE(log->Commit(MakeManifest(id, 1, {})).ok());
  listings.count = 0;
  ASSERT_TRUE(log->Retain(1).ok());
  EXPECT_EQ(listings.count, 1);
  ASSERT_TRUE(log->Retain(1).ok());
  EXPECT_EQ(listings.count, 2) << "what was dropped is durable now";
  ASSERT_TRUE(log->Retain(1).ok());
  EXPECT_EQ(listings.count, 2) << "nothing to do";
}

TEST_F(CheckpointLogTest, AnOldLeaderDeletesNothingEvenBeforeItKnows) {
  const auto old = *TakeOver(1);
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(old->Commit(MakeManifest(id, 1, {})).ok());
  const auto now = *TakeOver(2);
  EXPECT_TRUE(IsFenced(old->Retain(1).status()));
  EXPECT_THAT(Found(), ElementsAre(1, 2, 3));
}

TEST_F(CheckpointLogTest, ALowerOrSharedEpochIsRefused) {
  ASSERT_TRUE(TakeOver(5).ok());
  EXPECT_TRUE(IsFenced(TakeOver(4).status()));
  EXPECT_TRUE(IsFenced(
      CheckpointLog::TakeOver(*storage_, LeaderEpoch(5), "x", "another", RestorePolicy::kNewest)
          .status()));
  EXPECT_TRUE(TakeOver(5).ok()) << "the same start may repeat itself";
  EXPECT_TRUE(TakeOver(6).ok());
}

TEST_F(CheckpointLogTest, OfLeadersAndCommitsThatRaceEachSlotHasOneWinner) {
  // Each thread takes over with its own epoch and commits until it is fenced. In the end the log
  // must read as a sequence of reigns: epochs only grow.
  constexpr uint64_t kLeaders = 6;
  std::vector<std::thread> threads;
  std::atomic<uint64_t> committed{0};
  for (uint64_t epoch = 1; epoch <= kLeaders; ++epoch) {
    threads.emplace_back([&, epoch] {
      const auto own = *DirectoryStorage::Open(directory_ / "job");
      auto log = CheckpointLog::TakeOver(*own, LeaderEpoch(epoch), "", std::to_string(epoch),
                                         RestorePolicy::kNewest);
      if (!log.ok()) {
        EXPECT_TRUE(IsFenced(log.status())) << log.status();
        return;
      }
      for (uint64_t i = 0; i < 20; ++i) {
        const absl::Status s =
            (*log)->Commit(MakeManifest((*log)->first_checkpoint_id().value + i, epoch, {}));
        if (!s.ok()) {
          EXPECT_TRUE(IsFenced(s)) << s;
          return;
        }
        ++committed;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  const CheckpointLogContents contents = *ReadCheckpointLog(*storage_);
  uint64_t epoch = 0, id = 0, slot = 0, manifests = 0;
  for (const CheckpointLogEntry& e : contents.entries) {
    EXPECT_EQ(e.slot, ++slot) << "no gaps";
    if (e.entry.has_leader()) {
      EXPECT_GT(e.entry.leader().leader_epoch(), epoch);
      epoch = e.entry.leader().leader_epoch();
    } else {
      ++manifests;
      EXPECT_EQ(e.entry.manifest().leader_epoch(), epoch) << "a commit after the reign ended";
      EXPECT_GT(e.entry.manifest().checkpoint_id(), id);
      id = e.entry.manifest().checkpoint_id();
    }
  }
  EXPECT_EQ(epoch, kLeaders);
  EXPECT_EQ(manifests, committed) << "what was reported as committed is there, and nothing else";
}

TEST_F(CheckpointLogTest, ADoubtfulCommitThatTookPlaceCounts) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kDone;
  EXPECT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok()) << "read back";
  EXPECT_THAT(Found(), ElementsAre(1));
  EXPECT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
}

TEST_F(CheckpointLogTest, ADoubtfulCommitThatIsNotThereIsTriedAgain) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLost;
  EXPECT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
  EXPECT_THAT(Found(), ElementsAre(1));
}

TEST_F(CheckpointLogTest, ACommitThatStaysInDoubtIsSettledByTheNext) {
  for (const bool arrives : {false, true}) {
    const auto log = *TakeOver(arrives ? 2 : 1);
    const uint64_t epoch = log->epoch().value;
    const uint64_t first = log->first_checkpoint_id().value;
    faulty_.next = FaultyStorage::Fault::kLate;
    faulty_.sticky = true;
    const absl::Status s = log->Commit(MakeManifest(first, epoch, {}));
    EXPECT_TRUE(OutcomeUnknown(s)) << s;
    EXPECT_EQ(log->in_doubt().size(), 1u);
    faulty_.next = FaultyStorage::Fault::kNone;
    faulty_.sticky = false;
    if (arrives) faulty_.Deliver();
    EXPECT_TRUE(log->Commit(MakeManifest(first + 1, epoch, {})).ok());
    EXPECT_TRUE(log->in_doubt().empty());
    faulty_.Deliver();  // too late: the slot is filled
    EXPECT_EQ(log->checkpoints().back().entry.manifest().checkpoint_id(), first + 1);
    const std::vector<uint64_t> found = Found();
    EXPECT_EQ(std::count(found.begin(), found.end(), first), arrives ? 1 : 0);
    EXPECT_EQ(found.back(), first + 1);
  }
}

// What an earlier try wrote may yet arrive, whatever the next one ends with.
TEST_F(CheckpointLogTest, ACommitThatFailsBehindADoubtIsInDoubt) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLate;
  SetFailpoint("storage.create", "error");
  const absl::Status s = log->Commit(MakeManifest(1, 1, {}));
  SetFailpoint("storage.create", "");
  EXPECT_TRUE(OutcomeUnknown(s)) << s;
  EXPECT_EQ(log->in_doubt().size(), 1u);
  faulty_.Deliver();
  EXPECT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok()) << "it is ours";
  EXPECT_THAT(Found(), ElementsAre(1, 2));
}

/// The link is there, and nobody is told.
void ReserveInDoubt(CheckpointLog& log, FaultyStorage& storage) {
  storage.next = FaultyStorage::Fault::kDone;
  storage.lists = false;
  const absl::Status reserved = log.ReserveIds();
  EXPECT_TRUE(OutcomeUnknown(reserved)) << reserved;
  storage.lists = true;
}

TEST_F(CheckpointLogTest, AReservationInDoubtThatTookPlaceIsOurs) {
  const auto log = *TakeOver(1);
  const CheckpointId limit = log->id_limit();
  ReserveInDoubt(*log, faulty_);
  EXPECT_EQ(log->id_limit(), limit);
  const absl::Status committed = log->Commit(MakeManifest(1, 1, {}));
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_EQ(log->id_limit().value, limit.value + CheckpointLog::kIdBlock);
  EXPECT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
  EXPECT_THAT(Found(), ElementsAre(1, 2));
}

TEST_F(CheckpointLogTest, AReservationInDoubtFollowedByALargerOneIsOursToo) {
  const auto log = *TakeOver(1);
  ReserveInDoubt(*log, faulty_);
  const absl::Status reserved = log->ReserveIds(CheckpointId(70'000));
  EXPECT_TRUE(reserved.ok()) << reserved;
  EXPECT_EQ(log->id_limit().value, 70'000 + CheckpointLog::kIdBlock);
  EXPECT_EQ(ReadCheckpointLog(*storage_)->next_checkpoint_id, log->id_limit());
}

TEST_F(CheckpointLogTest, AReservationInDoubtDoesNotHinderTheEndOfTheJob) {
  const auto log = *TakeOver(1);
  EXPECT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
  EXPECT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
  ReserveInDoubt(*log, faulty_);
  const auto retained = log->Retain(1);
  EXPECT_TRUE(retained.ok()) << retained.status();
  const auto dropped = log->DropAll();
  EXPECT_TRUE(dropped.ok()) << dropped.status();
  const absl::StatusOr<bool> removed = log->RemoveIfAlone();
  EXPECT_TRUE(removed.ok() && *removed) << removed.status();
}

// Its entry may still come, into a slot that must be found taken.
TEST_F(CheckpointLogTest, AReservationThatMayStillComeKeepsTheEntriesOfLeaders) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLate;
  faulty_.sticky = true;
  EXPECT_TRUE(OutcomeUnknown(log->ReserveIds()));
  faulty_.next = FaultyStorage::Fault::kNone;
  EXPECT_TRUE(log->DropAll().ok());
  EXPECT_FALSE(*log->RemoveIfAlone());
  const size_t entries = ReadCheckpointLog(*storage_)->entries.size();
  faulty_.Deliver();
  EXPECT_EQ(ReadCheckpointLog(*storage_)->entries.size(), entries);
}

TEST_F(CheckpointLogTest, AfterAReservationInDoubtAnotherLeaderFences) {
  const auto log = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLost;
  faulty_.lists = false;
  EXPECT_TRUE(OutcomeUnknown(log->ReserveIds()));
  faulty_.lists = true;
  const auto other = *TakeOver(2);
  EXPECT_TRUE(IsFenced(log->Commit(MakeManifest(1, 1, {}))));
}

TEST_F(CheckpointLogTest, ALeaderInDoubtThatWasReplacedIsFenced) {
  const auto old = *TakeOver(1);
  faulty_.next = FaultyStorage::Fault::kLate;
  faulty_.sticky = true;
  EXPECT_TRUE(OutcomeUnknown(old->Commit(MakeManifest(1, 1, {}))));
  faulty_.next = FaultyStorage::Fault::kNone;
  faulty_.sticky = false;
  const auto now = *TakeOver(2);
  faulty_.Deliver();
  EXPECT_TRUE(IsFenced(old->Commit(MakeManifest(2, 1, {}))));
  EXPECT_THAT(Found(), IsEmpty());
}

TEST_F(CheckpointLogTest, AFailedCommitDoesNotExistAndTheNextOneWorks) {
  const auto log = *TakeOver(1);
  for (const char* point : {"storage.create", "storage.write", "storage.half_written",
                            "storage.sync", "storage.before_link"}) {
    SetFailpoint(point, "error");
    const absl::Status s = log->Commit(MakeManifest(1, 1, {}));
    SetFailpoint(point, "");
    EXPECT_TRUE(absl::IsUnavailable(s)) << point << ": " << s;
  }
  EXPECT_THAT(Found(), IsEmpty());
  EXPECT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
}

TEST_F(CheckpointLogTest, ACrashAtAnyStepLeavesTheCheckpointWholeOrAbsent) {
  uint64_t epoch = 1;
  for (const char* point :
       {"storage.create", "storage.write", "storage.half_written", "storage.sync",
        "storage.before_link", "storage.after_link", "storage.sync_directory"}) {
    const size_t before = Found().size();
    const uint64_t crashing = epoch++;
    EXPECT_EXIT(
        {
          const auto log = *TakeOver(crashing);
          SetFailpoint(point, "crash");
          (void)log->Commit(MakeManifest(log->first_checkpoint_id().value, crashing, {}));
        },
        testing::KilledBySignal(SIGKILL), "")
        << point;
    const auto log = TakeOver(epoch);
    ASSERT_TRUE(log.ok()) << point << ": " << log.status();
    const bool linked = std::string(point) == "storage.after_link" ||
                        std::string(point) == "storage.sync_directory";
    EXPECT_EQ((*log)->checkpoints().size(), before + (linked ? 1 : 0)) << point;
    ++epoch;
    EXPECT_TRUE(
        (*log)->Commit(MakeManifest((*log)->first_checkpoint_id().value, epoch - 1, {})).ok());
  }
}

TEST_F(CheckpointLogTest, ACommitWhoseFilesAreMissingIsRefused) {
  const auto log = *TakeOver(1);
  const proto::StateHandle handle = WriteData(*storage_, 1, 1, "state");
  ASSERT_TRUE(storage_->Delete(handle.file()).ok());
  const absl::Status s = log->Commit(MakeManifest(1, 1, {handle}));
  EXPECT_TRUE(absl::IsNotFound(s));
  EXPECT_THAT(std::string(s.message()), HasSubstr(handle.file()));
  EXPECT_THAT(Found(), IsEmpty());
}

TEST_F(CheckpointLogTest, AnUnreadableNewestCheckpointIsNamedAndPassedOverOnlyByPolicy) {
  std::string path;
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
    path = log->checkpoints().back().path;
  }
  Damage(path);
  const absl::Status refused = TakeOver(2).status();
  EXPECT_TRUE(absl::IsDataLoss(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr(path));

  const auto log = TakeOver(2, RestorePolicy::kNewestReadable);
  ASSERT_TRUE(log.ok()) << log.status();
  const auto entry = (*log)->contents_at_takeover().FindRestorable(RestorePolicy::kNewestReadable);
  EXPECT_EQ((*entry)->entry.manifest().checkpoint_id(), 1u);
  ASSERT_TRUE((*log)->Commit(MakeManifest((*log)->first_checkpoint_id().value, 2, {})).ok());
  EXPECT_TRUE(TakeOver(3).ok()) << "a newer readable one: the damaged one no longer matters";
}

TEST_F(CheckpointLogTest, ANewestCheckpointThatHasGoneIsMissedAndNamed) {
  std::string newest, older;
  {
    const auto log = *TakeOver(1);
    for (uint64_t id = 1; id <= 4; ++id) {
      ASSERT_TRUE(log->Commit(MakeManifest(id, 1, {})).ok());
      ASSERT_TRUE(log->Retain(2).ok());
    }
    newest = log->checkpoints().back().path;
    older = log->checkpoints().front().path;
  }
  EXPECT_TRUE(ReadCheckpointLog(*storage_)->FindRestorable(RestorePolicy::kNewest).ok());
  ASSERT_TRUE(storage_->Delete(newest).ok());
  const absl::Status refused = TakeOver(2).status();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  for (const std::string& named : {newest, older, storage_->Describe()}) {
    EXPECT_THAT(std::string(refused.message()), HasSubstr(named));
  }
  ASSERT_TRUE(TakeOver(2, RestorePolicy::kNewestReadable).ok());
  ASSERT_TRUE(storage_->Delete(older).ok());
  EXPECT_TRUE(absl::IsDataLoss(TakeOver(3).status())) << "nor does it start from nothing";
}

TEST_F(CheckpointLogTest, ANewerCheckpointThanTheNotedOneCounts) {
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
    ASSERT_TRUE(log->Retain(2).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(3, 1, {})).ok()) << "and a crash before it is noted";
  }
  const auto log = *TakeOver(2);
  EXPECT_EQ(log->checkpoints().size(), 3u);
  ASSERT_TRUE(log->Retain(2).ok());
  ASSERT_TRUE(storage_->Delete(log->checkpoints().back().path).ok());
  EXPECT_TRUE(absl::IsDataLoss(TakeOver(3).status()));
}

TEST_F(CheckpointLogTest, ANoteThatCannotBeWrittenKeepsNothing) {
  const auto log = *TakeOver(1);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(log->Commit(MakeManifest(id, 1, {})).ok());
  SetFailpoint("storage.create", "error:1");
  EXPECT_TRUE(log->Retain(2).ok());
  SetFailpoint("storage.create", "");
  EXPECT_THAT(Found(), ElementsAre(2, 3));
}

TEST_F(CheckpointLogTest, AfterAllCheckpointsAreDroppedNoneIsMissed) {
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    ASSERT_TRUE(log->Commit(MakeManifest(2, 1, {})).ok());
    ASSERT_TRUE(log->Retain(2).ok());
    ASSERT_TRUE(log->DropAll().ok());
  }
  EXPECT_TRUE(storage_->List("newest")->empty());
  EXPECT_TRUE(TakeOver(2).ok());
}

TEST_F(CheckpointLogTest, IfNoCheckpointCanBeReadItDoesNotStartFromNothing) {
  {
    const auto log = *TakeOver(1);
    ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
    Damage(log->checkpoints().back().path);
  }
  EXPECT_TRUE(absl::IsDataLoss(TakeOver(2, RestorePolicy::kNewestReadable).status()));
}

TEST_F(CheckpointLogTest, StrangersInTheFolderAreLeftAlone) {
  ASSERT_TRUE(storage_->CreateIfAbsent("log/README", "hello").ok());
  const auto log = *TakeOver(1);
  ASSERT_TRUE(log->Commit(MakeManifest(1, 1, {})).ok());
  EXPECT_THAT(Found(), ElementsAre(1));
}

}  // namespace
}  // namespace weir
