#include "runtime/exchange/network_queue.h"

#include "runtime/exchange/operation.h"

namespace weir {
namespace {

// Completions for which a wake-up may be put off: however busy the network is, slots get on.
constexpr int kMaxPutOff = 16;

}  // namespace

void NetworkQueue::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (true) {
    if (wakes_.empty()) {
      if (!cq_->Next(&tag, &ok)) return;
      put_off_ = 0;
    } else if (++put_off_ == kMaxPutOff) {
      Wake();
      continue;
    } else {
      const auto next = cq_->AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC));
      if (next != grpc::CompletionQueue::GOT_EVENT) {
        Wake();
        continue;
      }
    }
    Operation::Complete(tag, ok);
  }
}

void NetworkQueue::Wake() {
  for (const auto& waker : wakes_) waker->Wake();
  wakes_.clear();
}

}  // namespace weir
