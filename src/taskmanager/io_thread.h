#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace weir {

/// A thread for what blocks: fetching and loading libraries, reading state, ending attempts,
/// removing files. Work is done in order. Bounded by who posts: a few letters per attempt.
class IoThread {
 public:
  explicit IoThread(std::string name);
  ~IoThread();  // finishes what was posted

  void Post(std::function<void()> work);

 private:
  void Run();

  const std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;  // mutex_
  bool stop_ = false;                       // mutex_
  std::thread thread_;
};

}  // namespace weir
