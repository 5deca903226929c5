#include "base/parker.h"

#include <gtest/gtest.h>

#include <thread>

namespace weir {
namespace {

using namespace std::chrono_literals;

TEST(Parker, WakeBeforeParkIsNotLost) {
  Parker parker;
  parker.Wake();
  const auto start = std::chrono::steady_clock::now();
  parker.Park(60s);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
}

TEST(Parker, ParkEndsByTimeout) {
  Parker parker;
  parker.Park(1ms);  // returns: nothing else to assert, a hang is the failure
}

TEST(Parker, HandsOverEveryItemBetweenThreads) {
  Parker parker;
  std::atomic<int> items{0};
  constexpr int kItems = 20'000;
  std::jthread producer([&] {
    for (int i = 0; i < kItems; ++i) {
      items.fetch_add(1);
      parker.Wake();
    }
  });
  while (items.load() < kItems) parker.Park(60s);
  EXPECT_EQ(items.load(), kItems);
}

}  // namespace
}  // namespace weir
