#include "runtime/exchange/network_threads.h"

#include <pthread.h>

#include <utility>

namespace weir {

NetworkThreads::NetworkThreads(std::vector<std::unique_ptr<NetworkQueue>> queues)
    : queues_(std::move(queues)) {
  for (const auto& queue : queues_) {
    threads_.emplace_back([queue = queue.get()] {
      pthread_setname_np(pthread_self(), "weir-network");
      queue->Run();
    });
  }
}

NetworkThreads::~NetworkThreads() { Stop(); }

NetworkQueue* NetworkThreads::NextQueue() {
  return queues_[turn_.fetch_add(1, std::memory_order_relaxed) % queues_.size()].get();
}

void NetworkThreads::Stop() {
  if (threads_.empty()) return;
  for (const auto& queue : queues_) queue->cq()->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t NetworkThreads::DefaultCount() { return std::thread::hardware_concurrency() > 4 ? 2 : 1; }

}  // namespace weir
