#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace weir {

/// Whether a thread that has to wait looks again for a moment before it sleeps. Owned by it.
///
/// To put a core to rest and to wake it takes longer than a short wait lasts, and a wait that
/// follows a short one mostly is short, too. So after a short wait the thread looks first, each
/// time offering its core to whoever else wants to run; after a long one it sleeps at once. A
/// thread that seldom has work does not look, and no wait costs more than kLook in vain.
class ShortWaits {
 public:
  static constexpr std::chrono::nanoseconds kLook = std::chrono::microseconds(50);

  /// A wait begins. True when `look`, called for at most `longest`, said that it is over.
  template <class Look>
  bool Begin(Look look, std::chrono::nanoseconds longest = kLook) {
    began_ = Clock::now();
    if (!last_was_short_) return false;
    do {
      if (look()) return true;
      sched_yield();
    } while (Clock::now() - began_ < std::min(longest, kLook));
    return false;
  }
  /// The wait is over, however it ended.
  void End() { last_was_short_ = Clock::now() - began_ < kLook; }

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point began_;
  bool last_was_short_ = false;
};

}  // namespace weir
