#include "jobmanager/failure_history.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::jobmanager {
namespace {

const TaskManagerId kA("a");

FailureRecord Loss(uint32_t attempt) {
  return {.attempt = AttemptId(attempt),
          .attempts = {AttemptId(attempt)},
          .failure = {.message = "lost"},
          .task_manager = kA};
}

CrashReported Crash(uint32_t attempt) {
  return {
      .attempt = AttemptId(attempt), .task_manager = kA, .subtask = std::nullopt, .failure = {}};
}

const Failure kDeath{.operator_uid = "parse", .message = "signal 11", .death = true};

TEST(FailureHistoryTest, KeepsTheNewestAndCountsAll) {
  FailureHistory history;
  for (uint32_t i = 1; i <= FailureHistory::kKept + 5; ++i) history.Add(Loss(i));
  EXPECT_EQ(history.records().size(), FailureHistory::kKept);
  EXPECT_EQ(history.records().front().attempt, AttemptId(FailureHistory::kKept + 5));
  EXPECT_EQ(history.count(), FailureHistory::kKept + 5);
}

TEST(FailureHistoryTest, ACrashReportTakesThePlaceOfTheLossOnce) {
  FailureHistory history;
  history.Add(Loss(1));
  history.Add(Loss(2));
  EXPECT_EQ(history.AddCrash(Crash(1), kDeath, Instant(5)), &history.records().back());
  EXPECT_EQ(history.records().back().failure.message, "signal 11");
  EXPECT_EQ(history.records().front().failure.message, "lost") << "that was another attempt";
  EXPECT_EQ(history.AddCrash(Crash(1), kDeath, Instant(6)), nullptr) << "told again";
  EXPECT_EQ(history.count(), 2u);
}

TEST(FailureHistoryTest, ACrashReportWithoutALossStandsForItself) {
  FailureHistory history;
  EXPECT_NE(history.AddCrash(Crash(3), kDeath, Instant(5)), nullptr);
  EXPECT_EQ(history.records().front().attempt, AttemptId(3));
  EXPECT_EQ(history.count(), 1u);
}

TEST(FailureHistoryTest, AnEchoIsNoCauseWhileThereIsAnother) {
  FailureHistory history;
  EXPECT_EQ(history.last_cause(), nullptr);
  history.Add(Loss(1));
  FailureRecord echo = Loss(1);
  echo.failure = {.message = "channel broken", .secondary = true};
  history.Add(echo);
  EXPECT_EQ(history.last_cause()->failure.message, "lost");
}

TEST(FailureHistoryTest, WhatIsToBlameIsTheCauseWhateverFollows) {
  FailureHistory history;
  history.Blame(history.Add(Loss(1)));
  history.Add(Loss(2));
  EXPECT_EQ(history.last_cause()->attempt, AttemptId(1));
  history.AddCrash(Crash(1), kDeath, Instant(5));
  EXPECT_EQ(history.last_cause()->failure.message, "signal 11") << "what the loss was";
  history.Blame(nullptr);
  EXPECT_EQ(history.last_cause()->attempt, AttemptId(2));
  FailureRecord close = Loss(2);
  close.after_end = true;
  close.failure.message = "close threw";
  history.Add(close);
  EXPECT_EQ(history.last_cause()->failure.message, "lost");
}

TEST(FailureHistoryTest, WhatIsForgottenIsToBlameNoMore) {
  FailureHistory history;
  history.Blame(history.Add(Loss(1)));
  for (uint32_t i = 2; i <= FailureHistory::kKept + 1; ++i) history.Add(Loss(i));
  EXPECT_EQ(history.last_cause()->attempt, AttemptId(FailureHistory::kKept + 1));
}

}  // namespace
}  // namespace weir::jobmanager
