#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/garbage_collector.h"
#include "state/checkpoint/manifest.h"
#include "tests/state/checkpoint/faulty_storage.h"
#include "tests/state/checkpoint/manifests.h"
#include "tests/state/checkpoint/memory_storage.h"

// Hundreds of checkpoints that share files, in any order of what can become of one: committed,
// aborted before or after its files are written, failed for want of room, in doubt, cut off by the
// death of its leader or writer, contended for by a leader that was replaced. After each, every
// retained checkpoint can be read to its last byte and comes to the state that it was taken of; in
// the end nothing lies there that no checkpoint names.

namespace weir {
namespace {

constexpr int kCycles = 500;
constexpr auto kCycleTime = std::chrono::minutes(7);

using Handles = std::vector<proto::StateHandle>;

std::string ContentOf(CheckpointStorage& storage, const Handles& handles) {
  std::string all;
  for (const proto::StateHandle& handle : handles) {
    const absl::StatusOr<std::string> part = ReadState(storage, handle, 1 << 20);
    if (!part.ok()) return std::string(part.status().message());
    all += *part;
  }
  return all;
}

Handles HandlesOf(const proto::Manifest& manifest) {
  Handles handles;
  ForEachHandle(manifest, [&](const proto::StateHandle& handle) { handles.push_back(handle); });
  return handles;
}

/// One job's log, collector and writer, with those that they replaced.
class Churn {
 public:
  Churn(uint32_t seed, uint32_t retained) : dice_(seed), retained_(retained), seed_(seed) {
    NewLeader();
  }

  void Run() {
    for (cycle_ = 0; cycle_ < kCycles && !testing::Test::HasFailure(); ++cycle_) {
      now_ += kCycleTime;
      Cycle();
      Check();
    }
  }

  // A quiet end: what is not needed goes.
  void Settle() {
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(CommitOne().ok());
      ASSERT_TRUE(collector_->AfterCommit().ok());
    }
    for (int i = 0; i < 2; ++i) {
      now_ += std::chrono::hours(2);
      ASSERT_TRUE(collector_->AfterCommit().ok());
      ASSERT_TRUE(collector_->Sweep(now_).ok());
    }
    std::set<std::string> named, there;
    for (const CheckpointLogEntry& e : log_->checkpoints())
      named.merge(FilesOf(e.entry.manifest()));
    const std::vector<StoredFile> files = *memory_.List("data");
    for (const StoredFile& file : files) there.insert(file.path);
    EXPECT_EQ(there, named) << Where();
  }

 private:
  bool Chance(int percent) { return static_cast<int>(dice_() % 100) < percent; }
  std::string Where() const { return absl::StrCat("seed ", seed_, ", cycle ", cycle_); }

  void NewLeader() {
    former_collector_ = std::move(collector_);
    former_ = std::move(log_);
    former_id_ = next_id_;
    ++epoch_;
    log_ = *CheckpointLog::TakeOver(storage_, LeaderEpoch(epoch_), "", absl::StrCat(epoch_),
                                    RestorePolicy::kNewest);
    collector_ = std::make_unique<GarbageCollector>(*log_, GarbageOptions{.retained = retained_});
    next_id_ = log_->first_checkpoint_id().value;
    Restore();
  }

  // A new attempt of the job.
  void Restore() {
    if (!log_->in_doubt().empty()) {
      ASSERT_TRUE(log_->ReserveIds().ok()) << Where();
    }
    chain_ = log_->checkpoints().empty() ? Handles()
                                         : HandlesOf(log_->checkpoints().back().entry.manifest());
    content_ = ContentOf(storage_, chain_);
    unwritten_.clear();
  }

  absl::Status WriteDelta(uint64_t id) {
    const std::string letter(1 + dice_() % 5, static_cast<char>('a' + dice_() % 26));
    content_ += letter;
    unwritten_ += letter;
    const proto::StateHandle delta = WriteData(storage_, id, epoch_, unwritten_);
    if (delta.file().empty()) return absl::ResourceExhaustedError("full");
    unwritten_.clear();
    chain_.push_back(delta);
    return absl::OkStatus();
  }

