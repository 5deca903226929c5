#include "cli/savepoint_calls.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const grpc::Status kLost{grpc::StatusCode::UNAVAILABLE, "Socket closed"};
const grpc::Status kRefused{grpc::StatusCode::FAILED_PRECONDITION, "a RUNNING one"};

proto::JobStatus In(proto::JobState state) {
  proto::JobStatus job;
  job.set_job_id("aa11");
  job.set_state(state);
  if (state == proto::JOB_STATE_FINISHED || state == proto::JOB_STATE_FAILED) job.set_ended_ms(7);
  return job;
}

proto::JobStatus Stopping(proto::JobState state, bool drain = false) {
  proto::JobStatus job = In(state);
  job.mutable_stop()->set_drain(drain);
  job.mutable_stop()->set_directory("/sp");
  if (state == proto::JOB_STATE_FINISHED) job.mutable_stop()->set_savepoint_path("/sp/savepoint-7");
  return job;
}

/// A JobManager that answers by a script: what is asked for by `answers`, one after another (OK
/// once they are used up), and how the job is by `states`, of which the last one stays.
class ScriptedJobManager final : public proto::JobService::Service {
 public:
  ScriptedJobManager(std::deque<grpc::Status> answers, std::vector<proto::JobStatus> states)
      : answers_(std::move(answers)), states_(std::move(states)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    client = std::make_unique<JobClient>("127.0.0.1:" + std::to_string(port_));
    calls = std::make_unique<SavepointCalls>(SavepointCalls{
        *client, [this](const std::string& line) { said += line + "\n"; }, milliseconds(200)});
  }
  ~ScriptedJobManager() override { Shutdown(); }

  void Shutdown() { server_->Shutdown(std::chrono::system_clock::now()); }
  absl::StatusOr<SavepointCalls::Stopped> Stop(bool drain = false,
                                               const std::string& directory = "") const {
    proto::StopJobRequest request;
    request.set_job_id("aa11");
    request.set_drain(drain);
    request.set_savepoint_directory(directory);
    return calls->Stop(request);
  }

  std::unique_ptr<JobClient> client;
  std::unique_ptr<SavepointCalls> calls;
  std::atomic<int> asked = 0;
  std::atomic<bool> absent = false;  // at the next look at the jobs
  std::string said;

 private:
  grpc::Status Answer(proto::SavepointReply* reply) {
    ++asked;
    if (answers_.empty()) {
      reply->set_savepoint_path("/sp/savepoint-9");
      return grpc::Status::OK;
    }
    const grpc::Status answer = answers_.front();
    answers_.pop_front();
    return answer;
  }
  grpc::Status StopJob(grpc::ServerContext*, const proto::StopJobRequest*,
                       proto::SavepointReply* reply) override {
    return Answer(reply);
  }
  grpc::Status TriggerSavepoint(grpc::ServerContext*, const proto::TriggerSavepointRequest*,
                                proto::SavepointReply* reply) override {
    return Answer(reply);
  }
  grpc::Status ListJobs(grpc::ServerContext*, const proto::ListJobsRequest*,
                        proto::ListJobsReply*) override {
    return absent.exchange(false) ? kLost : grpc::Status::OK;
  }
  grpc::Status WaitJob(grpc::ServerContext*, const proto::WaitJobRequest*,
                       proto::JobStatus* reply) override {
    *reply = states_[std::min(at_, states_.size() - 1)];
    reply->set_version(++at_);
    return grpc::Status::OK;
  }

