#include "runtime/graph/channel_ends.h"

#include <gtest/gtest.h>

#include <random>

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

/// Looks at every channel.
std::map<uint64_t, uint64_t> CountedOneByOne(const std::vector<EdgeShape>& edges,
                                             const std::function<uint64_t(SubtaskId)>& process_of) {
  std::map<uint64_t, uint64_t> ends;
  for (const EdgeShape& edge : edges) {
    for (uint32_t p = 0; p < edge.producers; ++p) {
      for (uint32_t c : ConsumersOf(edge.partitioning, p, edge.producers, edge.consumers)) {
        const uint64_t from = process_of({edge.source, p});
        const uint64_t to = process_of({edge.target, c});
        if (from == to) continue;
        ++ends[from];
        ++ends[to];
      }
    }
  }
  return ends;
}

TEST(RemoteChannelEnds, AreThoseCountedOneByOne) {
  std::mt19937 random(7);
  auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (int round = 0; round < 500; ++round) {
    std::vector<uint32_t> parallelism(2 + below(4));
    for (uint32_t& p : parallelism) p = 1 + below(9);
    std::vector<EdgeShape> edges;
    for (uint32_t target = 1; target < parallelism.size(); ++target) {
      const uint32_t source = below(target);
      std::vector<Partitioning> possible = {Partitioning::kHash, Partitioning::kRebalance,
                                            Partitioning::kBroadcast, Partitioning::kRescale};
      if (parallelism[source] == parallelism[target]) possible.push_back(Partitioning::kForward);
      edges.push_back({.source = VertexId(source),
                       .target = VertexId(target),
                       .producers = parallelism[source],
                       .consumers = parallelism[target],
                       .partitioning = possible[below(static_cast<uint32_t>(possible.size()))]});
    }
    std::map<SubtaskId, uint64_t> place;
    const uint32_t processes = 1 + below(5);
    for (uint32_t v = 0; v < parallelism.size(); ++v) {
      for (uint32_t i = 0; i < parallelism[v]; ++i) place[{VertexId(v), i}] = below(processes);
    }
    const auto process_of = [&](SubtaskId subtask) { return place.at(subtask); };
    ASSERT_EQ(RemoteChannelEnds(edges, process_of), CountedOneByOne(edges, process_of))
        << "round " << round;
  }
}

TEST(RemoteChannelEnds, OfAWideEdgeAreFoundWithoutLookingAtEachChannel) {
  uint64_t asked = 0;
  const auto ends =
      RemoteChannelEnds({Edge(Partitioning::kHash, 1000, 1000)}, [&](SubtaskId subtask) {
        ++asked;
        return uint64_t{subtask.index / 100};
      });
  EXPECT_EQ(ends.size(), 10u);
  EXPECT_EQ(ends.at(3), 2u * 100 * 900);
  EXPECT_EQ(asked, 2000u);
}

}  // namespace
}  // namespace weir
