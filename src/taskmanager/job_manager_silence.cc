#include "taskmanager/job_manager_silence.h"

#include <utility>

namespace weir {

using std::chrono::nanoseconds;

void JobManagerSilence::Begin(nanoseconds now, nanoseconds interval, nanoseconds timeout) {
  interval_ = interval;
  timeout_ = timeout;
  heard_ = looked_ = now;
  silent_ = false;
}

bool JobManagerSilence::Heard(nanoseconds now) {
  heard_ = now;
  return std::exchange(silent_, false);
}

JobManagerSilence::Verdict JobManagerSilence::Look(nanoseconds now) {
  const nanoseconds late = now - looked_ - interval_;
  looked_ = now;
  // What was heard since came after the standstill.
  if (late > interval_ / 2 && heard_ <= now - late) heard_ += late;
  if (now - heard_ > kPatience * timeout_) return Verdict::kGiveUp;
  if (silent_ || now - heard_ <= timeout_) return Verdict::kNone;
  silent_ = true;
  return Verdict::kBegins;
}

}  // namespace weir
