#include "connectors/generator/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "tests/connectors/source_harness.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Source<uint64_t> Numbers(GenerateOptions options) {
  return Generate<uint64_t>([](uint64_t i) { return i; }, options);
}

std::vector<uint64_t> UpTo(uint64_t count) {
  std::vector<uint64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(Generate, MakesRowsInTheOrderOfTheirIndexes) {
  SourceHarness<uint64_t> source(Numbers({.count = 20'000}));
  EXPECT_EQ(source.PollAll(), UpTo(20'000));
  EXPECT_EQ(source.result(), PollResult::kEnd);
}

TEST(Generate, WithoutCountIsUnbounded) {
  EXPECT_FALSE(Numbers({}).bounded);
  SourceHarness<uint64_t> source(Numbers({}));
  for (int i = 0; i < 100; ++i) source.Poll();
  EXPECT_EQ(source.result(), PollResult::kMore);
}

TEST(Generate, SubtasksShareTheIndexesAndEachGoesForward) {
  std::vector<uint64_t> all;
  for (uint32_t subtask = 0; subtask < 3; ++subtask) {
    SourceHarness<uint64_t> source(Numbers({.count = 50'001}), subtask, 3);
    const std::vector<uint64_t> rows = source.PollAll();
    EXPECT_TRUE(std::ranges::is_sorted(rows));
    EXPECT_THAT(rows, SizeIs(testing::Gt(15'000u)));
    all.insert(all.end(), rows.begin(), rows.end());
  }
  std::ranges::sort(all);
  EXPECT_EQ(all, UpTo(50'001));
}

TEST(Generate, EveryRowOnceThroughChangesOfParallelism) {
  constexpr uint64_t kCount = 100'000;
  std::vector<uint64_t> all;
  std::vector<RestoredOperatorState> state;
  for (const uint32_t parallelism : {1u, 2u, 3u, 2u}) {
    std::vector<RestoredOperatorState> next;
    for (uint32_t subtask = 0; subtask < parallelism; ++subtask) {
      SourceHarness<uint64_t> source(Numbers({.count = kCount}), subtask, parallelism, state);
      for (uint32_t poll = 0; poll <= 3 + 5 * subtask; ++poll) {
        for (uint64_t row : source.Poll()) all.push_back(row);
      }
      next.push_back(source.Snapshot());
    }
    state = next;
  }
  SourceHarness<uint64_t> last(Numbers({.count = kCount}), 0, 1, state);
  const std::vector<uint64_t> rest = last.PollAll();
  EXPECT_TRUE(std::ranges::is_sorted(rest));
  all.insert(all.end(), rest.begin(), rest.end());
  std::ranges::sort(all);
  EXPECT_EQ(all, UpTo(kCount));
}

TEST(Generate, FunctionMayAssignARowAndGiveItsEventTime) {
  struct Order {
    std::string customer;
    int64_t cents = 0;
  };
  auto source = Generate<Order>(
      [](uint64_t i, Order& order) {
        order.customer.assign("c").append(std::to_string(i));
        order.cents = static_cast<int64_t>(i) * 100;
        return Timestamp{static_cast<int64_t>(i) * 1000};
      },
      {.count = 3});
  SourceHarness<Order> harness(source);
  const auto orders = harness.PollAll();
  ASSERT_THAT(orders, SizeIs(3));
  EXPECT_EQ(orders[2].customer, "c2");
  EXPECT_EQ(orders[2].cents, 200);
  EXPECT_THAT(harness.timestamps(), ElementsAre(Timestamp{0}, Timestamp{1000}, Timestamp{2000}));
}

TEST(Generate, TheRateIsTheSources) {
  EXPECT_EQ(Numbers({.rate_per_second = 100}).rate_per_second, 100);
  EXPECT_EQ(Numbers({}).rate_per_second, std::nullopt);
}

TEST(Generate, GivesNoMoreThanTheBatchHasRoomFor) {
  SourceHarness<uint64_t> source(Numbers({.count = 100}));
  RecordBatch<uint64_t> batch;
  batch.SetLimit(7);
  SplitIndex split = 0;
  EXPECT_EQ(source.reader().Poll(batch, split), PollResult::kMore);
  EXPECT_EQ(batch.size(), 7u);
}

TEST(Generate, RefusesARateThatIsNone) {
  try {
    Numbers({.rate_per_second = 0});
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("rate_per_second is 0"));
  }
}

TEST(Generate, RefusesForeignState) {
  RestoredOperatorState state;
  state.values["positions"] = "not positions";
  EXPECT_THROW(SourceHarness<uint64_t>(Numbers({}), 0, 1, {state}), Error);
}

}  // namespace
}  // namespace weir
