#include <filesystem>
#include <optional>
#include <string>

#include "tests/jobmanager/job_manager_fixture.h"

// Jobs from their submission to their end.

namespace weir::jobmanager {
namespace {

TEST_F(JobManagerTest, ABoundedJobRunsToItsFinalCheckpoint) {
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);  // the final one comes anyway
  auto tm = TaskManager();
  const std::string job = MustSubmit(graph);
  const proto::DeployJob deploy = tm->AwaitDeploy(1);
  EXPECT_EQ(deploy.graph().job_name(), "orders");
  EXPECT_FALSE(deploy.graph().output_lineage().empty());
  EXPECT_EQ(deploy.task_managers(0).data_address(), "127.0.0.1:7001");
  std::string bytes;
  EXPECT_TRUE(tm->Fetch(deploy.artifact_hash(), &bytes).ok());
  EXPECT_EQ(bytes, kLibrary);

  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FinishSubtasks();
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FINISHED);
  EXPECT_EQ(ended.attempt(), 1u);
  const auto trigger = tm->Await("the final checkpoint", [](const proto::ToTaskManager& m) {
    return m.has_trigger_checkpoint();
  });
  EXPECT_EQ(trigger.trigger_checkpoint().kind(), proto::CHECKPOINT_KIND_FINAL);
  const auto cancel =
      tm->Await("the end", [](const proto::ToTaskManager& m) { return m.has_cancel_job(); });
  EXPECT_EQ(cancel.cancel_job().reason(), proto::CANCEL_REASON_FINISHED);
  EXPECT_EQ(Cluster().slots_free(), 2u);
}

TEST_F(JobManagerTest, ASinkHearsOfTheFinalCheckpointBeforeItsEnd) {
  auto tm = TaskManager();
  proto::JobGraph graph = Graph();
  graph.mutable_vertices(1)->set_is_transactional(false);  // nobody waits for its answer
  const std::string job = MustSubmit(std::move(graph));
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  tm->Await("the end", [](const proto::ToTaskManager& m) { return m.has_cancel_job(); });
  uint64_t final_id = 0;
  bool told = false;
  for (const proto::ToTaskManager& m : tm->messages()) {
    if (m.trigger_checkpoint().kind() == proto::CHECKPOINT_KIND_FINAL) {
      final_id = m.trigger_checkpoint().checkpoint_id();
    }
    told |= final_id != 0 && m.checkpoint_completed().checkpoint_id() == final_id;
    if (m.has_cancel_job()) break;
  }
  EXPECT_TRUE(told) << "checkpoint " << final_id;
}

TEST_F(JobManagerTest, DescribeShowsWhereThingsRun) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  const proto::JobDetails details = Details(job);
  ASSERT_EQ(details.vertices_size(), 2);
  EXPECT_EQ(details.vertices(0).subtasks(0).tm_id(), "tm-1");
  EXPECT_EQ(details.vertices(0).subtasks(0).state(), proto::TASK_STATE_RUNNING);
  ASSERT_EQ(details.print_endpoints_size(), 1);
  EXPECT_EQ(details.print_endpoints(0).rpc_address(), "127.0.0.1:7002");
  EXPECT_GT(details.checkpoints_completed(), 0u);
  const proto::ClusterStatusReply cluster = Cluster();
  ASSERT_EQ(cluster.task_managers_size(), 1);
  EXPECT_EQ(cluster.task_managers(0).job_ids(0), job);
  EXPECT_EQ(cluster.jobs_running(), 1u);
}

TEST_F(JobManagerTest, TheSameTokenGivesTheSameJob) {
  proto::SubmitJobHeader header = Header();
  header.set_submission_token("retry-me");
  proto::SubmitJobReply first, second;
  ASSERT_TRUE(Submit(header, &first).ok());
  ASSERT_TRUE(Submit(header, &second).ok());
  EXPECT_EQ(first.job_id(), second.job_id());
  EXPECT_EQ(Cluster().jobs_total(), 1u);
  EXPECT_EQ(JobFolders(), 1u);
}

