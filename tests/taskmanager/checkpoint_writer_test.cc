// What becomes of keyed state when the checkpoints that carry it fail: on both backends nothing but
// a larger next checkpoint.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/hash.h"
#include "state/checkpoint/state_file.h"
#include "tests/state/checkpoint/forwarding_storage.h"
#include "tests/taskmanager/checkpoint_writer_fixture.h"

namespace weir {
namespace {

TEST_P(CheckpointWriterTest, ACheckpointHoldsAllThatWasWrittenBefore) {
  for (uint64_t id = 1; id <= 30; ++id) {
    Change(500);
    const auto result = Checkpoint(id);
    ASSERT_TRUE(result.ok()) << result.status();
    if (id % 10 == 0) {
      EXPECT_EQ(Read(*result), values_);
    }
  }
  EXPECT_EQ(fulls_, 0);
}

// A sink's output that waits for Kafka is in each checkpoint until it is published.
TEST_P(CheckpointWriterTest, AnOperatorsFileIsStoredOnceForAllCheckpointsThatNameIt) {
  const auto file = [&](const std::string& name, const std::string& content) {
    const std::string path = directory_ / name;
    std::ofstream(path) << content;
    return StateFile{.path = path, .length = content.size()};
  };
  const auto checkpoint = [&](uint64_t id, std::map<std::string, StateFile> files) {
    const auto result = CheckpointOfSink(id, std::move(files));
    EXPECT_TRUE(result.ok()) << result.status();
    std::map<std::string, std::string> stored;
    for (const proto::StateHandle& handle : result->at(kOther).epoch_output()) {
      stored[handle.store_file()] = handle.file();
    }
    return stored;
  };
  const StateFile first = file("first", "one"), second = file("second", "two two");
  const auto of_1 = checkpoint(1, {{"first", first}});
  const auto of_2 = checkpoint(2, {{"first", first}, {"second", second}});
  ASSERT_EQ(of_2.size(), 2u);
  EXPECT_EQ(of_2.at("first"), of_1.at("first"));
  const auto of_3 = checkpoint(3, {{"second", second}});
  EXPECT_EQ(of_3, (std::map<std::string, std::string>{{"second", of_2.at("second")}}));
  const auto of_4 = checkpoint(4, {{"first", first}});
  EXPECT_NE(of_4.at("first"), of_1.at("first")) << "nobody has kept it meanwhile";
  EXPECT_EQ(storage_->List("data")->size(), 3u + 4u) << "of the sink; and the keyed state's";
}

// A user's writer may put each epoch's file under the same name, and epochs may be equally long.
TEST_P(CheckpointWriterTest, AnotherFileUnderTheSameNameIsStoredThoughItIsAsLong) {
  const auto checkpoint = [&](uint64_t id, StateFile file) -> std::string {
    const auto result = CheckpointOfSink(id, {{"pending", std::move(file)}});
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok() || result->at(kOther).epoch_output_size() != 1) return "";
    return ReadState(*storage_, result->at(kOther).epoch_output(0), 100).value_or("unreadable");
  };
  const auto file = [&](const std::string& name, const std::string& content, bool with_pieces) {
    const std::string path = directory_ / name;
    std::ofstream(path) << content;
    StateFile file{.path = path, .length = content.size()};
    if (with_pieces) {
      file.pieces.push_back({.length = content.size(), .checksum = StableHash(content)});
    }
    return file;
  };
  uint64_t id = 0;
  for (const bool with_pieces : {false, true}) {
    EXPECT_EQ(checkpoint(++id, file("of_1", "one", with_pieces)), "one");
    EXPECT_EQ(checkpoint(++id, file("of_2", "two", with_pieces)), "two");
  }
  // Not as agreed, and noticed all the same where there are checksums.
  EXPECT_EQ(checkpoint(++id, file("of_2", "2nd", true)), "2nd");
}

// Half of it would be taken for all of it by whoever restores.
TEST_P(CheckpointWriterTest, AnOperatorsFileThatIsNotAsLongAsItSaysFailsTheCheckpoint) {
  const std::string path = directory_ / "pending";
  std::ofstream(path) << "one two";
  for (const uint64_t id : {1, 2, 3}) {
    StateFile file{.path = path, .length = 3};
    if (id == 2) file.pieces.push_back({.length = 7, .checksum = StableHash("one two")});
    if (id == 3) file.pieces.push_back({.length = 3, .checksum = StableHash("one")});
    const auto result = CheckpointOfSink(id, {{"pending", file}});
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(std::string(result.status().message()),
                testing::HasSubstr("operator sink gave " + path + " to checkpoint"));
  }
}

// Erased keys stay erased: a delta of deltas still says so to the base.
TEST_P(CheckpointWriterTest, ManySmallDeltasAreMergedWithoutTheBase) {
  Change(3000);
  for (uint64_t key = 10'000; key < 13'000; ++key) {  // a base that is not small
    table_.FindOrInsert(key, KeyHash(key)) = values_[key] = std::string(2048, 'x');
  }
  ASSERT_TRUE(Checkpoint(1).ok());
  // One merge may be under way, and the next checkpoint be quicker; on a busy machine the merging
  // thread, which has the lowest priority, comes to nothing for seconds.
  constexpr int kShort = 40;
  int length = 0;
  for (uint64_t id = 2; id <= 100 || (length > kShort && id <= 2000); ++id) {
    Change(20);
    const auto result = Checkpoint(id);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->at(kSubtask).keyed_state(0).checkpoint_id(), 1u);
    if (id % 20 == 0) {
      EXPECT_EQ(Read(*result), values_);
    }
    length = result->at(kSubtask).keyed_state_size();
  }
  EXPECT_LE(length, kShort);
}

