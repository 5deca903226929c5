#include <gtest/gtest.h>

#include "jobmanager/job.h"
#include "tests/jobmanager/job_machine.h"

// Two pipelines that nothing connects: what happens to one when the other fails.

namespace weir::jobmanager {
namespace {

const SubtaskId kOrders{VertexId(0), 0};
const SubtaskId kOrdersSink{VertexId(1), 0};
const SubtaskId kClicks{VertexId(2), 0};
const SubtaskId kClicksSink{VertexId(3), 0};
const AttemptId kFirst(1), kSecond(2), kThird(3);  // of the orders, of the clicks, of what restarts

JobPlan TwoPipelines() {
  JobPlan plan{.name = "both", .artifact_hash = "aa"};
  plan.vertices = {{.id = VertexId(0), .name = "orders"},
                   {.id = VertexId(1), .name = "orders sink", .transactional = true},
                   {.id = VertexId(2), .name = "clicks"},
                   {.id = VertexId(3), .name = "clicks sink", .transactional = true}};
  plan.edges = {{.source = VertexId(0), .target = VertexId(1)},
                {.source = VertexId(2), .target = VertexId(3)}};
  plan.checkpoint.interval = milliseconds(1'000);
  plan.restart = {.kind = RestartKind::kExponentialDelay, .jitter = 0.0};
  return plan;
}

TEST(RegionsTest, VerticesThatEdgesConnectAreOneRegion) {
  JobPlan plan = TwoPipelines();
  EXPECT_EQ(plan.Regions(),
            (std::map<VertexId, uint32_t>{
                {VertexId(0), 0}, {VertexId(1), 0}, {VertexId(2), 1}, {VertexId(3), 1}}));
  plan.edges.push_back({.source = VertexId(1), .target = VertexId(2)});
  for (const auto& [vertex, region] : plan.Regions()) EXPECT_EQ(region, 0u) << vertex.value;
}

TEST(RegionsTest, TheyAreBounded) {
  JobPlan plan;
  for (uint32_t i = 0; i < 100; ++i) plan.vertices.push_back({.id = VertexId(i)});
  for (const auto& [vertex, region] : plan.Regions()) {
    EXPECT_LT(region, JobPlan::kMaxRegions) << vertex.value;
  }
}

/// The sources and the clicks' sink run on session 1, the orders' sink on session 2. Slot 0 of
/// session 1 is shared by both sources.
class RegionRestartTest : public JobMachineTest {
 protected:
  explicit RegionRestartTest(JobPlan plan = TwoPipelines()) : JobMachineTest(std::move(plan)) {
    Send(JobStarted{});
    RunOn(Both());
    EXPECT_EQ(job_.state(), JobState::kRunning);
    EXPECT_EQ(Count<Deploy>(), 2u);
    actions_.clear();
  }

  static Placement Orders() {
    return {{kOrders, {SessionId(1), TaskManagerId("a"), 0}},
            {kOrdersSink, {SessionId(2), TaskManagerId("b"), 0}}};
  }
  static Placement Clicks() {
    return {{kClicks, {SessionId(1), TaskManagerId("a"), 0}},
            {kClicksSink, {SessionId(1), TaskManagerId("a"), 1}}};
  }
  static Placement Both() {
    Placement both = Orders();
    both.merge(Clicks());
    return both;
  }
  /// What I/O answers.
  void Io(const CheckpointEvent& event) { Send(OfCheckpoints{kSecond, event}); }
  void Ack(uint64_t id, SubtaskId subtask, SubtaskAck ack = {}) {
    Send(OfCheckpoints{job_.AttemptOf(subtask)->id,
                       SubtaskAcknowledged{CheckpointId(id), subtask, ack}});
  }
  void AckAll(uint64_t id, SubtaskAck ack = {}) {
    for (SubtaskId subtask : {kOrders, kOrdersSink, kClicks, kClicksSink}) Ack(id, subtask, ack);
  }
  void FailOrders() { Task(kOrders, TaskState::kFailed, {.message = "boom"}); }
  void ReleaseOrders() {
    const AttemptId attempt = job_.AttemptOf(kOrders)->id;
    Send(AttemptReleased{SessionId(1), attempt});
    Send(AttemptReleased{SessionId(2), attempt});
  }
  void RunOrders(uint64_t restored = 0) { RunOn(Orders(), restored); }
};

TEST_F(RegionRestartTest, OnlyTheRegionThatFailedIsEndedAndDeployedAgain) {
  FailOrders();
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  ASSERT_EQ(Count<CancelAttempt>(), 2u);
  for (const CancelAttempt& cancel : All<CancelAttempt>()) EXPECT_EQ(cancel.attempt, kFirst);
  ReleaseOrders();
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  EXPECT_EQ(job_.Placed(), Clicks()) << "these stay where they are";
  RunOrders();
  EXPECT_EQ(job_.state(), JobState::kRunning);
  ASSERT_EQ(Count<Deploy>(), 1u);
  EXPECT_EQ(All<Deploy>()[0].attempt, kThird);
  EXPECT_EQ(All<Deploy>()[0].region, 0u);
  EXPECT_EQ(All<Deploy>()[0].placement, Orders());
  EXPECT_EQ(job_.AttemptOf(kClicks)->id, kSecond);
  EXPECT_EQ(job_.restarts(), 1u);
  ASSERT_EQ(Count<PrepareAttempt>(), 1u);
  EXPECT_FALSE(All<PrepareAttempt>()[0].nothing_runs) << "what the clicks have written is theirs";
}

TEST_F(RegionRestartTest, ASlotThatAnotherRegionSharesStaysTheJobs) {
  FailOrders();
  ReleaseOrders();
  ASSERT_EQ(Count<GiveBackSlots>(), 1u) << "slot 0 of session 1 holds the clicks' source";
  EXPECT_EQ(All<GiveBackSlots>()[0].session, SessionId(2));
}

TEST_F(RegionRestartTest, ACheckpointUnderWayFailsAndNoneIsTriggeredUntilAllRunAgain) {
  Advance(1'000);
  ASSERT_EQ(Count<SendTrigger>(), 1u);
  Ack(1, kClicks);
  FailOrders();
  EXPECT_EQ(Count<SendAborted>(), 1u) << "the others' output joins their next one";
  ReleaseOrders();
  Advance(5'000);
  Send(SlotsGranted{Orders()});
  Prepared();
  Advance(5'000);
  EXPECT_EQ(Count<SendTrigger>(), 1u);
  Task(kOrders, TaskState::kRunning);
  Task(kOrdersSink, TaskState::kRunning);
  Advance(1'000);
  ASSERT_EQ(Count<SendTrigger>(), 2u);
  EXPECT_EQ(All<SendTrigger>()[1].id, CheckpointId(2));
}

TEST_F(RegionRestartTest, ACommitUnderWayIsAwaitedPublishedByTheOthersAndRestoredFrom) {
  Advance(1'000);
  AckAll(1);
  ASSERT_EQ(Count<CommitManifest>(), 1u);
  FailOrders();
  ReleaseOrders();
  EXPECT_EQ(job_.state(), JobState::kRestarting) << "the newest checkpoint is not known yet";
  Io(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Count<SendCompleted>(), 1u);
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  RunOrders(1);
  EXPECT_EQ(All<Deploy>()[0].restore->id, CheckpointId(1));
  // What was restored publishes what the checkpoint holds, as after any restart.
  Send(OfCheckpoints{kThird, SubtaskPublished{CheckpointId(1), kOrdersSink}});
  Send(OfCheckpoints{kSecond, SubtaskPublished{CheckpointId(1), kClicksSink}});
  EXPECT_EQ(job_.checkpoints().history().front().status, CheckpointRecord::Status::kPublished);
}

TEST_F(RegionRestartTest, AnAcknowledgementOfTheFormerAttemptCountsForNothing) {
  FailOrders();
  ReleaseOrders();
  RunOrders();
  Advance(1'000);
  for (SubtaskId subtask : {kOrders, kClicks, kClicksSink}) Ack(1, subtask);
  Send(OfCheckpoints{kFirst, SubtaskAcknowledged{CheckpointId(1), kOrdersSink, {}}});
  EXPECT_EQ(Count<CommitManifest>(), 0u);
  Ack(1, kOrdersSink);
  EXPECT_EQ(Count<CommitManifest>(), 1u);
}

TEST_F(RegionRestartTest, ALostTaskManagerTakesTheRegionsThatHadAPartOfIt) {
  Send(TaskManagerGone{SessionId(2), "stream broken"});
  for (const CancelAttempt& cancel : All<CancelAttempt>()) EXPECT_EQ(cancel.attempt, kFirst);
  EXPECT_FALSE(job_.AttemptOf(kClicks)->ending);
  Send(TaskManagerGone{SessionId(1), "stream broken"});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots) << "nothing is left of either";
  EXPECT_TRUE(job_.Placed().empty());
  EXPECT_EQ(job_.checkpoints().on(), false);
}

TEST_F(RegionRestartTest, ACrashReportOfEitherAttemptStandsWhereTheLossStood) {
  Send(TaskManagerGone{SessionId(1), "stream broken"});  // it held parts of both
  const Failure death{.kind = ErrorKind::kUser,
                      .operator_uid = "parse",
                      .operator_name = "parse",
                      .message = "signal 11"};
  Send(CrashReported{kFirst, TaskManagerId("a"), kOrders, death});
  ASSERT_EQ(job_.failures().size(), 1u);
  EXPECT_EQ(job_.failures().front().failure.message, "signal 11");
  EXPECT_EQ(job_.failures().front().attempt, kFirst);
  EXPECT_EQ(job_.reason(), "signal 11");
}

TEST_F(RegionRestartTest, ASecondRegionThatFailsMeanwhileRestartsWithTheFirst) {
  FailOrders();
  ReleaseOrders();
  Send(SlotsGranted{Orders()});
  Task(kClicks, TaskState::kFailed, {.message = "boom, too"});
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  Send(AttemptReleased{SessionId(1), kSecond});
  EXPECT_TRUE(job_.attempts().empty());
  EXPECT_EQ(job_.restarts(), 2u);
  Advance(1'000);
  ASSERT_EQ(job_.state(), JobState::kWaitingForSlots);
  RunOn(Both());
  EXPECT_EQ(job_.state(), JobState::kRunning);
  Advance(1'000);
  EXPECT_EQ(Count<SendTrigger>(), 1u);
}

TEST_F(RegionRestartTest, AFailureThatCannotBeRetriedEndsAll) {
  Task(kOrders, TaskState::kFailed, {.kind = ErrorKind::kFatal, .message = "damaged"});
  EXPECT_EQ(Count<CancelAttempt>(), 3u);
  ReleaseOrders();
  Send(AttemptReleased{SessionId(1), kSecond});
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
}

TEST_F(RegionRestartTest, WhileTheJobIsBeingStoppedAllRestart) {
  Io(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  ASSERT_EQ(job_.state(), JobState::kStopping);
  FailOrders();
  EXPECT_EQ(Count<CancelAttempt>(), 3u) << "the clicks' source is silent for good";
}

TEST_F(RegionRestartTest, ACancelEndsWhatRunsAndWhatIsOnItsWayOut) {
  FailOrders();
  Send(CancelWanted{RequestId(1)});
  Send(CancelPersisted{});
  EXPECT_EQ(Count<CancelAttempt>(), 3u);
  Send(AttemptReleased{SessionId(1), kSecond});
  ReleaseOrders();
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kCanceled);
}

TEST_F(RegionRestartTest, AJobOfWhichOneRegionStandsAtItsEndFinishesWhenTheOtherHasCaughtUp) {
  for (SubtaskId subtask : {kOrders, kOrdersSink, kClicks, kClicksSink}) {
    Task(subtask, TaskState::kAtEnd);
  }
  ASSERT_EQ(job_.state(), JobState::kFinishing);
  FailOrders();
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  ReleaseOrders();
  RunOrders();
  EXPECT_EQ(job_.state(), JobState::kRunning);
  Task(kOrders, TaskState::kAtEnd);
  Task(kOrdersSink, TaskState::kAtEnd);
  ASSERT_EQ(job_.state(), JobState::kFinishing);
  AckAll(2, {.at_end = true});
  Io(ManifestCommitted{CheckpointId(2), "log/2"});
  Send(OfCheckpoints{kThird, SubtaskPublished{CheckpointId(2), kOrdersSink}});
  Send(OfCheckpoints{kSecond, SubtaskPublished{CheckpointId(2), kClicksSink}});
  EXPECT_EQ(Count<CancelAttempt>(), 2u + 3u);
}

TEST_F(RegionRestartTest, APauseDoesNotOutliveADeathThatEndsTheJob) {
  FailOrders();
  ReleaseOrders();
  RunOrders();
  FailOrders();
  ReleaseOrders();
  ASSERT_TRUE(job_.restart_at()) << "the second restart is after a pause; the clicks run on";
  for (const AttemptId attempt : {kFirst, kSecond, kThird}) {
    Send(
        CrashReported{attempt,
                      TaskManagerId("b"),
                      kOrders,
                      {.kind = ErrorKind::kUser, .operator_uid = "parse", .message = "signal 11"}});
  }
  Advance(2'000);
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  EXPECT_TRUE(job_.failing());
  EXPECT_FALSE(job_.restart_at());
  Send(AttemptReleased{SessionId(1), kSecond});
  EXPECT_EQ(Count<PersistEnd>(), 1u);
}

TEST_F(RegionRestartTest, SavepointsAreRefusedMeanwhile) {
  FailOrders();
  Io(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  ASSERT_EQ(Count<ReplySavepoint>(), 1u);
  EXPECT_EQ(All<ReplySavepoint>()[0].code, ReplyCode::kFailedPrecondition);
}

class OneRestart : public RegionRestartTest {
 protected:
  OneRestart() : RegionRestartTest(Plan()) {}
  static JobPlan Plan() {
    JobPlan plan = TwoPipelines();
    plan.restart = {.kind = RestartKind::kFixedDelay, .attempts = 1, .delay = milliseconds(100)};
    return plan;
  }
};

TEST_F(OneRestart, TheEndOfTheJobEndsTheRegionsThatStillRun) {
  FailOrders();
  ReleaseOrders();
  Advance(100);
  RunOrders();
  FailOrders();
  ReleaseOrders();
  EXPECT_EQ(Count<PersistEnd>(), 0u) << "the clicks still run";
  EXPECT_EQ(All<CancelAttempt>().back().attempt, kSecond);
  Send(AttemptReleased{SessionId(1), kSecond});
  EXPECT_EQ(Count<PersistEnd>(), 1u);
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
}

TEST_F(OneRestart, TheFailureThatEndedTheJobIsTheOneThatIsTold) {
  FailOrders();
  ReleaseOrders();
  Advance(100);
  RunOrders();
  FailOrders();
  Task(kClicks, TaskState::kFailed, {.kind = ErrorKind::kUser, .message = "boom, too"});
  ReleaseOrders();
  ASSERT_EQ(Count<PersistEnd>(), 0u);
  Task(kClicksSink, TaskState::kFailed, {.kind = ErrorKind::kUser, .message = "close threw"});
  Send(AttemptReleased{SessionId(1), kSecond});
  Send(EndPersisted{});
  ASSERT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.failures().front().failure.message, "close threw");
  EXPECT_EQ(job_.last_failure()->failure.message, "boom");
}

}  // namespace
}  // namespace weir::jobmanager
