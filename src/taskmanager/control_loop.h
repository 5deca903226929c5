#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/parker.h"

namespace weir {

/// The thread that owns a process's control state. Everybody else posts mail to it.
class ControlLoop {
 public:
  /// Mail that may wait. Slots and network threads post a bounded number of letters per task, so
  /// a full box means a loop that has hung; then the process ends itself.
  static constexpr size_t kMaxMail = 1 << 20;

  ControlLoop(std::string name, const Clock& clock);
  ~ControlLoop();  // Stop()

  /// Any thread. Dropped after Stop.
  void Post(std::function<void()> mail);
  /// Any thread. Runs `mail` on the loop after `delay`.
  void PostAfter(std::chrono::milliseconds delay, std::function<void()> mail);

  /// Not from the loop itself. Runs what is in the box, then ends the thread.
  void Stop();

  bool IsLoopThread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  void Run();

  const std::string name_;
  const Clock& clock_;
  Parker parker_;
  std::mutex mutex_;
  std::vector<std::function<void()>> mail_;                                // mutex_
  std::multimap<std::chrono::nanoseconds, std::function<void()>> timers_;  // mutex_
  bool stop_ = false;                                                      // mutex_
  std::thread thread_;
};

}  // namespace weir
