#include "jobmanager/checkpoint_coordinator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace weir::jobmanager {
namespace {

const SubtaskId kSource{VertexId(0), 0};
const SubtaskId kSink{VertexId(1), 0};

/// Drives one coordinator with a source and a transactional sink on a clock of its own.
class CheckpointCoordinatorTest : public ::testing::Test {
 protected:
  void Start(CheckpointPolicy policy, uint64_t limit = 1'000) {
    coordinator_.emplace(policy, std::vector<SubtaskId>{kSource, kSink},
                         std::vector<SubtaskId>{kSink});
    Send(CheckpointingStarted{
        .attempt = AttemptId(1), .floor = CheckpointId(0), .id_limit = CheckpointId(limit)});
  }
  static CheckpointPolicy Every(int64_t ms) { return {.interval = milliseconds(ms)}; }

  void Send(const CheckpointEvent& event) { coordinator_->Step(event, now_, &actions_); }
  void Advance(int64_t ms) {
    now_ += milliseconds(ms);
    Send(CheckpointTick{});
  }
  /// The only action of this type so far; forgets all actions.
  template <class T>
  T Take() {
    std::optional<T> found;
    for (const auto& action : actions_) {
      if (const T* t = std::get_if<T>(&action)) {
        EXPECT_FALSE(found.has_value()) << "more than one";
        found = *t;
      }
    }
    EXPECT_TRUE(found.has_value()) << "no such action";
    actions_.clear();
    return found.value_or(T{});
  }
  template <class T>
  size_t Count() const {
    return static_cast<size_t>(
        std::count_if(actions_.begin(), actions_.end(),
                      [](const auto& action) { return std::holds_alternative<T>(action); }));
  }
  void AckAll(CheckpointId id, bool at_end = false) {
    Send(SubtaskAcknowledged{id, kSource, {.at_end = at_end}});
    Send(SubtaskAcknowledged{id, kSink, {.at_end = at_end}});
  }
  /// One whole checkpoint; it must have been triggered.
  void Complete(bool at_end = false) {
    const CheckpointId id = Take<SendTrigger>().id;
    AckAll(id, at_end);
    EXPECT_EQ(Take<CommitManifest>().id, id);
    Send(ManifestCommitted{id, "log/1"});
  }

