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

/// Of a former version, which knew no ancestors.
const Restored kFive{.checkpoint = CheckpointId{5}, .run = "job", .published = {}};

Marker PublishedBy(const std::string& run, uint64_t published) {
  Marker marker = MarkerOf("a", 0, published, run);
  marker.published_by = run;
  return marker;
}

TEST(TakeOverTest, ANumberCountsForTheJobThatGaveIt) {
  // first@4 <- b@22; a began from first@4, too.
  const Restored b{.checkpoint = CheckpointId{22},
                   .run = "b",
                   .published = {},
                   .ancestors = TransactionPublisher::Ancestors{{"first", CheckpointId{4}}}};
  EXPECT_TRUE(HoldsInItsPast(b, "new", PublishedBy("b", 22)));
  EXPECT_FALSE(HoldsInItsPast(b, "new", PublishedBy("b", 23)));
  EXPECT_TRUE(HoldsInItsPast(b, "new", PublishedBy("first", 4)));
  EXPECT_FALSE(HoldsInItsPast(b, "new", PublishedBy("first", 5)));
  EXPECT_FALSE(HoldsInItsPast(b, "new", PublishedBy("a", 15))) << "another branch";
  EXPECT_TRUE(HoldsInItsPast(b, "new", PublishedBy("a", 0)));
  EXPECT_TRUE(HoldsInItsPast(b, "new", MarkerOf("a", 0, 15, "a"))) << "of a former version";
  EXPECT_TRUE(HoldsInItsPast(kFive, "new", PublishedBy("a", 5))) << "of a former version";
  const auto past = FurthestPast({PublishedBy("b", 20), PublishedBy("a", 15)}, b, "new");
  ASSERT_TRUE(past);
  EXPECT_THAT(AlreadyPublished(*past, b),
              AllOf(HasSubstr("already published up to checkpoint 15 of job a"),
                    HasSubstr("not in the past of checkpoint 22 of job b"),
                    HasSubstr("Start from checkpoint 15 of job a")));
}

TEST(TakeOverTest, WhatIsPublishedPastTheBaseInAnyLaneOfAnySinkForbidsIt) {
  EXPECT_FALSE(FurthestPast({}, kFive, "new"));
  EXPECT_FALSE(FurthestPast({MarkerOf("a", 0, 5), MarkerOf("b", 9, 3)}, kFive, "new"));
  const auto past =
      FurthestPast({MarkerOf("a", 0, 6), MarkerOf("b", 9, 8), MarkerOf("a", 1, 2)}, kFive, "new");
  ASSERT_TRUE(past);
  EXPECT_THAT(AlreadyPublished(*past, kFive),
              AllOf(HasSubstr("lane l/b/9"), HasSubstr("already published up to checkpoint 8"),
                    HasSubstr("later than checkpoint 5")));
}

TEST(TakeOverTest, TheJobThatHasPublishedIsNamed) {
  EXPECT_THAT(AlreadyPublished(PublishedBy("other", 8), kFive),
              AllOf(HasSubstr("already published up to checkpoint 8 of job other, later than"),
                    HasSubstr("from checkpoint 8 of job other")));
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
