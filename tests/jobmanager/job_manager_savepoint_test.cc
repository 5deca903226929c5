#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "base/failpoint.h"
#include "tests/jobmanager/job_manager_fixture.h"

// Savepoints: taken, begun from, disposed of.

namespace weir::jobmanager {
namespace {

TEST_F(JobManagerTest, SavepointStopAndResume) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  const std::string lineage = Details(job).output_lineage();
  proto::SavepointReply savepoint;
  const grpc::Status taken = Savepoint(job, &savepoint);
  ASSERT_TRUE(taken.ok()) << taken.error_message();
  EXPECT_TRUE(std::filesystem::is_directory(savepoint.savepoint_path()));

  grpc::ClientContext context;
  proto::StopJobRequest stop;
  stop.set_job_id(job.substr(0, 6));
  proto::SavepointReply stopped;
  const grpc::Status status = client_->StopJob(&context, stop, &stopped);
  ASSERT_TRUE(status.ok()) << status.error_message();
  WaitForState(job, proto::JOB_STATE_FINISHED);

  proto::SubmitJobHeader header = Header();
  header.set_savepoint_path(stopped.savepoint_path());
  proto::SubmitJobReply reply;
  const grpc::Status resumed = Submit(header, &reply);
  ASSERT_TRUE(resumed.ok()) << resumed.error_message();
  const auto deploy =
      tm->Await("the resumed job", [&](const proto::ToTaskManager& m) {
          return m.has_deploy_job() && m.deploy_job().attempt().job_id() == reply.job_id();
        }).deploy_job();
  EXPECT_TRUE(deploy.restore().is_savepoint());
  EXPECT_EQ(deploy.graph().output_lineage(), lineage);
  EXPECT_GE(deploy.checkpoint_id_floor(), stopped.checkpoint_id());
  WaitFor(reply.job_id(), "a checkpoint", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > stopped.checkpoint_id();
  });
  const std::string began_from = Details(reply.job_id()).began_from();
  EXPECT_TRUE(began_from.starts_with(stopped.savepoint_path())) << began_from;
  EXPECT_EQ(Details(reply.job_id()).restored_from(), began_from);
  tm->FailSubtask(0, 0, "no luck");
  WaitFor(reply.job_id(), "it runs again", [](const proto::JobStatus& s) {
    return s.restarts() == 1 && s.state() == proto::JOB_STATE_RUNNING;
  });
  EXPECT_EQ(Details(reply.job_id()).began_from(), began_from) << "it restored a later one since";
  EXPECT_NE(Details(reply.job_id()).restored_from(), began_from);

  grpc::ClientContext dispose_context;
  proto::DisposeSavepointRequest dispose;
  dispose.set_savepoint_path(savepoint.savepoint_path());
  proto::DisposeSavepointReply disposed;
  const grpc::Status gone = client_->DisposeSavepoint(&dispose_context, dispose, &disposed);
  EXPECT_TRUE(gone.ok()) << gone.error_message();
  EXPECT_FALSE(std::filesystem::exists(savepoint.savepoint_path()));
}

TEST_F(JobManagerTest, CheckpointsAreRemovedWhileASavepointIsWritten) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  SetFailpoint("jobmanager.before_export", "hold");
  proto::SavepointReply savepoint;
  grpc::Status taken;
  std::thread asking([&] { taken = Savepoint(job, &savepoint); });
  const std::string directory = Details(job).checkpoint_directory();
  WaitFor(job, "the export", [&](const proto::JobStatus&) {
    std::error_code none;
    const std::filesystem::directory_iterator begun(directory_ + "/checkpoints/savepoints", none);
    return begun != std::filesystem::directory_iterator();
  });
  const uint64_t then = StatusOf(job).last_checkpoint_id();
  WaitFor(job, "checkpoints beside it",
          [&](const proto::JobStatus& s) { return s.last_checkpoint_id() >= then + 6; });
  // The leader's, the two that are retained, and what comes while they are counted.
  const auto entries = std::distance(std::filesystem::directory_iterator(directory + "/log"), {});
  EXPECT_LE(entries, 5);
  SetFailpoint("jobmanager.before_export", "");
  asking.join();
  EXPECT_TRUE(taken.ok()) << taken.error_message();
  EXPECT_TRUE(std::filesystem::is_directory(savepoint.savepoint_path()));
}