// Whichever step fails: creating, writing or syncing the file.
TEST_P(CheckpointWriterTest, AFailedFileCostsALargerNextCheckpointAndNothingElse) {
  uint64_t id = 0;
  for (const char* point : {"storage.create", "storage.write", "storage.sync"}) {
    Change(500);
    ASSERT_TRUE(Checkpoint(++id).ok());
    SetFailpoint(point, "error");
    for (int failures = 0; failures < 12; ++failures) {
      Change(200);
      EXPECT_FALSE(Checkpoint(++id).ok()) << point;
    }
    SetFailpoint(point, "");
    Change(100);
    const auto result = Checkpoint(++id);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(Read(*result), values_) << point;
  }
  EXPECT_EQ(fulls_, 0);
  EXPECT_TRUE(failed_.empty());
}

// The coordinator gives up while the state is being written, or after it was: another subtask is
// slow.
TEST_P(CheckpointWriterTest, ACancelledCheckpointLosesNothingHoweverFarItWas) {
  uint64_t id = 0;
  int cancelled = 0;
  for (int round = 0; round < 40; ++round) {
    Change(300);
    BeginAndWrite(++id);
    if (round % 4 != 0) DeliverKeyed(id);
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 3000));
    writer_->Cancel(CheckpointId(id), "it took too long");
    DeliverKeyed(id);  // late
    DeliverOther(id);
    cancelled += Outcome(id).ok() ? 0 : 1;
    if (round % 8 == 7) {
      Change(100);
      const auto result = Checkpoint(++id);
      ASSERT_TRUE(result.ok()) << result.status();
      ASSERT_EQ(Read(*result), values_);
    }
  }
  EXPECT_EQ(cancelled, 40);
  EXPECT_TRUE(failed_.empty());
}

