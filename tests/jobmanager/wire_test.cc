#include "jobmanager/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::jobmanager {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;

constexpr int64_t kNoon = 1'700'000'000'000;

/// Of two JobManagers, whose instants have nothing to do with each other.
TimeOfDay Former(int64_t wall_ms = kNoon) {
  return {.monotonic = seconds(5'000), .wall_ms = wall_ms, .standstills = {}};
}
TimeOfDay Next(int64_t wall_ms) {
  return {.monotonic = seconds(70), .wall_ms = wall_ms, .standstills = {}};
}

RestartMemory Sample() {
  RestartMemory memory{.restarts = 7, .in_a_row = 3, .backoff_ms = 1'500.0};
  memory.last_failure = seconds(4'990);
  memory.recent = {seconds(4'900), seconds(4'990)};
  memory.operators["parse"] = {.user_failures = 2, .deaths = 1};
  return memory;
}

TEST(RestartMemoryOnTheWire, GoesOnUnderTheNextJobManager) {
  // Twenty seconds later; its clock began elsewhere.
  const RestartMemory read = FromProto(ToProto(Sample(), Former()), Next(kNoon + 20'000));
  EXPECT_EQ(read.restarts, 7u);
  EXPECT_EQ(read.in_a_row, 3u);
  EXPECT_EQ(read.backoff_ms, 1'500.0);
  EXPECT_EQ(read.last_failure, Instant(seconds(70 - 30)));
  EXPECT_THAT(read.recent, ElementsAre(seconds(70 - 120), seconds(70 - 30)));
  ASSERT_EQ(read.operators.size(), 1u);
  EXPECT_EQ(read.operators.at("parse").user_failures, 2u);
  EXPECT_EQ(read.operators.at("parse").deaths, 1u);
}

TEST(RestartMemoryOnTheWire, OfAJobThatNeverFailedIsEmpty) {
  const RestartMemory read = FromProto(ToProto(RestartMemory(), Former()), Next(kNoon));
  EXPECT_FALSE(read.last_failure);
  EXPECT_TRUE(read.recent.empty());
}

TEST(RestartMemoryOnTheWire, ATimeOfDaySetForwardsMakesFailuresOlder) {
  const RestartMemory read = FromProto(ToProto(Sample(), Former()), Next(kNoon + 3'600'000));
  EXPECT_EQ(read.last_failure, Instant(seconds(70 - 10) - hours(1)));
}

TEST(RestartMemoryOnTheWire, ATimeOfDaySetBackMakesNoFailureOneOfTheFuture) {
  const RestartMemory read = FromProto(ToProto(Sample(), Former()), Next(kNoon - 3'600'000));
  EXPECT_EQ(read.last_failure, Instant(seconds(70)));
  EXPECT_THAT(read.recent, ElementsAre(seconds(70), seconds(70)));
}

TEST(RestartMemoryOnTheWire, RecentFailuresStayInTheirOrderThoughTheTimeOfDayWasSetBackBetween) {
  proto::RestartMemory stored;
  stored.add_recent_failures_ms(kNoon - 1'000);
  stored.add_recent_failures_ms(kNoon - 9'000);
  EXPECT_THAT(FromProto(stored, Next(kNoon)).recent, ElementsAre(seconds(69), seconds(69)))
      << "the policy drops them from the front";
}

TEST(RestartMemoryOnTheWire, HoldsTheNewestOfMoreFailuresThanARecordTakes) {
  RestartMemory memory;
  for (int i = 0; i < 1'500; ++i) memory.recent.push_back(seconds(3'000 + i));
  const proto::RestartMemory stored = ToProto(memory, Former());
  ASSERT_EQ(stored.recent_failures_ms_size(), 1'000);
  EXPECT_EQ(stored.recent_failures_ms(0), kNoon - 1'500'000);
  EXPECT_EQ(stored.recent_failures_ms(999), kNoon - 501'000);
}

TEST(RestartMemoryOnTheWire, WhatFailedBeforeAStandstillIsByThatMuchOlder) {
  TimeOfDay time = Former();
  time.standstills = {{.at = seconds(4'950), .lasted = seconds(30)}};
  const proto::RestartMemory stored = ToProto(Sample(), time);
  EXPECT_THAT(stored.recent_failures_ms(), ElementsAre(kNoon - 130'000, kNoon - 10'000));
}

}  // namespace
}  // namespace weir::jobmanager
