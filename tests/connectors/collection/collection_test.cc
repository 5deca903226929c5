#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "connectors/collection/collect.h"
#include "connectors/collection/from_collection.h"
#include "tests/connectors/source_harness.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(FromCollection, GivesItsRowsInOrderAndEnds) {
  SourceHarness<std::string> source(FromCollection<std::string>({"a", "b", "c"}));
  EXPECT_THAT(source.PollAll(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(source.result(), PollResult::kEnd);
  EXPECT_THAT(source.Poll(), ElementsAre()) << "the end is said again";
  EXPECT_EQ(source.result(), PollResult::kEnd);
}

TEST(FromCollection, RunsAtParallelismOne) {
  EXPECT_EQ(FromCollection({1, 2}).max_parallelism, 1u);
  EXPECT_TRUE(FromCollection({1, 2}).bounded);
}

TEST(FromCollection, GoesOnWhereItsCheckpointStands) {
  std::vector<int> rows(3000);
  std::iota(rows.begin(), rows.end(), 0);
  SourceHarness<int> first(FromCollection(rows));
  const std::vector<int> before = first.Poll();
  ASSERT_LT(before.size(), rows.size());

  SourceHarness<int> second(FromCollection(rows), 0, 1, {first.Snapshot()});
  std::vector<int> all = before;
  for (int row : second.PollAll()) all.push_back(row);
  EXPECT_EQ(all, rows);
}

TEST(FromCollection, RestoredAtItsEndItSaysSoAgain) {
  SourceHarness<int> first(FromCollection({1}));
  first.PollAll();
  SourceHarness<int> second(FromCollection({1}), 0, 1, {first.Snapshot()});
  EXPECT_THAT(second.Poll(), ElementsAre());
  EXPECT_EQ(second.result(), PollResult::kEnd);
  EXPECT_TRUE(second.open_splits().empty());
}

TEST(FromCollection, RefusesACheckpointOfALongerCollection) {
  SourceHarness<int> first(FromCollection({1, 2, 3}));
  first.PollAll();
  try {
    SourceHarness<int> second(FromCollection({1}), 0, 1, {first.Snapshot()});
    FAIL() << "was restored";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("stands at row 3 of a collection of 1 rows"));
  }
}

TEST(CollectSink, KeepsRowsAndTimestamps) {
  auto collected = std::make_shared<Collected<int>>();
  const auto writer = CollectSink(collected).make_writer();
  RecordBatch<int> batch;
  batch.Append(7, Timestamp{70});
  batch.Append(8, Timestamp{80});
  batch.Append(9, Timestamp{90});
  batch.Select([](uint32_t row) { return row != 1; });
  writer->Write(batch);
  EXPECT_THAT(collected->Rows(), ElementsAre(7, 9));
  EXPECT_THAT(collected->Timestamps(), ElementsAre(Timestamp{70}, Timestamp{90}));
}

}  // namespace
}  // namespace weir
