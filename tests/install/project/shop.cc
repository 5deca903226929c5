#include <weir/weir.h>

#include <string>

struct Order {
  std::string customer;
  int64_t cents = 0;
};

WEIR_JOB(env, args) {
  const auto count = static_cast<uint64_t>(args.GetInt("count", 1000));
  env.From(weir::Generate<Order>(
               [](uint64_t i) {
                 return Order{"customer-" + std::to_string(i % 7), static_cast<int64_t>(i)};
               },
               {.count = count}))
      .Uid("orders")
      .Filter([](const Order& order) { return order.cents % 100 == 0; })
      .Map([](const Order& order) { return order.customer + " " + std::to_string(order.cents); })
      .To(weir::Print<std::string>("big"))
      .Uid("printed");
}
