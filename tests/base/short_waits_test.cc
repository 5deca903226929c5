#include "base/short_waits.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

/// Leaves `waits` behind a wait that was short, however busy the machine is.
void WaitShortly(ShortWaits& waits) {
  while (true) {
    const auto before = Clock::now();
    waits.Begin([] { return true; });
    waits.End();
    if (Clock::now() - before < ShortWaits::kLook) return;
  }
}

void WaitLong(ShortWaits& waits) {
  const auto before = Clock::now();
  waits.Begin([] { return true; });
  while (Clock::now() - before <= 2 * ShortWaits::kLook) {
  }
  waits.End();
}

TEST(ShortWaits, AThreadSleepsAtOnceAtFirstAndAfterALongWait) {
  ShortWaits waits;
  int looks = 0;
  const auto look = [&] { return ++looks > 0; };
  EXPECT_FALSE(waits.Begin(look));
  WaitShortly(waits);
  WaitLong(waits);
  EXPECT_FALSE(waits.Begin(look));
  EXPECT_EQ(looks, 0);
}

TEST(ShortWaits, AfterAShortWaitItLooksUntilTheWaitIsOver) {
  ShortWaits waits;
  WaitShortly(waits);
  EXPECT_TRUE(waits.Begin([] { return true; }));
}

TEST(ShortWaits, LookingInVainEndsAndTheNextWaitSleepsAtOnce) {
  ShortWaits waits;
  WaitShortly(waits);
  int looks = 0;
  EXPECT_FALSE(waits.Begin([&] { return ++looks < 0; }));
  EXPECT_GT(looks, 0);
  waits.End();
  EXPECT_FALSE(waits.Begin([] { return true; }));
}

TEST(ShortWaits, LooksNoLongerThanTheWaitMayLast) {
  ShortWaits waits;
  WaitShortly(waits);
  int looks = 0;
  EXPECT_FALSE(waits.Begin([&] { return ++looks < 0; }, std::chrono::nanoseconds(1)));
  EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace weir
