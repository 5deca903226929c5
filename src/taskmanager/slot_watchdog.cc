#include "taskmanager/slot_watchdog.h"

namespace weir {

using std::chrono::nanoseconds;

SlotWatchdog::SlotWatchdog(uint32_t slots, nanoseconds limit)
    : limit_(limit), stuck_since_(slots) {}

std::vector<SlotWatchdog::Change> SlotWatchdog::Look(const std::vector<nanoseconds>& busy_since,
                                                     nanoseconds now) {
  std::vector<Change> changes;
  for (uint32_t i = 0; i < stuck_since_.size(); ++i) {
    nanoseconds& known = stuck_since_[i];
    if (known.count() != 0 && busy_since[i] != known) {
      changes.push_back({.slot = i, .stuck = false, .lasted = now - known});
      known = nanoseconds(0);
    }
    const nanoseconds lasted = StuckFor(busy_since[i], now, limit_);
    if (lasted.count() == 0 || known.count() != 0) continue;
    known = busy_since[i];
    changes.push_back({.slot = i, .stuck = true, .lasted = lasted});
  }
  return changes;
}

}  // namespace weir
