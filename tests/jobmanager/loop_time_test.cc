#include "jobmanager/loop_time.h"

#include <gtest/gtest.h>

#include "jobmanager/membership.h"

namespace weir::jobmanager {
namespace {

using namespace std::chrono_literals;

class LoopTimeTest : public ::testing::Test {
 protected:
  /// The loop sleeps for `meant`, and wakes only after `took`.
  std::chrono::nanoseconds Sleep(milliseconds meant, milliseconds took) {
    const Instant due = time_.Now() + meant;
    clock_.Advance(took);
    return time_.Woke(due);
  }

  ManualClock clock_{Timestamp{1'000'000}};
  LoopTime time_{clock_, 500ms};
};

TEST_F(LoopTimeTest, PassesWhileTheLoopWakesInTime) {
  const Instant before = time_.Now();
  EXPECT_EQ(Sleep(1s, 1'400ms), 0ns);
  EXPECT_EQ(Sleep(1s, 10ms), 0ns) << "woken by a letter";
  EXPECT_EQ(time_.Now() - before, 1'410ms);
}

TEST_F(LoopTimeTest, StandsStillWithTheLoop) {
  const Instant before = time_.Now();
  EXPECT_EQ(Sleep(1s, 9s), 8s);
  EXPECT_EQ(time_.Now() - before, 1s);
  EXPECT_EQ(Sleep(1s, 1s), 0ns);
  EXPECT_EQ(time_.Now() - before, 2s);
}

TEST_F(LoopTimeTest, WhatWasDueLongAgoIsNoStandstill) {
  Sleep(1'000s, 1'000s);
  EXPECT_EQ(time_.Woke(Instant(0)), 0ns);
  EXPECT_EQ(time_.Now(), 1'000s);
}

TEST_F(LoopTimeTest, WithinATurnItIsTheSame) {
  Membership members({.heartbeat_timeout = 5s});
  members.Add(SessionId(1), {.id = TaskManagerId("tm"), .slots = 1}, time_.Now());
  Sleep(1s, 1s);
  clock_.Advance(60s);  // what this turn does
  EXPECT_EQ(time_.Now(), 1s);
  EXPECT_TRUE(members.Expired(time_.Now()).empty()) << "what it said has not been read";
  EXPECT_EQ(time_.Until(2s), 0ns) << "the loop knows how late it is";
  EXPECT_EQ(time_.Woke(2s), 59s);
  EXPECT_EQ(time_.Now(), 2s);
}

TEST_F(LoopTimeTest, NeverGoesBack) {
  Instant before = time_.Now();
  for (const milliseconds turn : {0ms, 400ms, 9'000ms, 600ms, 1ms, 60'000ms, 0ms}) {
    clock_.Advance(turn);
    time_.Woke(before + 100ms);
    EXPECT_GE(time_.Now(), before);
    before = time_.Now();
  }
}

TEST_F(LoopTimeTest, ATaskManagerIsNotLostByAStandstillButByItsOwnSilenceAfterIt) {
  Membership members({.heartbeat_timeout = 5s});
  members.Add(SessionId(1), {.id = TaskManagerId("tm"), .slots = 1}, time_.Now());
  Sleep(1s, 60s);
  EXPECT_TRUE(members.Expired(time_.Now()).empty()) << "it could not be heard";
  for (int i = 0; i < 3; ++i) Sleep(1s, 1s);
  EXPECT_TRUE(members.Expired(time_.Now()).empty()) << "4 s of silence";
  Sleep(1s, 1s);
  EXPECT_EQ(members.Expired(time_.Now()).size(), 1u);
}

TEST_F(LoopTimeTest, TimesOfDayAreThoseOfTheClockOnTheWall) {
  const Instant first = time_.Now();
  Sleep(1s, 9s);
  const Instant second = time_.Now();
  Sleep(1s, 1s);
  const TimeOfDay time = time_.AsTimeOfDay();
  EXPECT_EQ(time.At(first), 1'000'000);
  EXPECT_EQ(time.At(second), 1'009'000);
  EXPECT_EQ(time.At(time_.Now() + 5s), 1'015'000) << "still to come";
}

TEST_F(LoopTimeTest, OfManyStandstillsTheOldestAreTakenTogether) {
  const Instant first = time_.Now();
  Instant last{0};
  for (size_t i = 0; i < 3 * LoopTime::kKept; ++i) {
    Sleep(1s, 3s);
    last = time_.Now();
  }
  const TimeOfDay time = time_.AsTimeOfDay();
  EXPECT_EQ(time.standstills.size(), LoopTime::kKept);
  EXPECT_EQ(time.At(last), time.wall_ms);
  EXPECT_EQ(time.At(first), 1'000'000);
}

}  // namespace
}  // namespace weir::jobmanager
