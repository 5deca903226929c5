#include "runtime/task/slot.h"

#include <gtest/gtest.h>

#include <future>

namespace weir {
namespace {

using namespace std::chrono_literals;
using Progress = SlotTask::Progress;

/// Counts its turns and says what it is told to.
class FakeTask final : public SlotTask {
 public:
  explicit FakeTask(std::atomic<int>* turns, Progress progress)
      : turns_(turns), progress_(progress) {}
  Progress Run(std::chrono::nanoseconds) override {
    turns_->fetch_add(1);
    turns_->notify_all();
    return progress_;
  }
  std::chrono::nanoseconds NextWakeup() override { return std::chrono::nanoseconds::max(); }
  TaskTimes& times() override { return times_; }

 private:
  std::atomic<int>* const turns_;
  const Progress progress_;
  TaskTimes times_;
};

void WaitForTurns(std::atomic<int>& turns, int at_least) {
  for (int seen = turns.load(); seen < at_least; seen = turns.load()) turns.wait(seen);
}

TEST(Slot, RunsMailInOrderOnItsThread) {
  Slot slot("test", Clock::System());
  std::promise<std::vector<int>> done;
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) slot.Post([&order, i] { order.push_back(i); });
  slot.Post([&] { done.set_value(order); });
  const std::vector<int> seen = done.get_future().get();
  ASSERT_EQ(seen.size(), 100u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(Slot, ABusyTaskDoesNotStarveItsNeighbour) {
  std::atomic<int> a{0};
  std::atomic<int> b{0};
  Slot slot("test", Clock::System());
  slot.Post([&] {
    slot.Add(std::make_unique<FakeTask>(&a, Progress::kBusy));
    slot.Add(std::make_unique<FakeTask>(&b, Progress::kBusy));
  });
  WaitForTurns(a, 50);
  WaitForTurns(b, 50);
}

TEST(Slot, AnIdleTaskRunsAgainWhenWoken) {
  std::atomic<int> turns{0};
  Slot slot("test", Clock::System());
  slot.Post([&] { slot.Add(std::make_unique<FakeTask>(&turns, Progress::kIdle)); });
  WaitForTurns(turns, 1);
  const int before = turns.load();
  slot.parker()->Wake();
  WaitForTurns(turns, before + 1);
}

TEST(Slot, RefusesMailAfterStop) {
  Slot slot("test", Clock::System());
  slot.Stop();
  EXPECT_FALSE(slot.Post([] {}));
}

}  // namespace
}  // namespace weir
