#include "runtime/operator/window/time_windows.h"

#include "base/error.h"

namespace weir {

TimeWindows::TimeWindows(std::chrono::milliseconds size, std::chrono::milliseconds slide)
    : size_(size.count()), slide_(slide.count()) {
  if (size_ < 1 || slide_ < 1) {
    ThrowError(ErrorKind::kUser, "a window of " + std::to_string(size_) + " ms every " +
                                     std::to_string(slide_) +
                                     " ms: size and slide are at least one millisecond");
  }
  if (size_ > kLongest || slide_ > kLongest) {
    ThrowError(ErrorKind::kUser, "a window of " + std::to_string(size_) + " ms every " +
                                     std::to_string(slide_) + " ms: the longest is " +
                                     std::to_string(kLongest) +
                                     " ms, a thousand years; what never ends is an aggregate of "
                                     "the keyed stream itself, without Window");
  }
  // With gaps between windows the cut is the window's end, too.
  inner_cut_ = slide_ > size_ ? size_ : size_ % slide_;
}

TimeWindows TimeWindows::Offset(std::chrono::milliseconds offset) const {
  TimeWindows windows = *this;
  windows.offset_ = offset.count() % slide_;
  if (windows.offset_ < 0) windows.offset_ += slide_;
  return windows;
}

std::string TimeWindows::Describe() const {
  return std::to_string(size_) + " ms every " + std::to_string(slide_) + " ms" +
         (offset_ == 0 ? "" : " from " + std::to_string(offset_) + " ms on") +
         (domain_ == TimeDomain::kEventTime ? " by event time" : " by processing time");
}

}  // namespace weir
