#pragma once

#include <algorithm>
#include <cstdint>

namespace weir {

/// Which part of their planned memory the caches may use, by what the process really has resident:
/// the plan's figures are estimates, and user code keeps to none. Control loop.
class CacheGovernor {
 public:
  static constexpr double kLeast = 1.0 / 8;

  explicit CacheGovernor(uint64_t budget) : budget_(static_cast<double>(budget)) {}

  /// Asked at intervals long enough for the last answer to show. Down quickly, up slowly, and not
  /// at all between 90 % and all of the budget.
  double Look(uint64_t resident_bytes) {
    const auto resident = static_cast<double>(resident_bytes);
    if (resident > budget_) share_ = std::max(kLeast, share_ * 3 / 4);
    if (resident < 0.9 * budget_) share_ = std::min(1.0, share_ + 1.0 / 16);
    return share_;
  }
  double share() const { return share_; }

 private:
  const double budget_;
  double share_ = 1;
};

}  // namespace weir
