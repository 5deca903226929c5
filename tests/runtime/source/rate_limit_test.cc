#include "runtime/source/rate_limit.h"

#include <gtest/gtest.h>

#include "runtime/element/batch.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

uint32_t Take(RateLimit& limit) {
  const uint32_t rows = limit.Allowed();
  limit.Spend(rows);
  return rows;
}

TEST(RateLimit, WithoutARateEverythingIsAllowed) {
  ManualClock clock;
  RateLimit limit(clock);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(limit), Batch::kCapacity);
}

TEST(RateLimit, GivesWhatIsDue) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(10);
  EXPECT_EQ(Take(limit), 0u);
  clock.Advance(250ms);
  EXPECT_EQ(Take(limit), 2u);
  clock.Advance(50ms);
  EXPECT_EQ(Take(limit), 1u) << "the half row from before counts";
}

TEST(RateLimit, FastSourcesGetPortionsOfTenMilliseconds) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(10'000);
  clock.Advance(9ms);
  EXPECT_EQ(Take(limit), 0u);
  EXPECT_EQ(limit.Next(), 10ms);
  clock.Advance(1ms);
  EXPECT_EQ(Take(limit), 100u);
}

TEST(RateLimit, MakesUpForASecondAtMost) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(100);
  clock.Advance(60'000ms);
  EXPECT_EQ(Take(limit), 100u);
  EXPECT_EQ(Take(limit), 0u);
}

TEST(RateLimit, SlowerThanOneASecond) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(0.5);
  EXPECT_EQ(limit.Next(), 2s);
  clock.Advance(2000ms);
  EXPECT_EQ(Take(limit), 1u);
}

TEST(RateLimit, WhoTakesMoreThanIsAllowedWaitsForIt) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(100);
  clock.Advance(1000ms);
  limit.Spend(300);
  clock.Advance(2000ms);
  EXPECT_EQ(Take(limit), 0u);
  EXPECT_EQ(limit.Next(), 3010ms);
  clock.Advance(10ms);
  EXPECT_EQ(Take(limit), 1u);
}

TEST(RateLimit, ChangesWhileItRuns) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(10);
  limit.Set(1000);
  clock.Advance(100ms);
  EXPECT_EQ(Take(limit), 100u);
  limit.Set(std::nullopt);
  EXPECT_EQ(Take(limit), Batch::kCapacity);
  limit.Set(1);
  clock.Advance(1000ms);
  EXPECT_EQ(Take(limit), 1u) << "what was read without a limit is not owed";
}

TEST(RateLimit, ADebtIsASecondOfTheNewRateAtMost) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(0.1);
  limit.Spend(1000);  // ten thousand seconds' worth
  limit.Set(100);
  clock.Advance(1010ms);
  EXPECT_EQ(Take(limit), 1u);
}

TEST(RateLimit, NoneAtAll) {
  ManualClock clock;
  RateLimit limit(clock);
  limit.Set(0);
  clock.Advance(60'000ms);
  EXPECT_EQ(Take(limit), 0u);
  EXPECT_EQ(limit.Next(), std::chrono::nanoseconds::max());
}

}  // namespace
}  // namespace weir
