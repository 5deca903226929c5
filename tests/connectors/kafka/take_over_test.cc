#include "connectors/kafka/take_over.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::kafka {
namespace {

using ::testing::HasSubstr;

Marker MarkerOf(const std::string& sink, uint32_t subtask, uint64_t published,
                const std::string& run = "job", uint32_t lanes = 1) {
  return {.lane = {.lineage = "l", .sink = sink, .subtask = subtask},
          .parallelism = lanes,
          .lanes = lanes,
          .writer = {.run = run, .leader_epoch = LeaderEpoch{1}, .attempt = AttemptId{1}},
          .published = CheckpointId{published}};
}

TEST(TakeOverTest, WhatIsPublishedPastTheBaseInAnyLaneOfAnySinkForbidsIt) {
  EXPECT_FALSE(FurthestPast({}, CheckpointId{5}));
  EXPECT_FALSE(FurthestPast({MarkerOf("a", 0, 5), MarkerOf("b", 9, 3)}, CheckpointId{5}));
  const auto past = FurthestPast({MarkerOf("a", 0, 6), MarkerOf("b", 9, 8), MarkerOf("a", 1, 2)},
                                 CheckpointId{5});
  ASSERT_TRUE(past);
  EXPECT_THAT(AlreadyPublished(*past, CheckpointId{5}),
              AllOf(HasSubstr("lane l/b/9"), HasSubstr("already published up to checkpoint 8"),
                    HasSubstr("later than checkpoint 5")));
}

TEST(TakeOverTest, AllLanesThatEverWereAreTaken) {
  EXPECT_EQ(LanesOf({}, "a"), 0u);
  EXPECT_EQ(LanesOf({MarkerOf("a", 0, 1, "job", 4), MarkerOf("b", 0, 1, "job", 9)}, "a"), 4u)
      << "what a job with four left open before it said so in each lane";
  EXPECT_EQ(LanesOf({MarkerOf("a", 0, 1, "job", 2), MarkerOf("a", 7, 1, "job", 2)}, "a"), 8u)
      << "as former versions wrote them after a change of parallelism";
}

TEST(TakeOverTest, ALaneThatIsNotPublishedSoFarIsFound) {
  const std::vector<Marker> markers = {MarkerOf("a", 0, 5), MarkerOf("a", 1, 4),
                                       MarkerOf("b", 2, 9)};
  EXPECT_EQ(LaneBehind(markers, "a", {0}, CheckpointId{5}), std::nullopt);
  EXPECT_EQ(LaneBehind(markers, "a", {0, 1}, CheckpointId{5}), 1u);
  EXPECT_EQ(LaneBehind(markers, "a", {0, 2}, CheckpointId{5}), 2u)
      << "that marker is another sink's";
  EXPECT_EQ(LaneBehind({}, "a", {}, CheckpointId{5}), std::nullopt);
}

TEST(TakeOverTest, ALaneOfTheSinkThatAnotherRunHasClaimedIsFound) {
  EXPECT_FALSE(ClaimedByAnother({MarkerOf("a", 0, 1), MarkerOf("b", 0, 1, "other")}, "a", "job"));
  const auto other =
      ClaimedByAnother({MarkerOf("a", 0, 1), MarkerOf("a", 1, 1, "other")}, "a", "job");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->lane.subtask, 1u);
}

}  // namespace
}  // namespace weir::kafka
