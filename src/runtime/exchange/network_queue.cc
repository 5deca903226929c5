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
      if (!Next(&tag, &ok)) return;
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

// Waits for a completion. False when the queue was shut down and is empty.
bool NetworkQueue::Next(void** tag, bool* ok) {
  auto next = grpc::CompletionQueue::TIMEOUT;
  const bool looked = waits_.Begin([&] {
    next = cq_->AsyncNext(tag, ok, gpr_time_0(GPR_CLOCK_MONOTONIC));
    return next != grpc::CompletionQueue::TIMEOUT;
  });
  const bool got = looked ? next == grpc::CompletionQueue::GOT_EVENT : cq_->Next(tag, ok);
  waits_.End();
  return got;
}

void NetworkQueue::Wake() {
  for (const auto& waker : wakes_) waker->Wake();
  wakes_.clear();
}

}  // namespace weir
