#include <filesystem>
#include <future>
#include <string>
#include <thread>

#include "base/failpoint.h"
#include "tests/jobmanager/job_manager_fixture.h"

// Stops, and what fails after their checkpoint is durable.

namespace weir::jobmanager {
namespace {

class JobManagerStopTest : public JobManagerTest {
 protected:
  void TearDown() override {
    for (const char* point : {"jobmanager.before_export", "jobmanager.before_end"}) {
      SetFailpoint(point, "");
    }
    JobManagerTest::TearDown();
  }
  grpc::Status Stop(const std::string& job, bool drain, proto::SavepointReply* reply) {
    grpc::ClientContext context;
    proto::StopJobRequest request;
    request.set_job_id(job);
    request.set_drain(drain);
    return client_->StopJob(&context, request, reply);
  }
  /// Asks for a stop whose output is not published, and ends this JobManager when it is decided.
  std::string StoppedWithTheJobManager(FakeTaskManager* tm, bool drain) {
    std::string job = MustSubmit();
    WaitForCheckpoint(job);
    grpc::Status status;
    proto::SavepointReply reply;
    std::thread client([&] { status = Stop(job, drain, &reply); });
    uint64_t stop = 0;
    tm->Await("the stop", [&](const proto::ToTaskManager& m) {
      const proto::TriggerCheckpoint& trigger = m.trigger_checkpoint();
      if (m.has_trigger_checkpoint() && (trigger.kind() == proto::CHECKPOINT_KIND_STOP ||
                                         trigger.kind() == proto::CHECKPOINT_KIND_STOP_AND_DRAIN)) {
        stop = trigger.checkpoint_id();
      }
      return stop > 0 && m.has_checkpoint_completed() &&
             m.checkpoint_completed().checkpoint_id() == stop;
    });
    manager_->Stop();
    manager_.reset();
    client.join();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << "the next one can be asked";
    EXPECT_NE(status.error_message().find("completes the stop"), std::string::npos)
        << status.error_message();
    tm->BreakStream();
    return job;
  }
};

TEST_F(JobManagerStopTest, TheNextJobManagerCompletesIt) {
  for (const bool drain : {false, true}) {
    std::string job;
    {
      auto tm = TaskManager({.publish = false});
      job = StoppedWithTheJobManager(tm.get(), drain);
    }
    const proto::Stop stop = Record(job).stop();
    EXPECT_EQ(stop.drain(), drain);
    StartJobManager();
    EXPECT_EQ(StatusOf(job).stop().checkpoint_id(), stop.checkpoint_id())
        << "whoever asks knows that it is recorded";
    {
      auto again = TaskManager({.incarnation = 2});
      const proto::DeployJob deploy = again->AwaitDeploy(2);
      EXPECT_TRUE(deploy.stands_still());
      EXPECT_EQ(deploy.restore().checkpoint_id(), stop.checkpoint_id());
      const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FINISHED);
      EXPECT_EQ(ended.reason(), "stopped with a savepoint");
      for (const auto& m : again->messages()) EXPECT_FALSE(m.has_trigger_checkpoint());
    }
    const std::string savepoint = stop.directory() + "/savepoint-" + job.substr(0, 8) + "-" +
                                  std::to_string(stop.checkpoint_id());
    EXPECT_TRUE(std::filesystem::is_directory(savepoint));
    EXPECT_EQ(StatusOf(job).stop().savepoint_path(), savepoint);
  }
}

TEST_F(JobManagerStopTest, OneThatWasNotedAndNotDecidedIsForgottenWhenTheNextAttemptIsPrepared) {
  const std::string job = MustSubmit();
  manager_->Stop();
  manager_.reset();
  const auto store = DirectoryMetadataStore::Open(directory_ + "/jobmanager/metadata");
  ASSERT_TRUE(store.ok()) << store.status();
  const std::string key = StoredRecord::KeyOf(job);
  const auto entry = (*store)->Get(key);
  ASSERT_TRUE(entry.ok()) << entry.status();
  proto::JobRecord record = Record(job);
  record.mutable_stop()->set_checkpoint_id(7);
  record.mutable_stop()->set_directory("/stops");
  const auto put = (*store)->Put(key, entry->version, record.SerializeAsString(), LeaderEpoch(1));
  ASSERT_TRUE(put.ok()) << put.status();
  StartJobManager();
  EXPECT_EQ(StatusOf(job).stop().checkpoint_id(), 7u) << "nobody has looked for its manifest";
  std::promise<void> looked;
  auto tm = TaskManager(
      {.before = [over = looked.get_future().share()](const proto::ToTaskManager& message) {
        if (message.has_deploy_job()) over.wait();
      }});
  WaitForState(job, proto::JOB_STATE_DEPLOYING);
  tm->AwaitDeploy(1);
  EXPECT_FALSE(StatusOf(job).has_stop()) << "however long it takes until the job runs";
  looked.set_value();
  WaitForState(job, proto::JOB_STATE_RUNNING);
}

TEST_F(JobManagerStopTest, ADrainThatCannotBeExportedEndsTheJobAndItsCheckpointStays) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  SetFailpoint("jobmanager.before_export", "error");
  proto::SavepointReply reply;
  const grpc::Status status = Stop(job, true, &reply);
  const std::string log = directory_ + "/checkpoints/" + job + "/log/";
  EXPECT_NE(status.error_message().find("--from-savepoint " + log), std::string::npos)
      << status.error_message();
  EXPECT_NE(status.error_message().find("windows"), std::string::npos);
  const proto::JobStatus failed = WaitForState(job, proto::JOB_STATE_FAILED);
  EXPECT_NE(failed.reason().find(log), std::string::npos) << failed.reason();
  EXPECT_FALSE(std::filesystem::is_empty(log));
}

