// The examples of docs/api.md, compiled and run: tools/check-examples.py makes sure that every
// piece of C++ in that page stands here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/graph/job_graph.h"
#include "testing/operator_harness.h"
#include "weir/weir.h"

using namespace weir;
using namespace std::chrono_literals;

struct Order {
  std::string customer;
  int64_t cents = 0;
  Timestamp time;
};

WEIR_JOB(env, args) {
  auto orders = env.From(Generate<Order>(
                             [](uint64_t i) {
                               return Order{.customer = "customer " + std::to_string(i % 10),
                                            .cents = static_cast<int64_t>(i % 100),
                                            .time = Timestamp{static_cast<int64_t>(i)}};
                             },
                             {.count = 100'000, .rate_per_second = args.GetDouble("rate", 10'000)}),
                         BoundedOutOfOrderness(5s, &Order::time));
  orders.KeyBy(&Order::customer)
      .Window(Tumbling(1min))
      .Aggregate(Sum(&Order::cents))
      .Uid("spent-per-minute")
      .To(Print<Keyed<std::string, int64_t>>("spent"));
}

struct Total {
  std::string customer;
  Timestamp until;
  int64_t cents = 0;
};

const OutputTag<Order> kLate{"late"};

DataStream<Total> SpentPerMinute(const DataStream<Order>& orders) {
  auto totals = orders.KeyBy(&Order::customer)
                    .Window(Sliding(10min, 1min))
                    .AllowedLateness(30s)
                    .SideOutputLate(kLate)
                    .Aggregate(Sum(&Order::cents), [](const std::string& customer,
                                                      const TimeWindow& window, int64_t cents) {
                      return Total{customer, window.end, cents};
                    });
  Print(totals.SideOutput(kLate), "late");
  return totals;
}

// Trails the newest order by twice the longest disorder seen until now.
class Cautious : public WatermarkGenerator<Order> {
 public:
  void OnBatch(RecordBatch<Order>& batch) override {
    batch.ForEach([this](const Order&, Timestamp time) {
      if (time < newest_) disorder_ = std::max(disorder_, newest_ - time);
      newest_ = std::max(newest_, time);
    });
  }
  Timestamp Current() const override {
    return newest_ == Timestamp::Min() ? newest_ : newest_ - 2 * disorder_ - 1ms;
  }

 private:
  Timestamp newest_ = Timestamp::Min();
  std::chrono::milliseconds disorder_ = 1s;
};

DataStream<Order> Watched(Environment& env, Source<Order> source) {
  return env.From(std::move(source), Watermarks(Cautious(), &Order::time).WithIdleness(1min));
}

void ToShop(const DataStream<Order>& orders, void (*post)(const std::vector<Order>&)) {
  orders
      .To(BatchingSink<Order>([post](std::vector<Order>& rows) { post(rows); },
                              {.name = "shop",
                               .max_rows = 100,
                               .max_delay = 200ms,
                               .max_in_flight = 4,
                               .retry = RetryWithBackoff(50ms, 5s, 20)}))
      .Uid("shop");
}

// Lets every n-th order of a subtask through.
class Sample {
 public:
  explicit Sample(uint64_t n) : n_(n) {}

  void Open(const RuntimeContext& context) { seen_ = context.subtask_index; }
  bool operator()(const Order&) { return seen_++ % n_ == 0; }

 private:
  uint64_t n_;
  uint64_t seen_ = 0;
};

// Says so when a customer has ordered nothing for an hour.
class Silence : public KeyedProcessFunction<std::string, Order, std::string> {
 public:
  void Open(KeyedContext& context) override { last_ = context.GetValueState<Timestamp>("last"); }

  void ProcessElement(const Order& order, Context& context, Collector<std::string>&) override {
    if (const Timestamp* last = last_.Get()) context.DeleteEventTimeTimer(*last + 1h);
    last_.Update(order.time);
    context.RegisterEventTimeTimer(order.time + 1h);
  }

  void OnTimer(Timestamp, TimeDomain, Context& context, Collector<std::string>& out) override {
    last_.Clear();
    out.Collect(context.key() + " is silent");
  }

 private:
  ValueState<Timestamp> last_;
};

