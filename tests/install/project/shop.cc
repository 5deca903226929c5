#include "shop.h"

WEIR_JOB(env, args) {
  const auto count = static_cast<uint64_t>(args.GetInt("count", 1000));
  const weir::DataStream<Order> orders =
      env.From(weir::Generate<Order>(
                   [](uint64_t i) {
                     return Order{"customer-" + std::to_string(i % 7), static_cast<int64_t>(i)};
                   },
                   {.count = count}))
          .Uid("orders");
  SpentPerCustomer(orders)
      .Uid("spent")
      .Map([](const Spent& spent) { return spent.customer + " " + std::to_string(spent.cents); })
      .To(weir::Print<std::string>("spent"))
      .Uid("printed");
}
