#pragma once

#include <atomic>
#include <chrono>

#include "base/parker.h"

namespace weir {

/// How many streams still have operations outstanding. The completion queues may shut down only
/// when there are none. Add and Remove: any thread; Wait: the one thread that stops the exchange.
class LiveCount {
 public:
  void Add() { count_.fetch_add(1); }
  void Remove() {
    if (count_.fetch_sub(1) == 1) parker_.Wake();
  }
  size_t count() const { return count_.load(); }
  void WaitForNone() {
    while (count_.load() > 0) parker_.Park(std::chrono::milliseconds(100));
  }

 private:
  std::atomic<size_t> count_{0};
  Parker parker_;
};

}  // namespace weir