TEST_F(JobManagerTest, ASavepointThatASubmissionBeginsFromIsNotDisposedOf) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  proto::SavepointReply savepoint;
  ASSERT_TRUE(Savepoint(job, &savepoint).ok());
  const auto dispose = [&] {
    grpc::ClientContext context;
    proto::DisposeSavepointRequest request;
    request.set_savepoint_path(savepoint.savepoint_path());
    proto::DisposeSavepointReply reply;
    return client_->DisposeSavepoint(&context, request, &reply);
  };
  const size_t directories = JobFolders();

  // The header is dealt with; the library is still to come.
  grpc::ClientContext context;
  proto::SubmitJobReply reply;
  auto writer = client_->SubmitJob(&context, &reply);
  proto::SubmitJobRequest request;
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);  // it goes on needing it
  *request.mutable_header() = Header(graph);
  request.mutable_header()->set_savepoint_path(savepoint.savepoint_path());
  ASSERT_TRUE(writer->Write(request));
  const auto end = std::chrono::steady_clock::now() + seconds(30);
  while (JobFolders() == directories && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  grpc::Status refused = dispose();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION) << refused.error_message();
  EXPECT_NE(refused.error_message().find(savepoint.savepoint_path()), std::string::npos);

  // The library is known already.
  writer->WritesDone();
  const grpc::Status submitted = writer->Finish();
  ASSERT_TRUE(submitted.ok()) << submitted.error_message();
  refused = dispose();
  EXPECT_NE(refused.error_message().find(reply.job_id()), std::string::npos)
      << refused.error_message();
  Cancel(reply.job_id());
  WaitForState(reply.job_id(), proto::JOB_STATE_CANCELED);
  const grpc::Status gone = dispose();
  EXPECT_TRUE(gone.ok()) << gone.error_message();
}

class RestoreModeTest : public JobManagerTest {
 protected:
  void SetUp() override {
    JobManagerTest::SetUp();
    tm_ = TaskManager({.slots = 4});
    const std::string job = MustSubmit();
    WaitForState(job, proto::JOB_STATE_RUNNING);
    ASSERT_TRUE(Savepoint(job, &savepoint_).ok());
    ASSERT_TRUE(Cancel(job).ok());
    WaitForState(job, proto::JOB_STATE_CANCELED);
  }
  /// `interval_ms` 0: without checkpoints of its own.
  grpc::Status Begin(proto::RestoreMode mode, uint64_t interval_ms, std::string* job) {
    proto::JobGraph graph = Graph();
    graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(interval_ms);
    proto::SubmitJobHeader header = Header(graph);
    header.set_savepoint_path(path());
    header.set_restore_mode(mode);
    proto::SubmitJobReply reply;
    const grpc::Status status = Submit(header, &reply);
    *job = reply.job_id();
    return status;
  }
  grpc::Status Dispose() {
    grpc::ClientContext context;
    proto::DisposeSavepointRequest request;
    request.set_savepoint_path(path());
    proto::DisposeSavepointReply reply;
    return client_->DisposeSavepoint(&context, request, &reply);
  }
  /// Newer than what it began from, so many of them.
  void WaitForCheckpoints(const std::string& job, uint64_t count) {
    WaitFor(job, "checkpoints of its own",
            [&](const proto::JobStatus&) { return Details(job).checkpoints_completed() >= count; });
  }
  const std::string& path() const { return savepoint_.savepoint_path(); }

  std::unique_ptr<FakeTaskManager> tm_;
  proto::SavepointReply savepoint_;
};

TEST_F(RestoreModeTest, WithoutAClaimItIsNeededUntilTheFirstCheckpointAndStays) {
  std::string job;
  ASSERT_TRUE(Begin(proto::RESTORE_MODE_NO_CLAIM, 0, &job).ok());
  WaitForState(job, proto::JOB_STATE_RUNNING);
  const grpc::Status refused = Dispose();
  EXPECT_NE(refused.error_message().find(job), std::string::npos) << refused.error_message();
  ASSERT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);

  ASSERT_TRUE(Begin(proto::RESTORE_MODE_NO_CLAIM, 50, &job).ok());
  WaitForCheckpoints(job, 3);
  EXPECT_TRUE(std::filesystem::is_directory(path()));
  const grpc::Status disposed = Dispose();  // the job runs on
  EXPECT_TRUE(disposed.ok()) << disposed.error_message();
  tm_->FailSubtask(0, 0, "boom");
  WaitFor(job, "it runs again", [](const proto::JobStatus& s) {
    return s.restarts() == 1 && s.state() == proto::JOB_STATE_RUNNING;
  });
}

