#include "connectors/generator/rate_limit.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using std::chrono::milliseconds;

TEST(RateLimit, GivesWhatIsDue) {
  ManualClock clock;
  RateLimit limit(10, clock);
  EXPECT_EQ(limit.Take(1000), 0u);
  clock.Advance(milliseconds(250));
  EXPECT_EQ(limit.Take(1000), 2u);
  clock.Advance(milliseconds(50));
  EXPECT_EQ(limit.Take(1000), 1u) << "the half row from before counts";
}

TEST(RateLimit, FastSourcesGetPortionsOfTenMilliseconds) {
  ManualClock clock;
  RateLimit limit(10'000, clock);
  clock.Advance(milliseconds(9));
  EXPECT_EQ(limit.Take(1000), 0u);
  EXPECT_EQ(limit.Next(), Timestamp{10});
  clock.Advance(milliseconds(1));
  EXPECT_EQ(limit.Take(1000), 100u);
}

TEST(RateLimit, MakesUpForASecondAtMost) {
  ManualClock clock;
  RateLimit limit(100, clock);
  clock.Advance(milliseconds(60'000));
  EXPECT_EQ(limit.Take(1000), 100u);
  EXPECT_EQ(limit.Take(1000), 0u);
}

TEST(RateLimit, SlowerThanOneASecond) {
  ManualClock clock;
  RateLimit limit(0.5, clock);
  EXPECT_EQ(limit.Next(), Timestamp{2000});
  clock.Advance(milliseconds(2000));
  EXPECT_EQ(limit.Take(1000), 1u);
}

}  // namespace
}  // namespace weir
