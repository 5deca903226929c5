#include "taskmanager/job_manager_silence.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using Verdict = JobManagerSilence::Verdict;

class JobManagerSilenceTest : public ::testing::Test {
 protected:
  JobManagerSilenceTest() { silence_.Begin(now_, 1s, 5s); }

  Verdict LookAfter(std::chrono::nanoseconds d) { return silence_.Look(now_ += d); }
  /// Looks each second up to the first that gives something.
  std::pair<Verdict, std::chrono::nanoseconds> LookOn() {
    const auto from = now_;
    Verdict verdict = Verdict::kNone;
    while (verdict == Verdict::kNone) verdict = LookAfter(1s);
    return {verdict, now_ - from};
  }

  std::chrono::nanoseconds now_ = 100s;
  JobManagerSilence silence_;
};

TEST_F(JobManagerSilenceTest, IsToldOnceAndGivenUpMuchLater) {
  EXPECT_EQ(LookOn(), std::pair(Verdict::kBegins, std::chrono::nanoseconds(6s)));
  EXPECT_EQ(LookOn(), std::pair(Verdict::kGiveUp, std::chrono::nanoseconds(55s)));
}

TEST_F(JobManagerSilenceTest, IsOverWhenTheJobManagerSpeaks) {
  EXPECT_FALSE(silence_.Heard(now_)) << "there was none";
  LookOn();
  EXPECT_TRUE(silence_.Heard(now_));
  EXPECT_FALSE(silence_.Heard(now_)) << "told";
  EXPECT_EQ(LookOn(), std::pair(Verdict::kBegins, std::chrono::nanoseconds(6s))) << "another";
}

TEST_F(JobManagerSilenceTest, IsNotWhatThisProcessStoodStillItself) {
  EXPECT_EQ(LookAfter(1s), Verdict::kNone);
  EXPECT_EQ(LookAfter(600s), Verdict::kNone) << "the machine was suspended";
  EXPECT_EQ(LookOn(), std::pair(Verdict::kBegins, std::chrono::nanoseconds(4s)))
      << "the rest of it";
}

TEST_F(JobManagerSilenceTest, WhatWasHeardAfterAStandstillCountsFromThen) {
  LookAfter(1s);
  now_ += 600s;
  EXPECT_FALSE(silence_.Heard(now_)) << "the letter was read before the next look";
  EXPECT_EQ(silence_.Look(now_), Verdict::kNone);
  EXPECT_EQ(LookOn(), std::pair(Verdict::kBegins, std::chrono::nanoseconds(6s)));
}

}  // namespace
}  // namespace weir
