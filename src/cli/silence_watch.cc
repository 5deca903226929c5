#include "cli/silence_watch.h"

#include <utility>

namespace weir::cli {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

SilenceWatch::SilenceWatch(Options options, Events events)
    : options_(options), events_(std::move(events)), thread_([this] { Run(); }) {}

SilenceWatch::~SilenceWatch() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void SilenceWatch::Run() {
  steady_clock::time_point heard = steady_clock::now();
  milliseconds tell_at = options_.patience;
  bool given_up = false;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, options_.interval, [this] { return done_; })) {
    lock.unlock();
    const bool answered = events_.answers();
    const auto silent = std::chrono::duration_cast<milliseconds>(steady_clock::now() - heard);
    if (answered) {
      heard = steady_clock::now();
      if (tell_at != options_.patience && events_.tell) events_.tell(std::nullopt);
      tell_at = options_.patience;
    } else if (silent >= options_.limit) {
      if (!std::exchange(given_up, true)) events_.give_up();
    } else if (silent >= tell_at) {
      if (events_.tell) events_.tell(silent);
      tell_at = 2 * silent;
    }
    lock.lock();
  }
}

}  // namespace weir::cli
