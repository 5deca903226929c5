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

#include "cli/follow_job.h"

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
/// once they are used up), and how the job is by `states`, of which the last one stays. Behind each
/// call that is lost another one leads.
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
  absl::StatusOr<proto::SavepointReply> Take() const {
    proto::TriggerSavepointRequest request;
    request.set_job_id("aa11");
    return calls->Take(request);
  }
  void GiveUpSoon() {
    client->OnSilence([this](const std::string& line) { said += line; },
                      {.interval = milliseconds(10),
                       .patience = milliseconds(100),
                       .limit = milliseconds(1'000)});
  }

  size_t looks() const { return at_; }  // at the job

  std::atomic<int> asked = 0;
  std::atomic<bool> leads_on = false;  // whatever call is lost
  std::atomic<size_t> leaves_at = -1;  // after so many looks at the job
  std::atomic<bool> comes_back = false;
  std::atomic<int> leaves = 0;       // again, when it has come back
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
    if (answer.error_code() == grpc::StatusCode::UNAVAILABLE && !leads_on) ++epoch_;
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
  grpc::Status ClusterStatus(grpc::ServerContext*, const proto::ClusterStatusRequest*,
                             proto::ClusterStatusReply* reply) override {
    if (away_ && !comes_back) return kLost;
    if (away_.exchange(false)) {
      if (leaves-- == 0) leaves_at = -1;
      if (!leads_on) ++epoch_;
    }
    reply->set_leader_epoch(epoch_);
    return grpc::Status::OK;
  }
  grpc::Status WaitJob(grpc::ServerContext*, const proto::WaitJobRequest*,
                       proto::JobStatus* reply) override {
    if (at_ == leaves_at) {
      away_ = true;
      return kLost;
    }
    *reply = states_[std::min(at_, states_.size() - 1)];
    reply->set_version(++at_);
    return grpc::Status::OK;
  }

  std::deque<grpc::Status> answers_;
  const std::vector<proto::JobStatus> states_;
  size_t at_ = 0;
  std::atomic<uint64_t> epoch_ = 4;
  std::atomic<bool> away_ = false;
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

TEST(SavepointCalls, WhatAServerCancelsAsItShutsDownIsLost) {
  ScriptedJobManager jm({{grpc::StatusCode::CANCELLED, "CANCELLED"}},
                        {Stopping(proto::JOB_STATE_STOPPING), Stopping(proto::JOB_STATE_FINISHED)});
  const auto stopped = jm.Stop();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-7");
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
                        {Stopping(proto::JOB_STATE_STOPPING), In(proto::JOB_STATE_RESTARTING),
                         In(proto::JOB_STATE_RUNNING)});
  EXPECT_THAT(jm.Stop().status().ToString(), HasSubstr("the disk is full"));
  EXPECT_EQ(jm.asked, 2);
  EXPECT_EQ(jm.looks(), 3) << "not before the job runs";
}

TEST(SavepointCalls, AStopThatIsFoundTakesAsLongAsItTakes) {
  for (const grpc::Status& answer : {kLost, kRefused}) {
    ScriptedJobManager jm(
        {answer}, {Stopping(proto::JOB_STATE_WAITING_FOR_SLOTS),
                   Stopping(proto::JOB_STATE_STOPPING), Stopping(proto::JOB_STATE_FINISHED)});
    jm.calls->patience = milliseconds(0);
    const auto stopped = jm.Stop();
    ASSERT_TRUE(stopped.ok()) << stopped.status();
    EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-7");
  }
}

TEST(SavepointCalls, PatienceCountsFromWhenTheJobManagerAnswers) {
  ScriptedJobManager jm({kLost},
                        {In(proto::JOB_STATE_WAITING_FOR_SLOTS), In(proto::JOB_STATE_RUNNING),
                         Stopping(proto::JOB_STATE_FINISHED)});
  jm.leaves_at = 0;
  jm.comes_back = true;
  const auto stopped = jm.Stop();
  EXPECT_TRUE(stopped.ok()) << stopped.status();
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

TEST(SavepointCalls, OneJobManagerAfterAnotherIsWaitedForInBoundedTime) {
  ScriptedJobManager jm({kLost}, {Stopping(proto::JOB_STATE_WAITING_FOR_SLOTS)});
  jm.comes_back = true;
  jm.leaves = 10;
  jm.leaves_at = 1;
  const absl::Status outcome = jm.Stop().status();
  EXPECT_TRUE(absl::IsAborted(outcome)) << outcome;
  EXPECT_THAT(outcome.ToString(), AllOf(HasSubstr("lost 4 times"), HasSubstr("may be recorded")));
}

TEST(SavepointCalls, OneThatLeadsOnIsFollowedHoweverOftenTheConnectionIsLost) {
  ScriptedJobManager jm({kLost},
                        {Stopping(proto::JOB_STATE_STOPPING), Stopping(proto::JOB_STATE_FINISHED)});
  jm.leads_on = true;
  jm.comes_back = true;
  jm.leaves = kLostAtMost + 1;
  jm.leaves_at = 1;
  const auto stopped = jm.Stop();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->savepoint.savepoint_path(), "/sp/savepoint-7");
}

TEST(SavepointCalls, WhoGivesUpSaysWhatIsKnownOfTheStop) {
  // The job's next attempt tells whether it was decided.
  ScriptedJobManager noted({kLost}, {Stopping(proto::JOB_STATE_WAITING_FOR_SLOTS)});
  noted.GiveUpSoon();
  noted.leaves_at = 1;
  EXPECT_THAT(noted.Stop().status().ToString(),
              AllOf(HasSubstr("the stop of job aa11 may be recorded: if so it goes on by itself"),
                    HasSubstr("`weir describe aa11`")));
  ScriptedJobManager decided({}, {Stopping(proto::JOB_STATE_STOPPING)});
  decided.GiveUpSoon();
  decided.leaves_at = 1;
  EXPECT_THAT(decided.Stop().status().ToString(),
              HasSubstr("is decided, with the savepoint /sp/savepoint-9, and goes on by itself"));
  ScriptedJobManager none({kLost}, {In(proto::JOB_STATE_WAITING_FOR_SLOTS)});
  EXPECT_THAT(
      none.Stop().status().ToString(),
      AllOf(HasSubstr("no stop of job aa11 is under way"),
            HasSubstr("did not run again: it is WAITING_FOR_SLOTS"), HasSubstr("ask again")));
  ScriptedJobManager failed({kLost}, {In(proto::JOB_STATE_FAILED)});
  EXPECT_THAT(failed.Stop().status().ToString(),
              HasSubstr("without the savepoint of a stop: it is FAILED"));
}

TEST(SavepointCalls, AJobManagerThatStaysAwayIsWaitedForInBoundedTime) {
  ScriptedJobManager jm({}, {});
  jm.GiveUpSoon();
  jm.Shutdown();
  const absl::Status away = jm.Stop().status();
  EXPECT_TRUE(absl::IsUnavailable(away)) << away;
  EXPECT_THAT(away.ToString(),
              AllOf(HasSubstr("no JobManager has answered at 127.0.0.1:"),
                    HasSubstr("the stop of job aa11 may be recorded"),
                    HasSubstr("`weir describe aa11`"), Not(HasSubstr("Start a cluster"))));
  EXPECT_THAT(jm.said, HasSubstr("waiting for it, 1 s at most"));
  EXPECT_THAT(jm.Take().status().ToString(), HasSubstr("ask again"));
}

TEST(SavepointCalls, ASavepointThatWasLostIsTakenAnew) {
  ScriptedJobManager jm({kLost},
                        {In(proto::JOB_STATE_WAITING_FOR_SLOTS), In(proto::JOB_STATE_RUNNING)});
  const auto taken = jm.Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->savepoint_path(), "/sp/savepoint-9");
  EXPECT_EQ(jm.asked, 2);
  ScriptedJobManager ended({kLost}, {In(proto::JOB_STATE_FAILED)});
  EXPECT_THAT(ended.Take().status().ToString(), HasSubstr("the job is FAILED"));
}

TEST(SavepointCalls, OfAJobManagerThatLeadsOnASavepointIsAskedForOnce) {
  for (const proto::JobState state : {proto::JOB_STATE_RUNNING, proto::JOB_STATE_RESTARTING}) {
    ScriptedJobManager jm({kLost}, {In(state)});
    jm.leads_on = true;
    const absl::Status cut_off = jm.Take().status();
    EXPECT_TRUE(absl::IsAborted(cut_off)) << "a JobManager answers";
    EXPECT_THAT(cut_off.ToString(),
                AllOf(HasSubstr("Socket closed"),
                      HasSubstr("the savepoint of job aa11 may still be under way"),
                      HasSubstr("`weir describe aa11`")));
    EXPECT_EQ(jm.asked, 1);
  }
}

TEST(SavepointCalls, OfAJobManagerThatLeadsOnAStopIsAskedForOnce) {
  ScriptedJobManager found(
      {kLost}, {Stopping(proto::JOB_STATE_STOPPING), Stopping(proto::JOB_STATE_FINISHED)});
  found.leads_on = true;
  EXPECT_TRUE(found.Stop().ok()) << "it goes on without the connection";
  EXPECT_EQ(found.asked, 1);
  for (const bool seen : {false, true}) {
    ScriptedJobManager jm(
        {kLost}, {seen ? Stopping(proto::JOB_STATE_STOPPING) : In(proto::JOB_STATE_RUNNING),
                  In(proto::JOB_STATE_RUNNING)});
    jm.leads_on = true;
    const absl::Status cut_off = jm.Stop().status();
    EXPECT_TRUE(absl::IsAborted(cut_off)) << "a JobManager answers";
    EXPECT_THAT(cut_off.ToString(),
                AllOf(HasSubstr("Socket closed"),
                      HasSubstr(seen ? "the stop of job aa11 that was under way has failed"
                                     : "no stop of job aa11 has begun; one may begin yet: `weir "
                                       "describe aa11`")));
    EXPECT_EQ(jm.asked, 1);
  }
}

TEST(SavepointCalls, WhatEachJobManagerDiesOfIsAskedForThreeTimes) {
  for (const bool stop : {false, true}) {
    ScriptedJobManager jm({kLost, kLost, kLost}, {In(proto::JOB_STATE_RUNNING)});
    const absl::Status outcome = stop ? jm.Stop().status() : jm.Take().status();
    EXPECT_TRUE(absl::IsAborted(outcome)) << "a JobManager answers";
    EXPECT_THAT(outcome.ToString(),
                AllOf(HasSubstr(stop ? "the stop of job aa11" : "the savepoint of job aa11"),
                      HasSubstr("3 times"), HasSubstr("log")));
    EXPECT_EQ(jm.asked, 3);
  }
}

}  // namespace
}  // namespace weir::cli
