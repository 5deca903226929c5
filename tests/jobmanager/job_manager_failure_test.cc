#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "base/failpoint.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/directory_storage.h"
#include "tests/jobmanager/job_manager_fixture.h"
#include "tests/state/checkpoint/manifests.h"

// TaskManagers, JobManagers and storages that fail, and how jobs go on.

namespace weir::jobmanager {
namespace {

TEST_F(JobManagerTest, ALostTaskManagerRestartsTheJobFromItsNewestCheckpoint) {
  auto a = TaskManager({.id = "a", .slots = 1});
  auto b = TaskManager({.id = "b", .slots = 1});
  const std::string job = MustSubmit(Graph(2));
  WaitForCheckpoint(job);
  b->BreakStream();
  a->Await("the end of attempt 1", [](const proto::ToTaskManager& m) {
    return m.has_cancel_job() && m.cancel_job().attempt().attempt() == 1;
  });
  WaitFor(job, "it lacks a slot", [](const proto::JobStatus& s) {
    return s.reason().find("needs 2 slots, 1 is free") != std::string::npos;
  });
  EXPECT_EQ(Cluster().slots_wanted(), 1u);
  auto respawned = TaskManager({.id = "b", .incarnation = 2, .slots = 1});
  const proto::DeployJob deploy = respawned->AwaitDeploy(2);
  EXPECT_GT(deploy.restore().checkpoint_id(), 0u);
  EXPECT_TRUE(std::filesystem::exists(deploy.restore().directory() + "/" +
                                      deploy.restore().manifest_path()));
  WaitForState(job, proto::JOB_STATE_RUNNING);
  EXPECT_EQ(StatusOf(job).restarts(), 1u);
}

// A disk that has no room for a checkpoint beside those that failed would never have any.
TEST_F(JobManagerTest, WhatAFailedCheckpointLeftGoesBeforeTheNextAttempt) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  auto storage = DirectoryStorage::Open(Details(job).checkpoint_directory());
  ASSERT_TRUE(storage.ok()) << storage.status();
  const proto::StateHandle left = WriteData(**storage, 1'000'000, 1, "half a checkpoint");
  tm->FailSubtask(0, 0, "boom");
  tm->AwaitDeploy(2);
  EXPECT_TRUE(absl::IsNotFound((*storage)->Stat(left.file()).status()));
}

TEST_F(JobManagerTest, ASilentTaskManagerIsLostByTimeOut) {
  auto tm = TaskManager({.id = "silent", .slots = 1, .heartbeats = false, .release = false});
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);  // else its acks are heard
  const std::string job = MustSubmit(graph);
  tm->AwaitDeploy(1);
  EXPECT_TRUE(tm->WaitBroken());
  const proto::JobDetails details = Details(job);
  ASSERT_GT(details.failures_size(), 0);
  EXPECT_NE(details.failures(0).failure().message().find("no heartbeat"), std::string::npos);
}

TEST_F(JobManagerTest, AFailedSubtaskRestartsTheJobAndIsShown) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FailSubtask(0, 0, "broker 10.0.0.1 is gone");
  tm->AwaitDeploy(2);
  const proto::JobDetails details = Details(job);
  EXPECT_EQ(details.failures(0).failure().message(), "broker 10.0.0.1 is gone");
  EXPECT_EQ(details.failures(0).tm_id(), "tm-1");
}

/// Two pipelines side by side, each in slots of its own.
proto::JobGraph TwoPipelines() {
  proto::JobGraph graph = Graph();
  const proto::JobGraph one = graph;
  for (uint32_t i = 0; i < 2; ++i) {
    proto::Vertex* vertex = graph.add_vertices();
    *vertex = one.vertices(static_cast<int>(i));
    vertex->set_id(2 + i);
    vertex->set_uid("uid-" + std::to_string(2 + i));
    vertex->set_slot_sharing_group("other");
    vertex->mutable_operators(0)->set_id(2 + i);
    vertex->mutable_operators(0)->set_uid(vertex->uid());
  }
  proto::Edge* edge = graph.add_edges();
  *edge = one.edges(0);
  edge->set_id(1);
  edge->set_source_vertex(2);
  edge->set_target_vertex(3);
  edge->set_source_operator(2);
  return graph;
}

