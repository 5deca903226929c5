#include "cli/respawn.h"

#include <gtest/gtest.h>

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RespawnBackoff, TheFirstIsAtOnceAndThoseThatDieYoungWaitLongerAndLonger) {
  RespawnBackoff backoff;
  EXPECT_EQ(backoff.OnDeath(seconds(1)), milliseconds(0));
  EXPECT_EQ(backoff.OnDeath(seconds(1)), milliseconds(500));
  EXPECT_EQ(backoff.OnDeath(seconds(1)), milliseconds(1000));
  for (int i = 0; i < 10; ++i) backoff.OnDeath(seconds(1));
  EXPECT_EQ(backoff.OnDeath(seconds(1)), RespawnBackoff::kLongest);
  EXPECT_EQ(backoff.OnDeath(RespawnBackoff::kGrownUp), milliseconds(0)) << "a long life forgives";
  EXPECT_EQ(backoff.OnDeath(seconds(1)), milliseconds(500));
}

}  // namespace
}  // namespace weir::cli
