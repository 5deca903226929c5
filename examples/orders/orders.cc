// Reads orders from Kafka and writes what each customer has spent back to Kafka, exactly once:
// after every order the total so far, and a total for each window of event time.
// docs/tutorial-kafka.md walks through it.
//
//   weir run liborders.so --parallelism 2 -- --brokers 127.0.0.1:9092
//
//   --brokers A,B   where Kafka is (required)
//   --window N      seconds of event time in a window (default 10)
//   --bounded       end at what the topic holds when the job starts

#include <weir/weir.h>

using namespace weir;
using namespace std::chrono_literals;

struct Order {
  std::string customer;
  int64_t cents = 0;
  Timestamp at;
};

struct Total {  // one for each order
  std::string customer;
  uint64_t orders = 0;
  int64_t cents = 0;
};

struct WindowTotal {  // one for each customer and window
  std::string customer;
  Timestamp until;
  uint64_t orders = 0;
  int64_t cents = 0;
};

WEIR_JOB(env, args) {
  env.settings().name = "orders";
  const std::string& brokers = args["brokers"];
  const std::chrono::seconds window_size(args.GetInt("window", 10));

  kafka::SourceOptions<Order> source = {.brokers = brokers, .topic = "orders"};
  if (args.GetBool("bounded", false)) source.bounded = kafka::Latest();

  auto by_customer = env.From(kafka::Source(source), BoundedOutOfOrderness(2s, &Order::at))
                         .Uid("orders")
                         .KeyBy(&Order::customer);

  const auto count_and_sum = Combine(Count(), Sum(&Order::cents));
  using CountAndSum = std::tuple<uint64_t, int64_t>;

  by_customer
      .Aggregate(count_and_sum,
                 [](const std::string& customer, const CountAndSum& spent) {
                   return Total{customer, std::get<0>(spent), std::get<1>(spent)};
                 })
      .Uid("total-per-customer")
      .To(kafka::Sink<Total>({.brokers = brokers, .topic = "totals", .key = &Total::customer}))
      .Uid("totals");

  by_customer.Window(Tumbling(window_size))
      .Aggregate(
          count_and_sum,
          [](const std::string& customer, const TimeWindow& window, const CountAndSum& spent) {
            return WindowTotal{customer, window.end, std::get<0>(spent), std::get<1>(spent)};
          })
      .Uid("total-per-window")
      .To(kafka::Sink<WindowTotal>(
          {.brokers = brokers, .topic = "window-totals", .key = &WindowTotal::customer}))
      .Uid("window-totals");
}
