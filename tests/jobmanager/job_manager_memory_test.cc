#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/failpoint.h"
#include "tests/jobmanager/job_manager_fixture.h"

namespace weir::jobmanager {
namespace {

/// What a JobManager knew of a job, the next one knows.
class JobManagerMemoryTest : public JobManagerTest {
 protected:
  void TearDown() override {
    // An assertion may have left the test before it took them away, and nothing ends behind "hold".
    for (const char* failpoint :
         {"jobmanager.before_commit", "jobmanager.after_commit", "jobmanager.after_end"}) {
      SetFailpoint(failpoint, "");
    }
    tm_.reset();
    JobManagerTest::TearDown();
  }
  /// Of a job that restarts so often, each time after this pause.
  static proto::JobGraph FixedDelay(uint32_t attempts, uint64_t delay_ms) {
    proto::JobGraph graph = Graph();
    proto::RestartSettings* restart = graph.mutable_settings()->mutable_restart();
    restart->set_kind(proto::RESTART_STRATEGY_FIXED_DELAY);
    restart->set_attempts(attempts);
    restart->set_delay_ms(delay_ms);
    graph.mutable_settings()->mutable_checkpoint()->set_tolerable_failures(1'000);
    return graph;
  }
  void StartTaskManager(uint64_t incarnation = 1) {
    tm_ = TaskManager({.incarnation = incarnation});
  }
  /// Dies and comes back, its TaskManager with it.
  void RestartAll() {
    manager_->Stop();
    manager_.reset();
    tm_->BreakStream();
    StartJobManager();
    StartTaskManager(++incarnation_);
  }
  void Runs(const std::string& job, uint32_t attempt) {
    tm_->AwaitDeploy(attempt);
    WaitForState(job, proto::JOB_STATE_RUNNING);
  }
  template <class C>
  static void Until(C condition) {
    const auto limit = std::chrono::steady_clock::now() + seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    EXPECT_TRUE(condition());
  }
  /// And all that follow, until the failpoint is taken away. What follows the one before it is done
  /// then, its note too.
  void FailACommit(const std::string& job) {
    SetFailpoint("jobmanager.before_commit", "error");
    Until([&] { return Details(job).checkpoints_failed() > 0; });
  }
  void Fail() { tm_->FailSubtask(0, 0, "no luck"); }

  std::unique_ptr<FakeTaskManager> tm_;
  uint64_t incarnation_ = 1;
};

TEST_F(JobManagerMemoryTest, AttemptsOfAFixedDelayAreUsedUpAcrossJobManagers) {
  StartTaskManager();
  const std::string job = MustSubmit(FixedDelay(2, 1));
  Runs(job, 1);
  Fail();
  Runs(job, 2);
  RestartAll();
  Runs(job, 3);
  Fail();
  Runs(job, 4);
  EXPECT_EQ(StatusOf(job).restarts(), 3u) << "two, and going on under the new JobManager";
  RestartAll();
  Runs(job, 5);
  Fail();
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_FAILED);
  EXPECT_NE(ended.reason().find("all 2 restarts are used up"), std::string::npos) << ended.reason();
}

TEST_F(JobManagerMemoryTest, ARestartThatWasDecidedOnIsOneThoughTheJobManagerDiesBeforeIt) {
  StartTaskManager();
  const std::string job = MustSubmit(FixedDelay(1, 3'600'000));
  Runs(job, 1);
  Fail();
  WaitFor(job, "the pause before the restart",
          [](const proto::JobStatus& s) { return s.restart_at_ms() != 0; });
  Until([&] { return Record(job).restart_memory().restarts() == 1; });
  RestartAll();
  Runs(job, 2);
  EXPECT_EQ(StatusOf(job).restarts(), 1u) << "the one that was decided on, begun by the new one";
  Fail();
  WaitForState(job, proto::JOB_STATE_FAILED);
}

TEST_F(JobManagerMemoryTest, CountsGoOn) {
  StartTaskManager();
  const std::string job = MustSubmit(FixedDelay(5, 1));
  Runs(job, 1);
  Fail();
  Runs(job, 2);
  WaitFor(job, "some checkpoints",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 10; });
  FailACommit(job);
  SetFailpoint("jobmanager.before_commit", "");
  const uint64_t before = Details(job).status().last_checkpoint_id();
  // What has failed goes into the record with the next that is complete, and that is stored before
  // the one behind it is. The failed one may be the first above `before`.
  WaitFor(job, "two more",
          [&](const proto::JobStatus& s) { return s.last_checkpoint_id() >= before + 3; });
  const proto::JobDetails first = Details(job);
  RestartAll();
  const proto::JobDetails second = Details(job);
  EXPECT_GE(second.checkpoints_completed() + 1, first.checkpoints_completed());
  EXPECT_EQ(second.checkpoints_failed(), first.checkpoints_failed());
  Runs(job, 3);
  tm_->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  const proto::JobDetails ended = Details(job);
  EXPECT_GT(ended.checkpoints_completed(), second.checkpoints_completed());
  RestartAll();
  EXPECT_EQ(Details(job).checkpoints_completed(), ended.checkpoints_completed());
  EXPECT_EQ(Details(job).checkpoints_failed(), ended.checkpoints_failed());
}

TEST_F(JobManagerMemoryTest, WhenAJobEndedStays) {
  StartTaskManager();
  const std::string job = MustSubmit();
  Runs(job, 1);
  SetFailpoint("jobmanager.after_end", "sleep:100");  // a slow store
  ASSERT_TRUE(Cancel(job).ok());
  const proto::JobStatus ended = WaitForState(job, proto::JOB_STATE_CANCELED);
  SetFailpoint("jobmanager.after_end", "");
  RestartAll();
  const proto::JobStatus now = StatusOf(job);
  EXPECT_EQ(now.ended_ms(), ended.ended_ms());
  EXPECT_EQ(now.changed_ms(), ended.changed_ms());
  EXPECT_EQ(now.created_ms(), ended.created_ms());
}

/// The slot of the newest manifest, or of its note, in a folder of a job's checkpoints.
std::string Highest(const std::string& folder) {
  std::string highest;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    highest = std::max(highest, file.path().filename().string());
  }
  return highest;
}

// Its loss could not be told otherwise, and an older one would be taken for it.
TEST_F(JobManagerMemoryTest, TheNewestCheckpointIsNotedThoughTheJobEndsBesideItsCommit) {
  StartTaskManager();
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_restart()->set_kind(proto::RESTART_STRATEGY_NONE);
  graph.mutable_settings()->mutable_checkpoint()->set_tolerable_failures(1'000);
  const std::string job = MustSubmit(graph);
  WaitFor(job, "some checkpoints",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
  const std::string folder = Details(job).checkpoint_directory();
  FailACommit(job);
  SetFailpoint("jobmanager.after_commit", "hold");
  SetFailpoint("jobmanager.before_commit", "");
  Until([&] { return Highest(folder + "/log") != Highest(folder + "/newest"); });
  Fail();
  WaitForState(job, proto::JOB_STATE_RESTARTING);
  SetFailpoint("jobmanager.after_commit", "");
  WaitForState(job, proto::JOB_STATE_FAILED);
  EXPECT_EQ(Highest(folder + "/newest"), Highest(folder + "/log"));
}

}  // namespace
}  // namespace weir::jobmanager