TEST_F(JobManagerTest, TheEndOfAJobIsAlwaysAtTheSameTime) {
  const std::string job = MustSubmit();
  ASSERT_TRUE(Cancel(job).ok());
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_CANCELED);
  for (int i = 0; i < 100; ++i) {
    const proto::JobStatus again = StatusOf(job);
    ASSERT_EQ(again.ended_ms(), ended.ended_ms());
    ASSERT_EQ(again.changed_ms(), ended.ended_ms());
  }
}

TEST_F(JobManagerTest, ACancelledJobKeepsItsCheckpointsAndFreesItsSlots) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  EXPECT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);
  EXPECT_EQ(Cluster().slots_free(), 2u);
  EXPECT_EQ(Cancel(job).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Cancel("nosuch").error_code(), grpc::StatusCode::NOT_FOUND);
  const std::string checkpoints = Details(job).checkpoint_directory();
  EXPECT_FALSE(std::filesystem::is_empty(checkpoints + "/log"));

  proto::SubmitJobHeader header = Header();
  header.set_savepoint_path(checkpoints);  // an externalised checkpoint serves as a savepoint
  proto::SubmitJobReply reply;
  const grpc::Status resumed = Submit(header, &reply);
  EXPECT_TRUE(resumed.ok()) << resumed.error_message();
}

TEST_F(JobManagerTest, AnEndedJobWithoutACheckpointLeavesNoFolder) {
  proto::JobGraph discards = Graph();
  discards.mutable_settings()->mutable_checkpoint()->set_retention(
      proto::CHECKPOINT_RETENTION_DELETE_ON_CANCEL);
  proto::JobGraph takes_none = Graph();
  takes_none.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);
  auto tm = TaskManager();
  const std::string canceled = MustSubmit(discards);
  WaitForCheckpoint(canceled);
  ASSERT_TRUE(Cancel(canceled).ok());
  WaitForState(canceled, proto::JOB_STATE_CANCELED);
  WaitForJobFolders(0);
  const std::string failed = MustSubmit(takes_none);
  WaitForState(failed, proto::JOB_STATE_RUNNING);
  tm->FailSubtask(0, 0, "without a restart strategy, which jobs without checkpoints do not have");
  WaitForState(failed, proto::JOB_STATE_FAILED);
  WaitForJobFolders(0);
}

TEST_F(JobManagerTest, ARateOfASourceReachesItsSubtasksAndEveryLaterAttempt) {
  auto tm = TaskManager();
  proto::JobGraph graph = Graph();
  graph.mutable_vertices(0)->set_rate_per_second(10);
  const std::string job = MustSubmit(graph);
  WaitForCheckpoint(job);
  EXPECT_EQ(Details(job).vertices(0).rate_per_second(), 10);
  ASSERT_TRUE(SetRate(job, "uid-0", 250).ok());
  const auto set =
      tm->Await("the rate", [](const proto::ToTaskManager& m) { return m.has_set_source_rate(); });
  EXPECT_EQ(set.set_source_rate().attempt().attempt(), 1u);
  EXPECT_EQ(set.set_source_rate().rate().vertex(), 0u);
  EXPECT_EQ(set.set_source_rate().rate().records_per_second(), 250);
  EXPECT_EQ(Details(job).vertices(0).rate_per_second(), 250);

  tm->FailSubtask(1, 0, "no luck");
  const proto::DeployJob second = tm->AwaitDeploy(2);
  ASSERT_EQ(second.source_rates_size(), 1);
  EXPECT_EQ(second.source_rates(0).records_per_second(), 250);
  ASSERT_TRUE(SetRate(job, "uid-0", std::nullopt).ok());
  const uint64_t epoch = Cluster().leader_epoch();
  manager_->Stop();
  manager_.reset();
  tm->BreakStream();

  StartJobManager();
  auto again = TaskManager({.epoch_seen = epoch});
  const proto::DeployJob third = again->AwaitDeploy(3);
  ASSERT_EQ(third.source_rates_size(), 1);
  EXPECT_FALSE(third.source_rates(0).has_records_per_second());
  EXPECT_FALSE(Details(job).vertices(0).has_rate_per_second());
}

}  // namespace
}  // namespace weir::jobmanager
