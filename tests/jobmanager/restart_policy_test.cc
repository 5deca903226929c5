#include "jobmanager/restart_policy.h"

#include <gtest/gtest.h>

namespace weir::jobmanager {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Instant kNow{0};

Failure Lost() { return {.kind = ErrorKind::kExternal, .message = "TaskManager 'a' was lost"}; }
Failure UserFault(const std::string& uid) {
  return {.kind = ErrorKind::kUser, .operator_uid = uid, .operator_name = uid, .message = "bad"};
}

RestartOptions Exponential() { return {.kind = RestartKind::kExponentialDelay, .jitter = 0.0}; }

TEST(RestartPolicyTest, NoneEndsTheJobAtTheFirstFailure) {
  RestartPolicy policy({.kind = RestartKind::kNone}, 1);
  const auto decision = policy.OnFailure(Lost(), kNow, seconds(0));
  EXPECT_FALSE(decision.restart);
  EXPECT_NE(decision.reason.find("no restart strategy"), std::string::npos);
}

TEST(RestartPolicyTest, FixedDelayRestartsAsOftenAsItSays) {
  RestartPolicy policy(
      {.kind = RestartKind::kFixedDelay, .attempts = 2, .delay = milliseconds(300)}, 1);
  for (int i = 0; i < 2; ++i) {
    const auto decision = policy.OnFailure(Lost(), kNow, hours(5));
    EXPECT_TRUE(decision.restart);
    EXPECT_EQ(decision.delay, milliseconds(300));
  }
  EXPECT_FALSE(policy.OnFailure(Lost(), kNow, hours(5)).restart);
  EXPECT_EQ(policy.restarts(), 2u);
}

TEST(RestartPolicyTest, ExponentialRestartsAtOnceThenBacksOffToTheMaximum) {
  RestartPolicy policy(Exponential(), 1);
  std::vector<int64_t> delays;
  for (int i = 0; i < 13; ++i) {
    delays.push_back(policy.OnFailure(Lost(), kNow, seconds(1)).delay.count());
  }
  EXPECT_EQ(delays, (std::vector<int64_t>{0, 1000, 1500, 2250, 3375, 5063, 7594, 11391, 17086,
                                          25629, 38443, 57665, 60000}));
}

TEST(RestartPolicyTest, RunningLongEnoughForgetsTheBackoff) {
  RestartPolicy policy(Exponential(), 1);
  for (int i = 0; i < 5; ++i) (void)policy.OnFailure(Lost(), kNow, seconds(1));
  EXPECT_EQ(policy.OnFailure(Lost(), kNow, hours(1)).delay.count(), 0);
  EXPECT_EQ(policy.OnFailure(Lost(), kNow, seconds(1)).delay.count(), 1000);
}

TEST(RestartPolicyTest, JitterStaysWithinItsFractionAndTheMaximum) {
  RestartOptions options = Exponential();
  options.jitter = 0.1;
  RestartPolicy policy(options, 7);
  (void)policy.OnFailure(Lost(), kNow, seconds(0));
  const int64_t second = policy.OnFailure(Lost(), kNow, seconds(0)).delay.count();
  EXPECT_GE(second, 900);
  EXPECT_LE(second, 1100);
  for (int i = 0; i < 40; ++i) {
    EXPECT_LE(policy.OnFailure(Lost(), kNow, seconds(0)).delay, milliseconds(60'000));
  }
}

TEST(RestartPolicyTest, FailureRateEndsTheJobWhenMoreThanSoManyLieWithinTheInterval) {
  RestartPolicy policy({.kind = RestartKind::kFailureRate,
                        .delay = milliseconds(200),
                        .max_failures = 2,
                        .interval = seconds(60)},
                       1);
  for (const Instant at :
       {Instant(seconds(0)), Instant(seconds(50)), Instant(seconds(61)), Instant(seconds(111))}) {
    const auto decision = policy.OnFailure(Lost(), at, seconds(1));
    EXPECT_TRUE(decision.restart);
    EXPECT_EQ(decision.delay, milliseconds(200));
  }
  const auto last = policy.OnFailure(Lost(), seconds(112), seconds(1));
  EXPECT_FALSE(last.restart);
  EXPECT_NE(last.reason.find("more than 2 failures within 60000 ms"), std::string::npos);
}

TEST(RestartPolicyTest, FatalIsNeverRetried) {
  RestartPolicy policy(Exponential(), 1);
  Failure fatal = Lost();
  fatal.kind = ErrorKind::kFatal;
  EXPECT_FALSE(policy.OnFailure(fatal, kNow, hours(9)).restart);
}

TEST(RestartPolicyTest, AReasonNamesTheOperatorOnce) {
  const auto reason = [](const std::string& name, const std::string& uid, const char* message) {
    RestartPolicy policy({.kind = RestartKind::kFixedDelay, .attempts = 0}, 1);
    return policy
        .OnFailure({.kind = ErrorKind::kUser,
                    .operator_uid = uid,
                    .operator_name = name,
                    .message = message},
                   kNow, seconds(0))
        .reason;
  };
  const std::string last = "all 0 restarts are used up; last: ";
  EXPECT_EQ(reason("parse", "auto-1-map", "bad row"), last + "parse: bad row");
  EXPECT_EQ(reason("parse", "rows", "bad row"), last + "parse (uid rows): bad row");
  EXPECT_EQ(reason("map (rows)", "rows", "bad row"), last + "map (rows): bad row");
  EXPECT_EQ(reason("parse", "rows", "operator 'parse' (subtask 0) crashed"),
            last + "operator 'parse' (subtask 0) crashed");

  RestartPolicy policy({.kind = RestartKind::kFixedDelay, .attempts = 5, .max_user_failures = 1},
                       1);
  Failure failure = UserFault("rows");
  failure.operator_name = "map (rows)";
  EXPECT_EQ(policy.OnFailure(failure, kNow, seconds(0)).reason,
            "operator 'map (rows)' failed 1 times; last: bad");
}

TEST(RestartPolicyTest, DeathsInTheSameOperatorEndTheJob) {
  RestartPolicy policy(Exponential(), 1);
  Failure death = UserFault("parse");
  death.death = true;
  EXPECT_TRUE(policy.OnFailure(death, kNow, seconds(1)).restart);
  EXPECT_FALSE(policy.OnCrashReport(UserFault("other")).has_value());
  EXPECT_FALSE(policy.OnCrashReport(death).has_value());
  const auto reason = policy.OnCrashReport(death);
  ASSERT_TRUE(reason.has_value());
  EXPECT_NE(reason->find("parse"), std::string::npos);
}

/// By a thread that ran no operator.
Failure UnnamedDeath() {
  return {.kind = ErrorKind::kUser, .message = "a thread crashed", .death = true};
}

TEST(RestartPolicyTest, DeathsInNoOperatorEndTheJob) {
  RestartPolicy policy(Exponential(), 1);
  EXPECT_FALSE(policy.OnCrashReport(UnnamedDeath()).has_value());
  EXPECT_FALSE(policy.OnCrashReport(UnnamedDeath()).has_value());
  Failure nobodys = UnnamedDeath();  // it gave itself up, others ended it, or other jobs ran there
  nobodys.kind = ErrorKind::kExternal;
  EXPECT_FALSE(policy.OnCrashReport(nobodys).has_value());
  const auto reason = policy.OnCrashReport(UnnamedDeath());
  ASSERT_TRUE(reason.has_value());
  EXPECT_NE(reason->find("in no operator"), std::string::npos) << *reason;
  EXPECT_NE(reason->find("3 times; last: a thread crashed"), std::string::npos) << *reason;
}

TEST(RestartPolicyTest, DeathsInNoOperatorDoNotAddUpWhenTheyAreFarApart) {
  RestartPolicy policy(Exponential(), 1);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(policy.OnCrashReport(UnnamedDeath()).has_value());
    if (i % 2 == 1) policy.OnAttemptEnded(minutes(10));
  }
}

TEST(RestartPolicyTest, UserFailuresOfTheSameOperatorEndTheJobUnlessTheyAreFarApart) {
  RestartOptions options = Exponential();
  options.max_user_failures = 3;
  RestartPolicy policy(options, 1);
  EXPECT_TRUE(policy.OnFailure(UserFault("a"), kNow, seconds(1)).restart);
  EXPECT_TRUE(policy.OnFailure(UserFault("a"), kNow, seconds(1)).restart);
  EXPECT_TRUE(policy.OnFailure(UserFault("b"), kNow, seconds(1)).restart);
  policy.OnAttemptEnded(minutes(10));  // forgets what was charged before
  EXPECT_TRUE(policy.OnFailure(UserFault("a"), kNow, minutes(10)).restart);
  EXPECT_TRUE(policy.OnFailure(UserFault("a"), kNow, seconds(1)).restart);
  EXPECT_FALSE(policy.OnFailure(UserFault("a"), kNow, seconds(1)).restart);
}

TEST(RestartPolicyTest, DeathsFarApartDoNotAddUpWheneverTheirReportsCome) {
  RestartPolicy policy(Exponential(), 1);
  Failure death = UserFault("parse");
  death.death = true;
  EXPECT_FALSE(policy.OnCrashReport(death).has_value());
  EXPECT_FALSE(policy.OnCrashReport(death).has_value());
  policy.OnAttemptEnded(minutes(30));
  EXPECT_FALSE(policy.OnCrashReport(death).has_value());  // before the attempt's failure is decided
  EXPECT_TRUE(policy.OnFailure({.kind = ErrorKind::kExternal}, kNow, minutes(30)).restart);
  EXPECT_FALSE(policy.OnCrashReport(death).has_value());
  EXPECT_TRUE(policy.OnCrashReport(death).has_value());
}

TEST(RestartPolicyTest, EchoesAreNotChargedToTheirOperator) {
  RestartOptions options = Exponential();
  options.max_user_failures = 1;
  RestartPolicy policy(options, 1);
  Failure echo = UserFault("a");
  echo.secondary = true;
  EXPECT_TRUE(policy.OnFailure(echo, kNow, seconds(1)).restart);
}

/// A policy under the next leader, so long after the last failure.
RestartPolicy Next(const RestartOptions& options, const RestartPolicy& former, milliseconds later) {
  RestartPolicy next(options, 1);
  next.Resume(former.memory(), *former.memory().last_failure + later);
  return next;
}

TEST(RestartPolicyTest, TheNextLeaderGoesOnWithTheAttempts) {
  const RestartOptions options{.kind = RestartKind::kFixedDelay, .attempts = 2};
  RestartPolicy former(options, 1);
  EXPECT_TRUE(former.OnFailure(Lost(), kNow, hours(5)).restart);
  RestartPolicy next = Next(options, former, hours(100));
  EXPECT_TRUE(next.OnFailure(Lost(), kNow, hours(5)).restart);
  EXPECT_FALSE(next.MayRestart(kNow));
  EXPECT_FALSE(next.OnFailure(Lost(), kNow, hours(5)).restart);
}

TEST(RestartPolicyTest, TheNextLeaderGoesOnWithTheBackoffUntilItIsReset) {
  RestartPolicy former(Exponential(), 1);
  for (int i = 0; i < 3; ++i) (void)former.OnFailure(Lost(), kNow, seconds(1));
  RestartPolicy next = Next(Exponential(), former, minutes(59));
  EXPECT_EQ(next.OnFailure(Lost(), kNow, seconds(1)).delay.count(), 2250);
  RestartPolicy late = Next(Exponential(), former, minutes(60));
  EXPECT_EQ(late.OnFailure(Lost(), kNow, seconds(1)).delay.count(), 0);
}

TEST(RestartPolicyTest, TheNextLeaderGoesOnWithTheFailuresOfTheInterval) {
  const RestartOptions options{.kind = RestartKind::kFailureRate, .max_failures = 2};
  RestartPolicy former(options, 1);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(former.OnFailure(Lost(), kNow, seconds(1)).restart);
  RestartPolicy next = Next(options, former, seconds(30));
  EXPECT_FALSE(next.MayRestart(kNow + seconds(60)));
  EXPECT_TRUE(next.OnFailure(Lost(), kNow + seconds(61), seconds(1)).restart);
}

TEST(RestartPolicyTest, TheNextLeaderGoesOnWithWhatOperatorsDidUnlessTheyRanOnSince) {
  const RestartOptions options = Exponential();
  RestartPolicy former(options, 1);
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(former.OnFailure(UserFault("map"), kNow, seconds(1)).restart);
  }
  RestartPolicy next = Next(options, former, minutes(9));
  EXPECT_FALSE(next.OnFailure(UserFault("map"), kNow, seconds(1)).restart);
  RestartPolicy late = Next(options, former, minutes(10));
  EXPECT_TRUE(late.OnFailure(UserFault("map"), kNow, seconds(1)).restart);
}

}  // namespace
}  // namespace weir::jobmanager
