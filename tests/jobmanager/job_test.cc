#include "jobmanager/job.h"

#include <gtest/gtest.h>

#include "tests/jobmanager/job_machine.h"

namespace weir::jobmanager {
namespace {

const SubtaskId kSource{VertexId(0), 0};
const SubtaskId kSink{VertexId(1), 0};

JobPlan TwoVertices() {
  JobPlan plan{.name = "orders", .artifact_hash = "aa"};
  plan.vertices = {
      {.id = VertexId(0), .name = "source"},
      {.id = VertexId(1), .name = "sink", .slot_sharing_group = "sinks", .transactional = true}};
  plan.edges = {{.source = VertexId(0), .target = VertexId(1)}};
  plan.checkpoint.interval = milliseconds(1'000);
  plan.restart = {.kind = RestartKind::kExponentialDelay, .jitter = 0.0};
  return plan;
}

/// A job whose source runs on session 1 and whose sink runs on session 2.
class JobTest : public JobMachineTest {
 protected:
  explicit JobTest(JobPlan plan = TwoVertices()) : JobMachineTest(std::move(plan)) {}

  static Placement Slots() {
    return {{kSource, {SessionId(1), TaskManagerId("a"), 0}},
            {kSink, {SessionId(2), TaskManagerId("b"), 0}}};
  }
  void Checkpoint(const CheckpointEvent& event) { Send(OfCheckpoints{job_.last_attempt(), event}); }
  void Grant() { Send(SlotsGranted{Slots()}); }
  void Run() {
    if (job_.state() == JobState::kCreated) Send(JobStarted{});
    RunOn(Slots());
    ASSERT_EQ(job_.state(), JobState::kRunning);
    actions_.clear();
  }
  void ReleaseAll() {
    const AttemptId attempt = job_.last_attempt();
    Send(AttemptReleased{SessionId(1), attempt});
    Send(AttemptReleased{SessionId(2), attempt});
  }
  /// Its checkpoint, 1, is durable.
  void StopThatCannotBeExported(CheckpointKind kind) {
    Run();
    Checkpoint(SavepointWanted{RequestId(1), kind, "/sp"});
    Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSource, {}});
    Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSink, {}});
    Checkpoint(ManifestCommitted{CheckpointId(1), "/ck/log/1"});
    Checkpoint(SavepointExportFailed{CheckpointId(1), "disk full"});
    ReleaseAll();
  }
};

TEST_F(JobTest, RunsOnceEverySubtaskDoes) {
  Send(JobStarted{});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  Grant();
  EXPECT_EQ(Count<PrepareAttempt>(), 1u);
  EXPECT_EQ(Count<Deploy>(), 0u) << "the attempt's number is not durable yet";
  Prepared();
  EXPECT_EQ(Count<Deploy>(), 1u);
  Task(kSource, TaskState::kRunning);
  EXPECT_EQ(job_.state(), JobState::kDeploying);
  Task(kSink, TaskState::kRunning);
  EXPECT_EQ(job_.state(), JobState::kRunning);
}

class DeploymentTimeoutTest : public JobTest {
 protected:
  DeploymentTimeoutTest() : JobTest(Plan()) {}
  static JobPlan Plan() {
    JobPlan plan = TwoVertices();
    plan.deployment_timeout = std::chrono::seconds(30);
    return plan;
  }
};

TEST_F(DeploymentTimeoutTest, ADeploymentThatTakesLongerThanWasSetIsGivenUpByName) {
  Send(JobStarted{});
  Grant();
  Prepared();
  Task(kSource, TaskState::kRunning);
  now_ += std::chrono::seconds(29);
  Send(JobTick{});
  EXPECT_EQ(job_.state(), JobState::kDeploying);
  now_ += std::chrono::seconds(2);
  Send(JobTick{});
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  EXPECT_NE(job_.reason().find("30 s"), std::string::npos) << job_.reason();
  EXPECT_NE(job_.reason().find("task.deployment.timeout"), std::string::npos) << job_.reason();
}