  std::optional<CheckpointCoordinator> coordinator_;
  Instant now_{0};
  std::vector<CheckpointAction> actions_;
};

TEST_F(CheckpointCoordinatorTest, TriggersAtTheIntervalAndTellsSinksOnlyAfterTheCommit) {
  Start(Every(1'000));
  Advance(999);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  Advance(1);
  const SendTrigger trigger = Take<SendTrigger>();
  EXPECT_EQ(trigger.id, CheckpointId(1));
  Send(SubtaskAcknowledged{trigger.id, kSource, {.state = "s"}});
  EXPECT_EQ(Count<CommitManifest>(), 0u);
  Send(SubtaskAcknowledged{trigger.id, kSink, {.state = "t"}});
  EXPECT_EQ(Count<SendCompleted>(), 0u);
  EXPECT_EQ(Take<CommitManifest>().acks.at(kSource).state, "s");
  Send(ManifestCommitted{trigger.id, "log/1"});
  EXPECT_EQ(Take<SendCompleted>().id, trigger.id);
  EXPECT_EQ(coordinator_->last_completed(), trigger.id);
  Send(SubtaskPublished{trigger.id, kSink});
  EXPECT_EQ(coordinator_->history().front().status, CheckpointRecord::Status::kPublished);
}

CheckpointPolicy Unaligned(int64_t after_ms) {
  return {.interval = milliseconds(1'000), .aligned_timeout = milliseconds(after_ms)};
}

TEST_F(CheckpointCoordinatorTest, ACheckpointThatIsNotCompleteInTimeTurnsUnalignedOnce) {
  Start(Unaligned(300));
  Advance(1'000);
  const CheckpointId id = Take<SendTrigger>().id;
  EXPECT_EQ(coordinator_->NextDeadline(), now_ + milliseconds(300));
  Advance(299);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
  Send(SubtaskAcknowledged{id, kSource, {}});
  Advance(1);
  EXPECT_EQ(Take<SendTurnUnaligned>().id, id);
  EXPECT_EQ(coordinator_->NextDeadline(), now_ - milliseconds(300) + milliseconds(600'000));
  Advance(1'000);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
  Send(SubtaskAcknowledged{id, kSink, {.unaligned = true, .in_flight_bytes = 77}});
  EXPECT_EQ(Take<CommitManifest>().id, id);
  EXPECT_TRUE(coordinator_->history().front().unaligned);
  EXPECT_EQ(coordinator_->history().front().in_flight_bytes, 77u);
}

TEST_F(CheckpointCoordinatorTest, WithoutPatienceItTurnsAtOnce) {
  Start(Unaligned(0));
  Advance(1'000);
  ASSERT_EQ(actions_.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<SendTrigger>(actions_[0])) << "the order of one stream";
  EXPECT_TRUE(std::holds_alternative<SendTurnUnaligned>(actions_[1]));
}

TEST_F(CheckpointCoordinatorTest, ACheckpointThatIsCompleteInTimeStaysAligned) {
  Start(Unaligned(300));
  Advance(1'000);
  Complete();
  actions_.clear();
  Advance(300);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
  EXPECT_FALSE(coordinator_->history().front().unaligned);
}

TEST_F(CheckpointCoordinatorTest, ACheckpointThatIsBeingCommittedIsNotTurned) {
  Start(Unaligned(300));
  Advance(1'000);
  AckAll(Take<SendTrigger>().id);
  Advance(300);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, SavepointsAndStopsStayAligned) {
  for (const CheckpointKind kind : {CheckpointKind::kSavepoint, CheckpointKind::kStop}) {
    actions_.clear();
    Start(Unaligned(0));
    Send(SavepointWanted{.request = RequestId(1), .kind = kind, .directory = "/sp"});
    EXPECT_EQ(Count<SendTrigger>(), 1u);
    Advance(1'000);
    EXPECT_EQ(Count<SendTurnUnaligned>(), 0u) << ToString(kind);
  }
}

TEST_F(CheckpointCoordinatorTest, AtLeastOnceNobodyWaitsForBarriersAnyway) {
  CheckpointPolicy policy = Unaligned(0);
  policy.mode = CheckpointMode::kAtLeastOnce;
  Start(policy);
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 1u);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, WhenTheTimeOutComesFirstTheCheckpointFailsAligned) {
  CheckpointPolicy policy = Unaligned(500);
  policy.timeout = milliseconds(400);
  Start(policy);
  Advance(1'000);
  Advance(500);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u);
  EXPECT_EQ(Count<SendAborted>(), 1u);
}

TEST_F(CheckpointCoordinatorTest, IdsOfFailedCheckpointsAreNotUsedAgain) {
  Start(Every(1'000));
  Advance(1'000);
  const CheckpointId first = Take<SendTrigger>().id;
  Send(SubtaskDeclined{first, kSink, "disk full"});
  EXPECT_EQ(Take<SendAborted>().id, first);
  Advance(1'000);
  EXPECT_EQ(Take<SendTrigger>().id, CheckpointId(2));
  Send(SubtaskAcknowledged{first, kSource, {}});  // too late for anything
  EXPECT_EQ(coordinator_->history().front().acknowledged, 0u);
}

TEST_F(CheckpointCoordinatorTest, MinPauseLiesBetweenTheEndAndTheNextStart) {
  CheckpointPolicy policy = Every(1'000);
  policy.min_pause = milliseconds(700);
  Start(policy);
  Advance(1'000);
  const CheckpointId id = Take<SendTrigger>().id;
  Advance(900);
  AckAll(id);
  Send(ManifestCommitted{id, "m"});
  actions_.clear();
  Advance(699);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  Advance(1);
  EXPECT_EQ(Count<SendTrigger>(), 1u);
}

TEST_F(CheckpointCoordinatorTest, TimeoutAbortsAndNamesWhoIsMissing) {
  CheckpointPolicy policy = Every(1'000);
  policy.timeout = milliseconds(400);
  Start(policy);
  Advance(1'000);
  const CheckpointId id = Take<SendTrigger>().id;
  Send(SubtaskAcknowledged{id, kSource, {}});
  Advance(400);
  const SendAborted aborted = Take<SendAborted>();
  EXPECT_NE(aborted.reason.find("1 of 2 subtasks, among them 1/0"), std::string::npos)
      << aborted.reason;
}

TEST_F(CheckpointCoordinatorTest, FailuresInARowBeyondTheTolerableFailTheAttempt) {
  CheckpointPolicy policy = Every(1'000);
  policy.tolerable_failures = 1;
  Start(policy);
  for (int round = 0; round < 2; ++round) {
    Advance(1'000);
    Send(SubtaskDeclined{Take<SendTrigger>().id, kSink, "no"});
    if (round == 0) {
      EXPECT_EQ(Count<FailAttempt>(), 0u);
    }
  }
  const Failure failure = Take<FailAttempt>().failure;
  EXPECT_NE(failure.message.find("2 checkpoints in a row failed (1 are tolerated)"),
            std::string::npos)
      << failure.message;
}

TEST_F(CheckpointCoordinatorTest, ATaskThatCannotHoldWhatIsInFlightCountsAsAnyFailure) {
  CheckpointPolicy policy = Unaligned(100);
  policy.tolerable_failures = 2;
  Start(policy);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Count<FailAttempt>(), 0u);
    Advance(1'000);
    const CheckpointId id = Take<SendTrigger>().id;
    Advance(100);
    ASSERT_EQ(Take<SendTurnUnaligned>().id, id);
    Send(SubtaskDeclined{id, kSink, "more rows are on their way than it may hold"});
    Send(SubtaskDeclined{id, kSource, "so are mine"});  // of one checkpoint only the first counts
  }
  const Failure failure = Take<FailAttempt>().failure;
  EXPECT_NE(failure.message.find("3 checkpoints in a row failed (2 are tolerated)"),
            std::string::npos)
      << failure.message;
  EXPECT_NE(failure.message.find("declined: more rows are on their way"), std::string::npos);
}

TEST_F(CheckpointCoordinatorTest, ASavepointThatIsDeclinedSaysNothingAboutTheJob) {
  CheckpointPolicy policy;
  policy.tolerable_failures = 0;
  Start(policy);
  Send(SavepointWanted{RequestId(9), CheckpointKind::kSavepoint, "/sp"});
  Send(SubtaskDeclined{Take<SendTrigger>().id, kSink, "no"});
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kAborted);
  EXPECT_EQ(Count<FailAttempt>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, ASuccessForgetsTheFailuresBeforeIt) {
  CheckpointPolicy policy = Every(1'000);
  policy.tolerable_failures = 1;
  Start(policy);
  for (int round = 0; round < 3; ++round) {
    Advance(1'000);
    Send(SubtaskDeclined{Take<SendTrigger>().id, kSink, "no"});
    Advance(1'000);
    Complete();
  }
  EXPECT_EQ(Count<FailAttempt>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, ASavepointIsReportedOnceItIsExportedAndPublished) {
  Start({});
  Send(SavepointWanted{RequestId(9), CheckpointKind::kSavepoint, "/sp"});
  Complete();
  EXPECT_EQ(Take<ExportSavepoint>().directory, "/sp");
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u) << "not published yet";
  Send(SubtaskPublished{CheckpointId(1), kSink});
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_EQ(reply.code, ReplyCode::kOk);
  EXPECT_EQ(reply.path, "/sp/1");
}

TEST_F(CheckpointCoordinatorTest, ASavepointWhoseOutputIsNotPublishedInTimeIsGivenUp) {
  CheckpointPolicy policy;
  policy.timeout = milliseconds(1'000);
  Start(policy);
  Send(SavepointWanted{RequestId(9), CheckpointKind::kSavepoint, "/sp"});
  now_ += milliseconds(500);
  Complete();
  actions_.clear();
  EXPECT_FALSE(coordinator_->NextDeadline().has_value()) << "the export answers";
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_EQ(coordinator_->NextDeadline(), Instant(milliseconds(1'500)));
  Advance(999);
  EXPECT_TRUE(actions_.empty());
  Advance(1);
  EXPECT_EQ(Count<DiscardSavepoint>(), 1u);
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_EQ(reply.code, ReplyCode::kAborted);
  EXPECT_NE(reply.message.find("by 1 of 1 sink subtasks, among them 1/0"), std::string::npos)
      << reply.message;
  EXPECT_FALSE(coordinator_->NextDeadline().has_value());
  Send(SubtaskPublished{CheckpointId(1), kSink});
  Send(CheckpointingStopped{"lost"});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, AStopWhoseOutputTakesLongIsToldAndEndsTheJobAllTheSame) {
  CheckpointPolicy policy = Every(100);
  policy.timeout = milliseconds(1'000);
  Start(policy);
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Complete();
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  Advance(1'000);
  EXPECT_EQ(Count<DiscardSavepoint>(), 0u);
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_EQ(reply.code, ReplyCode::kAborted);
  EXPECT_NE(reply.message.find("The job ends as soon as"), std::string::npos) << reply.message;
  Advance(1'000);
  EXPECT_TRUE(actions_.empty());
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u);
  EXPECT_TRUE(Take<JobDone>().stopped);
}

TEST_F(CheckpointCoordinatorTest, StopEndsTheJobAndTakesNoOtherCheckpoint) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Complete();
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  EXPECT_EQ(Count<JobDone>(), 0u);
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<ReplySavepoint>(), 1u);
  EXPECT_TRUE(Take<JobDone>().stopped);
}

TEST_F(CheckpointCoordinatorTest, AFailedStopFailsTheAttemptBecauseItsSourcesHaveStopped) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Send(SubtaskDeclined{CheckpointId(1), kSink, "no"});
  EXPECT_EQ(Count<FailAttempt>(), 1u);
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kAborted);
  Send(SavepointWanted{RequestId(2), CheckpointKind::kSavepoint, "/sp"});
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kFailedPrecondition);
}

/// What an attempt that stands still is started with.
CheckpointingStarted Stopping(CheckpointKind kind, uint64_t id = 1) {
  return {.attempt = AttemptId(2),
          .floor = CheckpointId(id),
          .id_limit = CheckpointId(1'000),
          .last_completed = CheckpointId(id),
          .stop = StopPoint{
              .id = CheckpointId(id), .kind = kind, .directory = "/sp", .path = "/ck/log/1"}};
}

TEST_F(CheckpointCoordinatorTest, AStopWhoseAttemptFailsIsCompletedByTheNextAndAnsweredThen) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStopAndDrain, "/sp"});
  Complete();
  EXPECT_EQ(Count<ExportSavepoint>(), 1u);
  actions_.clear();
  Send(CheckpointingStopped{"TaskManager lost"});
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_TRUE(actions_.empty()) << "whoever asked waits, and what is exported stays";

  Send(Stopping(CheckpointKind::kStopAndDrain));
  EXPECT_EQ(Count<ExportSavepoint>(), 0u);
  EXPECT_EQ(Take<SendCompleted>().id, CheckpointId(1)) << "they report what they have published";
  Advance(10'000);
  EXPECT_TRUE(actions_.empty()) << "no other checkpoint";
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<JobDone>(), 1u);
  EXPECT_EQ(Take<ReplySavepoint>().path, "/sp/1");
  EXPECT_EQ(coordinator_->stop()->savepoint, "/sp/1");
  EXPECT_EQ(coordinator_->stop()->kind, CheckpointKind::kStopAndDrain);
}

TEST_F(CheckpointCoordinatorTest, WhatStopWasAskedForIsKnownFromThenOnUntilAnotherAttemptRuns) {
  Start(Every(100));
  EXPECT_FALSE(coordinator_->stop());
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Send(SavepointWanted{RequestId(2), CheckpointKind::kStop, "/stops"});
  ASSERT_TRUE(coordinator_->stop());
  EXPECT_EQ(coordinator_->stop()->id, CheckpointId(0)) << "it waits for the savepoint";
  EXPECT_EQ(coordinator_->stop()->directory, "/stops");
  Complete();
  EXPECT_EQ(coordinator_->stop()->id, CheckpointId(2));
  EXPECT_EQ(coordinator_->stop()->directory, "/stops");
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_EQ(coordinator_->stop()->savepoint, "") << "that is another";
  Send(CheckpointingStopped{"TaskManager lost"});
  Send(CheckpointingStarted{.attempt = AttemptId(2), .id_limit = CheckpointId(1'000)});
  EXPECT_FALSE(coordinator_->stop());
}

TEST_F(CheckpointCoordinatorTest, AStopThatIsKnownToHaveFailedIsNotUnderWayAnyMore) {
  const auto ask = [&](CheckpointKind kind = CheckpointKind::kStop) {
    coordinator_.reset();
    actions_.clear();
    Start(Every(100));
    Send(SavepointWanted{RequestId(1), kind, "/full"});
  };
  ask();
  Send(SubtaskDeclined{CheckpointId(1), kSource, "disk full"});
  EXPECT_FALSE(coordinator_->stop()) << "a subtask declined it";
  ask();
  Send(CheckpointingStopped{"TaskManager lost"});
  EXPECT_FALSE(coordinator_->stop()) << "its attempt ended before its manifest was written";
  ask();
  Complete();
  Send(SavepointExportFailed{CheckpointId(1), "disk full"});
  EXPECT_FALSE(coordinator_->stop()) << "whoever asked for it was told that the job goes on";

  ask();
  AckAll(CheckpointId(1));
  Send(ManifestFailed{CheckpointId(1), "time-out"});
  EXPECT_TRUE(coordinator_->stop()) << "the manifest may be there";
  ask();
  AckAll(CheckpointId(1));
  Send(ManifestFailed{CheckpointId(1), "disk full", false});
  EXPECT_FALSE(coordinator_->stop()) << "it will never be";
  ask();
  AckAll(CheckpointId(1));
  Send(CheckpointingStopped{"TaskManager lost"});
  EXPECT_TRUE(coordinator_->stop()) << "its manifest is being written";
  Send(ManifestFailed{CheckpointId(1), "disk full", false});
  EXPECT_FALSE(coordinator_->stop()) << "and was not";
  ask();
  Complete();
  Send(CheckpointingStopped{"TaskManager lost"});
  EXPECT_TRUE(coordinator_->stop()) << "it is decided";
  Send(Stopping(CheckpointKind::kStop));
  EXPECT_TRUE(coordinator_->stop());
}

TEST_F(CheckpointCoordinatorTest, AStopThatIsCommittedWhenItsAttemptHasEndedIsDecided) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  AckAll(Take<SendTrigger>().id);
  EXPECT_EQ(Take<CommitManifest>().directory, "/sp");
  Send(CheckpointingStopped{"TaskManager lost"});
  Send(ManifestCommitted{CheckpointId(1), "/ck/log/1"});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u);
  EXPECT_EQ(Count<ExportSavepoint>(), 1u);
  Send(SavepointExportFailed{CheckpointId(1), "disk full"});
  EXPECT_EQ(Count<FailAttempt>(), 0u) << "there is none";
  actions_.clear();
  Send(Stopping(CheckpointKind::kStop));
  EXPECT_EQ(Take<ExportSavepoint>().directory, "/sp") << "again";
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kOk);
}

TEST_F(CheckpointCoordinatorTest, AStopOfAFormerLeaderIsExportedAgainAndNobodyIsAnswered) {
  coordinator_.emplace(Every(100), std::vector<SubtaskId>{kSource, kSink},
                       std::vector<SubtaskId>{kSink});
  Send(Stopping(CheckpointKind::kStop));
  EXPECT_EQ(Take<ExportSavepoint>().directory, "/sp");
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<JobDone>(), 0u);
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u);
  EXPECT_TRUE(Take<JobDone>().stopped);
  EXPECT_EQ(coordinator_->stop()->savepoint, "/sp/1");
}

TEST_F(CheckpointCoordinatorTest, AStopThatCannotBeExportedIsGivenUpAndTheJobGoesOn) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Complete();
  Send(SavepointExportFailed{CheckpointId(1), "disk full"});
  ASSERT_EQ(Count<FailAttempt>(), 1u);
  const FailAttempt fail = std::get<FailAttempt>(actions_.back());
  EXPECT_EQ(fail.failure.kind, ErrorKind::kExternal);
  EXPECT_EQ(fail.given_up_stop, CheckpointId(1));
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_NE(reply.message.find("The job goes on"), std::string::npos) << reply.message;
}

// Its windows have fired: those that were open would give second results.
TEST_F(CheckpointCoordinatorTest, ADrainThatCannotBeExportedEndsTheJobAndNamesItsCheckpoint) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStopAndDrain, "/sp"});
  const CheckpointId id = Take<SendTrigger>().id;
  AckAll(id);
  Send(ManifestCommitted{id, "/ck/log/7"});
  Send(SavepointExportFailed{CheckpointId(1), "disk full"});
  const FailAttempt fail = std::get<FailAttempt>(actions_.back());
  EXPECT_EQ(fail.failure.kind, ErrorKind::kFatal) << "never tried again";
  EXPECT_EQ(fail.given_up_stop, CheckpointId(0));
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_EQ(reply.message, fail.failure.message);
  for (const char* what : {"disk full", "/sp", "--from-savepoint /ck/log/7", "windows"}) {
    EXPECT_NE(reply.message.find(what), std::string::npos) << reply.message;
  }
}

TEST_F(CheckpointCoordinatorTest, AStopThatNobodyWaitsForAndThatCannotBeExportedEndsTheJob) {
  coordinator_.emplace(Every(100), std::vector<SubtaskId>{kSource, kSink},
                       std::vector<SubtaskId>{kSink});
  Send(Stopping(CheckpointKind::kStop));
  Send(SavepointExportFailed{CheckpointId(1), "disk full"});
  EXPECT_EQ(Count<ReplySavepoint>(), 0u);
  const FailAttempt fail = Take<FailAttempt>();
  EXPECT_EQ(fail.failure.kind, ErrorKind::kFatal);
  EXPECT_NE(fail.failure.message.find("--from-savepoint /ck/log/1"), std::string::npos);
}

TEST_F(CheckpointCoordinatorTest, WhoeverWaitsForAStopIsAnsweredWhenTheJobEndsOtherwise) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Complete();
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  Send(CheckpointingStopped{"TaskManager lost"});
  actions_.clear();
  Send(CheckpointingStopped{"cancelled", CheckpointingStopped::Then::kEnd});
  EXPECT_EQ(Count<DiscardSavepoint>(), 1u);
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kAborted);
}

TEST_F(CheckpointCoordinatorTest, TheNextLeaderFindsWhatIsExportedOfAStop) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  Complete();
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  actions_.clear();
  Send(CheckpointingStopped{"shutting down", CheckpointingStopped::Then::kNextLeader});
  EXPECT_EQ(Count<DiscardSavepoint>(), 0u);
  const ReplySavepoint reply = Take<ReplySavepoint>();
  EXPECT_NE(reply.message.find("the next one completes the stop"), std::string::npos)
      << reply.message;
}

TEST_F(CheckpointCoordinatorTest, TheFinalCheckpointIsTakenThoughPeriodicOnesAreOff) {
  Start({});
  EXPECT_FALSE(coordinator_->NextDeadline().has_value());
  Send(AllAtEnd{});
  EXPECT_EQ(std::get<SendTrigger>(actions_.back()).kind, CheckpointKind::kFinal);
  Complete(true);
  EXPECT_EQ(Count<JobDone>(), 0u) << "durable, not published";
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_FALSE(Take<JobDone>().stopped);
}

TEST_F(CheckpointCoordinatorTest, APeriodicCheckpointWithAllAtEndIsTheFinalOne) {
  Start(Every(100));
  Advance(100);
  const CheckpointId id = Take<SendTrigger>().id;
  Send(AllAtEnd{});
  AckAll(id, true);
  Send(ManifestCommitted{id, "m"});
  Send(SubtaskPublished{id, kSink});
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  EXPECT_EQ(Count<JobDone>(), 1u);
}

TEST_F(CheckpointCoordinatorTest, AFailedFinalCheckpointIsTakenAgain) {
  Start({});
  Send(AllAtEnd{});
  Send(SubtaskDeclined{Take<SendTrigger>().id, kSink, "no"});
  actions_.clear();
  ASSERT_TRUE(coordinator_->NextDeadline().has_value());
  now_ = *coordinator_->NextDeadline();
  Send(CheckpointTick{});
  EXPECT_EQ(Take<SendTrigger>().id, CheckpointId(2));
}

TEST_F(CheckpointCoordinatorTest, AnEarlyCheckpointDoesNotWaitForTheInterval) {
  Start(Every(60'000));
  Advance(10);
  Send(EarlyCheckpointWanted{});
  EXPECT_EQ(Count<SendTrigger>(), 1u);
  Send(EarlyCheckpointWanted{});
  Complete();
  EXPECT_EQ(Count<SendTrigger>(), 1u) << "asked for again while the first was under way";
}

TEST_F(CheckpointCoordinatorTest, TheOutcomeOfACommitIsAwaitedAfterTheAttemptEnded) {
  Start(Every(1'000));
  Advance(1'000);
  const CheckpointId id = Take<SendTrigger>().id;
  AckAll(id);
  actions_.clear();
  Send(CheckpointingStopped{"TaskManager lost"});
  EXPECT_TRUE(coordinator_->commit_in_flight());
  Send(ManifestCommitted{id, "m"});
  EXPECT_FALSE(coordinator_->commit_in_flight());
  EXPECT_EQ(Count<SendCompleted>(), 0u) << "nobody of that attempt is left to be told";
  EXPECT_EQ(coordinator_->last_completed(), id);
  EXPECT_EQ(Count<PruneCheckpoints>(), 1u) << "older ones go, and this one is noted as the newest";
}

TEST_F(CheckpointCoordinatorTest, NoIdIsUsedBeyondTheDurableReservation) {
  Start(Every(10), /*limit=*/2);
  EXPECT_EQ(Take<ReserveIds>().limit, CheckpointId(1 + CheckpointCoordinator::kIdBlock));
  for (int i = 0; i < 2; ++i) {
    Advance(10);
    Complete();
  }
  actions_.clear();
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  Send(IdsReserved{CheckpointId(1'001)});
  EXPECT_EQ(Take<SendTrigger>().id, CheckpointId(3));
}

TEST_F(CheckpointCoordinatorTest, EverySavepointWaitingWhenTheAttemptEndsIsAnswered) {
  Start({});
  for (uint64_t i = 0; i < 3; ++i) {
    Send(SavepointWanted{RequestId(i), CheckpointKind::kSavepoint, "/sp"});
  }
  actions_.clear();
  Send(CheckpointingStopped{"lost"});
  EXPECT_EQ(Count<ReplySavepoint>(), 3u);
}

TEST_F(CheckpointCoordinatorTest, ASavepointThatNobodyWasToldOfIsDiscarded) {
  Start(Every(100));
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Complete();
  Send(CheckpointingStopped{"lost"});
  EXPECT_EQ(Take<ReplySavepoint>().code, ReplyCode::kAborted);
  EXPECT_EQ(Count<DiscardSavepoint>(), 0u) << "it is still being written";
  Send(SavepointExported{CheckpointId(1), "/sp/1"});
  EXPECT_EQ(Take<DiscardSavepoint>().path, "/sp/1");
  EXPECT_NE(coordinator_->history().front().path, "/sp/1") << "the checkpoint is what stays";
}

TEST_F(CheckpointCoordinatorTest, OlderCheckpointsGoWhileAnExportReads) {
  CheckpointPolicy policy = Every(100);
  policy.retained = 1;
  Start(policy);
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Complete();
  const auto first = std::find_if(actions_.begin(), actions_.end(), [](const auto& action) {
    return std::holds_alternative<ExportSavepoint>(action) ||
           std::holds_alternative<PruneCheckpoints>(action);
  });
  EXPECT_TRUE(std::holds_alternative<ExportSavepoint>(*first)) << "what it reads is held by then";
  EXPECT_EQ(Take<PruneCheckpoints>().count, 1u);
  Advance(100);
  Complete();
  EXPECT_EQ(Take<PruneCheckpoints>().count, 1u);
  Send(CheckpointingStopped{"boom"});
  Send(CheckpointingStarted{.attempt = AttemptId(2),
                            .floor = CheckpointId(2),
                            .id_limit = CheckpointId(1'000),
                            .last_completed = CheckpointId(2)});
  actions_.clear();
  Advance(100);
  Complete();
  EXPECT_EQ(Take<PruneCheckpoints>().count, 1u) << "the export still reads";
}

// ---------------------------------------------------------------- several under way

CheckpointPolicy Overlapping(uint32_t most) {
  return {.interval = milliseconds(100), .max_concurrent = most};
}

TEST_F(CheckpointCoordinatorTest, SoManyAreUnderWayAtOnceAndTheNextWithTheFirstThatEnds) {
  Start(Overlapping(2));
  for (int i = 0; i < 2; ++i) Advance(100);
  EXPECT_EQ(Count<SendTrigger>(), 2u);
  EXPECT_EQ(coordinator_->in_progress(), 2u);
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 2u) << "no more";
  actions_.clear();
  AckAll(CheckpointId(1));
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(1));
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u) << "one that is committed is under way";
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Count<SendAborted>(), 0u) << "the other goes on";
  EXPECT_EQ(Take<SendTrigger>().id, CheckpointId(3)) << "one, not all that were missed";
  AckAll(CheckpointId(2));
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(2));
}

TEST_F(CheckpointCoordinatorTest, WithAMinPauseThereIsOneAtATime) {
  CheckpointPolicy policy = Overlapping(4);
  policy.min_pause = milliseconds(50);
  Start(policy);
  Advance(100);
  EXPECT_EQ(Take<SendTrigger>().id, CheckpointId(1));
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, ACompleteOneWaitsForTheCommitBeforeIt) {
  Start(Overlapping(3));
  for (int i = 0; i < 3; ++i) Advance(100);
  actions_.clear();
  AckAll(CheckpointId(1));
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(1));
  AckAll(CheckpointId(3));
  AckAll(CheckpointId(2));
  EXPECT_EQ(Count<CommitManifest>(), 0u);
  Send(ManifestFailed{CheckpointId(1), "disk full"});
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(2)) << "the oldest, in whichever order";
  Send(ManifestCommitted{CheckpointId(2), "log/1"});
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(3));
  Send(ManifestCommitted{CheckpointId(3), "log/2"});
  EXPECT_EQ(coordinator_->last_completed(), CheckpointId(3));
}

TEST_F(CheckpointCoordinatorTest, ADurableOneEndsThoseBeforeItWhichAreNoFailures) {
  CheckpointPolicy policy = Overlapping(3);
  policy.tolerable_failures = 0;
  Start(policy);
  for (int i = 0; i < 3; ++i) Advance(100);
  actions_.clear();
  Send(SubtaskAcknowledged{CheckpointId(1), kSource, {}});
  AckAll(CheckpointId(2));
  EXPECT_EQ(Count<SendAborted>(), 0u) << "before the commit its outcome is open";
  Send(SubtaskAcknowledged{CheckpointId(1), kSink, {}});  // complete meanwhile, and yet too late
  Send(ManifestCommitted{CheckpointId(2), "log/1"});
  EXPECT_EQ(Count<CommitManifest>(), 1u) << "ids of manifests only grow";
  EXPECT_EQ(Count<FailAttempt>(), 0u);
  const auto completed = std::find_if(actions_.begin(), actions_.end(), [](const auto& action) {
    return std::holds_alternative<SendCompleted>(action);
  });
  ASSERT_NE(completed, actions_.end());
  EXPECT_EQ(std::get<SendCompleted>(*completed).id, CheckpointId(2));
  const SendAborted aborted = Take<SendAborted>();
  EXPECT_EQ(aborted.id, CheckpointId(1));
  EXPECT_NE(aborted.reason.find("checkpoint 2 was durable before it"), std::string::npos);
  EXPECT_EQ(coordinator_->in_progress(), 1u);
}

TEST_F(CheckpointCoordinatorTest, ACommitWhoseOutcomeIsNotKnownEndsThoseBeforeIt) {
  Start(Overlapping(2));
  for (int i = 0; i < 2; ++i) Advance(100);
  AckAll(CheckpointId(2));
  actions_.clear();
  Send(ManifestFailed{CheckpointId(2), "timed out"});
  EXPECT_EQ(Count<SendAborted>(), 2u);
  AckAll(CheckpointId(1));
  EXPECT_EQ(Count<CommitManifest>(), 0u) << "2 may be there";
}

TEST_F(CheckpointCoordinatorTest, OneThatFailsLeavesTheOthersAlone) {
  Start(Overlapping(3));
  for (int i = 0; i < 2; ++i) Advance(100);
  actions_.clear();
  Send(SubtaskDeclined{CheckpointId(1), kSink, "busy"});
  EXPECT_EQ(Take<SendAborted>().id, CheckpointId(1));
  AckAll(CheckpointId(2));
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(2));
}

TEST_F(CheckpointCoordinatorTest, EachHasItsOwnTimeOut) {
  CheckpointPolicy policy = Overlapping(2);
  policy.timeout = milliseconds(1'000);
  Start(policy);
  Advance(100);  // 1 at 100
  Advance(500);  // 2 at 600
  actions_.clear();
  EXPECT_EQ(coordinator_->NextDeadline(), milliseconds(1'100));
  Advance(500);
  EXPECT_EQ(Take<SendAborted>().id, CheckpointId(1));  // and 3 in its place
  EXPECT_EQ(coordinator_->NextDeadline(), milliseconds(1'600));
  Advance(500);
  EXPECT_EQ(Take<SendAborted>().id, CheckpointId(2));
}

TEST_F(CheckpointCoordinatorTest, ACompleteOneThatWaitsForACommitIsNotTooLate) {
  CheckpointPolicy policy = Overlapping(2);
  policy.timeout = milliseconds(1'000);
  Start(policy);
  for (int i = 0; i < 2; ++i) Advance(100);
  AckAll(CheckpointId(1));
  AckAll(CheckpointId(2));
  actions_.clear();
  Advance(5'000);
  EXPECT_EQ(Count<SendAborted>(), 0u);
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Take<CommitManifest>().id, CheckpointId(2));
}

TEST_F(CheckpointCoordinatorTest, TheyTurnUnalignedInOrderAndNotAheadOfASavepoint) {
  CheckpointPolicy policy = Overlapping(3);
  policy.aligned_timeout = milliseconds(300);
  Start(policy);
  Advance(100);
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Advance(100);
  EXPECT_EQ(coordinator_->in_progress(), 3u);
  actions_.clear();
  Advance(200);
  EXPECT_EQ(Take<SendTurnUnaligned>().id, CheckpointId(1));
  Advance(1'000);
  EXPECT_EQ(Count<SendTurnUnaligned>(), 0u) << "the savepoint, 2, stays aligned, and 3 behind it";
  AckAll(CheckpointId(2));
  EXPECT_EQ(Take<SendTurnUnaligned>().id, CheckpointId(3)) << "all have their snapshots for 2";
}

TEST_F(CheckpointCoordinatorTest, NothingIsTriggeredBehindAStopThoughThereIsRoom) {
  Start(Overlapping(3));
  Advance(100);
  Send(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  EXPECT_EQ(Count<SendTrigger>(), 2u);
  actions_.clear();
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  AckAll(CheckpointId(1));
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
}

TEST_F(CheckpointCoordinatorTest, WhatIsUnderWayEndsWithTheAttemptAndACommitIsAwaited) {
  Start(Overlapping(3));
  Advance(100);
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Advance(100);
  AckAll(CheckpointId(1));
  actions_.clear();
  Send(CheckpointingStopped{"killed"});
  EXPECT_EQ(Take<ReplySavepoint>().request, RequestId(1));
  EXPECT_EQ(coordinator_->phase(), CheckpointCoordinator::Phase::kDraining);
  AckAll(CheckpointId(3));
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(actions_.size(), Count<PruneCheckpoints>()) << "nobody is told to publish";
  EXPECT_EQ(coordinator_->phase(), CheckpointCoordinator::Phase::kOff);
  EXPECT_EQ(coordinator_->failed(), 2u);
}

TEST_F(CheckpointCoordinatorTest, TheLastCheckpointIsTakenWhenNoOtherIsUnderWay) {
  Start(Overlapping(3));
  for (int i = 0; i < 2; ++i) Advance(100);
  actions_.clear();
  Send(AllAtEnd{});
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  AckAll(CheckpointId(1));
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Count<SendTrigger>(), 0u);
  AckAll(CheckpointId(2));
  Send(ManifestCommitted{CheckpointId(2), "log/2"});
  EXPECT_EQ(Take<SendTrigger>().kind, CheckpointKind::kFinal);
}

/// Two under way when the sources end, the first of which is the last that is needed: it is durable
/// and holds every subtask at its end.
class LastButOneCheckpointTest : public CheckpointCoordinatorTest {
 protected:
  void AckFirst() {
    CheckpointPolicy policy = Overlapping(2);
    policy.tolerable_failures = 0;
    Start(policy);
    for (int i = 0; i < 2; ++i) Advance(100);
    AckAll(CheckpointId(1), /*at_end=*/true);
  }
  void ExpectDone() {
    Send(SubtaskPublished{CheckpointId(1), kSink});
    EXPECT_EQ(Count<JobDone>(), 1u);
    EXPECT_EQ(Count<FailAttempt>(), 0u);
    EXPECT_EQ(coordinator_->in_progress(), 0u);
  }
};

TEST_F(LastButOneCheckpointTest, WhatIsUnderWayBehindTheLastOneIsGivenUp) {
  AckFirst();
  Send(AllAtEnd{});
  actions_.clear();
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Count<SendAborted>(), 1u);
  ExpectDone();
}

TEST_F(LastButOneCheckpointTest, WhatIsUnderWayIsGivenUpWhenAllStandAtTheirEnd) {
  AckFirst();
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  actions_.clear();
  Send(AllAtEnd{});
  EXPECT_EQ(Count<SendAborted>(), 1u);
  ExpectDone();
}

TEST_F(LastButOneCheckpointTest, ADeclineOfTheOneBehindDoesNotKeepTheJobFromEnding) {
  AckFirst();
  Send(AllAtEnd{});
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  Send(SubtaskDeclined{CheckpointId(2), kSink, "busy"});
  ExpectDone();
}

TEST_F(LastButOneCheckpointTest, AManifestOfTheOneBehindThatFailsDoesNotKeepTheJobFromEnding) {
  AckFirst();
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  AckAll(CheckpointId(2), /*at_end=*/true);
  Send(AllAtEnd{});
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<JobDone>(), 0u) << "its outcome is open";
  Send(ManifestFailed{CheckpointId(2), "disk full"});
  ExpectDone();
}

TEST_F(LastButOneCheckpointTest, ASavepointBehindIsTakenAllTheSame) {
  AckFirst();
  Send(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  Send(AllAtEnd{});
  Send(ManifestCommitted{CheckpointId(1), "log/1"});
  Send(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<JobDone>(), 0u);
  Send(SubtaskDeclined{CheckpointId(3), kSink, "busy"});
  ExpectDone();
}

TEST_F(CheckpointCoordinatorTest, OneIncidentThatFailsSeveralCountsOnce) {
  CheckpointPolicy policy = Overlapping(4);
  policy.tolerable_failures = 3;
  Start(policy);
  const auto decline_four = [this] {
    for (int i = 0; i < 4; ++i) Advance(100);
    std::vector<CheckpointId> ids;
    for (const CheckpointRecord& record : coordinator_->history()) {
      if (record.status == CheckpointRecord::Status::kRunning) ids.push_back(record.id);
    }
    for (const CheckpointId id : ids) Send(SubtaskDeclined{id, kSink, "disk full"});
  };
  decline_four();
  EXPECT_EQ(coordinator_->failed(), 4u);
  for (int more = 0; more < 2; ++more) decline_four();
  EXPECT_EQ(Count<FailAttempt>(), 0u) << "three incidents are tolerated";
  decline_four();
  EXPECT_EQ(Count<FailAttempt>(), 1u);
}

TEST_F(CheckpointCoordinatorTest, WhatIsUnderWayStaysInTheHistory) {
  CheckpointPolicy policy = Overlapping(2);
  policy.tolerable_failures = 1'000;
  Start(policy);
  Advance(100);
  for (uint64_t id = 2; id < 2 * CheckpointCoordinator::kHistory; ++id) {
    Advance(100);
    Send(SubtaskDeclined{CheckpointId(id), kSink, "busy"});
  }
  const auto& history = coordinator_->history();
  EXPECT_EQ(history.size(), CheckpointCoordinator::kHistory);
  EXPECT_EQ(history.back().id, CheckpointId(1)) << "it is under way";
}

}  // namespace
}  // namespace weir::jobmanager
