// What still waits for Kafka when a subtask leaves, or the process.

#include "connectors/kafka/ending.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

namespace weir::kafka {
namespace {

constexpr std::chrono::milliseconds kShort{1};

TEST(EndingTest, IsWaitedForUpToTheLimit) {
  std::atomic<bool> ended{false};
  RunWithin(std::chrono::minutes(1), [&] { ended = true; });
  EXPECT_TRUE(ended);
}

TEST(EndingTest, OneMoreThanMayBeUnderWayIsWaitedFor) {
  std::promise<void> released;
  const std::shared_future<void> release = released.get_future().share();
  const auto all_ended = std::make_shared<std::promise<void>>();
  std::atomic<size_t> ended{0};
  for (size_t i = 0; i < kMaxEndings; ++i) {
    RunWithin(kShort, [&ended, release, all_ended] {
      release.wait();
      if (++ended == kMaxEndings) all_ended->set_value();
    });
  }
  EXPECT_EQ(ended, 0u);
  std::thread::id thread;
  RunWithin(kShort, [&] { thread = std::this_thread::get_id(); });
  EXPECT_EQ(thread, std::this_thread::get_id());
  released.set_value();
  all_ended->get_future().wait();
}

std::promise<void>& Released() {
  static auto* const released = new std::promise<void>;
  return *released;
}

/// Its destructor stands for those of the objects that a client uses.
struct Static {
  ~Static() { fprintf(stderr, "static objects destroyed\n"); }
};

TEST(EndingDeathTest, TheProcessWaitsForWhatEndsSoon) {
  EXPECT_EXIT(
      {
        static const Static object;
        RunWithin(kShort, [] {
          Released().get_future().wait();
          fprintf(stderr, "ended, then ");
        });
        std::atexit([] { Released().set_value(); });  // runs before the waiting does
        exit(3);
      },
      ::testing::ExitedWithCode(3), "ended, then static objects destroyed");
}

TEST(EndingDeathTest, TheProcessGoesWithItsStatusBesideWhatDoesNot) {
  EXPECT_EXIT(
      {
        static const Static object;
        fprintf(stderr, "only this");
        RunWithin(kShort, [] { Released().get_future().wait(); });
        exit(3);
      },
      ::testing::ExitedWithCode(3), "only this$");
}

}  // namespace
}  // namespace weir::kafka
