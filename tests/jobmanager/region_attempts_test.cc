#include "jobmanager/region_attempts.h"

#include <gtest/gtest.h>

#include <variant>
#include <vector>

namespace weir::jobmanager {
namespace {

const SubtaskId kLeft{VertexId(0), 0};
const SubtaskId kRight{VertexId(1), 0};
const SessionId kSession(7);

JobPlan TwoRegions() {
  JobPlan plan{.name = "both"};
  plan.vertices = {{.id = VertexId(0)}, {.id = VertexId(1)}};
  return plan;
}

/// Two regions of one subtask each, whose subtasks share slot 0 of one session.
class RegionAttemptsTest : public ::testing::Test {
 protected:
  RegionAttemptsTest() : attempts_(TwoRegions()) {}

  static Placement Slot(SubtaskId subtask) {
    return {{subtask, {kSession, TaskManagerId("a"), 0}}};
  }
  void Deployed() {
    Placement both = Slot(kLeft);
    both.merge(Slot(kRight));
    last_ = attempts_.Grant(both, last_);
    attempts_.SendDeployments({.attempt = last_}, &out_);
  }
  bool Set(SubtaskId subtask, TaskState state) {
    return attempts_.SetTask({attempts_.Of(subtask)->id, subtask, state, {}});
  }
  template <class T>
  size_t Count() const {
    size_t count = 0;
    for (const JobAction& action : out_) count += std::holds_alternative<T>(action);
    return count;
  }

  RegionAttempts attempts_;
  AttemptId last_;
  Instant now_{1};
  RegionAttempts::Out out_;
};

TEST_F(RegionAttemptsTest, EachRegionGetsANumberOfItsOwnAndOneDeployment) {
  Deployed();
  EXPECT_EQ(attempts_.Of(kLeft)->id, AttemptId(1));
  EXPECT_EQ(attempts_.Of(kRight)->id, AttemptId(2));
  EXPECT_EQ(last_, AttemptId(2));
  attempts_.SendDeployments({.attempt = last_}, &out_);
  EXPECT_EQ(Count<Deploy>(), 2u) << "none is sent again";
}

TEST_F(RegionAttemptsTest, ARegionRunsFromTheMomentThatAllOfTheJobDo) {
  Deployed();
  EXPECT_TRUE(Set(kLeft, TaskState::kRunning));
  const auto running = [](TaskState s) { return s == TaskState::kRunning; };
  EXPECT_FALSE(attempts_.AllTasks(running));
  EXPECT_EQ(attempts_.NotRunning(), attempts_.All());
  Set(kRight, TaskState::kRunning);
  ASSERT_TRUE(attempts_.AllTasks(running));
  attempts_.MarkRunning(now_);
  EXPECT_TRUE(attempts_.NotRunning().empty());
  EXPECT_EQ(attempts_.RanFor(attempts_.All(), now_ + milliseconds(5)), milliseconds(5));
}

TEST_F(RegionAttemptsTest, WhatIsGoneOrAtItsEndDoesNotComeBack) {
  Deployed();
  Set(kLeft, TaskState::kAtEnd);
  EXPECT_FALSE(Set(kLeft, TaskState::kRunning));
  Set(kRight, TaskState::kFailed);
  EXPECT_FALSE(Set(kRight, TaskState::kCanceled));
  EXPECT_FALSE(attempts_.SetTask({AttemptId(9), kRight, TaskState::kRunning, {}}));
}

TEST_F(RegionAttemptsTest, ASharedSlotIsGivenBackWithTheLastAttemptInIt) {
  Deployed();
  attempts_.End(attempts_.All(), CancelReason::kFailed, now_, &out_);
  EXPECT_EQ(Count<CancelAttempt>(), 2u);
  EXPECT_TRUE(attempts_.Release(AttemptId(1), kSession, &out_));
  EXPECT_EQ(Count<GiveBackSlots>(), 0u);
  EXPECT_TRUE(attempts_.Release(AttemptId(2), kSession, &out_));
  EXPECT_EQ(Count<GiveBackSlots>(), 1u);
  EXPECT_TRUE(attempts_.empty());
}

TEST_F(RegionAttemptsTest, WhatNobodyWasSentIsDroppedWithoutAWord) {
  last_ = attempts_.Grant(Slot(kLeft), last_);
  EXPECT_FALSE(attempts_.AllDeployed());
  attempts_.End(attempts_.All(), CancelReason::kFailed, now_, &out_);
  EXPECT_TRUE(attempts_.empty());
  EXPECT_EQ(Count<CancelAttempt>(), 0u);
  EXPECT_EQ(Count<GiveBackSlots>(), 1u);
}

TEST_F(RegionAttemptsTest, WhoDoesNotConfirmAnEndLosesItsSession) {
  Deployed();
  attempts_.End({0}, CancelReason::kFailed, now_, &out_);
  EXPECT_EQ(attempts_.Placed(), Slot(kRight));
  ASSERT_EQ(attempts_.NextDeadline(), now_ + RegionAttempts::kCancelTimeout);
  attempts_.DropSilent("both", now_, &out_);
  EXPECT_EQ(Count<DropSession>(), 0u);
  attempts_.DropSilent("both", now_ + RegionAttempts::kCancelTimeout, &out_);
  EXPECT_EQ(Count<DropSession>(), 1u);
}

}  // namespace
}  // namespace weir::jobmanager
