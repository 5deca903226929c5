#pragma once

#include <weir/weir.h>

#include <string>

struct Order {
  std::string customer;
  int64_t cents = 0;
};

/// A customer's spending so far, one for each order.
struct Spent {
  std::string customer;
  int64_t cents = 0;
  friend bool operator==(const Spent&, const Spent&) = default;
};

inline weir::DataStream<Spent> SpentPerCustomer(const weir::DataStream<Order>& orders) {
  return orders.KeyBy(&Order::customer)
      .Aggregate(weir::Sum(&Order::cents), [](const std::string& customer, int64_t cents) {
        return Spent{customer, cents};
      });
}
