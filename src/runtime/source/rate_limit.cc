#include "runtime/source/rate_limit.h"

#include <algorithm>
#include <cmath>

#include "runtime/element/batch.h"

namespace weir {
namespace {

// A hair of tolerance, or rounding would make a row due a millisecond late.
constexpr double kHair = 1e-6;
// Waits are computed in doubles; nobody waits for longer than that without looking.
constexpr double kLongestWaitSeconds = 1e6;

}  // namespace

RateLimit::RateLimit(const Clock& clock) : clock_(clock), filled_at_(clock.Monotonic()) {}

void RateLimit::Set(std::optional<double> per_second) {
  Fill();
  per_second_ = per_second;
  if (!per_second_) return;
  portion_ = std::clamp(std::floor(*per_second_ / 100), 1.0, double{Batch::kCapacity});
  // Nor is what the former rate owed or saved worth more than a second of this one.
  const double burst = std::max(*per_second_, 1.0);
  tokens_ = std::clamp(tokens_, -burst, burst);
}

void RateLimit::Fill() {
  const auto now = clock_.Monotonic();
  const auto passed = now - filled_at_;
  filled_at_ = now;
  if (!per_second_) return;
  tokens_ += std::chrono::duration<double>(passed).count() * *per_second_;
  tokens_ = std::min(tokens_, std::max(*per_second_, 1.0));
}

uint32_t RateLimit::Allowed() {
  if (!per_second_) return Batch::kCapacity;
  Fill();
  if (*per_second_ <= 0 || tokens_ + kHair < portion_) return 0;
  return static_cast<uint32_t>(
      std::min<double>(std::floor(tokens_ + kHair), double{Batch::kCapacity}));
}

void RateLimit::Spend(uint32_t rows) {
  if (per_second_) tokens_ -= rows;
}

std::chrono::nanoseconds RateLimit::Next() const {
  if (!per_second_ || *per_second_ <= 0) return std::chrono::nanoseconds::max();
  const double seconds = std::min((portion_ - tokens_) / *per_second_, kLongestWaitSeconds);
  // Rounded up: who comes then is not sent away again.
  return filled_at_ + std::chrono::nanoseconds(
                          std::max<int64_t>(1, static_cast<int64_t>(std::ceil(seconds * 1e9))));
}

}  // namespace weir
