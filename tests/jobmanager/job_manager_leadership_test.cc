#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "ha/leader_election.h"
#include "tests/jobmanager/job_manager_fixture.h"

// A JobManager whose lease has run out stops acting, before anybody has told it so.

namespace weir::jobmanager {
namespace {

/// Elects at once; its lease runs out when the test says so, and the listener is not told.
class Lease final : public LeaderElection {
 public:
  explicit Lease(uint64_t epoch) : epoch_(epoch) {}

  absl::Status Start(const std::string&, LeaderElectionListener* listener) override {
    listener->OnElected(epoch_);
    return absl::OkStatus();
  }
  void Stop() override {}
  bool MayAct() const override { return !expired_; }
  absl::StatusOr<std::optional<LeaderInfo>> CurrentLeader() override {
    return std::optional<LeaderInfo>();
  }

  void Expire() { expired_ = true; }

 private:
  const LeaderEpoch epoch_;
  std::atomic<bool> expired_{false};
};

class JobManagerLeadershipTest : public JobManagerTest {
 protected:
  /// The former one stops first, as one that has noticed does.
  Lease* StartLeader(uint64_t epoch) {
    manager_->Stop();
    manager_.reset();
    auto lease = std::make_unique<Lease>(epoch);
    Lease* const held = lease.get();
    StartJobManager(std::move(lease));
    return held;
  }
  void WaitUntilFenced() {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!manager_->fenced() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    ASSERT_TRUE(manager_->fenced());
  }
};

TEST_F(JobManagerLeadershipTest, CompletesNoCheckpoint) {
  Lease* const lease = StartLeader(2);
  auto tm = TaskManager({.before = [&](const proto::ToTaskManager& message) {
    if (message.has_trigger_checkpoint()) lease->Expire();  // and then acknowledges
  }});
  const std::string job = MustSubmit();
  WaitUntilFenced();
  EXPECT_EQ(StatusOf(job).last_checkpoint_id(), 0u);
  StartLeader(3);
  for (const auto& m : tm->messages()) EXPECT_FALSE(m.has_checkpoint_completed());
  tm->BreakStream();
  auto again = TaskManager({.incarnation = 2});
  EXPECT_FALSE(again->AwaitDeploy(2).has_restore()) << "there is a checkpoint";
}

TEST_F(JobManagerLeadershipTest, NeitherDeploysNorStoresNorCancels) {
  Lease* const lease = StartLeader(2);
  auto tm = TaskManager();
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);
  const std::string job = MustSubmit(graph);
  WaitForState(job, proto::JOB_STATE_RUNNING);
  lease->Expire();
  tm->FailSubtask(0, 0, "its attempt would be ended and followed by another");
  proto::SubmitJobReply reply;
  EXPECT_FALSE(Submit(Header(), &reply).ok());
  WaitUntilFenced();
  EXPECT_EQ(JobFolders(), 1u);
  StartLeader(3);
  for (const auto& m : tm->messages()) {
    EXPECT_FALSE(m.has_cancel_job());
    EXPECT_FALSE(m.has_deploy_job() && m.deploy_job().attempt().attempt() > 1);
  }
  EXPECT_EQ(Cluster().jobs_total(), 1u);
  tm->BreakStream();
  auto again = TaskManager({.incarnation = 2});
  again->AwaitDeploy(2);  // the number is not used up
}

}  // namespace
}  // namespace weir::jobmanager
