#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace weir::jobmanager {

/// Letters to the control loop. A letter is a function that runs on the loop's thread.
class Mailbox {
 public:
  /// Clients' letters that may wait; more are refused.
  static constexpr size_t kMaxClientLetters = 4'096;

  using Letter = std::function<void()>;

  /// A client's call. False when too many wait: answer RESOURCE_EXHAUSTED. Any thread.
  [[nodiscard]] bool PostFromClient(Letter letter);

  /// From streams (one outstanding message each), timers and I/O (answers to what was asked): never
  /// refused, because it is bounded by what it answers. Any thread.
  void Post(Letter letter);

  /// The oldest letter, or an empty function when none comes in time. The loop's thread.
  Letter Take(std::chrono::nanoseconds wait);

 private:
  struct Entry {
    Letter letter;
    bool from_client;
  };
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Entry> letters_;  // guarded by mutex_
  size_t client_letters_ = 0;  // guarded by mutex_
};

}  // namespace weir::jobmanager
