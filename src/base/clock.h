#pragma once

#include <chrono>
#include <cstdint>

#include "base/timestamp.h"

namespace weir {

/// Time, handed in rather than taken, so that control logic and operators run on a test's clock.
/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  /// Monotonic, counts suspended time (CLOCK_BOOTTIME): for time-outs, leases, intervals.
  virtual std::chrono::nanoseconds Monotonic() const = 0;

  /// Wall clock: for processing-time windows and for what people read. Never for a lease.
  virtual Timestamp Now() const = 0;

  static const Clock& System();
};

/// A clock that stands still until told. For tests; single-threaded use.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp start = Timestamp{0}) : now_(start) {}
  std::chrono::nanoseconds Monotonic() const override { return monotonic_; }
  Timestamp Now() const override { return now_; }
  void Advance(std::chrono::milliseconds d) {
    monotonic_ += d;
    now_ = now_ + d;
  }

 private:
  std::chrono::nanoseconds monotonic_{0};
  Timestamp now_;
};

}  // namespace weir
