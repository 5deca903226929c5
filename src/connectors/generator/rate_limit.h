#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/timestamp.h"

namespace weir {

/// Says how many rows are due at a given rate. What was missed is made up for, but never more than
/// a second's worth. Slot thread only.
class RateLimit {
 public:
  RateLimit(double per_second, const Clock& clock);

  /// How many of the `wanted` rows may be made now. Few at a time are held back, so that a fast
  /// source is woken every 10 ms or so and not for each row.
  uint32_t Take(uint32_t wanted);

  /// When the next Take will give any.
  Timestamp Next() const;

 private:
  const double per_second_;
  const double portion_;
  const Clock& clock_;
  std::chrono::nanoseconds at_;
  double due_ = 0;
};

}  // namespace weir
