#include "base/parker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/short_waits.h"

namespace weir {
namespace {

// std::atomic::wait has no time-out, hence the system call.
void FutexWait(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds timeout) {
  timespec t{.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000),
             .tv_nsec = static_cast<long>(timeout.count() % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &t, nullptr, 0);
}

thread_local ShortWaits waits;  // a habit of the thread, whichever Parker it waits on

}  // namespace

void Parker::Park(std::chrono::nanoseconds timeout) {
  const auto notified = [this] { return state_.load(std::memory_order_acquire) == kNotified; };
  if (!notified() && timeout.count() > 0) {
    if (!waits.Begin(notified, timeout)) {
      uint32_t expected = kRunning;
      if (state_.compare_exchange_strong(expected, kParked, std::memory_order_acq_rel)) {
        FutexWait(state_, kParked, timeout);
      }
    }
    waits.End();
  }
  state_.exchange(kRunning, std::memory_order_acq_rel);  // consumes what came
}

void Parker::Wake() {
  if (state_.exchange(kNotified, std::memory_order_acq_rel) == kParked) {
    syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

}  // namespace weir
