#include "base/clock.h"

#include <time.h>

namespace weir {
namespace {

class SystemClock final : public Clock {
 public:
  std::chrono::nanoseconds Monotonic() const override {
    timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  }
  Timestamp Now() const override {
    return {std::chrono::duration_cast<std::chrono::milliseconds>(
                std::chrono::system_clock::now().time_since_epoch())
                .count()};
  }
};

}  // namespace

const Clock& Clock::System() {
  static const SystemClock clock;
  return clock;
}

}  // namespace weir