TEST_F(JobTest, AFailureEndsTheAttemptEverywhereBeforeTheNextBegins) {
  Run();
  Task(kSource, TaskState::kFailed, {.kind = ErrorKind::kInternal, .message = "boom"});
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  EXPECT_FALSE(job_.failing());
  EXPECT_EQ(Count<CancelAttempt>(), 2u);
  Send(AttemptReleased{SessionId(1), AttemptId(1)});
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  Send(AttemptReleased{SessionId(2), AttemptId(1)});
  EXPECT_EQ(Count<GiveBackSlots>(), 2u);
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots) << "the first restart is at once";
  Grant();
  EXPECT_EQ(job_.last_attempt(), AttemptId(2));
}

TEST_F(JobTest, ARestartWithoutAPauseIsStoredOnceWithItsAttemptsNumber) {
  Run();
  Task(kSource, TaskState::kFailed, {.kind = ErrorKind::kInternal, .message = "boom"});
  ReleaseAll();
  Grant();
  EXPECT_EQ(Count<NoteRestarts>(), 0u);
  ASSERT_EQ(Count<PrepareAttempt>(), 1u);
  EXPECT_EQ(All<PrepareAttempt>()[0].memory.restarts, 1u);
  EXPECT_TRUE(All<PrepareAttempt>()[0].nothing_runs);
}

TEST_F(JobTest, ARestartIsNotedWhereItHasToWaitForItsSlotsOrItsPause) {
  Run();
  Task(kSource, TaskState::kFailed, {.kind = ErrorKind::kInternal, .message = "boom"});
  ReleaseAll();
  Send(StillWaiting{"2 slots are missing"});
  ASSERT_EQ(Count<NoteRestarts>(), 1u);
  EXPECT_EQ(All<NoteRestarts>()[0].memory.restarts, 1u);
  Send(StillWaiting{"1 slot is missing"});
  EXPECT_EQ(Count<NoteRestarts>(), 1u) << "once";

  Run();
  Task(kSource, TaskState::kFailed, {.kind = ErrorKind::kInternal, .message = "boom"});
  ReleaseAll();
  ASSERT_TRUE(job_.restart_at()) << "the second restart is after a pause";
  ASSERT_EQ(Count<NoteRestarts>(), 1u);
  EXPECT_EQ(All<NoteRestarts>()[0].memory.restarts, 2u);
}

TEST_F(JobTest, TheLossOfATaskManagerCountsAsItsRelease) {
  Run();
  Send(TaskManagerGone{SessionId(2), "stream broken"});
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  Send(AttemptReleased{SessionId(1), AttemptId(1)});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  EXPECT_EQ(job_.failures().front().task_manager, TaskManagerId("b"));
}

TEST_F(JobTest, NoAttemptBeginsWhileACommitIsUnderWay) {
  Run();
  Advance(1'000);
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSource, {}});
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSink, {}});
  Task(kSource, TaskState::kFailed, {.message = "boom"});
  ReleaseAll();
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  Checkpoint(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  EXPECT_EQ(Count<SendCompleted>(), 0u);
}