TEST_F(JobManagerTest, OnlyThePipelineThatFailedRestarts) {
  auto a = TaskManager({.id = "a", .slots = 1});
  auto b = TaskManager({.id = "b", .slots = 1});
  WaitForMembers(2);
  const std::string job = MustSubmit(TwoPipelines());
  EXPECT_EQ(a->AwaitDeploy(1).region(), 0u);
  EXPECT_EQ(b->AwaitDeploy(2).region(), 1u);
  WaitForCheckpoint(job);
  EXPECT_EQ(Details(job).slots(), 2u);
  EXPECT_EQ(Details(job).vertices(3).slot_sharing_group(), "other");
  b->FailSubtask(2, 0, "boom");
  const proto::DeployJob again = b->AwaitDeploy(3);
  EXPECT_EQ(again.region(), 1u);
  EXPECT_EQ(again.placements_size(), 2);
  EXPECT_GT(again.restore().checkpoint_id(), 0u);
  WaitForState(job, proto::JOB_STATE_RUNNING);
  const uint64_t before = StatusOf(job).last_checkpoint_id();
  WaitFor(job, "a checkpoint of both",
          [&](const proto::JobStatus& s) { return s.last_checkpoint_id() > before; });
  for (const auto& m : a->messages()) EXPECT_FALSE(m.has_cancel_job()) << "it runs on";
  const proto::JobDetails details = Details(job);
  for (const proto::VertexDetails& vertex : details.vertices()) {
    EXPECT_EQ(vertex.region(), vertex.id() / 2);
    EXPECT_EQ(vertex.subtasks(0).attempt(), vertex.region() == 0 ? 1u : 3u);
  }
  EXPECT_EQ(details.status().restarts(), 1u);
}

TEST_F(JobManagerTest, ARestartedJobManagerGoesOnUnderAHigherEpoch) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  const uint64_t epoch = Cluster().leader_epoch();
  const uint64_t checkpoint = StatusOf(job).last_checkpoint_id();
  WaitFor(job, "another checkpoint, so that this one is noted",
          [&](const proto::JobStatus& s) { return s.last_checkpoint_id() > checkpoint; });
  manager_->Stop();
  manager_.reset();
  EXPECT_TRUE(tm->WaitBroken());
  tm->BreakStream();
  for (const auto& m : tm->messages()) EXPECT_FALSE(m.has_cancel_job()) << "its tasks run on";

  StartJobManager();
  EXPECT_GT(Cluster().leader_epoch(), epoch);
  EXPECT_GE(StatusOf(job).last_checkpoint_id(), checkpoint) << "though it waits for a slot";
  proto::AttemptRef running;
  running.set_job_id(job);
  running.set_attempt(1);
  auto again = TaskManager({.epoch_seen = epoch, .running = {running}});
  const auto cancel = again->Await("the end of the old attempt", [](const proto::ToTaskManager& m) {
    return m.has_cancel_job();
  });
  EXPECT_EQ(cancel.cancel_job().attempt().attempt(), 1u);
  const proto::DeployJob deploy = again->AwaitDeploy(2);
  EXPECT_GE(deploy.restore().checkpoint_id(), checkpoint);
  WaitFor(job, "a checkpoint of the new leader", [&](const proto::JobStatus& s) {
    return s.last_checkpoint_id() > deploy.restore().checkpoint_id();
  });
}

TEST_F(JobManagerTest, RestartsAreCountedThroughARestartOfTheJobManager) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FailSubtask(0, 0, "no luck");
  tm->AwaitDeploy(2);
  WaitForState(job, proto::JOB_STATE_RUNNING);
  EXPECT_EQ(StatusOf(job).restarts(), 1u);
  manager_->Stop();
  manager_.reset();
  tm->BreakStream();

  StartJobManager();
  auto again = TaskManager({.incarnation = 2});
  again->AwaitDeploy(3);
  WaitForState(job, proto::JOB_STATE_RUNNING);
  EXPECT_EQ(StatusOf(job).restarts(), 2u) << "going on under the new JobManager is one";
  again->FailSubtask(0, 0, "no luck");
  again->AwaitDeploy(4);
  EXPECT_EQ(StatusOf(job).restarts(), 3u);
}

