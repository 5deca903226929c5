#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace weir::nexmark {

/// Wakes the slot every few milliseconds, for a reader that waits for its next event to be due. One
/// thread, which touches nothing but `wake`; it ends with the object.
class Ticker {
 public:
  static constexpr std::chrono::milliseconds kInterval{5};

  explicit Ticker(std::function<void()> wake);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void Run();

  const std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable stopped_changed_;
  bool stopped_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace weir::nexmark
