#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include "base/timestamp.h"
#include "runtime/operator/time_domain.h"

namespace weir {

/// A stretch of time, the end excluded.
struct TimeWindow {
  Timestamp start;
  Timestamp end;

  /// The last moment inside: the timestamp of what the window emits.
  Timestamp MaxTimestamp() const { return end - std::chrono::milliseconds(1); }
  friend auto operator<=>(const TimeWindow&, const TimeWindow&) = default;
};

/// Windows of one size, a new one every `slide`: what Tumbling and Sliding make.
///
/// Pure arithmetic over milliseconds. Time is cut into slices at the windows' starts and ends: a
/// row belongs to one slice, however many windows overlap, and a window is the slices between its
/// start and its end. A slice is known by its end, as a window is.
class TimeWindows {
 public:
  /// The longest size and slide: a thousand years.
  static constexpr int64_t kLongest = int64_t{365'250} * 24 * 3'600'000;
  /// Times beyond this, in the year 146 million, are taken for it: so that nothing here overflows.
  static constexpr int64_t kFarthest = std::numeric_limits<int64_t>::max() / 2;
  static int64_t Within(int64_t time) { return std::clamp(time, -kFarthest, kFarthest); }

  /// Throws weir::Error unless size and slide are at least a millisecond and at most kLongest.
  TimeWindows(std::chrono::milliseconds size, std::chrono::milliseconds slide);

  /// Windows begin at `offset` plus multiples of the slide; without, at multiples of it since 1970
  /// in UTC. Daily windows in a zone two hours east of it: Tumbling(24h).Offset(-2h).
  TimeWindows Offset(std::chrono::milliseconds offset) const;
  /// Windows by the machine's clock, not by the rows' timestamps.
  TimeWindows ProcessingTime() const {
    TimeWindows windows = *this;
    windows.domain_ = TimeDomain::kProcessingTime;
    return windows;
  }

  int64_t size() const { return size_; }
  int64_t slide() const { return slide_; }
  TimeDomain domain() const { return domain_; }
  bool overlap() const { return slide_ < size_; }
  /// All of it, in words; part of snapshots, so they never change.
  std::string Describe() const;

  /// The start of the last window that begins at or before t.
  int64_t LastStart(int64_t t) const { return t - SinceStart(t); }
  /// False in a gap between windows (when the slide is longer than the size).
  bool InSomeWindow(int64_t t) const { return SinceStart(t) < size_; }

  /// The slice of t, [SliceStart, SliceEnd). t is Within.
  int64_t SliceStart(int64_t t) const {
    const int64_t since = SinceStart(t);
    return t - since + (since < inner_cut_ ? 0 : inner_cut_);
  }
  int64_t SliceEnd(int64_t t) const {
    const int64_t since = SinceStart(t);
    return t - since + (since < inner_cut_ ? inner_cut_ : slide_);
  }

  /// The end of the first window that ends at or after t; the end of time where no row's does.
  int64_t WindowEndFrom(int64_t t) const {
    if (t > kFarthest + 2 * kLongest) return std::numeric_limits<int64_t>::max();
    return LastStart(std::max(t, -kFarthest) - size_ + slide_ - 1) + size_;
  }
  /// The end of the last window that a slice belongs to.
  int64_t LastWindowEndOf(int64_t slice_end) const { return LastStart(slice_end - 1) + size_; }

  TimeWindow WindowOf(int64_t window_end) const {
    return {Timestamp{window_end - size_}, Timestamp{window_end}};
  }

 private:
  int64_t SinceStart(int64_t t) const {
    const int64_t since = (t - offset_) % slide_;
    return since < 0 ? since + slide_ : since;
  }

  int64_t size_;
  int64_t slide_;
  int64_t offset_ = 0;  // in [0, slide)
  /// Where a window ends between two starts, from the earlier start on; 0 if it ends on a start.
  int64_t inner_cut_;
  TimeDomain domain_ = TimeDomain::kEventTime;
};

}  // namespace weir
