#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/exchange/network_queue.h"

namespace weir {

/// The network threads of a process: each polls one completion queue and does what its operations
/// say. A stream belongs to one queue for life, so its completions come one after another.
class NetworkThreads {
 public:
  /// `queues` come from the server's builder; clients use them too.
  explicit NetworkThreads(std::vector<std::unique_ptr<NetworkQueue>> queues);
  /// Stop() was called.
  ~NetworkThreads();

  size_t size() const { return queues_.size(); }
  NetworkQueue* queue(size_t i) { return queues_[i].get(); }
  /// The next queue in turn.
  NetworkQueue* NextQueue();

  /// No operation is outstanding, and none will be started. Ends and joins the threads.
  void Stop();

  /// One, or two on more than four cores.
  static size_t DefaultCount();

 private:
  std::vector<std::unique_ptr<NetworkQueue>> queues_;
  std::vector<std::thread> threads_;
  std::atomic<size_t> turn_{0};
};

}  // namespace weir