TEST_F(JobTest, ThePrimaryFailureIsTheCauseThoughAnEchoCameFirst) {
  Run();
  Task(kSink, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  EXPECT_FALSE(job_.failing());
  Task(kSource, TaskState::kFailed, {.kind = ErrorKind::kFatal, .message = "state is damaged"});
  EXPECT_TRUE(job_.failing()) << "it would be told to restart, which it never will";
  const uint64_t version = job_.version();
  ReleaseAll();
  EXPECT_TRUE(job_.failing());
  EXPECT_GT(job_.version(), version) << "the reason is another now";
  Send(EndPersisted{});
  EXPECT_FALSE(job_.failing());
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_NE(job_.reason().find("state is damaged"), std::string::npos);
}

TEST_F(JobTest, ASubtaskThatToldAnEchoFirstIsHeardOnceMoreWithItsOwnCause) {
  Run();
  Task(kSink, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  Task(kSink, TaskState::kFailed, {.kind = ErrorKind::kFatal, .message = "the store is damaged"});
  ASSERT_EQ(job_.failures().size(), 2u);
  Task(kSink, TaskState::kFailed, {.kind = ErrorKind::kFatal, .message = "and again"});
  EXPECT_EQ(job_.failures().size(), 2u) << "nobody fills the list with one subtask";
  ReleaseAll();
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_NE(job_.reason().find("the store is damaged"), std::string::npos) << job_.reason();
}

TEST_F(JobTest, AnEchoAfterItsOwnCauseIsNotHeard) {
  Run();
  Task(kSink, TaskState::kFailed, {.kind = ErrorKind::kExternal, .message = "the store is full"});
  Task(kSink, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  EXPECT_EQ(job_.failures().size(), 1u);
  EXPECT_EQ(job_.reason(), "the store is full");
}

TEST_F(JobTest, TheLossOfATaskManagerIsTheCauseThoughItsNeighboursBrokenChannelCameFirst) {
  Run();
  Task(kSource, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  Send(TaskManagerGone{SessionId(2), "stream broken"});
  EXPECT_EQ(job_.reason(), "TaskManager 'b' was lost: stream broken");
}

TEST_F(JobTest, ItGoesElsewhereWhenTaskManagersCannotReachOneAnother) {
  Run();
  EXPECT_FALSE(job_.elsewhere());
  Task(kSource, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  ReleaseAll();
  EXPECT_TRUE(job_.elsewhere());
}

TEST_F(JobTest, ItStaysWhereItsStateIsAfterAnyOtherFailure) {
  Run();
  Task(kSource, TaskState::kFailed,
       {.kind = ErrorKind::kExternal, .message = "channel closed", .secondary = true});
  Send(TaskManagerGone{SessionId(2), "stream broken"});
  ReleaseAll();
  EXPECT_FALSE(job_.elsewhere());
}

TEST_F(JobTest, SlotsLostBeforeAnythingWasSentAreNoFailure) {
  Send(JobStarted{});
  Grant();
  Send(TaskManagerGone{SessionId(1), "stream broken"});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  EXPECT_EQ(Count<GiveBackSlots>(), 2u);
  EXPECT_EQ(job_.restarts(), 0u);
  Send(AttemptPrepared{.attempt = AttemptId(1)});
  EXPECT_EQ(Count<Deploy>(), 0u);
}

TEST_F(JobTest, FinishesWhenTheFinalCheckpointIsPublished) {
  Run();
  Task(kSource, TaskState::kAtEnd);
  EXPECT_EQ(job_.state(), JobState::kRunning);
  Task(kSink, TaskState::kAtEnd);
  EXPECT_EQ(job_.state(), JobState::kFinishing);
  ASSERT_EQ(Count<SendTrigger>(), 1u);
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSource, {.at_end = true}});
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSink, {.at_end = true}});
  Checkpoint(ManifestCommitted{CheckpointId(1), "log/1"});
  EXPECT_EQ(Count<CancelAttempt>(), 0u);
  Checkpoint(SubtaskPublished{CheckpointId(1), kSink});
  EXPECT_EQ(Count<CancelAttempt>(), 2u);
  ReleaseAll();
  EXPECT_EQ(job_.state(), JobState::kFinishing) << "not before the record says so";
  ASSERT_EQ(Count<PersistEnd>(), 1u);
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFinished);
}

TEST_F(JobTest, AnEndThatCannotBePersistedIsTriedAgain) {
  Run();
  Send(CancelWanted{RequestId(1)});
  Send(CancelPersisted{});
  ReleaseAll();
  Send(EndPersisted{.ok = false});
  EXPECT_EQ(job_.state(), JobState::kCancelling);
  ASSERT_TRUE(job_.NextDeadline().has_value());
  now_ = *job_.NextDeadline();
  Send(JobTick{});
  EXPECT_EQ(Count<PersistEnd>(), 2u);
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kCanceled);
}

TEST_F(JobTest, ACancelIsAnsweredOnceItIsStored) {
  Run();
  Send(CancelWanted{RequestId(1)});
  EXPECT_EQ(Count<Reply>(), 0u);
  EXPECT_EQ(Count<PersistCancel>(), 1u);
  Send(CancelPersisted{});
  EXPECT_EQ(Count<Reply>(), 1u);
  EXPECT_EQ(job_.state(), JobState::kCancelling);
  Send(CancelWanted{RequestId(2)});
  EXPECT_EQ(Count<Reply>(), 2u);
}

