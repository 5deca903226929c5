#pragma once

#include <algorithm>
#include <chrono>

namespace weir::cli {

/// When a daemon that died is started again: at once, and later and later if it keeps dying young.
/// Pure: time is handed in.
class RespawnBackoff {
 public:
  using milliseconds = std::chrono::milliseconds;
  static constexpr milliseconds kFirst{500};
  /// Shorter than a JobManager waits for a crash report (10 s), which the next process brings.
  static constexpr milliseconds kLongest{5'000};
  /// Living so long forgives earlier deaths.
  static constexpr milliseconds kGrownUp{20'000};

  /// The wait before the next start of a process that lived for `lifetime`.
  milliseconds OnDeath(milliseconds lifetime) {
    if (lifetime >= kGrownUp) next_ = milliseconds(0);
    const milliseconds wait = next_;
    next_ = std::clamp(next_ * 2, kFirst, kLongest);
    return wait;
  }

 private:
  milliseconds next_{0};
};

}  // namespace weir::cli
