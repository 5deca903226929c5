#pragma once

#include <grpcpp/completion_queue.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/short_waits.h"
#include "runtime/exchange/waker.h"

namespace weir {

/// A completion queue with the thread that polls it. What a slot is to be woken for is collected
/// while completions keep coming, and done before the thread would sleep (or after a few): a slot
/// then finds several frames at once, instead of being woken for each.
class NetworkQueue {
 public:
  explicit NetworkQueue(std::unique_ptr<grpc::ServerCompletionQueue> cq) : cq_(std::move(cq)) {}

  grpc::ServerCompletionQueue* cq() { return cq_.get(); }

  /// Its network thread.
  void WakeSoon(const std::shared_ptr<Waker>& waker) {
    if (std::find(wakes_.begin(), wakes_.end(), waker) == wakes_.end()) wakes_.push_back(waker);
  }
  /// The network thread's whole life: until the queue has been shut down and drained.
  void Run();

 private:
  bool Next(void** tag, bool* ok);
  void Wake();

  const std::unique_ptr<grpc::ServerCompletionQueue> cq_;
  std::vector<std::shared_ptr<Waker>> wakes_;  // network thread; at most one entry per gate
  ShortWaits waits_;                           // network thread
  int put_off_ = 0;  // network thread: completions since the first of them
};

}  // namespace weir
