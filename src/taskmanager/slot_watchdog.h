#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace weir {

/// Notices slots whose thread has not come back for longer than a limit from one task's turn, or
/// one letter: everything else that is placed in the slot stands still meanwhile, barriers too.
///
/// Pure: what is looked at and the time are handed in. Owned by the control loop.
class SlotWatchdog {
 public:
  SlotWatchdog(uint32_t slots, std::chrono::nanoseconds limit);

  struct Change {
    uint32_t slot = 0;
    bool stuck = false;  ///< false: it has come back
    std::chrono::nanoseconds lasted{};
  };
  /// `busy_since[i]` is Slot::busy_since() of slot i. What has changed since the last look.
  std::vector<Change> Look(const std::vector<std::chrono::nanoseconds>& busy_since,
                           std::chrono::nanoseconds now);

 private:
  const std::chrono::nanoseconds limit_;
  std::vector<std::chrono::nanoseconds> stuck_since_;  // by slot; 0: it is not
};

/// How long a turn that began at `busy_since` has lasted, if that is beyond the limit; else 0.
inline std::chrono::nanoseconds StuckFor(std::chrono::nanoseconds busy_since,
                                         std::chrono::nanoseconds now,
                                         std::chrono::nanoseconds limit) {
  const bool stuck = busy_since.count() != 0 && now - busy_since >= limit;
  return stuck ? now - busy_since : std::chrono::nanoseconds(0);
}

}  // namespace weir