  std::deque<grpc::Status> answers_;
  const std::vector<proto::JobStatus> states_;
  size_t at_ = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(SavepointCalls, AStopThatWasRecordedIsFollowedToItsSavepoint) {
  ScriptedJobManager jm(
      {kLost}, {Stopping(proto::JOB_STATE_WAITING_FOR_SLOTS), Stopping(proto::JOB_STATE_STOPPING),
                Stopping(proto::JOB_STATE_FINISHED)});
  const auto stopped = jm.Stop();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-7");
  EXPECT_EQ(stopped->end.state(), proto::JOB_STATE_FINISHED);
  EXPECT_EQ(jm.asked, 1);
}

TEST(SavepointCalls, OneThatWasNotRecordedIsAskedForAgainWhenTheJobRuns) {
  ScriptedJobManager jm({kLost},
                        {In(proto::JOB_STATE_WAITING_FOR_SLOTS), In(proto::JOB_STATE_RUNNING),
                         Stopping(proto::JOB_STATE_FINISHED)});
  const auto stopped = jm.Stop();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-9") << "the answer's";
  EXPECT_EQ(jm.asked, 2);
  EXPECT_THAT(jm.said, HasSubstr("lost before the stop was recorded"));
}

TEST(SavepointCalls, ASecondStopJoinsTheFirst) {
  for (const char* directory : {"", "/sp", "/sp/"}) {
    ScriptedJobManager jm(
        {kRefused}, {Stopping(proto::JOB_STATE_STOPPING), Stopping(proto::JOB_STATE_FINISHED)});
    const auto stopped = jm.Stop(false, directory);
    ASSERT_TRUE(stopped.ok()) << stopped.status();
    EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-7");
    EXPECT_EQ(jm.asked, 1);
  }
}

TEST(SavepointCalls, OneThatAsksForSomethingElseIsToldWhatIsUnderWay) {
  for (const auto& [drain, directory] :
       std::vector<std::pair<bool, std::string>>{{true, ""}, {true, "/sp"}, {false, "/other"}}) {
    ScriptedJobManager under_way({kRefused}, {Stopping(proto::JOB_STATE_STOPPING)});
    const absl::Status refused = under_way.Stop(drain, directory).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(refused.ToString(),
                HasSubstr("is being stopped already, without --drain, with a savepoint in /sp"));
    ScriptedJobManager over({kRefused}, {Stopping(proto::JOB_STATE_FINISHED)});
    EXPECT_THAT(over.Stop(drain, directory).status().ToString(),
                HasSubstr("has been stopped already, without --drain, with the savepoint "
                          "/sp/savepoint-7"));
  }
}

TEST(SavepointCalls, WhenAJoinedStopFailsTheOneThatJoinedIsAskedFor) {
  ScriptedJobManager jm({kRefused, {grpc::StatusCode::ABORTED, "the disk is full"}},
                        {Stopping(proto::JOB_STATE_STOPPING), In(proto::JOB_STATE_RUNNING)});
  EXPECT_THAT(jm.Stop().status().ToString(), HasSubstr("the disk is full"));
  EXPECT_EQ(jm.asked, 2);
}

TEST(SavepointCalls, AJobThatCannotBeStoppedNowIsToldAtOnce) {
  for (const proto::JobState state :
       {proto::JOB_STATE_RESTARTING, proto::JOB_STATE_RUNNING, proto::JOB_STATE_FAILED}) {
    ScriptedJobManager jm({kRefused}, {In(state)});
    EXPECT_THAT(jm.Stop().status().ToString(), HasSubstr("a RUNNING one"));
    EXPECT_EQ(jm.asked, 1);
  }
}

TEST(SavepointCalls, AJobManagerThatHasJustComeIsGivenTimeForItsJobs) {
  ScriptedJobManager jm({kRefused}, {In(proto::JOB_STATE_DEPLOYING), In(proto::JOB_STATE_RUNNING),
                                     Stopping(proto::JOB_STATE_FINISHED)});
  jm.absent = true;
  ASSERT_TRUE(jm.client->List(false).ok());
  const auto stopped = jm.Stop();
  EXPECT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(jm.asked, 2);
}

TEST(SavepointCalls, WhoGivesUpSaysWhetherTheStopWasRecorded) {
  ScriptedJobManager recorded({kLost}, {Stopping(proto::JOB_STATE_WAITING_FOR_SLOTS)});
  EXPECT_THAT(recorded.Stop().status().ToString(),
              AllOf(HasSubstr("the stop of job aa11 is recorded and goes on by itself"),
                    HasSubstr("WAITING_FOR_SLOTS"), HasSubstr("`weir describe aa11`")));
  ScriptedJobManager not_recorded({kLost}, {In(proto::JOB_STATE_WAITING_FOR_SLOTS)});
  EXPECT_THAT(not_recorded.Stop().status().ToString(),
              AllOf(HasSubstr("the stop of job aa11 was not recorded"), HasSubstr("ask again")));
  ScriptedJobManager failed({kLost}, {In(proto::JOB_STATE_FAILED)});
  EXPECT_THAT(failed.Stop().status().ToString(),
              HasSubstr("without the savepoint of a stop: it is FAILED"));
}

TEST(SavepointCalls, AJobManagerThatStaysAwayIsWaitedForInBoundedTime) {
  ScriptedJobManager jm({}, {});
  jm.client->OnSilence(
      [&](const std::string& line) { jm.said += line; },
      {.interval = milliseconds(10), .patience = milliseconds(100), .limit = milliseconds(1'000)});
  jm.Shutdown();
  const absl::Status away = jm.Stop().status();
  EXPECT_TRUE(absl::IsUnavailable(away)) << away;
  EXPECT_THAT(away.ToString(),
              AllOf(HasSubstr("no JobManager has answered at 127.0.0.1:"),
                    HasSubstr("whether the stop of job aa11 was recorded"),
                    HasSubstr("`weir describe aa11`"), Not(HasSubstr("Start a cluster"))));
  EXPECT_THAT(jm.said, HasSubstr("waiting for it, 1 s at most"));
  proto::TriggerSavepointRequest request;
  request.set_job_id("aa11");
  EXPECT_THAT(jm.calls->Take(request).status().ToString(), HasSubstr("ask again"));
}

TEST(SavepointCalls, ASavepointThatWasLostIsTakenAnew) {
  ScriptedJobManager jm({kLost},
                        {In(proto::JOB_STATE_WAITING_FOR_SLOTS), In(proto::JOB_STATE_RUNNING)});
  proto::TriggerSavepointRequest request;
  request.set_job_id("aa11");
  const auto taken = jm.calls->Take(request);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->savepoint_path(), "/sp/savepoint-9");
  EXPECT_EQ(jm.asked, 2);
  ScriptedJobManager ended({kLost}, {In(proto::JOB_STATE_FAILED)});
  EXPECT_THAT(ended.calls->Take(request).status().ToString(), HasSubstr("the job is FAILED"));
}

}  // namespace
}  // namespace weir::cli
