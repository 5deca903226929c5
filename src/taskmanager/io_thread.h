#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace weir {

/// A thread for what blocks: fetching and loading libraries, reading state, removing files. Work is
/// done in order. Bounded by who posts: one preparation and one removal per attempt.
class IoThread {
 public:
  IoThread();
  ~IoThread();  // finishes what was posted

  void Post(std::function<void()> work);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;  // mutex_
  bool stop_ = false;                       // mutex_
  std::thread thread_;
};

}  // namespace weir