TEST_F(JobTest, AJobWaitingForItsRestartCanBeCancelled) {
  Run();
  for (int i = 0; i < 2; ++i) {
    Task(kSource, TaskState::kFailed, {.message = "boom"});
    ReleaseAll();
    if (i == 0) Run();
  }
  EXPECT_EQ(job_.state(), JobState::kRestarting);
  EXPECT_TRUE(job_.restart_at().has_value());
  Send(CancelWanted{RequestId(1)});
  Send(CancelPersisted{});
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kCanceled);
}

TEST_F(JobTest, ATaskManagerThatDoesNotConfirmIsDropped) {
  Run();
  Task(kSource, TaskState::kFailed, {.message = "boom"});
  Send(AttemptReleased{SessionId(1), AttemptId(1)});
  now_ += RegionAttempts::kCancelTimeout;
  Send(JobTick{});
  EXPECT_EQ(Count<DropSession>(), 1u);
}

TEST_F(JobTest, ReportedDeathsInOneOperatorEndTheJob) {
  Send(JobStarted{});
  const Failure death{.kind = ErrorKind::kUser,
                      .operator_uid = "parse",
                      .operator_name = "parse",
                      .message = "signal 11"};
  for (uint32_t round = 1; round <= 3; ++round) {
    Grant();
    Prepared();
    Send(TaskManagerGone{SessionId(1), "stream broken"});
    Send(AttemptReleased{SessionId(2), job_.last_attempt()});
    Advance(10'000);
    Send(CrashReported{job_.last_attempt(), TaskManagerId("a"), kSource, death});
  }
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_NE(job_.reason().find("'parse' (uid parse) took its process down 3 times"),
            std::string::npos)
      << job_.reason();
}

const Failure kDeath{
    .kind = ErrorKind::kUser,
    .operator_uid = "parse",
    .operator_name = "parse",
    .message = "operator 'parse' (subtask 0) crashed its TaskManager 'a': SIGSEGV"};

TEST_F(JobTest, ACrashReportStandsWhereTheLossStood) {
  Run();
  Send(TaskManagerGone{SessionId(1), "stream broken"});
  Send(AttemptReleased{SessionId(2), AttemptId(1)});
  ASSERT_EQ(job_.state(), JobState::kWaitingForSlots) << "a restart does not wait for the report";
  Grant();
  Prepared();
  Send(CrashReported{AttemptId(1), TaskManagerId("a"), kSource, kDeath});
  EXPECT_EQ(job_.state(), JobState::kDeploying) << "one death is no reason to end";
  ASSERT_EQ(job_.failures().size(), 1u);
  EXPECT_EQ(job_.failures().front().failure.message, kDeath.message);
  EXPECT_EQ(job_.failures().front().attempt, AttemptId(1));
  EXPECT_EQ(job_.failures().front().subtask, kSource);
  Send(CrashReported{AttemptId(1), TaskManagerId("a"), kSource, kDeath});
  EXPECT_EQ(job_.failures().size(), 1u) << "told twice, because the answer was lost";
}

TEST_F(JobTest, WhatATaskManagerDiedOfIsTheCauseThoughTheLossWasNoticedFirst) {
  Run();
  Send(TaskManagerGone{SessionId(1), "stream broken"});
  Send(CrashReported{AttemptId(1), TaskManagerId("a"), kSource, kDeath});
  EXPECT_EQ(job_.reason(), kDeath.message);
}

class NoRestartTest : public JobTest {
 public:
  static JobPlan Plan() {
    JobPlan plan = TwoVertices();
    plan.restart = {.kind = RestartKind::kNone};
    return plan;
  }

 protected:
  NoRestartTest() : JobTest(Plan()) {
    Run();
    Send(TaskManagerGone{SessionId(1), "stream broken"});
    Send(AttemptReleased{SessionId(2), AttemptId(1)});
  }
};

TEST_F(NoRestartTest, TheEndWaitsForTheReportAndNamesTheOperator) {
  EXPECT_EQ(Count<PersistEnd>(), 0u);
  Send(CrashReported{AttemptId(1), TaskManagerId("a"), kSource, kDeath});
  Send(TaskManagerBack{TaskManagerId("a")});
  ASSERT_EQ(Count<PersistEnd>(), 1u);
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.reason(), "the job has no restart strategy: " + kDeath.message);
}

