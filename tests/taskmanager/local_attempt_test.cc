#include "taskmanager/local_attempt.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

/// An attempt of one subtask, whose library cannot be fetched once `fetch` says so.
class LocalAttemptTest : public ::testing::Test {
 protected:
  LocalAttemptTest() : artifacts_(directory_ / "artifacts") {
    proto::DeployJob deploy;
    deploy.mutable_attempt()->set_job_id("job");
    deploy.mutable_attempt()->set_attempt(1);
    deploy.set_artifact_hash(std::string(64, 'a'));
    deploy.add_placements()->mutable_subtask()->set_index(0);
    AttemptEnvironment env;
    env.loop = &loop_;
    env.io = &io_;
    env.artifacts = &artifacts_;
    env.directory = directory_.path();
    env.fetch_artifact = [this](const std::string&, const std::string&, const std::atomic<bool>&) {
      fetch_.get_future().wait();
      return absl::NotFoundError("no such library");
    };
    env.send = [this](proto::ToJobManager message) {
      if (!message.has_task_state_changed() || !message.task_state_changed().has_failure()) return;
      told_.push_back(message.task_state_changed().failure());
    };
    attempt_ = std::make_unique<LocalAttempt>(std::move(env), std::move(deploy), 1, [] {});
  }
  ~LocalAttemptTest() override { loop_.Stop(); }

  void OnLoop(const std::function<void()>& what) {
    std::promise<void> done;
    loop_.Post([&] {
      what();
      done.set_value();
    });
    done.get_future().wait();
  }
  /// What was prepared has come back to the loop when this returns.
  void FailPreparation() {
    fetch_.set_value();
    std::promise<void> done;
    io_.Post([&] { done.set_value(); });
    done.get_future().wait();
    OnLoop([] {});
  }

  TemporaryDirectory directory_;
  Artifacts artifacts_;
  std::promise<void> fetch_;
  std::vector<proto::Failure> told_;  // loop
  std::unique_ptr<LocalAttempt> attempt_;
  ControlLoop loop_{"loop", Clock::System()};
  IoThread io_{"io"};
};

TEST_F(LocalAttemptTest, ACauseIsToldAfterAnEcho) {
  OnLoop([this] {
    attempt_->Start();
    attempt_->PeerFailed("the data stream to b ended");
    attempt_->PeerFailed("the data stream to c ended");
  });
  FailPreparation();
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_TRUE(told_[0].secondary());
  EXPECT_EQ(told_[0].message(), "the data stream to b ended");
  EXPECT_FALSE(told_[1].secondary());
  EXPECT_NE(told_[1].message().find("no such library"), std::string::npos) << told_[1].message();
}

TEST_F(LocalAttemptTest, AnEchoIsNotToldAfterACause) {
  OnLoop([this] { attempt_->Start(); });
  FailPreparation();
  OnLoop([this] { attempt_->PeerFailed("the data stream to b ended"); });
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_FALSE(told_[0].secondary());
}

}  // namespace
}  // namespace weir
