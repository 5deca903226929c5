#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace weir {

/// Says how many rows a subtask of a source may read now. A bucket of tokens: it fills at the rate,
/// holds a second's worth (what was missed is made up for, but no more), and may be overdrawn by a
/// reader that gives more than was allowed, which then waits. Few rows at a time are held back, so
/// that a fast source is woken every 10 ms or so and not for each row. Slot thread only.
class RateLimit {
 public:
  explicit RateLimit(const Clock& clock);

  /// Rows per second from now on: 0 lets none through, empty is no limit.
  void Set(std::optional<double> per_second);

  /// At most Batch::kCapacity; 0: not before Next().
  uint32_t Allowed();
  void Spend(uint32_t rows);

  /// On Clock::Monotonic: when Allowed gives some. Nanoseconds' maximum: not at this rate.
  std::chrono::nanoseconds Next() const;

 private:
  void Fill();

  const Clock& clock_;
  std::optional<double> per_second_;
  double portion_ = 1;
  std::chrono::nanoseconds filled_at_;
  double tokens_ = 0;
};

}  // namespace weir
