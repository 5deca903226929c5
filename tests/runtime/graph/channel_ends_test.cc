#include "runtime/graph/channel_ends.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

EdgeShape Edge(Partitioning partitioning, uint32_t producers, uint32_t consumers) {
  return {.source = VertexId(0),
          .target = VertexId(1),
          .producers = producers,
          .consumers = consumers,
          .partitioning = partitioning};
}

/// Subtask i of every vertex runs in process i / per_process.
std::function<uint64_t(SubtaskId)> Spread(uint32_t per_process) {
  return [=](SubtaskId subtask) { return uint64_t{subtask.index / per_process}; };
}

TEST(RemoteChannelEnds, AreNoneWhereEverythingRunsInOneProcess) {
  EXPECT_TRUE(RemoteChannelEnds({Edge(Partitioning::kHash, 8, 8)}, Spread(8)).empty());
}

TEST(RemoteChannelEnds, OfAnEdgeFromAllToAllAreCountedOnBothSides) {
  // Four producers and four consumers in each: 16 channels out, 16 in.
  const auto ends = RemoteChannelEnds({Edge(Partitioning::kHash, 8, 8)}, Spread(4));
  EXPECT_EQ(ends, (std::map<uint64_t, uint64_t>{{0, 32}, {1, 32}}));
}

TEST(RemoteChannelEnds, OfAForwardEdgeStayWithinTheProcess) {
  EXPECT_TRUE(RemoteChannelEnds({Edge(Partitioning::kForward, 8, 8)}, Spread(4)).empty());
}

TEST(RemoteChannelEnds, OfSeveralEdgesAddUp) {
  const auto ends = RemoteChannelEnds(
      {Edge(Partitioning::kBroadcast, 2, 2), Edge(Partitioning::kRescale, 1, 2)}, Spread(1));
  EXPECT_EQ(ends, (std::map<uint64_t, uint64_t>{{0, 3}, {1, 3}}));
}

}  // namespace
}  // namespace weir
