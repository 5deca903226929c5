#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "base/clock.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

/// A time of day for each instant of the control loop's time, as of one moment.
struct TimeOfDay {
  Instant monotonic{0};
  int64_t wall_ms = 0;
  struct Standstill {
    Instant at{0};
    std::chrono::nanoseconds lasted{0};
  };
  std::deque<Standstill> standstills;  ///< left out of `monotonic`, oldest first

  int64_t At(Instant instant) const;
};

/// The time of the control loop: Clock::Monotonic(), without what the loop stood still. A process
/// that is stopped, swapped out or suspended with its machine neither hears nor reads what came
/// meanwhile. Whatever is awaited by this time (a heartbeat, an acknowledgement, a release) is
/// given after the standstill what it had left before: nobody is held for lost because the
/// JobManager was away, and whoever was lost meanwhile is found when the rest has passed.
///
/// The clock underneath may or may not count a standstill: what it does not count was never missed.
/// Owned by the control loop; its thread only.
class LoopTime {
 public:
  /// Standstills that instants are turned into times of day by; older ones are taken together.
  static constexpr size_t kKept = 64;

  /// The loop wakes in time but for `tolerance`, which is less than what anybody is given.
  LoopTime(const Clock& clock, std::chrono::nanoseconds tolerance)
      : clock_(clock), tolerance_(tolerance), woke_(clock.Monotonic()) {}

  Instant Now() const { return clock_.Monotonic() - left_out_; }
  TimeOfDay AsTimeOfDay() const { return {Now(), clock_.Now().ms, standstills_}; }

  /// The loop meant to wake at `due`, or at once if that has passed, and has now, before it looks
  /// at anything that has come. How long it stood still beyond that, which is left out from now on;
  /// 0: it is in time.
  std::chrono::nanoseconds Woke(Instant due);

 private:
  const Clock& clock_;
  const std::chrono::nanoseconds tolerance_;
  Instant woke_;  // last
  std::chrono::nanoseconds left_out_{0};
  std::deque<TimeOfDay::Standstill> standstills_;  // bounded by kKept
};

}  // namespace weir::jobmanager
