#include "jobmanager/control_plane.h"

#include <gtest/gtest.h>

namespace weir::jobmanager {
namespace {

const JobId kJob("job");

/// Two TaskManagers with four slots each, and a job of eight and eight subtasks, all to all.
class ControlPlaneTest : public ::testing::Test {
 protected:
  void Send(const ControlEvent& event) { control_.Step(event, Instant(1), &actions_); }
  void RegisterTwo(uint64_t network_buffers) {
    for (uint64_t i = 1; i <= 2; ++i) {
      TaskManagerRegistered event{.session = SessionId(i)};
      event.registration = {.id = TaskManagerId("tm-" + std::to_string(i)),
                            .incarnation = 1,
                            .slots = 4,
                            .network_buffers = network_buffers,
                            .exclusive_buffers = 2};
      Send(event);
    }
  }
  void Submit() {
    JobPlan plan{.name = "wide", .artifact_hash = "aa"};
    plan.vertices = {{.id = VertexId(0), .name = "source", .parallelism = 8},
                     {.id = VertexId(1), .name = "sink", .parallelism = 8}};
    plan.edges = {{.source = VertexId(0),
                   .target = VertexId(1),
                   .producers = 8,
                   .consumers = 8,
                   .partitioning = Partitioning::kHash}};
    Send(JobAdmitted{.job = kJob, .plan = plan});
  }

  ControlPlane control_{{}, Instant(0)};
  std::vector<ControlAction> actions_;
};

TEST_F(ControlPlaneTest, AJobThatNeedsMoreNetworkBuffersThanThereAreIsRefusedWithTheFigures) {
  RegisterTwo(63);
  Submit();
  const Job& job = *control_.FindJob(kJob);
  EXPECT_EQ(job.state(), JobState::kRestarting) << "its end is being stored";
  for (const char* word : {"TaskManager 'tm-1'", "needs 64 network buffers", "2 for each of 32",
                           "which has 63", "network.buffers"}) {
    EXPECT_NE(job.reason().find(word), std::string::npos) << word << ": " << job.reason();
  }
  for (const auto& [session, entry] : control_.membership().entries()) {
    EXPECT_EQ(entry.FreeSlots().size(), 4u) << "it holds no slot";
  }
}

TEST_F(ControlPlaneTest, AJobThatNeedsAllOfThemIsDeployed) {
  RegisterTwo(64);
  Submit();
  EXPECT_EQ(control_.FindJob(kJob)->state(), JobState::kDeploying);
}

}  // namespace
}  // namespace weir::jobmanager
