#include "taskmanager/network_need.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace weir {
namespace {

constexpr size_t kSegmentBytes = 4096;
constexpr uint32_t kExclusive = 2;

/// Two vertices of parallelism 4 with a hash edge, two subtasks of each in either of two processes:
/// 4 channels out and 4 in, 16 exclusive buffers in each.
class NetworkNeed : public testing::Test {
 protected:
  NetworkNeed() {
    for (uint32_t vertex = 0; vertex < 2; ++vertex) {
      graph_.vertices.push_back({.id = VertexId(vertex), .parallelism = 4});
      for (uint32_t index = 0; index < 4; ++index) {
        proto::SubtaskPlacement& placement = *deploy_.add_placements();
        placement.mutable_subtask()->set_vertex(vertex);
        placement.mutable_subtask()->set_index(index);
        placement.set_task_manager(index / 2);
      }
    }
    graph_.edges.push_back(
        {.source = VertexId(0), .target = VertexId(1), .partitioning = Partitioning::kHash});
    deploy_.set_your_index(1);
  }

  static std::unique_ptr<NetworkBufferPool> Pool(size_t segments) {
    return *NetworkBufferPool::Create(segments * kSegmentBytes, kSegmentBytes);
  }
  void Check(const NetworkBufferPool& pool) const {
    CheckNetworkBuffers(graph_, deploy_, kExclusive, pool);
  }

  JobGraph graph_;
  proto::DeployJob deploy_;
};

TEST_F(NetworkNeed, APoolOfExactlyTheNeedIsEnough) { EXPECT_NO_THROW(Check(*Pool(16))); }

TEST_F(NetworkNeed, APoolThatIsTooSmallEndsTheJobAndSaysWhatItTakes) {
  try {
    Check(*Pool(15));
    FAIL() << "16 buffers are needed";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFatal) << "no restart makes the pool larger";
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("needs 16 network buffers"),
                                         testing::HasSubstr("2 for each of its 8 ends"),
                                         testing::HasSubstr("the pool has 15"),
                                         testing::HasSubstr("raise network.buffers")));
  }
}

TEST_F(NetworkNeed, BuffersThatOthersHoldMayComeBack) {
  const auto pool = Pool(20);
  auto others = pool->OpenAccount({.exclusive = 5});
  ASSERT_TRUE(others.ok());
  try {
    Check(*pool);
    FAIL() << "16 of 15 buffers";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kExternal) << "the next attempt may find them";
    EXPECT_THAT(e.what(), testing::HasSubstr("of which 5 are set aside already"));
  }
  others->reset();
  EXPECT_NO_THROW(Check(*pool));
}

TEST_F(NetworkNeed, WhatStaysWithinOneProcessNeedsNone) {
  for (proto::SubtaskPlacement& placement : *deploy_.mutable_placements()) {
    placement.set_task_manager(1);
  }
  EXPECT_NO_THROW(Check(*Pool(1)));
}

}  // namespace
}  // namespace weir
