#include "jobmanager/loop_time.h"

#include <algorithm>

namespace weir::jobmanager {

int64_t TimeOfDay::At(Instant instant) const {
  std::chrono::nanoseconds ago = monotonic - instant;
  for (const Standstill& standstill : standstills) {
    if (standstill.at > instant) ago += standstill.lasted;
  }
  return wall_ms - std::chrono::duration_cast<milliseconds>(ago).count();
}

std::chrono::nanoseconds LoopTime::Until(Instant due) const {
  return std::max(std::chrono::nanoseconds(0), due - Passed());
}

std::chrono::nanoseconds LoopTime::Woke(Instant due) {
  due = std::max(due, now_);
  now_ = Passed();
  const std::chrono::nanoseconds late = now_ - due;
  if (late <= tolerance_) return std::chrono::nanoseconds(0);
  left_out_ += late;
  now_ = due;
  standstills_.push_back({due, late});
  if (standstills_.size() > kKept) {
    standstills_[1].lasted += standstills_.front().lasted;
    standstills_.erase(standstills_.begin());
  }
  return late;
}

}  // namespace weir::jobmanager
