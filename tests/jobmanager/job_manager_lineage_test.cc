#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/failpoint.h"
#include "jobmanager/control_loop.h"
#include "tests/jobmanager/job_manager_fixture.h"

// Nothing is published twice by sinks that cannot see to that themselves: who may begin from what.

namespace weir::jobmanager {
namespace {

class LineageTest : public JobManagerTest {
 protected:
  void TearDown() override {
    SetFailpoint("metadata.begin", "");
    JobManagerTest::TearDown();
  }

  /// With a sink of a user's own, unless `guarded`; `interval_ms` 0: without checkpoints.
  static proto::JobGraph Job(uint64_t interval_ms = 50, bool guarded = false) {
    proto::JobGraph graph = Graph();
    proto::CheckpointSettings& checkpoint = *graph.mutable_settings()->mutable_checkpoint();
    checkpoint.set_interval_ms(interval_ms);
    checkpoint.set_retention(proto::CHECKPOINT_RETENTION_RETAIN_ON_CANCEL);
    graph.mutable_vertices(1)->mutable_operators(0)->set_unguarded_lineage(!guarded);
    return graph;
  }
  proto::SubmitJobHeader From(const std::string& path, proto::JobGraph graph = Job(0)) {
    proto::SubmitJobHeader header = Header(std::move(graph));
    header.set_savepoint_path(path);
    return header;
  }
  /// Begins, and is cancelled at once.
  grpc::Status Try(const proto::SubmitJobHeader& header) {
    proto::SubmitJobReply reply;
    grpc::Status status = Submit(header, &reply);
    EXPECT_EQ(reply.warnings_size(), 0);
    if (status.ok()) End(reply.job_id());
    return status;
  }
  void End(const std::string& job) {
    ASSERT_TRUE(Cancel(job).ok());
    WaitForState(job, proto::JOB_STATE_CANCELED);
  }
  void ExpectRefused(const proto::SubmitJobHeader& header, const std::vector<std::string>& words) {
    const grpc::Status refused = Try(header);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    for (const std::string& word : words) {
      EXPECT_NE(refused.error_message().find(word), std::string::npos)
          << "no '" << word << "' in: " << refused.error_message();
    }
  }
  void ExpectTaken(const proto::SubmitJobHeader& header) {
    const grpc::Status status = Try(header);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  /// A job that runs, and has a checkpoint past its savepoint.
  std::string PastItsSavepoint(proto::SavepointReply* savepoint, proto::JobGraph graph = Job()) {
    const std::string job = MustSubmit(std::move(graph));
    WaitForCheckpoint(job);  // before it
    EXPECT_TRUE(Savepoint(job, savepoint).ok());
    WaitFor(job, "a checkpoint past the savepoint", [&](const proto::JobStatus& s) {
      return s.last_checkpoint_id() > savepoint->checkpoint_id();
    });
    return job;
  }
  /// A job that was stopped.
  void Stopped(proto::SavepointReply* savepoint) {
    const std::string job = MustSubmit(Job());
    WaitForCheckpoint(job);
    grpc::ClientContext context;
    proto::StopJobRequest stop;
    stop.set_job_id(job);
    const grpc::Status status = client_->StopJob(&context, stop, savepoint);
    EXPECT_TRUE(status.ok()) << status.error_message();
    WaitForState(job, proto::JOB_STATE_FINISHED);
  }
  void RestartJobManager() {
    manager_->Stop();
    manager_.reset();
    StartJobManager();
  }
};

TEST_F(LineageTest, WhoBeginsWhereAnotherHasPublishedPastIsRefused) {
  auto tm = TaskManager();
  proto::SavepointReply savepoint;
  const std::string job = PastItsSavepoint(&savepoint);
  const std::string& path = savepoint.savepoint_path();
  ExpectRefused(From(path), {"'sink' (uid 'uid-1')", path, "job " + job, "has not ended",
                             "weir stop " + job, "--new-lineage"});
  End(job);
  const std::string newest = std::to_string(StatusOf(job).last_checkpoint_id());
  const std::string retained = Details(job).checkpoint_directory();
  const std::vector<std::string> words = {
      "'sink' (uid 'uid-1')", path, "job " + job, "published up to checkpoint " + newest, retained,
      "--new-lineage"};
  ExpectRefused(From(path), words);
  RestartJobManager();
  tm = TaskManager();
  ExpectRefused(From(path), words);

  proto::SubmitJobHeader anew = From(path);
  anew.set_new_lineage(true);
  ExpectTaken(anew);
  ExpectTaken(From(path, Job(0, /*guarded=*/true)));
  ExpectTaken(From(retained));
}

TEST_F(LineageTest, WhatAJobWasStoppedWithIsBegunFromUntilThatIsPublishedPast) {
  auto tm = TaskManager();
  proto::SavepointReply stopped;
  Stopped(&stopped);
  const std::string& path = stopped.savepoint_path();
  ExpectTaken(From(path));  // and ends without a checkpoint
  proto::SubmitJobReply reply;
  ASSERT_TRUE(Submit(From(path, Job()), &reply).ok());
  WaitFor(reply.job_id(), "a checkpoint", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > stopped.checkpoint_id();
  });
  End(reply.job_id());
  ExpectRefused(From(path),
                {"job " + reply.job_id(), Details(reply.job_id()).checkpoint_directory()});
}

TEST_F(LineageTest, OfTwoThatBeginTogetherTheSecondIsRefused) {
  auto tm = TaskManager();
  proto::SavepointReply savepoint;
  Stopped(&savepoint);
  SetFailpoint("metadata.begin", "hold");  // neither becomes durable
  const auto submit = [&] {
    return std::async(std::launch::async, [&] {
      proto::SubmitJobReply reply;
      return Submit(From(savepoint.savepoint_path()), &reply);
    });
  };
  std::future<grpc::Status> submissions[] = {submit(), submit()};
  const auto ready = [](auto& s) { return s.wait_for(seconds(0)) == std::future_status::ready; };
  const auto limit = std::chrono::steady_clock::now() + seconds(60);
  while (!ready(submissions[0]) && !ready(submissions[1]) &&
         std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  SetFailpoint("metadata.begin", "");
  const grpc::Status one = submissions[0].get(), other = submissions[1].get();
  EXPECT_NE(one.ok(), other.ok()) << one.error_message() << "; " << other.error_message();
  const grpc::Status& refused = one.ok() ? other : one;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(refused.error_message().find("has not ended"), std::string::npos)
      << refused.error_message();
}

// One alone is retained, so nothing else notes each checkpoint; and the new leader ends the job
// before it has looked at what there is.
TEST_F(LineageTest, WhatIsPublishedIsKnownOfAJobThatIsCancelledBeforeItRunsAgain) {
  auto tm = TaskManager();
  proto::JobGraph graph = Job();
  graph.mutable_settings()->mutable_checkpoint()->set_retained(1);
  proto::SavepointReply savepoint;
  const std::string job = PastItsSavepoint(&savepoint, graph);
  tm.reset();
  RestartJobManager();  // there is no TaskManager
  End(job);
  ExpectRefused(From(savepoint.savepoint_path()), {"job " + job});
  RestartJobManager();
  ExpectRefused(From(savepoint.savepoint_path()), {"job " + job});
}

TEST_F(LineageTest, SinksAreToldOfNoCheckpointThatTheJobsRecordDoesNotTellOf) {
  auto tm = TaskManager();
  proto::JobGraph graph = Job();
  graph.mutable_settings()->mutable_checkpoint()->set_tolerable_failures(1'000);
  const std::string job = MustSubmit(graph);
  WaitForCheckpoint(job);
  SetFailpoint("metadata.begin", "error");
  const uint64_t failed =
      tm->Await("a checkpoint that is not noted",
                [](const proto::ToTaskManager& m) {
                  return m.has_checkpoint_aborted() && m.checkpoint_aborted().reason().find(
                                                           "metadata.begin") != std::string::npos;
                })
          .checkpoint_aborted()
          .checkpoint_id();
  SetFailpoint("metadata.begin", "");
  const proto::JobStatus status = WaitFor(job, "a later one", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > failed;
  });
  EXPECT_EQ(status.restarts(), 0u);
  for (const proto::ToTaskManager& m : tm->messages()) {
    EXPECT_FALSE(m.has_checkpoint_completed() &&
                 m.checkpoint_completed().checkpoint_id() == failed);
  }
}

TEST_F(LineageTest, WhatIsPublishedIsKnownWhenTheJobIsForgotten) {
  auto tm = TaskManager();
  proto::SavepointReply savepoint;
  const std::string job = PastItsSavepoint(&savepoint);
  End(job);
  const std::string directory = Details(job).checkpoint_directory();
  tm.reset();  // the others only wait for slots
  for (size_t i = 0; i < ControlLoop::kMaxEndedJobs; ++i) End(MustSubmit());
  proto::JobDetails details;
  grpc::ClientContext context;
  proto::DescribeJobRequest request;
  request.set_job_id(job);
  EXPECT_EQ(client_->DescribeJob(&context, request, &details).error_code(),
            grpc::StatusCode::NOT_FOUND);
  ExpectRefused(From(savepoint.savepoint_path()), {"job " + job, directory});
  RestartJobManager();
  ExpectRefused(From(savepoint.savepoint_path()), {"job " + job, directory});
  ExpectTaken(From(directory));
}

}  // namespace
}  // namespace weir::jobmanager
