#include "runtime/exchange/gate_credits.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace weir {
namespace {

constexpr CreditOptions kOptions{
    .exclusive_per_channel = 2, .floating_per_gate = 8, .max_per_channel = 1000};

/// The pool behind a gate: a number of floating buffers.
struct Pool {
  int left = 1000;
  GateCredits Gate(const CreditOptions& options = kOptions) {
    return {options,
            [this] {
              if (left == 0) return false;
              --left;
              return true;
            },
            [this] { ++left; }};
  }
};

TEST(GateCredits, WithoutBacklogAWindowStaysExclusiveAndEachBufferIsGivenBack) {
  Pool pool;
  GateCredits gate = pool.Gate();
  const uint32_t channel = gate.AddChannel();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(gate.OnConsumed(channel, 0), 1u);
  EXPECT_EQ(gate.window(channel), 2u);
  EXPECT_EQ(pool.left, 1000);
}

TEST(GateCredits, ABacklogGrowsTheWindowUpToTheGatesFloatingBuffers) {
  Pool pool;
  GateCredits gate = pool.Gate();
  const uint32_t channel = gate.AddChannel();
  for (int i = 0; i < 100; ++i) gate.OnConsumed(channel, 50);
  EXPECT_EQ(gate.window(channel), 10u);
  EXPECT_EQ(gate.floating_in_use(), 8u);
  EXPECT_EQ(pool.left, 992);
}

TEST(GateCredits, AnEmptyPoolLeavesTheExclusiveBuffers) {
  Pool pool{.left = 0};
  GateCredits gate = pool.Gate();
  const uint32_t channel = gate.AddChannel();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate.OnConsumed(channel, 50), 1u);
  EXPECT_EQ(gate.window(channel), 2u);
}

TEST(GateCredits, ChannelsWithABacklogShareEvenly) {
  Pool pool;
  GateCredits gate = pool.Gate();
  const uint32_t greedy = gate.AddChannel();
  const uint32_t late = gate.AddChannel();
  gate.AddChannel();  // silent: takes no share
  for (int i = 0; i < 100; ++i) gate.OnConsumed(greedy, 50);
  EXPECT_EQ(gate.window(greedy), 10u);
  for (int i = 0; i < 100; ++i) {
    gate.OnConsumed(late, 50);
    gate.OnConsumed(greedy, 50);
  }
  EXPECT_EQ(gate.window(greedy), 6u);
  EXPECT_EQ(gate.window(late), 6u);
}

TEST(GateCredits, AWindowShrinksSlowlyOnceTheBacklogHasGone) {
  Pool pool;
  GateCredits gate = pool.Gate();
  const uint32_t channel = gate.AddChannel();
  for (int i = 0; i < 100; ++i) gate.OnConsumed(channel, 8);
  ASSERT_EQ(gate.window(channel), 10u);
  for (int i = 0; i < 16; ++i) gate.OnConsumed(channel, 0);
  EXPECT_GE(gate.window(channel), 9u) << "a short lull keeps the window";
  for (int i = 0; i < 1000; ++i) gate.OnConsumed(channel, 0);
  EXPECT_EQ(gate.window(channel), 2u);
  EXPECT_EQ(pool.left, 1000);
}

TEST(GateCredits, MaxPerChannelBoundsTheWindow) {
  CreditOptions options = kOptions;
  options.max_per_channel = 4;
  Pool pool;
  GateCredits gate = pool.Gate(options);
  const uint32_t channel = gate.AddChannel();
  for (int i = 0; i < 100; ++i) gate.OnConsumed(channel, 50);
  EXPECT_EQ(gate.window(channel), 4u);
}

// Whatever the backlogs: what the sender holds plus what waits here is the window, and a sender
// with nothing under way always holds a credit.
TEST(GateCredits, NoCreditIsLostOrInvented) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    Pool pool{.left = static_cast<int>(seed % 10)};
    const int pool_size = pool.left;
    GateCredits gate = pool.Gate();
    constexpr int kChannels = 5;
    int64_t at_sender[kChannels];
    for (auto& credits : at_sender) {
      gate.AddChannel();
      credits = kOptions.exclusive_per_channel;
    }
    for (int step = 0; step < 20'000; ++step) {
      const auto channel = static_cast<uint32_t>(random() % kChannels);
      ASSERT_GT(at_sender[channel], 0) << "stalled, seed " << seed << " step " << step;
      --at_sender[channel];
      at_sender[channel] += gate.OnConsumed(channel, static_cast<uint32_t>(random() % 12));
      ASSERT_LE(at_sender[channel], gate.window(channel));
      uint32_t floating = 0;
      for (uint32_t c = 0; c < kChannels; ++c) {
        floating += gate.window(c) - kOptions.exclusive_per_channel;
      }
      ASSERT_EQ(floating, gate.floating_in_use());
      ASSERT_LE(floating, kOptions.floating_per_gate);
      ASSERT_EQ(static_cast<int>(floating) + pool.left, pool_size);
    }
  }
}

}  // namespace
}  // namespace weir
