#include "base/parker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace weir {
namespace {

// std::atomic::wait has no time-out, hence the system call.
void FutexWait(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds timeout) {
  timespec t{.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000),
             .tv_nsec = static_cast<long>(timeout.count() % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &t, nullptr, 0);
}

}  // namespace

void Parker::Park(std::chrono::nanoseconds timeout) {
  uint32_t expected = kRunning;
  if (!state_.compare_exchange_strong(expected, kParked, std::memory_order_acq_rel)) {
    state_.store(kRunning, std::memory_order_release);  // was notified: consume it
    return;
  }
  if (timeout.count() > 0) FutexWait(state_, kParked, timeout);
  state_.exchange(kRunning, std::memory_order_acq_rel);
}

void Parker::Wake() {
  if (state_.exchange(kNotified, std::memory_order_acq_rel) == kParked) {
    syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

}  // namespace weir
