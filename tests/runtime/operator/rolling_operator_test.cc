#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "api/aggregates.h"
#include "testing/operator_harness.h"

namespace weir {
namespace {

using ::testing::ElementsAre;
using testing::HarnessSnapshot;
using ::testing::IsEmpty;
using testing::OperatorHarness;
using testing::Stamped;

struct Order {
  std::string customer;
  int32_t cents = 0;
  double weight = 0;
  friend bool operator==(const Order&, const Order&) = default;
};

template <class A>
auto RollingHarness(A aggregate, testing::HarnessOptions options = {}) {
  using Out = Keyed<std::string, AggregateResult<A>>;
  return std::make_unique<OperatorHarness<Order, Out>>(
      [aggregate](DataStream<Order> orders) {
        return orders.KeyBy(&Order::customer).Aggregate(aggregate);
      },
      options);
}

template <class A>
auto LastResult(A aggregate, const std::vector<Order>& orders) {
  auto harness = RollingHarness(aggregate);
  for (const Order& order : orders) harness->Push(order);
  return harness->TakeRows().back().value;
}

TEST(Reduce, EmitsTheReducedRowBehindEveryRowWithItsTimestamp) {
  OperatorHarness<Order, Order> harness([](DataStream<Order> orders) {
    return orders.KeyBy(&Order::customer).Reduce([](const Order& so_far, const Order& order) {
      return Order{so_far.customer, so_far.cents + order.cents};
    });
  });
  harness.Push({"ann", 1}, Timestamp{10});
  harness.Push({"bob", 5}, Timestamp{20});
  harness.Push({"ann", 2}, Timestamp{30});
  EXPECT_THAT(harness.Take(), ElementsAre(Stamped<Order>{{"ann", 1}, Timestamp{10}},
                                          Stamped<Order>{{"bob", 5}, Timestamp{20}},
                                          Stamped<Order>{{"ann", 3}, Timestamp{30}}));
}

TEST(Reduce, MayChangeTheRowInPlace) {
  OperatorHarness<Order, Order> harness([](DataStream<Order> orders) {
    return orders.KeyBy(&Order::customer).Reduce([](Order& so_far, const Order& order) {
      so_far.cents += order.cents;
    });
  });
  harness.PushBatch({{{"ann", 1}}, {{"ann", 2}}, {{"bob", 7}}, {{"ann", 3}}});
  EXPECT_THAT(harness.TakeRows(),
              ElementsAre(Order{"ann", 1}, Order{"ann", 3}, Order{"bob", 7}, Order{"ann", 6}));
}

TEST(Reduce, AKeyMayBeComputed) {
  OperatorHarness<int, int> harness([](DataStream<int> numbers) {
    return numbers.KeyBy([](int x) { return x % 2; }).Reduce([](int a, int b) { return a + b; });
  });
  for (int i = 1; i <= 4; ++i) harness.Push(i);
  EXPECT_THAT(harness.TakeRows(), ElementsAre(1, 2, 4, 6));
}

TEST(Rolling, WatermarksPassThrough) {
  auto harness = RollingHarness(Count());
  harness->Watermark(Timestamp{5});
  harness->Watermark(Timestamp{7});
  EXPECT_THAT(harness->watermarks(), ElementsAre(Timestamp{5}, Timestamp{7}));
}

/// All aggregates in one operator: an operator for each would take g++ a second or two each.
auto Everything() {
  return Combine(Count(), Sum(&Order::cents), Sum(&Order::weight), Avg(&Order::cents),
                 Min(&Order::cents), Max(&Order::cents), Max(&Order::customer),
                 MinBy(&Order::weight), MaxBy(&Order::cents),
                 Sum<Order>([](const Order& o) { return o.cents * 2; }));
}

TEST(Aggregates, ResultsOverSeveralRows) {
  const std::vector<Order> orders = {{"ann", 5, 1.5}, {"ann", -2, 0.25}, {"ann", 9, 1.0}};
  const auto [count, sum, weight, average, least, most, last_name, lightest, dearest, doubled] =
      LastResult(Everything(), orders);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(sum, 12);
  EXPECT_EQ(weight, 2.75);
  EXPECT_EQ(average, 4.0);
  EXPECT_EQ(least, -2);
  EXPECT_EQ(most, 9);
  EXPECT_EQ(last_name, "ann");
  EXPECT_EQ(lightest, orders[1]);
  EXPECT_EQ(dearest, orders[2]);
  EXPECT_EQ(doubled, 24);
}

TEST(Aggregates, SumsAreWiderThanTheirFields) {
  EXPECT_EQ(LastResult(Sum(&Order::cents), {{"ann", INT32_MAX}, {"ann", INT32_MAX}}),
            int64_t{INT32_MAX} * 2);
}

TEST(Aggregates, OfEqualRowsTheFirstIsBest) {
  const auto dearest = std::get<8>(LastResult(Everything(), {{"ann", 5, 1}, {"ann", 5, 2}}));
  EXPECT_EQ(dearest.weight, 1);
}

TEST(Aggregates, AUsersOwn) {
  struct Product {
    using Accumulator = int64_t;
    Accumulator CreateAccumulator() const { return 1; }
    void Add(const Order& order, Accumulator& into) const { into *= order.cents; }
    int64_t GetResult(const Accumulator& product) const { return product; }
  };
  EXPECT_EQ(LastResult(Product(), {{"ann", 2}, {"ann", 3}, {"ann", 7}}), 42);
}

TEST(Aggregates, AFunctionMakesTheEmittedRow) {
  OperatorHarness<Order, std::string> harness([](DataStream<Order> orders) {
    return orders.KeyBy(&Order::customer)
        .Aggregate(Sum(&Order::cents), [](const std::string& customer, int64_t cents) {
          return customer + ":" + std::to_string(cents);
        });
  });
  harness.Push({"ann", 3});
  harness.Push({"ann", 4});
  EXPECT_THAT(harness.TakeRows(), ElementsAre("ann:3", "ann:7"));
}

void StateMovesWithItsKeys(testing::HarnessBackend backend) {
  std::mt19937 random(7);
  std::map<std::string, int64_t> expected;
  HarnessSnapshot snapshot;
  bool first = true;
  for (const uint32_t parallelism : {1u, 2u, 3u, 1u}) {
    auto harness = RollingHarness(
        Sum(&Order::cents),
        {.parallelism = parallelism, .restore = first ? nullptr : &snapshot, .backend = backend});
    first = false;
    for (int i = 0; i < 500; ++i) {
      const Order order{"customer " + std::to_string(random() % 50), int(random() % 100)};
      expected[order.customer] += order.cents;
      harness->Push(order);
      ASSERT_THAT(harness->TakeRows(), ElementsAre(Keyed<std::string, int64_t>{
                                           order.customer, expected[order.customer]}));
    }
    snapshot = harness->Snapshot();
  }
}

TEST(Rolling, StateMovesWithItsKeysThroughChangesOfParallelism) { StateMovesWithItsKeys({}); }

TEST(Rolling, OnRocksDbWithATinyCacheToo) {
  StateMovesWithItsKeys({.rocksdb = true, .cache_bytes = 1024});
}

TEST(Rolling, RowsBehindTheBarrierAreNotInTheSnapshot) {
  auto harness = RollingHarness(Count());
  harness->Push({"ann"});
  harness->BeginSnapshot();
  harness->Push({"ann"});
  harness->Push({"bob"});
  const HarnessSnapshot snapshot = harness->FinishSnapshot();
  auto restored = RollingHarness(Count(), {.restore = &snapshot});
  restored->Push({"ann"});
  restored->Push({"bob"});
  const auto rows = restored->TakeRows();
  EXPECT_EQ(rows[0].value, 2u);
  EXPECT_EQ(rows[1].value, 1u);
}

TEST(Rolling, StateOfAnotherTypeIsRefused) {
  auto harness = RollingHarness(Count());
  harness->Push({"ann"});
  const HarnessSnapshot snapshot = harness->Snapshot();
  auto restored = RollingHarness(Everything(), {.restore = &snapshot});
  EXPECT_THROW(restored->Open(), Error);
}

}  // namespace
}  // namespace weir