TEST_F(NoRestartTest, ATaskManagerThatIsBackAndReportsNothingWasKilled) {
  Send(TaskManagerBack{TaskManagerId("b")});
  EXPECT_EQ(Count<PersistEnd>(), 0u) << "another one";
  Send(TaskManagerBack{TaskManagerId("a")});
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_NE(job_.reason().find("TaskManager 'a' was lost: stream broken"), std::string::npos)
      << job_.reason();
}

TEST_F(NoRestartTest, TheEndDoesNotWaitForEver) {
  ASSERT_TRUE(job_.NextDeadline().has_value());
  Advance(Job::kCrashReportWait.count());
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  Send(CrashReported{AttemptId(1), TaskManagerId("a"), kSource, kDeath});
  EXPECT_EQ(job_.last_failure()->failure.message, kDeath.message) << "still told afterwards";
}

class NoRestartFromTheStart : public JobTest {
 protected:
  NoRestartFromTheStart() : JobTest(NoRestartTest::Plan()) {}
};

TEST_F(NoRestartFromTheStart, ATaskManagerThatTookItsLeaveReportsNothing) {
  Run();
  Send(TaskManagerGone{SessionId(1), "it ended: SIGTERM", /*in_order=*/true});
  Send(AttemptReleased{SessionId(2), AttemptId(1)});
  EXPECT_EQ(Count<PersistEnd>(), 1u);
}

TEST_F(JobTest, AJobThatCannotRunInTheSlotsThereAreFailsAtOnceIfItNeverRan) {
  Send(JobStarted{});
  Send(PlacementRefused{"needs 64 network buffers"});
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.reason(), "the failure cannot be retried: needs 64 network buffers");
}

TEST_F(JobTest, AJobThatRanBeforeWaitsForTheTaskManagerThatIsMissing) {
  Run();
  Send(TaskManagerGone{SessionId(1), "stream broken"});
  Send(AttemptReleased{SessionId(2), AttemptId(1)});
  Send(PlacementRefused{"needs 64 network buffers"});
  EXPECT_EQ(job_.state(), JobState::kWaitingForSlots);
  EXPECT_EQ(job_.reason(), "needs 64 network buffers");
}

TEST_F(JobTest, AStopEndsInFinished) {
  Run();
  Checkpoint(SavepointWanted{RequestId(1), CheckpointKind::kStop, "/sp"});
  EXPECT_EQ(job_.state(), JobState::kStopping);
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSource, {}});
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSink, {}});
  Checkpoint(ManifestCommitted{CheckpointId(1), "log/1"});
  Checkpoint(SavepointExported{CheckpointId(1), "/sp/1"});
  Checkpoint(SubtaskPublished{CheckpointId(1), kSink});
  ReleaseAll();
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFinished);
}