// The writing thread is stuck in one file while others begin and are overtaken: each is answered.
TEST_P(CheckpointWriterTest, CheckpointsThatAreOvertakenAreAnsweredAndLoseNothing) {
  Change(500);
  ASSERT_TRUE(Checkpoint(1).ok());
  SetFailpoint("storage.sync", "sleep:200");
  Change(500);
  BeginAndWrite(2);
  DeliverKeyed(2);
  DeliverOther(2);
  for (uint64_t id = 3; id <= 6; ++id) {
    Change(200);
    BeginAndWrite(id);
    DeliverKeyed(id);
    if (id == 6) DeliverOther(id);
  }
  for (uint64_t id = 3; id <= 5; ++id) EXPECT_FALSE(Outcome(id).ok());
  (void)Outcome(2);  // it may have come to pass
  const auto last = Outcome(6);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(Read(*last), values_);
}

class CheckpointWriterWithStoreTest : public CheckpointWriterTest {};

TEST_P(CheckpointWriterWithStoreTest,
       AStoreThatFailsEndsTheAttemptAndNoCheckpointIsTakenWithoutItsState) {
  Change(500);
  ASSERT_TRUE(Checkpoint(1).ok());
  SetFailpoint("rocksdb.apply", "error:1");
  Change(500);
  EXPECT_FALSE(Checkpoint(2).ok());
  Change(500);
  EXPECT_FALSE(Checkpoint(3).ok());
  std::lock_guard lock(mutex_);
  EXPECT_EQ(failed_.size(), 1u);
}

TEST_P(CheckpointWriterTest, ADamagedFileOfTheChainIsHealedByAFullSnapshotWhereThereIsNoStore) {
  Change(2000);
  const auto first = Checkpoint(1);
  ASSERT_TRUE(first.ok());
  const std::string path = directory_ / "storage/" + first->at(kSubtask).keyed_state(0).file();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  absl::StatusOr<CheckpointWriter::Result> last;
  for (uint64_t id = 2; id <= 60; ++id) {
    Change(200);
    last = Checkpoint(id);
    ASSERT_TRUE(last.ok()) << last.status();
  }
  EXPECT_EQ(fulls_, GetParam() ? 0 : 1);
  if (!GetParam()) {
    EXPECT_EQ(Read(*last), values_);
  }
}

TEST_P(CheckpointWriterWithStoreTest, AMergeThatFailedOnceIsTriedAgainWhenTheChainHasGrown) {
  SetFailpoint("snapshot.merge", "error:1");
  int longest = 0;
  absl::StatusOr<CheckpointWriter::Result> last;
  for (uint64_t id = 1, merged = 0; id <= 500 && merged == 0; ++id) {
    Change(20);
    last = Checkpoint(id);
    ASSERT_TRUE(last.ok()) << last.status();
    const int length = last->at(kSubtask).keyed_state_size();
    merged = length < longest ? 1 : 0;
    longest = std::max(longest, length);
    std::this_thread::sleep_for(1ms);  // the merging thread has the lowest priority
  }
  EXPECT_LT(last->at(kSubtask).keyed_state_size(), longest);
  EXPECT_EQ(Read(*last), values_);
}

class CheckpointWriterInMemoryTest : public CheckpointWriterTest {};

// It takes longer than any other snapshot, so it is the one that times out.
TEST_P(CheckpointWriterInMemoryTest, AFullSnapshotThatWasAbortedIsWantedAgain) {
  Change(2000);
  const auto first = Checkpoint(1);
  ASSERT_TRUE(first.ok());
  const std::string path = directory_ / "storage/" + first->at(kSubtask).keyed_state(0).file();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  bool aborted = false;
  absl::StatusOr<CheckpointWriter::Result> last;
  for (uint64_t id = 2; id <= 100; ++id) {
    Change(200);
    if (!aborted && writer_->WantsFull(kSubtask, "op")) {
      aborted = true;
      writer_->Begin(CheckpointId(id), {kSubtask, kOther});
      state_->BeginSnapshot(CheckpointId(id), SnapshotKind::kFull);
      EXPECT_FALSE(state_->SnapshotSlice(1)) << "there is more";
      state_->AbortSnapshot(CheckpointId(id));
      writer_->Cancel(CheckpointId(id), "it took too long");
      EXPECT_FALSE(Outcome(id).ok());
      continue;
    }
    last = Checkpoint(id, /*may_be_full=*/aborted);
    ASSERT_TRUE(last.ok()) << last.status();
  }
  EXPECT_TRUE(aborted);
  EXPECT_EQ(fulls_, 1) << "and no more once it is durable";
  EXPECT_EQ(Read(*last), values_);
}