TEST_F(JobManagerTest, AnEndedJobIsRememberedByTheNextJobManager) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  tm->FinishSubtasks();
  const proto::JobStatus finished = WaitForState(job, proto::JOB_STATE_FINISHED);
  const std::string other = MustSubmit();
  WaitForCheckpoint(other);
  ASSERT_TRUE(Cancel(other).ok());
  const proto::JobStatus canceled = WaitForState(other, proto::JOB_STATE_CANCELED);
  manager_->Stop();
  manager_.reset();
  StartJobManager();
  EXPECT_EQ(Cluster().jobs_running(), 0u);
  for (const proto::JobStatus& ended : {finished, canceled}) {
    const proto::JobStatus now = StatusOf(ended.job_id());
    EXPECT_EQ(now.state(), ended.state());
    EXPECT_EQ(now.reason(), ended.reason());
    EXPECT_GT(now.last_checkpoint_id(), 0u);
    EXPECT_EQ(now.last_checkpoint_id(), ended.last_checkpoint_id());
  }
  EXPECT_EQ(canceled.reason(), "cancelled by the user");
}

/// Something happens to the newest manifest of a job while no JobManager runs. No older one is
/// taken: results after it have been published.
class NewestManifestTest : public JobManagerTest {
 protected:
  void TearDown() override {
    again_.reset();
    JobManagerTest::TearDown();
  }
  /// How the job ends. Its checkpoints' directory is checkpoints_ then.
  proto::JobStatus EndsAfter(void (*harm)(const std::filesystem::path& newest)) {
    auto tm = TaskManager();
    const std::string job = MustSubmit();
    WaitFor(job, "some checkpoints",
            [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
    // A commit begins when all that follows the one before it is done, its note too.
    SetFailpoint("jobmanager.before_commit", "error");
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (Details(job).checkpoints_failed() == 0 && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    manager_->Stop();
    manager_.reset();
    tm->BreakStream();
    SetFailpoint("jobmanager.before_commit", "");
    checkpoints_ = directory_ + "/checkpoints/" + job;
    for (const auto& file : std::filesystem::directory_iterator(checkpoints_ + "/log")) {
      newest_ = std::max(newest_, file.path());
    }
    harm(newest_);
    StartJobManager();
    again_ = TaskManager();
    return WaitForState(job, proto::JOB_STATE_FAILED);
  }

  std::string checkpoints_;
  std::filesystem::path newest_;
  std::unique_ptr<FakeTaskManager> again_;
};

TEST_F(NewestManifestTest, DamagedItIsNamedAndNoOlderOneIsTaken) {
  const proto::JobStatus ended = EndsAfter([](const std::filesystem::path& newest) {
    std::filesystem::resize_file(newest, std::filesystem::file_size(newest) - 1);
  });
  EXPECT_NE(ended.reason().find(newest_.filename().string()), std::string::npos) << ended.reason();
  EXPECT_EQ(Cluster().slots_free(), 2u);
}

TEST_F(NewestManifestTest, MissingItIsNotReplacedByAnOlderOne) {
  const proto::JobStatus ended =
      EndsAfter([](const std::filesystem::path& newest) { std::filesystem::remove(newest); });
  for (const std::string& part : {std::string("its manifest is missing"), checkpoints_}) {
    EXPECT_NE(ended.reason().find(part), std::string::npos) << ended.reason();
  }
}

TEST_F(JobManagerTest, ACommitThatFailsIsToleratedAndAnEndThatCannotBeStoredIsTriedAgain) {
  SetFailpoint("jobmanager.before_commit", "error:2");
  SetFailpoint("jobmanager.before_end", "error:1");
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitFor(job, "a checkpoint after the failed one",
          [](const proto::JobStatus& s) { return s.last_checkpoint_id() >= 3; });
  const proto::JobDetails details = Details(job);
  EXPECT_EQ(details.checkpoints_failed(), 1u);
  EXPECT_EQ(details.status().attempt(), 1u);
  for (const auto& m : tm->messages()) {
    EXPECT_FALSE(m.has_checkpoint_completed() && m.checkpoint_completed().checkpoint_id() == 2);
  }
  tm->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  SetFailpoint("jobmanager.before_commit", "");
  SetFailpoint("jobmanager.before_end", "");
}

// A job without checkpoints that fails because of its storage: that hangs still, and it has failed.
TEST_F(JobManagerTest, AFailedJobIsSeenToHaveFailedWhileItsStorageHangs) {
  proto::JobGraph takes_none = Graph();
  takes_none.mutable_settings()->mutable_checkpoint()->set_interval_ms(0);
  auto tm = TaskManager();
  const std::string job = MustSubmit(takes_none);
  WaitForState(job, proto::JOB_STATE_RUNNING);
  SetFailpoint("storage.delete", "hold");
  tm->FailSubtask(0, 0, "no answer from the storage");
  EXPECT_EQ(WaitForState(job, proto::JOB_STATE_FAILED).state(), proto::JOB_STATE_FAILED);
  EXPECT_EQ(JobFolders(), 1u);
  SetFailpoint("storage.delete", "");
  WaitForJobFolders(0);
}

// Nobody knows yet whether that checkpoint is durable, so the job ends when it has been found out.
TEST_F(JobManagerTest, ACancelAndARateAreTakenWhileTheStorageHangsInACommit) {
  auto tm = TaskManager();
  const std::string job = MustSubmit();
  WaitForState(job, proto::JOB_STATE_RUNNING);
  SetFailpoint("jobmanager.before_commit", "hold");
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto hangs = [&] {
    const proto::JobDetails details = Details(job);
    for (const proto::CheckpointDetails& checkpoint : details.checkpoints()) {
      if (checkpoint.status() == proto::CHECKPOINT_STATUS_COMMITTING) return true;
    }
    return false;
  };
  while (!hangs() && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(hangs());
  EXPECT_TRUE(SetRate(job, "uid-0", 100).ok());
  EXPECT_TRUE(Cancel(job).ok());
  EXPECT_EQ(WaitForState(job, proto::JOB_STATE_CANCELLING).state(), proto::JOB_STATE_CANCELLING);
  SetFailpoint("jobmanager.before_commit", "");
  WaitForState(job, proto::JOB_STATE_CANCELED);
}

// What it left is deleted by the next JobManager, once; what another job retains is not.
class LeftBehindTest : public JobManagerTest {
 protected:
  /// A job that has finished under a JobManager that has gone, and of which nothing was deleted.
  std::string Finished() {
    tm_ = TaskManager();
    const std::string job = MustSubmit();
    WaitForCheckpoint(job);
    SetFailpoint("storage.delete", "error");
    tm_->FinishSubtasks();
    WaitForState(job, proto::JOB_STATE_FINISHED);
    manager_->Stop();
    manager_.reset();
    tm_->BreakStream();
    SetFailpoint("storage.delete", "");
    EXPECT_TRUE(Record(job).discards_checkpoints());
    EXPECT_FALSE(Manifests(job).empty());
    return job;
  }
  /// Paths of the checkpoints' manifests.
  std::vector<std::string> Manifests(const std::string& job) const {
    const std::string folder = directory_ + "/checkpoints/" + job;
    const auto storage = DirectoryStorage::OpenExisting(folder);
    std::vector<std::string> paths;
    if (!storage.ok()) return paths;
    const absl::StatusOr<CheckpointLogContents> log = ReadCheckpointLog(**storage);
    for (const CheckpointLogEntry& entry : log->entries) {
      if (entry.entry.has_manifest()) paths.push_back(folder + "/" + entry.path);
    }
    return paths;
  }
  void WaitUntilDeleted(const std::string& job) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (Record(job).discards_checkpoints() && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_FALSE(Record(job).discards_checkpoints());
  }
  void TearDown() override {
    SetFailpoint("storage.delete", "");
    tm_.reset();
    JobManagerTest::TearDown();
  }

  std::unique_ptr<FakeTaskManager> tm_;
};

TEST_F(LeftBehindTest, TheNextJobManagerDeletesIt) {
  auto other = TaskManager({.id = "other"});
  const std::string retains = MustSubmit();
  WaitForCheckpoint(retains);
  ASSERT_TRUE(Cancel(retains).ok());
  WaitForState(retains, proto::JOB_STATE_CANCELED);
  other.reset();
  const std::string job = Finished();
  StartJobManager();
  WaitUntilDeleted(job);
  EXPECT_TRUE(Manifests(job).empty());
  EXPECT_FALSE(Manifests(retains).empty());
}

class DeletionRetryTest : public LeftBehindTest {
 protected:
  void SetUp() override {
    deletion_retry_ = milliseconds(50);
    LeftBehindTest::SetUp();
  }
};

TEST_F(DeletionRetryTest, TheSameJobManagerTriesAgain) {
  tm_ = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  SetFailpoint("storage.delete", "error");
  tm_->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  EXPECT_TRUE(Record(job).discards_checkpoints());
  SetFailpoint("storage.delete", "");
  WaitUntilDeleted(job);
  EXPECT_TRUE(Manifests(job).empty());
  WaitForJobFolders(0);
}

// The disk that they are on is not mounted: they come back with it.
TEST_F(DeletionRetryTest, WhatCannotBeSeenIsNotHeldForDeleted) {
  tm_ = TaskManager();
  const std::string job = MustSubmit();
  WaitForCheckpoint(job);
  SetFailpoint("storage.delete", "error");
  tm_->FinishSubtasks();
  WaitForState(job, proto::JOB_STATE_FINISHED);
  manager_->Stop();
  manager_.reset();
  tm_->BreakStream();
  SetFailpoint("storage.delete", "");
  std::filesystem::rename(directory_ + "/checkpoints", directory_ + "/unmounted");
  StartJobManager();
  Cluster();
  manager_->Stop();  // what was begun is done
  manager_.reset();
  EXPECT_TRUE(Record(job).discards_checkpoints());
  std::filesystem::remove_all(directory_ + "/checkpoints");
  std::filesystem::rename(directory_ + "/unmounted", directory_ + "/checkpoints");
  StartJobManager();
  WaitUntilDeleted(job);
  EXPECT_TRUE(Manifests(job).empty());
}

TEST_F(LeftBehindTest, HalfOfItMayBeGone) {
  const std::string job = Finished();
  std::filesystem::remove_all(directory_ + "/checkpoints/" + job + "/newest");
  for (const std::string& path : Manifests(job)) std::filesystem::remove(path);
  StartJobManager();
  WaitUntilDeleted(job);
}

TEST_F(LeftBehindTest, WhatIsPutThereLaterStays) {
  const std::string job = Finished();
  const std::string folder = directory_ + "/checkpoints/" + job;
  std::filesystem::copy(folder, folder + "-backup", std::filesystem::copy_options::recursive);
  StartJobManager();
  WaitUntilDeleted(job);
  manager_->Stop();
  manager_.reset();
  std::filesystem::remove_all(folder);
  std::filesystem::rename(folder + "-backup", folder);
  StartJobManager();
  tm_ = TaskManager();
  WaitForCheckpoint(MustSubmit());
  manager_->Stop();  // what was begun is done
  EXPECT_FALSE(Manifests(job).empty());
}

// What it retains is what its user repairs it with.
TEST_F(JobManagerTest, AFailedJobKeepsItsCheckpoints) {
  proto::JobGraph graph = Graph();
  graph.mutable_settings()->mutable_restart()->set_kind(proto::RESTART_STRATEGY_NONE);
  auto tm = TaskManager();
  const std::string job = MustSubmit(graph);
  WaitForCheckpoint(job);
  tm->FailSubtask(0, 0, "for good");
  WaitForState(job, proto::JOB_STATE_FAILED);
  const std::string checkpoints = Details(job).checkpoint_directory();
  tm.reset();        // or it is waited for
  manager_->Stop();  // and with it what was begun behind the end
  manager_.reset();
  EXPECT_FALSE(std::filesystem::is_empty(checkpoints + "/log"));
}

}  // namespace
}  // namespace weir::jobmanager