TEST_F(RestoreModeTest, WhatIsClaimedIsDeletedWhenAsManyCheckpointsAsAreRetainedAreThere) {
  std::string job;
  const grpc::Status begun = Begin(proto::RESTORE_MODE_CLAIM, 50, &job);
  ASSERT_TRUE(begun.ok()) << begun.error_message();
  WaitForCheckpoints(job, 3);
  const auto end = std::chrono::steady_clock::now() + seconds(60);
  while (std::filesystem::exists(path()) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
  tm_->FailSubtask(0, 0, "boom");
  WaitFor(job, "it runs again", [](const proto::JobStatus& s) {
    return s.restarts() == 1 && s.state() == proto::JOB_STATE_RUNNING;
  });
}

TEST_F(RestoreModeTest, WhatIsClaimedIsNobodyElses) {
  std::string first, second;
  ASSERT_TRUE(Begin(proto::RESTORE_MODE_CLAIM, 0, &first).ok());
  for (const auto mode : {proto::RESTORE_MODE_NO_CLAIM, proto::RESTORE_MODE_CLAIM}) {
    const grpc::Status refused = Begin(mode, 0, &second);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_NE(refused.error_message().find(first), std::string::npos) << refused.error_message();
  }
  EXPECT_FALSE(Dispose().ok());
  // A job that ends without checkpoints of its own leaves what it began from to be begun from
  // again.
  ASSERT_TRUE(Cancel(first).ok());
  WaitForState(first, proto::JOB_STATE_CANCELED);
  ASSERT_TRUE(Begin(proto::RESTORE_MODE_NO_CLAIM, 0, &first).ok());
  const grpc::Status refused = Begin(proto::RESTORE_MODE_CLAIM, 0, &second);
  EXPECT_NE(refused.error_message().find("no-claim"), std::string::npos) << refused.error_message();
}

// It deletes its older checkpoints while another would read them.
TEST_F(RestoreModeTest, TheCheckpointsOfAJobThatRunsAreNotBegunFrom) {
  std::string first, second;
  ASSERT_TRUE(Begin(proto::RESTORE_MODE_NO_CLAIM, 50, &first).ok());
  WaitForCheckpoints(first, 1);
  savepoint_.set_savepoint_path(Details(first).checkpoint_directory());
  for (const auto mode : {proto::RESTORE_MODE_NO_CLAIM, proto::RESTORE_MODE_CLAIM}) {
    const grpc::Status refused = Begin(mode, 50, &second);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_NE(refused.error_message().find(first + " runs"), std::string::npos)
        << refused.error_message();
    EXPECT_NE(refused.error_message().find("take a savepoint"), std::string::npos);
  }
}

TEST_F(JobManagerTest, ASavepointOfAJobThatDoesNotRunLeavesNoDirectory) {
  const std::string job = MustSubmit();  // there is no TaskManager
  grpc::ClientContext context;
  proto::TriggerSavepointRequest request;
  request.set_job_id(job);
  request.set_savepoint_directory(directory_ + "/elsewhere/deeper");
  proto::SavepointReply reply;
  const grpc::Status status = client_->TriggerSavepoint(&context, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("RUNNING"), std::string::npos) << status.error_message();
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/elsewhere"));
}

TEST_F(JobManagerTest, ASavepointThatDoesNotFitIsRefusedByUidUnlessAllowed) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  proto::SavepointReply savepoint;
  ASSERT_TRUE(Savepoint(job, &savepoint).ok());
  ASSERT_TRUE(Cancel(job).ok());
  WaitForState(job, proto::JOB_STATE_CANCELED);

  proto::JobGraph other = Graph();
  other.mutable_vertices(1)->set_uid("renamed");
  other.mutable_vertices(1)->mutable_operators(0)->set_uid("renamed");
  proto::SubmitJobHeader header = Header(other);
  header.set_savepoint_path(savepoint.savepoint_path());
  proto::SubmitJobReply reply;
  const grpc::Status refused = Submit(header, &reply);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(refused.error_message().find("uid-1"), std::string::npos) << refused.error_message();
  header.set_allow_non_restored_state(true);
  EXPECT_TRUE(Submit(header, &reply).ok());
  EXPECT_EQ(reply.warnings_size(), 1);
}

}  // namespace
}  // namespace weir::jobmanager
