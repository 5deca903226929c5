#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

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

  grpc::ClientContext dispose_context;
  proto::DisposeSavepointRequest dispose;
  dispose.set_savepoint_path(savepoint.savepoint_path());
  proto::DisposeSavepointReply disposed;
  const grpc::Status gone = client_->DisposeSavepoint(&dispose_context, dispose, &disposed);
  EXPECT_TRUE(gone.ok()) << gone.error_message();
  EXPECT_FALSE(std::filesystem::exists(savepoint.savepoint_path()));
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
  *request.mutable_header() = Header();
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