INSTANTIATE_TEST_SUITE_P(Memory, CheckpointWriterInMemoryTest, ::testing::Values(false));

/// The directory below, where whoever writes a base is held up from the first bytes on.
class GatedStorage final : public ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;

  void AwaitBase() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return bytes_ > 0; });
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool base_finished() {
    std::lock_guard lock(mutex_);
    return finished_;
  }

  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    auto writer = below_.Create(path);
    if (!writer.ok() || path.find(".base") == std::string::npos) return writer;
    return std::unique_ptr<StorageWriter>(new Writer(this, *std::move(writer)));
  }

 private:
  class Writer final : public StorageWriter {
   public:
    Writer(GatedStorage* storage, std::unique_ptr<StorageWriter> below)
        : storage_(storage), below_(std::move(below)) {}
    absl::Status Append(std::string_view bytes) override {
      std::unique_lock lock(storage_->mutex_);
      storage_->bytes_ += bytes.size();
      storage_->changed_.notify_all();
      storage_->changed_.wait(lock, [this] { return storage_->open_; });
      return below_->Append(bytes);
    }
    absl::Status Finish() override {
      std::lock_guard lock(storage_->mutex_);
      storage_->finished_ = true;
      return below_->Finish();
    }

   private:
    GatedStorage* const storage_;
    const std::unique_ptr<StorageWriter> below_;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t bytes_ = 0;       // mutex_
  bool open_ = false;      // mutex_
  bool finished_ = false;  // mutex_
};

class CheckpointWriterEndTest : public CheckpointWriterTest {
 protected:
  CheckpointStorage& UsedStorage() override {
    gated_.emplace(*storage_);
    return *gated_;
  }
  std::optional<GatedStorage> gated_;
};

// A restart waits for the end of the attempt before it.
TEST_P(CheckpointWriterEndTest, AMergeUnderWayIsCalledOff) {
  for (uint64_t id = 1; id <= 2; ++id) {
    for (uint64_t key = 0; key < 3000; ++key) {
      table_.FindOrInsert(key, KeyHash(key)) = std::string(1000, static_cast<char>('a' + id));
    }
    ASSERT_TRUE(Checkpoint(id).ok());
  }
  gated_->AwaitBase();
  state_.reset();
  writer_->Begin(CheckpointId(3), {kOther});
  std::thread end([this] { writer_.reset(); });
  EXPECT_FALSE(Outcome(3).ok());  // it has begun to end
  gated_->Open();
  end.join();
  EXPECT_FALSE(gated_->base_finished());
}

// The end may come at any moment of that, and what waits for it must hear of it.
TEST_P(CheckpointWriterTest, EndsWhileItTakesWhatTheSlotHandsOver) {
  for (int round = 0; round < 40; ++round) {
    for (uint64_t key = 0; key < 500; ++key) {
      table_.FindOrInsert(key, KeyHash(key)) = std::string(2000, 'a');
    }
    writer_->Begin(CheckpointId(1), {kSubtask});
    state_->BeginSnapshot(CheckpointId(1), SnapshotKind::kDelta);
    (void)state_->SnapshotSlice();
    TearDown();
    done_.clear();
    SetUp();
  }
}

INSTANTIATE_TEST_SUITE_P(Memory, CheckpointWriterEndTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(RocksDb, CheckpointWriterWithStoreTest, ::testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Backends, CheckpointWriterTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "RocksDb" : "Memory"; });

}  // namespace
}  // namespace weir