  // Beside the checkpoints: a file named after the newest segment that goes into it.
  void Merge() {
    if (chain_.size() < 3) return;
    const size_t count = 2 + dice_() % (chain_.size() - 1);
    const auto end = chain_.begin() + static_cast<ptrdiff_t>(std::min(count, chain_.size()));
    const Handles merged(chain_.begin(), end);
    const proto::StateHandle base =
        WriteData(storage_, merged.back().checkpoint_id(), epoch_, ContentOf(storage_, merged));
    if (base.file().empty()) return;
    chain_.erase(chain_.begin(), end);
    chain_.insert(chain_.begin(), base);
  }

  absl::Status CommitOne() {
    if (next_id_ + 1 >= log_->id_limit().value) (void)log_->ReserveIds();
    const uint64_t id = next_id_++;
    if (absl::Status s = WriteDelta(id); !s.ok()) return s;
    const proto::Manifest manifest = MakeManifest(id, epoch_, chain_);
    expected_[id] = content_;
    // What is merged meanwhile belongs to the next one.
    if (Chance(30)) Merge();
    return log_->Commit(manifest);
  }

  void Cycle() {
    if (former_ != nullptr && Chance(10)) {  // a leader that was replaced wakes up
      EXPECT_FALSE(former_->Commit(MakeManifest(former_id_++, epoch_ - 1, {})).ok()) << Where();
      (void)former_collector_->AfterCommit();
      (void)former_collector_->Sweep(now_ + std::chrono::hours(9));
    }
    if (Chance(5)) {  // a writer that was replaced and does not know it
      (void)WriteData(storage_, next_id_ - 1, epoch_ - dice_() % 2, "zombie");
    }
    if (Chance(15)) {  // given up before or after its file was written
      const uint64_t id = next_id_++;
      if (Chance(70)) (void)WriteDelta(id);
    }
    if (Chance(10)) memory_.room = dice_() % 3;
    if (Chance(10)) {
      constexpr FaultyStorage::Fault kFaults[] = {
          FaultyStorage::Fault::kDone, FaultyStorage::Fault::kLost, FaultyStorage::Fault::kLate};
      storage_.next = kFaults[dice_() % 3];
      storage_.sticky = Chance(30);
    }
    const absl::Status committed = CommitOne();
    memory_.room = UINT64_MAX;
    storage_.next = FaultyStorage::Fault::kNone;
    storage_.sticky = false;
    storage_.Deliver();
    if (committed.ok()) {
      EXPECT_TRUE(collector_->AfterCommit().ok()) << Where();
    } else {
      EXPECT_FALSE(IsFenced(committed)) << Where() << ": " << committed;
    }
    if (Chance(15)) {
      EXPECT_TRUE(collector_->Sweep(now_).ok()) << Where();
    }
    if (Chance(8)) NewLeader();
    if (Chance(8)) Restore();
  }

  void Check() {
    const absl::StatusOr<CheckpointLogContents> contents = ReadCheckpointLog(memory_);
    ASSERT_TRUE(contents.ok()) << Where() << ": " << contents.status();
    ASSERT_TRUE(contents->FindRestorable(RestorePolicy::kNewest).ok()) << Where();
    for (const CheckpointLogEntry& e : contents->entries) {
      ASSERT_TRUE(e.status.ok()) << Where() << ": " << e.status;
      if (!e.is_checkpoint()) continue;
      const proto::Manifest& manifest = e.entry.manifest();
      const absl::Status whole = VerifyChecksums(memory_, manifest);
      ASSERT_TRUE(whole.ok()) << Where() << ": " << whole;
      ASSERT_EQ(ContentOf(memory_, HandlesOf(manifest)), expected_[manifest.checkpoint_id()])
          << Where();
    }
  }

  std::mt19937 dice_;
  const uint32_t retained_, seed_;
  int cycle_ = 0;
  MemoryStorage memory_;
  FaultyStorage storage_{memory_};
  std::unique_ptr<CheckpointLog> log_, former_;
  std::unique_ptr<GarbageCollector> collector_, former_collector_;
  uint64_t epoch_ = 0, next_id_ = 1, former_id_ = 1;
  std::chrono::nanoseconds now_{0};
  Handles chain_;
  std::string content_;    // the state
  std::string unwritten_;  // what of it is in no file yet
  std::map<uint64_t, std::string> expected_;
};

TEST(CheckpointChurn, EveryRetainedCheckpointIsWholeAndOrphansGo) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Churn churn(seed, /*retained=*/1 + seed % 3);
    churn.Run();
    churn.Settle();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace weir
