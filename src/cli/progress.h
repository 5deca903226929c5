#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "cli/context.h"

namespace weir::cli {

/// Says what is being waited for, once it has taken longer than a second: on a terminal a line that
/// counts the seconds, elsewhere one line. Nothing with --json. Gone when it is destroyed.
class Progress {
 public:
  Progress(const Context& context, std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Replaces what is said.
  void Say(std::string what);
  /// A line of its own, at once. Any thread. Nothing with --json.
  void Remark(const std::string& line);

 private:
  void Run();

  const Context& context_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string what_;    // guarded by mutex_
  bool done_ = false;   // guarded by mutex_
  std::thread thread_;  // draws; the owner only waits
};

}  // namespace weir::cli
