#include "cli/job_client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A JobManager of which a cancel is not done in time; the client would find that out by itself,
/// ten seconds later.
class SlowJobManager final : public proto::JobService::Service {
 public:
  SlowJobManager() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~SlowJobManager() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  std::atomic<bool> answers{true};

 private:
  grpc::Status CancelJob(grpc::ServerContext*, const proto::CancelJobRequest*,
                         proto::CancelJobReply*) override {
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"};
  }
  grpc::Status ClusterStatus(grpc::ServerContext* context, const proto::ClusterStatusRequest*,
                             proto::ClusterStatusReply*) override {
    while (!answers && !context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// Whoever is told that it hangs kills it, and with it what every other job is about to store.
TEST(JobClient, AJobManagerThatAnswersAndIsLateIsNotTakenForOneThatHangs) {
  SlowJobManager job_manager;
  const absl::Status late = JobClient(job_manager.address()).Cancel("orders");
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_THAT(late.ToString(), HasSubstr("answers, but has not done this within "));
  EXPECT_THAT(late.ToString(), HasSubstr("weir logs"));
  EXPECT_THAT(late.ToString(), Not(HasSubstr("kill")));
}

TEST(JobClient, OneThatListensAndDoesNotAnswerIsToldAsSuch) {
  SlowJobManager job_manager;
  job_manager.answers = false;
  const absl::Status hangs = JobClient(job_manager.address()).Cancel("orders");
  EXPECT_TRUE(absl::IsDeadlineExceeded(hangs)) << hangs;
  EXPECT_THAT(hangs.ToString(), HasSubstr("something listens at " + job_manager.address()));
  EXPECT_THAT(hangs.ToString(), HasSubstr("kill -CONT PID"));
}

}  // namespace
}  // namespace weir::cli
