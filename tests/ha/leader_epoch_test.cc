#include "ha/leader_epoch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "base/failpoint.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

class LeaderEpochTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::string epochs_ = directory_ / "ha/epochs";
};

TEST_F(LeaderEpochTest, GrowsAndIsRemembered) {
  EXPECT_EQ(*HighestLeaderEpoch(epochs_), LeaderEpoch(0));
  for (uint64_t i = 1; i <= 40; ++i) {
    EXPECT_EQ(*RaiseLeaderEpoch(epochs_, "me"), LeaderEpoch(i));
    EXPECT_EQ(*HighestLeaderEpoch(epochs_), LeaderEpoch(i));
  }
  EXPECT_LE(std::distance(std::filesystem::directory_iterator(epochs_), {}), 20)
      << "old numbers are tidied away";
}

TEST_F(LeaderEpochTest, NoTwoContendersGetTheSame) {
  std::mutex mutex;
  std::vector<LeaderEpoch> taken;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 5; ++n) {
        const auto epoch = RaiseLeaderEpoch(epochs_, "contender");
        ASSERT_TRUE(epoch.ok()) << epoch.status();
        std::lock_guard lock(mutex);
        taken.push_back(*epoch);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(std::adjacent_find(taken.begin(), taken.end()), taken.end());
  EXPECT_EQ(*HighestLeaderEpoch(epochs_), taken.back());
}

TEST_F(LeaderEpochTest, ACrashAtAnyStepNeverGivesANumberTwice) {
  LeaderEpoch last{0};
  for (const char* point : {"epoch.create", "epoch.write", "epoch.half_written", "epoch.sync",
                            "epoch.before_link", "epoch.after_link"}) {
    ASSERT_TRUE(RaiseLeaderEpoch(epochs_, "me").ok());
    last = *HighestLeaderEpoch(epochs_);
    EXPECT_EXIT(
        {
          SetFailpoint(point, "crash");
          (void)RaiseLeaderEpoch(epochs_, "me");
        },
        testing::KilledBySignal(SIGKILL), "")
        << point;
    const LeaderEpoch next = *RaiseLeaderEpoch(epochs_, "me");
    const bool used = std::string(point) == "epoch.after_link";
    EXPECT_EQ(next.value, last.value + (used ? 2 : 1)) << point;
  }
}

TEST_F(LeaderEpochTest, ANumberInDoubtIsPassedOver) {
  ASSERT_EQ(*RaiseLeaderEpoch(epochs_, "me"), LeaderEpoch(1));
  SetFailpoint("epoch.after_link", "error:1");
  EXPECT_EQ(*RaiseLeaderEpoch(epochs_, "me"), LeaderEpoch(3));
  SetFailpoint("epoch.after_link", "");
}

}  // namespace
}  // namespace weir
