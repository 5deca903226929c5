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

TEST(Parker, TwoThreadsThatWaitShortlyForOneAnotherBothGoOn) {
  Parker ping, pong;
  std::atomic<int> turn{0};
  constexpr int kTurns = 20'000;
  std::jthread other([&] {
    for (int i = 1; i < kTurns; i += 2) {
      while (turn.load() != i) pong.Park(60s);
      turn.store(i + 1);
      ping.Wake();
    }
  });
  for (int i = 0; i < kTurns; i += 2) {
    while (turn.load() != i) ping.Park(60s);
    turn.store(i + 1);
    pong.Wake();
  }
  other.join();
  EXPECT_EQ(turn.load(), kTurns);
}

}  // namespace
}  // namespace weir
