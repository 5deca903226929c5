#include "connectors/generator/rate_limit.h"

#include <algorithm>
#include <cmath>

namespace weir {

RateLimit::RateLimit(double per_second, const Clock& clock)
    : per_second_(per_second),
      portion_(std::clamp(std::floor(per_second / 100), 1.0, 1024.0)),
      clock_(clock),
      at_(clock.Monotonic()) {}

uint32_t RateLimit::Take(uint32_t wanted) {
  const auto now = clock_.Monotonic();
  due_ += std::chrono::duration<double>(now - at_).count() * per_second_;
  due_ = std::min(due_, std::max(per_second_, 1.0));
  at_ = now;
  // A hair of tolerance, or rounding would make a row due a millisecond late.
  constexpr double kHair = 1e-6;
  if (due_ + kHair < std::min<double>(portion_, wanted)) return 0;
  const double taken = std::min<double>(std::floor(due_ + kHair), wanted);
  due_ -= taken;
  return static_cast<uint32_t>(taken);
}

Timestamp RateLimit::Next() const {
  const double ms = std::ceil((portion_ - due_) / per_second_ * 1000);
  return clock_.Now() + std::chrono::milliseconds(std::max<int64_t>(1, std::llround(ms)));
}

}  // namespace weir
