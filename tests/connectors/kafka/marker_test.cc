#include "connectors/kafka/marker.h"

#include <gtest/gtest.h>

namespace weir::kafka {
namespace {

const Marker kMarker{
    .lane = {.lineage = "l-1", .sink = "totals", .subtask = 3},
    .parallelism = 4,
    .lanes = 6,
    .writer = {.run = "job", .leader_epoch = LeaderEpoch{7}, .attempt = AttemptId{2}},
    .published = CheckpointId{41},
    .published_by = "earlier job"};

TEST(MarkerTest, ComesBackAsItWasWritten) {
  EXPECT_EQ(DecodeMarker(EncodeMarker(kMarker)), kMarker);
}

TEST(MarkerTest, ThoseOfFormerVersionsDoNotSayHowManyLanesThereWereNorWhoseTheNumberIs) {
  const auto marker = DecodeMarker(
      R"({"weir_marker":1,"lineage":"l","sink":"s","subtask":0,"parallelism":4,"run":"job",)"
      R"("leader_epoch":1,"attempt":1,"checkpoint":7})");
  ASSERT_TRUE(marker);
  EXPECT_EQ(marker->lanes, 4u);
  EXPECT_EQ(marker->published_by, "");
}

TEST(MarkerTest, AnythingElseIsNotAMarker) {
  const std::string good = EncodeMarker(kMarker);
  EXPECT_FALSE(DecodeMarker(""));
  EXPECT_FALSE(DecodeMarker("[]"));
  EXPECT_FALSE(DecodeMarker(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(DecodeMarker(R"({"weir_marker":2,"lineage":"l"})"));
  EXPECT_FALSE(DecodeMarker(R"({"weir_marker":1,"lineage":5})"));
}

TEST(MarkerTest, PartitionIsFixedForEver) {
  // Markers written years ago must be found: these values never change.
  EXPECT_EQ(MarkerKey(kMarker.lane), "l-1/totals/3");
  EXPECT_EQ(LineagePrefix("l-1"), "l-1/");
  EXPECT_EQ(MarkerPartition(kMarker.lane, 16), MarkerPartition(kMarker.lane, 16));
  EXPECT_EQ(MarkerPartition({"l-1", "totals", 0}, 16), 11);
  EXPECT_EQ(MarkerPartition({"l-1", "totals", 1}, 16), 9);
  EXPECT_EQ(MarkerPartition({"l-1", "totals", 2}, 1), 0);
}

}  // namespace
}  // namespace weir::kafka