TEST(Silence, IsReportedAnHourAfterTheLastOrder) {
  weir::testing::OperatorHarness<Order, std::string> harness(
      [](DataStream<Order> orders) { return orders.KeyBy(&Order::customer).Process(Silence()); });
  const Timestamp ten{10 * 3'600'000};
  harness.Push({"ann", 120, ten}, ten);
  harness.Push({"ann", 80, ten + 30min}, ten + 30min);
  harness.Watermark(ten + 1h);
  EXPECT_TRUE(harness.TakeRows().empty());
  const auto snapshot = harness.Snapshot();

  weir::testing::OperatorHarness<Order, std::string> restored(
      [](DataStream<Order> orders) { return orders.KeyBy(&Order::customer).Process(Silence()); },
      {.parallelism = 2, .restore = &snapshot});
  restored.Watermark(ten + 2h);
  EXPECT_EQ(restored.TakeRows(), std::vector<std::string>{"ann is silent"});
}

// What an operator puts aside is another stream, of another row type if need be.
const OutputTag<std::string> kLarge{"large"};

class SplitOff : public ProcessFunction<Order, Order> {
 public:
  explicit SplitOff(int64_t cents) : cents_(cents) {}

  void ProcessElement(const Order& order, Context& context, Collector<Order>& out) override {
    if (order.cents < cents_) return out.Collect(order);
    context.Output(kLarge, order.customer + " at " + std::to_string(context.timestamp().ms));
  }

 private:
  const int64_t cents_;
};