TEST_F(JobManagerStopTest, APlainStopThatCannotBeExportedIsToldAndForgottenAndTheJobGoesOn) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  SetFailpoint("jobmanager.before_export", "error");
  proto::SavepointReply reply;
  const grpc::Status status = Stop(job, false, &reply);
  EXPECT_NE(status.error_message().find("The job goes on"), std::string::npos)
      << status.error_message();
  EXPECT_FALSE(tm->AwaitDeploy(2).stands_still());
  WaitForState(job, proto::JOB_STATE_RUNNING);
  EXPECT_FALSE(Record(job).has_stop());
  EXPECT_FALSE(StatusOf(job).has_stop());
  SetFailpoint("jobmanager.before_export", "");
  const grpc::Status again = Stop(job, false, &reply);
  EXPECT_TRUE(again.ok()) << again.error_message();
  WaitForState(job, proto::JOB_STATE_FINISHED);
}

TEST_F(JobManagerStopTest, ItsSavepointIsNamedForGood) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  EXPECT_FALSE(StatusOf(job).has_stop());
  proto::SavepointReply reply;
  ASSERT_TRUE(Stop(job, true, &reply).ok());
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FINISHED);
  EXPECT_EQ(ended.stop().savepoint_path(), reply.savepoint_path());
  manager_->Stop();
  manager_.reset();
  StartJobManager();
  const proto::Stop later = StatusOf(job).stop();
  EXPECT_EQ(later.savepoint_path(), reply.savepoint_path());
  EXPECT_EQ(later.checkpoint_id(), reply.checkpoint_id());
  EXPECT_TRUE(later.drain());
}

TEST_F(JobManagerStopTest, OneThatIsUnderWaySaysWhatItIs) {
  auto tm = TaskManager({.publish = false});
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  std::thread client([&] {
    proto::SavepointReply reply;
    (void)Stop(job, true, &reply);
  });
  const proto::JobStatus stopping = WaitForState(job, proto::JOB_STATE_STOPPING);
  EXPECT_TRUE(stopping.stop().drain());
  EXPECT_EQ(stopping.stop().directory(), directory_ + "/checkpoints/savepoints");
  EXPECT_EQ(stopping.stop().savepoint_path(), "") << "it may fail yet";
  Cancel(job);
  client.join();
  EXPECT_FALSE(WaitForState(job, proto::JOB_STATE_CANCELED).has_stop());
}

TEST_F(JobManagerStopTest, OneThatWasAnsweredEndsTheJobThoughItsEndWasNotStored) {
  std::string job;
  {
    auto tm = TaskManager();
    job = MustSubmit();
    WaitForCheckpoint(job);
    SetFailpoint("jobmanager.before_end", "error");
    proto::SavepointReply reply;
    const grpc::Status status = Stop(job, true, &reply);
    ASSERT_TRUE(status.ok()) << status.error_message();
    manager_->Stop();
    manager_.reset();
    SetFailpoint("jobmanager.before_end", "");
  }
  StartJobManager();
  auto again = TaskManager({.incarnation = 2});
  EXPECT_TRUE(again->AwaitDeploy(2).stands_still());
  WaitForState(job, proto::JOB_STATE_FINISHED);
}

}  // namespace
}  // namespace weir::jobmanager
