#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>

namespace weir {

/// A point in event time or processing time: milliseconds since 1970-01-01T00:00:00Z.
///
/// A strong type, so that a time is never mistaken for a count; durations are std::chrono.
struct Timestamp {
  int64_t ms = 0;

  static constexpr Timestamp Min() { return {std::numeric_limits<int64_t>::min()}; }
  static constexpr Timestamp Max() { return {std::numeric_limits<int64_t>::max()}; }

  friend constexpr auto operator<=>(Timestamp, Timestamp) = default;
  friend constexpr Timestamp operator+(Timestamp t, std::chrono::milliseconds d) {
    return {t.ms + d.count()};
  }
  friend constexpr Timestamp operator-(Timestamp t, std::chrono::milliseconds d) {
    return {t.ms - d.count()};
  }
  friend constexpr std::chrono::milliseconds operator-(Timestamp a, Timestamp b) {
    return std::chrono::milliseconds(a.ms - b.ms);
  }
};

/// The timestamp of a record whose source gave it none.
inline constexpr Timestamp kNoTimestamp = Timestamp::Min();

}  // namespace weir
