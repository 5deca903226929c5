// Several checkpoints under way: the next one's state comes while the file of the one before is not
// written, or never will be.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "tests/taskmanager/checkpoint_writer_fixture.h"

namespace weir {
namespace {

constexpr uint32_t kUnderWay = 3;

class OverlappingWriterTest : public CheckpointWriterTest {
 protected:
  uint32_t MaxConcurrent() const override { return kUnderWay; }

  /// The whole checkpoint but for its outcome; remembers what it holds.
  void Start(uint64_t id) {
    BeginAndWrite(id);
    held_[id] = values_;
    DeliverKeyed(id);
  }
  void ExpectHeld(uint64_t id) {
    const auto result = Outcome(id);
    ASSERT_TRUE(result.ok()) << "checkpoint " << id << ": " << result.status();
    EXPECT_EQ(Read(*result), held_.at(id)) << "checkpoint " << id;
  }

  std::map<uint64_t, Values> held_;
};

TEST_P(OverlappingWriterTest, EachHoldsWhatThereWasAtItsBarrier) {
  SetFailpoint("storage.sync", "hold");
  for (uint64_t id = 1; id <= kUnderWay; ++id) {
    Change(500);
    Start(id);
    DeliverOther(id);
  }
  SetFailpoint("storage.sync", "");
  for (uint64_t id = 1; id <= kUnderWay; ++id) ExpectHeld(id);
}

TEST_P(OverlappingWriterTest, TheNextOnesStateComesBeforeTheFirstIsDelivered) {
  for (uint64_t id = 1; id <= kUnderWay; ++id) {
    Change(500);
    Start(id);
  }
  for (uint64_t id = 1; id <= kUnderWay; ++id) DeliverOther(id);
  for (uint64_t id = 1; id <= kUnderWay; ++id) ExpectHeld(id);
}

// However far it was: its changes are part of the next one's file, and that of nobody else.
TEST_P(OverlappingWriterTest, WhatAGivenUpOneHadBeenGivenIsInTheNext) {
  Change(500);
  ASSERT_TRUE(Checkpoint(1).ok());
  SetFailpoint("storage.sync", "hold");
  for (uint64_t id = 2; id <= 4; ++id) {
    Change(500);
    Start(id);
    DeliverOther(id);
  }
  writer_->Cancel(CheckpointId(2), "declined elsewhere");
  writer_->Cancel(CheckpointId(3), "declined elsewhere");
  EXPECT_FALSE(Outcome(3).ok()) << "it need not wait for the file before";
  SetFailpoint("storage.sync", "");
  (void)Outcome(2);  // it may have come to pass
  ExpectHeld(4);
}

TEST_P(OverlappingWriterTest, OneMoreThanMayBeUnderWayEndsTheOldest) {
  for (uint64_t id = 1; id <= kUnderWay + 1; ++id) {
    Change(200);
    Start(id);
  }
  EXPECT_FALSE(Outcome(1).ok());
  for (uint64_t id = 2; id <= kUnderWay + 1; ++id) {
    DeliverOther(id);
    ExpectHeld(id);
  }
}

// More than are kept apart of those that were given up.
TEST_P(OverlappingWriterTest, ManyThatFailLeaveTheOldestAlone) {
  Change(500);
  Start(1);
  uint64_t id = 1;
  for (int i = 0; i < 20; ++i) {
    Change(50);
    Start(++id);
    writer_->Cancel(CheckpointId(id), "declined elsewhere");
    EXPECT_FALSE(Outcome(id).ok());
  }
  Change(50);
  Start(++id);
  DeliverOther(1);
  ExpectHeld(1);
  DeliverOther(id);
  ExpectHeld(id);
}

TEST_P(OverlappingWriterTest, ADeliveryBeforeTheBeginOfSeveralIsKept) {
  for (uint64_t id = 1; id <= kUnderWay; ++id) DeliverOther(id);
  for (uint64_t id = 1; id <= kUnderWay; ++id) {
    Change(100);
    Start(id);
  }
  for (uint64_t id = 1; id <= kUnderWay; ++id) ExpectHeld(id);
}

TEST_P(OverlappingWriterTest, WhateverFailsAndInWhicheverOrderNoChangeIsLost) {
  uint64_t id = 0;
  std::map<uint64_t, bool> under_way;  // and whether the other subtask has delivered
  int good = 0;
  const auto settle = [&](uint64_t done) {
    const auto result = Outcome(done);
    if (result.ok()) {
      ++good;
      ASSERT_EQ(Read(*result), held_.at(done)) << "checkpoint " << done;
    } else {
      EXPECT_NE(result.status().message(), "no outcome");
    }
    under_way.erase(done);
    held_.erase(done);
  };
  for (int step = 0; step < 400 && !HasFatalFailure(); ++step) {
    Change(60);
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        if (under_way.size() == kUnderWay) break;
        Start(++id);
        under_way[id] = false;
        break;
      case 3:
        SetFailpoint("storage.sync", random_() % 2 == 0 ? "error:2" : "");
        break;
      case 4:
        if (under_way.empty()) break;
        {
          const auto some =
              std::next(under_way.begin(), static_cast<ptrdiff_t>(random_() % under_way.size()));
          writer_->Cancel(CheckpointId(some->first), "declined elsewhere");
          settle(some->first);
        }
        break;
      default:
        for (auto& [one, delivered] : under_way) {
          if (std::exchange(delivered, true)) continue;
          DeliverOther(one);
          break;
        }
        if (!under_way.empty() && under_way.begin()->second) settle(under_way.begin()->first);
    }
  }
  EXPECT_GT(good, 20);
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(failed_.empty());
}

/// What an operator may hold has room for the first snapshot and little else.
class SlowStorageTest : public OverlappingWriterTest {
 protected:
  size_t OperatorBytes() const override { return size_t{79} << 20; }
  static ptrdiff_t OpenFiles() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }
};

// The storage takes nothing, and more waits for it than the writer holds: what the slot hands over
// for the next one is sorted, and spilled in runs of some size, all the same.
TEST_P(SlowStorageTest, TheNextSnapshotDoesNotWaitForTheStorage) {
  SetFailpoint("storage.write", "hold");
  const auto fill = [&](uint64_t keys, char c) {
    for (uint64_t key = 0; key < keys; ++key) {
      table_.FindOrInsert(key, KeyHash(key)) = values_[key] = std::string(4096, c);
      if (key % 100 == 0) {
        while (state_->Blocked()) parker_.Park(1ms);
      }
    }
  };
  fill(20'000, 'a');
  Start(1);
  DeliverOther(1);
  const ptrdiff_t open_files = OpenFiles();
  fill(14'000, 'b');
  writer_->Begin(CheckpointId(2), {kSubtask, kOther});
  state_->BeginSnapshot(CheckpointId(2));
  held_[2] = values_;
  const auto limit = std::chrono::steady_clock::now() + 60s;
  bool written = false;
  while (!written && std::chrono::steady_clock::now() < limit) {
    written = state_->SnapshotSlice();
    if (!written) parker_.Park(1ms);
  }
  EXPECT_TRUE(written);
  EXPECT_LT(OpenFiles() - open_files, 30);
  SetFailpoint("storage.write", "");
  while (!written) written = state_->SnapshotSlice();
  DeliverKeyed(2);
  DeliverOther(2);
  ExpectHeld(1);
  ExpectHeld(2);
}

INSTANTIATE_TEST_SUITE_P(Backends, SlowStorageTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "RocksDb" : "Memory"; });
INSTANTIATE_TEST_SUITE_P(Backends, OverlappingWriterTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "RocksDb" : "Memory"; });

}  // namespace
}  // namespace weir
