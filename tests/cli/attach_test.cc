#include "cli/attach.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <sstream>

#include "proto/client.grpc.pb.h"
#include "proto/worker.grpc.pb.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A JobManager and a TaskManager in one: a job with one print sink, whose end the test decides.
class FakeCluster final : public proto::JobService::Service, public proto::WorkerService::Service {
 public:
  FakeCluster() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<proto::JobService::Service*>(this));
    builder.RegisterService(static_cast<proto::WorkerService::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~FakeCluster() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  /// How the job ends once everything printed was read, or once it is cancelled.
  proto::JobState end = proto::JOB_STATE_FINISHED;
  std::vector<std::string> lines;
  bool runs_until_canceled = false;
  std::vector<proto::FailureDetails> failures;  // newest first
  std::atomic<int> describes{0};

 private:
  proto::JobStatus Status() {
    proto::JobStatus status;
    status.set_job_id("aa11");
    status.set_name("orders");
    const bool over = runs_until_canceled ? canceled_.load() : read_.load();
    status.set_state(over ? end : proto::JOB_STATE_RUNNING);
    status.set_version(over ? 2 : 1);
    status.set_created_ms(1000);
    if (over) status.set_ended_ms(2500);
    if (end == proto::JOB_STATE_FAILED) {
      status.mutable_failure()->set_operator_name("map");
      status.mutable_failure()->set_message("division by zero");
    }
    return status;
  }

  grpc::Status WaitJob(grpc::ServerContext*, const proto::WaitJobRequest*,
                       proto::JobStatus* reply) override {
    *reply = Status();
    return grpc::Status::OK;
  }
  grpc::Status DescribeJob(grpc::ServerContext*, const proto::DescribeJobRequest*,
                           proto::JobDetails* reply) override {
    *reply->mutable_status() = Status();
    proto::PrintEndpoint* endpoint = reply->add_print_endpoints();
    endpoint->set_operator_uid("printed");
    endpoint->set_rpc_address(address());
    endpoint->set_attempt(1);
    for (const proto::FailureDetails& failure : failures) *reply->add_failures() = failure;
    ++describes;
    return grpc::Status::OK;
  }
  grpc::Status CancelJob(grpc::ServerContext*, const proto::CancelJobRequest*,
                         proto::CancelJobReply*) override {
    end = proto::JOB_STATE_CANCELED;
    canceled_ = true;
    return grpc::Status::OK;
  }
  grpc::Status ReadPrinted(grpc::ServerContext*, const proto::ReadPrintedRequest* request,
                           proto::ReadPrintedReply* reply) override {
    // Two at a time, so that the reader has to come again.
    uint64_t next = request->from_sequence();
    reply->set_first_sequence(next);
    for (int i = 0; i < 2 && next < lines.size(); ++i) reply->add_lines(lines[next++]);
    reply->set_next_sequence(next);
    if (next == lines.size()) read_ = true;
    return grpc::Status::OK;
  }

  std::atomic<bool> read_{false};
  std::atomic<bool> canceled_{false};
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

struct Result {
  int code;
  std::string out;
  std::string err;
};

class AttachTest : public testing::Test {
 protected:
  AttachTest() { BlockTerminalSignals(); }

  Result RunAttach(bool json = false, LetGo let_go = LetGo::kRunsOn) {
    std::ostringstream out, err;
    Context context{.json = json, .out = &out, .err = &err};
    JobClient client(cluster_.address());
    const int code = Attach(context, client, "aa11", let_go);
    return {code, out.str(), err.str()};
  }

  FakeCluster cluster_;
};

TEST_F(AttachTest, ShowsEveryPrintedLineOnceAndInOrder) {
  cluster_.lines = {"a", "b", "c", "d", "e"};
  const Result result = RunAttach();
  EXPECT_EQ(result.code, kDone);
  EXPECT_EQ(result.out, "a\nb\nc\nd\ne\n");
  EXPECT_THAT(result.err, HasSubstr("Job aa11 (orders) is FINISHED after 1.5 s"));
}

TEST_F(AttachTest, JsonIsOneValueALineAndNothingElse) {
  cluster_.lines = {"a"};
  const Result result = RunAttach(true);
  EXPECT_EQ(result.err, "");
  std::istringstream lines(result.out);
  int printed = 0, states = 0;
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    const auto json = Json::parse(line);
    printed += json.contains("printed") ? 1 : 0;
    states += json.contains("state") ? 1 : 0;
    last = json.value("state", "");
  }
  EXPECT_EQ(printed, 1);
  EXPECT_EQ(states, 2) << "running, finished";
  EXPECT_EQ(last, "FINISHED") << "the end comes after the last printed line";
}

