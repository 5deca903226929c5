#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
  std::vector<Standstill> standstills;  ///< left out of `monotonic`, oldest first

  int64_t At(Instant instant) const;
};

/// The time of the control loop: Clock::Monotonic(), without what the loop stood still. A process
/// that is stopped, swapped out or suspended with its machine neither hears nor reads what came
/// meanwhile. Whatever is awaited by this time (a heartbeat, an acknowledgement, a release) is
/// given after the standstill what it had left before: nobody is held for lost because the
/// JobManager was away, and whoever was lost meanwhile is found when the rest has passed.
///
/// It passes from turn to turn of the loop: within one, which may stand still in its midst, it is
/// always the same, so nothing is judged by a standstill before what came meanwhile has been read.
/// It never goes back.
///
/// The clock underneath may or may not count a standstill: what it does not count was never missed.
/// Owned by the control loop; its thread only.
class LoopTime {
 public:
  /// Standstills that instants are turned into times of day by; older ones are taken together.
  static constexpr size_t kKept = 64;

  /// The loop wakes in time but for `tolerance`, which is less than what anybody is given.
  LoopTime(const Clock& clock, std::chrono::nanoseconds tolerance)
      : clock_(clock), tolerance_(tolerance), now_(clock.Monotonic()) {}

  Instant Now() const { return now_; }
  TimeOfDay AsTimeOfDay() const { return {now_, clock_.Now().ms, standstills_}; }

  /// How long the loop may sleep to wake at `due`; 0 if that has passed.
  std::chrono::nanoseconds Until(Instant due) const;

  /// A turn begins. The loop meant to be awake by `due` at the latest, or at once if that was
  /// before the last turn. How long it stood still beyond that, which is left out; 0: it is in
  /// time.
  std::chrono::nanoseconds Woke(Instant due);

 private:
  Instant Passed() const { return clock_.Monotonic() - left_out_; }

  const Clock& clock_;
  const std::chrono::nanoseconds tolerance_;
  Instant now_;
  std::chrono::nanoseconds left_out_{0};
  std::vector<TimeOfDay::Standstill> standstills_;  // bounded by kKept
};

}  // namespace weir::jobmanager
