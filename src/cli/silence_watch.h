#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace weir::cli {

/// Sees to it that nobody waits for ever, or without a word, for one who does not answer: a process
/// that hangs keeps its connections open. While this object lives, `answers` is asked again and
/// again, on a thread of its own.
class SilenceWatch {
 public:
  struct Options {
    std::chrono::milliseconds interval{1'000};
    /// Silence is told from here on, and whenever it has doubled.
    std::chrono::milliseconds patience{5'000};
    /// Past it `give_up` is called, once.
    std::chrono::milliseconds limit{120'000};
  };
  struct Events {
    /// Blocks for a second or two at most.
    std::function<bool()> answers;
    /// For how long there has been no answer; empty: there is one again. Null: nobody is told.
    std::function<void(std::optional<std::chrono::milliseconds> silent)> tell;
    std::function<void()> give_up;
  };

  SilenceWatch(Options options, Events events);
  /// Waits for a question that is under way.
  ~SilenceWatch();
  SilenceWatch(const SilenceWatch&) = delete;
  SilenceWatch& operator=(const SilenceWatch&) = delete;

 private:
  void Run();

  const Options options_;
  const Events events_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;   // guarded by mutex_
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace weir::cli