TEST_F(AttachTest, AFailureNamesOperatorAndReason) {
  cluster_.end = proto::JOB_STATE_FAILED;
  const Result result = RunAttach();
  EXPECT_EQ(result.code, kFailed);
  EXPECT_THAT(result.err, HasSubstr("map: division by zero"));
  EXPECT_THAT(result.err, HasSubstr("weir describe aa11"));
}

TEST_F(AttachTest, AFinishedJobWarnsOfWhatFailedAfterItsEndAndOfNothingElse) {
  proto::FailureDetails restarted, close;
  restarted.mutable_failure()->set_message("a broker was away");
  close.set_after_end(true);
  close.set_attempt(1);  // of a region; another one's attempt is newer
  close.mutable_failure()->set_operator_name("map");
  close.mutable_failure()->set_message("close threw");
  proto::FailureDetails sink = close;
  sink.mutable_failure()->set_operator_name("sink");
  cluster_.failures = {restarted, sink, close, close};  // newest first; two subtasks say the same
  const Result result = RunAttach();
  EXPECT_EQ(result.code, kDone);
  EXPECT_THAT(result.err, HasSubstr("Warning: map: close threw\nWarning: sink: close threw\n"));
  EXPECT_EQ(result.err.find("map: close"), result.err.rfind("map: close"));
  EXPECT_THAT(result.err, Not(HasSubstr("a broker was away")));
}

TEST_F(AttachTest, CtrlCCancelsTheJobAndSaysSo) {
  cluster_.runs_until_canceled = true;
  raise(SIGINT);  // blocked: it waits for Attach
  const Result result = RunAttach();
  EXPECT_EQ(result.code, kCanceled);
  EXPECT_THAT(result.err, HasSubstr("Ctrl-C cancels the job"));
  EXPECT_THAT(result.err, HasSubstr("Cancelling job aa11"));
  EXPECT_THAT(result.err, HasSubstr("CANCELED"));
}

TEST_F(AttachTest, ATerminalThatGoesAwayLeavesTheJobRunning) {
  cluster_.runs_until_canceled = true;
  raise(SIGHUP);
  const Result result = RunAttach();
  EXPECT_EQ(result.code, 129);
  EXPECT_NE(cluster_.end, proto::JOB_STATE_CANCELED);
  EXPECT_THAT(result.err, HasSubstr("Let go of job aa11"));
}

TEST_F(AttachTest, SigtermLeavesTheJobRunningAndIsNotTakenForItsEnd) {
  cluster_.runs_until_canceled = true;
  raise(SIGTERM);
  const Result result = RunAttach();
  EXPECT_EQ(result.code, 143);
  EXPECT_NE(cluster_.end, proto::JOB_STATE_CANCELED);
  EXPECT_THAT(result.err, HasSubstr("Let go of job aa11"));
}

TEST_F(AttachTest, NobodyIsSentToAJobThatEndsWithTheProcess) {
  cluster_.runs_until_canceled = true;
  raise(SIGTERM);
  const Result result = RunAttach(false, LetGo::kEnds);
  EXPECT_EQ(result.code, 143);
  EXPECT_THAT(result.err, HasSubstr("Job aa11 has ended with this process"));
  EXPECT_THAT(result.err, Not(HasSubstr("describe")));
}

}  // namespace
}  // namespace weir::cli
