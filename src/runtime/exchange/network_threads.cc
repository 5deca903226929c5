#include "runtime/exchange/network_threads.h"

#include <pthread.h>

#include <utility>

#include "runtime/exchange/operation.h"

namespace weir {

NetworkThreads::NetworkThreads(std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues)
    : queues_(std::move(queues)) {
  for (const auto& queue : queues_) {
    threads_.emplace_back([cq = queue.get()] {
      pthread_setname_np(pthread_self(), "weir-network");
      void* tag = nullptr;
      bool ok = false;
      while (cq->Next(&tag, &ok)) static_cast<Operation*>(tag)->Complete(ok);
    });
  }
}

NetworkThreads::~NetworkThreads() { Stop(); }

grpc::ServerCompletionQueue* NetworkThreads::NextQueue() {
  return queues_[turn_.fetch_add(1, std::memory_order_relaxed) % queues_.size()].get();
}

void NetworkThreads::Stop() {
  if (threads_.empty()) return;
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t NetworkThreads::DefaultCount() { return std::thread::hardware_concurrency() > 4 ? 2 : 1; }

}  // namespace weir
