#include "base/failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace weir {
namespace {

/// How often one that is held looks whether it is still.
constexpr std::chrono::milliseconds kHoldPoll{5};

struct Failpoint {
  std::string action;     // crash, error, sleep, hold
  uint64_t argument = 0;  // N-th pass, or milliseconds
  uint64_t passes = 0;
  bool told = false;
};

Failpoint Parse(std::string_view text) {
  Failpoint point;
  const size_t colon = text.find(':');
  point.action = std::string(text.substr(0, colon));
  if (colon != std::string_view::npos) {
    const std::string_view number = text.substr(colon + 1);
    std::from_chars(number.data(), number.data() + number.size(), point.argument);
  }
  return point;
}

class Registry {
 public:
  Registry() {
    const char* env = std::getenv("WEIR_FAILPOINTS");
    const std::string_view text = env == nullptr ? "" : env;
    if (text.starts_with('@')) {
      file_ = text.substr(1);
      armed_.store(true, std::memory_order_release);
    } else {
      SetAll(text);
    }
  }

  void Set(std::string_view name, std::string_view action) {
    std::lock_guard lock(mutex_);
    points_.erase(std::string(name));
    if (!action.empty()) points_[std::string(name)] = Parse(action);
    armed_.store(!points_.empty() || !file_.empty(), std::memory_order_release);
  }

  bool Evaluate(std::string_view name) {
    if (!armed_.load(std::memory_order_acquire)) return false;
    if (!file_.empty()) ReadAgain();
    std::unique_lock lock(mutex_);
    const auto it = points_.find(std::string(name));
    if (it == points_.end()) return false;
    Failpoint& point = it->second;
    ++point.passes;
    if (point.argument == 0 || point.action == "sleep" || point.passes == point.argument) {
      // Whoever set it wants to know that it was reached.
      if (!std::exchange(point.told, true)) {
        std::fprintf(stderr, "failpoint %s: %s\n", std::string(name).c_str(), point.action.c_str());
      }
    }
    if (point.action == "sleep") {
      const auto wait = std::chrono::milliseconds(point.argument);
      lock.unlock();
      std::this_thread::sleep_for(wait);
      return false;
    }
    if (point.action == "hold") {
      lock.unlock();
      while (IsHeld(name)) std::this_thread::sleep_for(kHoldPoll);
      return false;
    }
    if (point.argument != 0 && point.passes != point.argument) return false;
    if (point.action == "crash") kill(getpid(), SIGKILL);
    return point.action == "error";
  }

 private:
  /// What tells one content of the file from another; all zero: there is no file.
  struct Seen {
    ino_t inode = 0;
    off_t size = 0;
    time_t modified_s = 0;
    long modified_ns = 0;  // NOLINT(google-runtime-int): timespec's
    bool operator==(const Seen&) const = default;
  };

  bool IsHeld(std::string_view name) {
    if (!file_.empty()) ReadAgain();
    std::lock_guard lock(mutex_);
    const auto it = points_.find(std::string(name));
    return it != points_.end() && it->second.action == "hold";
  }

  void SetAll(std::string_view rest) {
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      std::string_view one = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
      while (one.ends_with('\n')) one.remove_suffix(1);
      const size_t equals = one.find('=');
      if (equals != std::string_view::npos) Set(one.substr(0, equals), one.substr(equals + 1));
    }
  }

  // The file is replaced by rename, so a new one has another inode; but the file system may give
  // out that of the one before the last again.
  void ReadAgain() {
    struct stat now = {};
    const bool there = stat(file_.c_str(), &now) == 0;
    std::unique_lock lock(mutex_);
    Seen seen;
    if (there) seen = {now.st_ino, now.st_size, now.st_mtim.tv_sec, now.st_mtim.tv_nsec};
    if (seen == seen_) return;
    seen_ = seen;
    points_.clear();
    lock.unlock();
    if (!there) return;
    const int fd = open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    char text[4096];
    const ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    if (length > 0) SetAll({text, static_cast<size_t>(length)});
  }

  std::string file_;  // set by the constructor alone
  Seen seen_;         // guarded by mutex_
  std::mutex mutex_;
  std::map<std::string, Failpoint> points_;
  std::atomic<bool> armed_{false};
};

Registry& Instance() {
  static Registry registry;
  return registry;
}

}  // namespace

bool EvaluateFailpoint(std::string_view name) { return Instance().Evaluate(name); }
void SetFailpoint(std::string_view name, std::string_view action) { Instance().Set(name, action); }

}  // namespace weir