TEST_F(JobTest, AStopWhoseTaskManagerIsLostIsCompletedByAnAttemptThatStandsStill) {
  Run();
  Checkpoint(SavepointWanted{RequestId(1), CheckpointKind::kStopAndDrain, "/sp"});
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSource, {}});
  Checkpoint(SubtaskAcknowledged{CheckpointId(1), kSink, {}});
  Checkpoint(ManifestCommitted{CheckpointId(1), "log/1"});
  Task(kSink, TaskState::kFailed, {.message = "boom"});
  ReleaseAll();
  EXPECT_EQ(Count<ReplySavepoint>(), 0u) << "the stop goes on";
  Grant();
  AttemptPrepared prepared{.attempt = job_.last_attempt(), .id_limit = CheckpointId(10'000)};
  prepared.restore = RestorePoint{.id = CheckpointId(1), .manifest_path = "log/1"};
  prepared.last_completed = CheckpointId(1);
  prepared.stop = StopPoint{.id = CheckpointId(1), .kind = CheckpointKind::kStopAndDrain};
  Send(prepared);
  EXPECT_TRUE(All<Deploy>().back().stands_still);
  Task(kSource, TaskState::kRunning);
  Task(kSink, TaskState::kRunning);
  EXPECT_EQ(job_.state(), JobState::kStopping);
  Send(OfCheckpoints{job_.last_attempt(), SubtaskPublished{CheckpointId(1), kSink}});
  Send(OfCheckpoints{AttemptId(1), SavepointExported{CheckpointId(1), "/sp/1"}});
  EXPECT_EQ(All<ReplySavepoint>().back().code, ReplyCode::kOk);
  ReleaseAll();
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFinished);
}

TEST_F(JobTest, ADrainThatCannotBeExportedEndsInFailed) {
  StopThatCannotBeExported(CheckpointKind::kStopAndDrain);
  ASSERT_EQ(Count<PersistEnd>(), 1u);
  EXPECT_FALSE(All<PersistEnd>().front().discard_checkpoints);
  Send(EndPersisted{});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_NE(job_.reason().find("/ck/log/1"), std::string::npos) << job_.reason();
}

TEST_F(JobTest, AStopThatIsGivenUpIsForgottenBeforeTheJobGoesOn) {
  StopThatCannotBeExported(CheckpointKind::kStop);
  Grant();
  EXPECT_EQ(All<PrepareAttempt>().back().given_up_stop, CheckpointId(1));
}

class GivenUpStopTest : public JobTest {
 protected:
  GivenUpStopTest() : JobTest(NoRestartTest::Plan()) {}
};

TEST_F(GivenUpStopTest, IsNoFailureForTheRestartPolicy) {
  StopThatCannotBeExported(CheckpointKind::kStop);
  ASSERT_EQ(job_.state(), JobState::kWaitingForSlots) << "the answer says that the job goes on";
  Grant();
  EXPECT_EQ(job_.last_attempt(), AttemptId(2));
  Prepared();
  Task(kSource, TaskState::kFailed, {.message = "boom"});
  ReleaseAll();
  EXPECT_EQ(Count<PersistEnd>(), 1u) << "that is one";
}

TEST_F(JobTest, SavepointsOfAJobThatDoesNotRunAreRefused) {
  Send(JobStarted{});
  Checkpoint(SavepointWanted{RequestId(1), CheckpointKind::kSavepoint, "/sp"});
  EXPECT_EQ(Count<ReplySavepoint>(), 1u);
}

TEST_F(JobTest, ARecoveredJobGoesOnAboveTheAttemptsOfItsFormerLeader) {
  Send(JobStarted{.attempt_floor = AttemptId(7), .restarts = 4});
  EXPECT_EQ(job_.restarts(), 5u) << "the former leader's, and going on";
  Grant();
  EXPECT_EQ(job_.last_attempt(), AttemptId(8));
  EXPECT_EQ(std::get<PrepareAttempt>(actions_.back()).restarts, 5u);
}

TEST_F(JobTest, ARecoveredJobThatNeverRanOrIsCancelledWasNotRestarted) {
  Send(JobStarted{});
  EXPECT_EQ(job_.restarts(), 0u);
  Job canceled(TwoVertices(), 1);
  canceled.Step(JobStarted{.attempt_floor = AttemptId(2), .canceled = true, .restarts = 1}, now_,
                &actions_);
  EXPECT_EQ(canceled.restarts(), 1u);
}

TEST_F(JobTest, SuspensionTellsItsTasksNothing) {
  Run();
  Send(SuspendWanted{});
  EXPECT_EQ(job_.state(), JobState::kSuspended);
  EXPECT_EQ(Count<CancelAttempt>(), 0u);
  Task(kSource, TaskState::kFailed, {.message = "late"});
  EXPECT_EQ(job_.state(), JobState::kSuspended);
}

}  // namespace
}  // namespace weir::jobmanager