DataStream<std::string> LargeOnes(const DataStream<Order>& orders) {
  return orders.Process(SplitOff(100'000)).SideOutput(kLarge);
}

// Needs all rows of the window, in order.
class Median : public ProcessWindowFunction<std::string, Order, Total> {
 public:
  void Process(const std::string& customer, Context& context, const std::vector<Order>& orders,
               Collector<Total>& out) override {
    std::vector<int64_t> cents;
    for (const Order& order : orders) cents.push_back(order.cents);
    std::ranges::nth_element(cents, cents.begin() + cents.size() / 2);
    out.Collect({customer, context.window().end, cents[cents.size() / 2]});
  }
};

DataStream<Total> Medians(const DataStream<Order>& orders) {
  return orders.KeyBy(&Order::customer).Window(Tumbling(1h)).Process(Median());
}

void Settings(JobSettings& settings) {
  settings.name = "orders";
  settings.state_backend = StateBackendKind::kMemory;
  settings.checkpoints.mode = CheckpointingMode::kAtLeastOnce;
  settings.checkpoints.interval = 10s;
  settings.restart.kind = RestartKind::kFixedDelay;
  settings.restart.attempts = 5;
}

TEST(SplitOff, PutsLargeOrdersAside) {
  weir::testing::OperatorHarness<Order, Order> harness(
      [](DataStream<Order> orders) { return orders.Process(SplitOff(100)); });
  harness.Listen(kLarge);
  harness.Push({"ann", 120}, Timestamp{7});
  EXPECT_TRUE(harness.TakeRows().empty());
  EXPECT_EQ(harness.TakeSide(kLarge).at(0).row, "ann at 7");
}

struct Spread {
  struct Accumulator {
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;
  };
  void Add(const Order& order, Accumulator& into) const {
    into.low = std::min(into.low, order.cents);
    into.high = std::max(into.high, order.cents);
  }
  int64_t GetResult(const Accumulator& all) const { return all.high - all.low; }
  void Merge(const Accumulator& from, Accumulator& into) const {
    into.low = std::min(into.low, from.low);
    into.high = std::max(into.high, from.high);
  }
};

struct Larger {
  int64_t operator()(int64_t so_far, int64_t cents) const { return std::max(so_far, cents); }
};

// With each order: the customer's largest, and how far all of them lie apart.
class Reach : public KeyedProcessFunction<std::string, Order, std::string> {
 public:
  void Open(KeyedContext& context) override {
    largest_ = context.GetReducingState<int64_t>("largest", Larger());
    spread_ = context.GetAggregatingState("spread", Spread());
  }

  void ProcessElement(const Order& order, Context& context, Collector<std::string>& out) override {
    largest_.Add(order.cents);
    spread_.Add(order);
    out.Collect(context.key() + " " + std::to_string(*largest_.Get()) + " " +
                std::to_string(spread_.Get()));
  }

 private:
  ReducingState<int64_t, Larger> largest_;
  AggregatingState<Spread> spread_;
};

namespace {

TEST(Examples, Median) {
  weir::testing::OperatorHarness<Order, Total> harness(Medians);
  for (const int64_t cents : {30, 10, 20}) harness.Push({"ann", cents}, Timestamp{cents});
  harness.EndOfInput();
  EXPECT_EQ(harness.TakeRows().at(0).cents, 20);
}

TEST(Examples, LargeOnesAreAStreamOfTheirOwn) {
  Environment env;
  Print(LargeOnes(env.From(FromCollection<Order>({{"ann", 1}}))), "large");
  EXPECT_EQ(BuildJobGraph(env.graph()).vertices.size(), 1u);
}

TEST(Examples, Settings) {
  Environment env;
  Settings(env.settings());
  EXPECT_EQ(env.settings().restart.kind, RestartSettings::Kind::kFixedDelay);
}

TEST(Examples, WatermarksOfAGeneratorOfOnesOwn) {
  Environment env;
  ToShop(Watched(env, Generate<Order>([](uint64_t) { return Order{}; })), nullptr);
  EXPECT_EQ(BuildJobGraph(env.graph()).vertices.size(), 1u);
  Cautious generator;
  RecordBatch<Order> batch;
  for (int64_t ms : {5000, 3500, 6000}) batch.Append(Timestamp{ms});
  generator.OnBatch(batch);
  EXPECT_EQ(generator.Current(), Timestamp{2999});
}

TEST(Examples, TheJobBuilds) {
  Environment env;
  weir_job_main(env, Args());
  const JobGraph graph = BuildJobGraph(env.graph());
  EXPECT_EQ(graph.vertices.size(), 2u);
  EXPECT_TRUE(graph.warnings.empty());
}

using TotalRecord = kafka::Record<Total>;

void Copy(Environment& env, const std::string& brokers) {
  auto totals = env.From(kafka::Source<TotalRecord>(
      {.brokers = brokers, .topic = "totals", .on_bad_record = kafka::SideOutput}));
  totals.SideOutput(kafka::BadRecords)
      .To(kafka::DeadLetterSink({.brokers = brokers, .topic = "totals-bad"}));
  totals
      .Map([](TotalRecord total) {
        total.headers.push_back({.name = "copied-from", .value = total.topic});
        return total;
      })
      .To(kafka::Sink<TotalRecord>({.brokers = brokers, .topic = "totals-copy"}));
}

TEST(Examples, KafkaRecords) {
  Environment env;
  Copy(env, "127.0.0.1:9092");
  EXPECT_EQ(env.graph().nodes.size(), 4u);
}

TEST(Examples, SpentPerMinute) {
  weir::testing::OperatorHarness<Order, Total> harness(SpentPerMinute);
  harness.Push({"ann", 120}, Timestamp{1000});
  harness.Watermark(Timestamp{59'999});
  const auto rows = harness.TakeRows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].until, Timestamp{60'000});
  EXPECT_EQ(rows[0].cents, 120);
}

TEST(Examples, Sample) {
  weir::testing::OperatorHarness<Order, Order> harness(
      [](DataStream<Order> orders) { return orders.Filter(Sample(3)); });
  for (int64_t i = 0; i < 7; ++i) harness.Push({"ann", i, Timestamp{i}}, Timestamp{i});
  std::vector<int64_t> through;
  for (const Order& order : harness.TakeRows()) through.push_back(order.cents);
  EXPECT_EQ(through, (std::vector<int64_t>{0, 3, 6}));
}

TEST(Examples, Spread) {
  weir::testing::OperatorHarness<Order, Keyed<std::string, int64_t>> harness(
      [](DataStream<Order> orders) {
        return orders.KeyBy(&Order::customer).Window(Sliding(10s, 5s)).Aggregate(Spread());
      });
  harness.Push({"ann", 7}, Timestamp{1000});
  harness.Push({"ann", 3}, Timestamp{6000});
  harness.Watermark(Timestamp{9999});
  EXPECT_EQ(harness.TakeRows().back().value, 4);
}

TEST(Examples, ReachIsKeptForEachCustomer) {
  weir::testing::OperatorHarness<Order, std::string> harness(
      [](DataStream<Order> orders) { return orders.KeyBy(&Order::customer).Process(Reach()); });
  for (const int64_t cents : {7, 3, 5}) harness.Push({"ann", cents}, Timestamp{cents});
  harness.Push({"bob", 4}, Timestamp{9});
  EXPECT_EQ(harness.TakeRows(),
            (std::vector<std::string>{"ann 7 0", "ann 7 4", "ann 7 4", "bob 4 0"}));
}

}  // namespace
