#include "taskmanager/slot_watchdog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>

#include "runtime/task/slot.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// Stands still until it is moved.
class HandClock final : public Clock {
 public:
  Timestamp Now() const override { return Timestamp{0}; }
  nanoseconds Monotonic() const override { return nanoseconds(now_.load()); }
  void Advance(nanoseconds d) { now_.fetch_add(d.count()); }

 private:
  std::atomic<int64_t> now_{1'000};
};

TEST(SlotWatchdog, NamesASlotOnceAndSaysWhenItIsBack) {
  SlotWatchdog watchdog(2, 10s);
  EXPECT_TRUE(watchdog.Look({0s, 5s}, 14'999ms).empty());
  const auto stuck = watchdog.Look({0s, 5s}, 15s);
  ASSERT_EQ(stuck.size(), 1u);
  EXPECT_EQ(stuck[0].slot, 1u);
  EXPECT_TRUE(stuck[0].stuck);
  EXPECT_EQ(stuck[0].lasted, 10s);
  EXPECT_TRUE(watchdog.Look({0s, 5s}, 60s).empty()) << "it has been said";
  const auto back = watchdog.Look({0s, 61s}, 62s);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_FALSE(back[0].stuck);
  EXPECT_EQ(back[0].lasted, 57s);
}

TEST(SlotWatchdog, ASlotThatWaitsIsNotStuckHoweverLong) {
  SlotWatchdog watchdog(1, 10s);
  EXPECT_TRUE(watchdog.Look({0s}, 1h).empty());
}

TEST(SlotWatchdog, AShortTurnAfterAShortTurnIsNotALongOne) {
  SlotWatchdog watchdog(1, 10s);
  for (auto now = 1s; now < 100s; now += 1s) EXPECT_TRUE(watchdog.Look({now}, now + 500ms).empty());
}

/// Does not come back from its turn until it is let go.
class HangingTask final : public SlotTask {
 public:
  HangingTask(std::binary_semaphore& entered, std::binary_semaphore& let_go)
      : entered_(entered), let_go_(let_go) {}
  Progress Run(nanoseconds) override {
    if (!hung_) {
      hung_ = true;
      entered_.release();
      let_go_.acquire();
    }
    entered_.release();
    return Progress::kIdle;
  }
  nanoseconds NextWakeup() override { return nanoseconds::max(); }
  TaskTimes& times() override { return times_; }

 private:
  std::binary_semaphore& entered_;
  std::binary_semaphore& let_go_;
  bool hung_ = false;
  TaskTimes times_;
};

TEST(SlotWatchdog, SeesATaskThatDoesNotReturn) {
  HandClock clock;
  std::binary_semaphore entered(0);
  std::binary_semaphore let_go(0);
  Slot slot("test", clock);
  slot.Post([&] { slot.Add(std::make_unique<HangingTask>(entered, let_go)); });
  entered.acquire();
  SlotWatchdog watchdog(1, 10s);
  clock.Advance(9s);
  EXPECT_TRUE(watchdog.Look({slot.busy_since()}, clock.Monotonic()).empty());
  clock.Advance(1s);
  const auto stuck = watchdog.Look({slot.busy_since()}, clock.Monotonic());
  ASSERT_EQ(stuck.size(), 1u);
  EXPECT_TRUE(stuck[0].stuck);
  let_go.release();
  slot.Stop();
  const auto back = watchdog.Look({slot.busy_since()}, clock.Monotonic());
  ASSERT_EQ(back.size(), 1u);
  EXPECT_FALSE(back[0].stuck);
}

TEST(SlotWatchdog, ALongTurnThatNotesProgressIsNotStuck) {
  HandClock clock;
  Slot slot("test", clock);
  SlotWatchdog watchdog(1, 10s);
  std::binary_semaphore done(0);
  std::vector<SlotWatchdog::Change> changes;
  slot.Post([&] {
    for (int i = 0; i < 10; ++i) {
      clock.Advance(9s);
      slot.NoteProgress();
      for (const auto& change : watchdog.Look({slot.busy_since()}, clock.Monotonic())) {
        changes.push_back(change);
      }
    }
    done.release();
  });
  done.acquire();
  EXPECT_TRUE(changes.empty()) << "90 s in one turn, a restore";
}

}  // namespace
}  // namespace weir
