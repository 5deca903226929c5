#include "base/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace weir {
namespace {

struct Failpoint {
  std::string action;     // crash, error, sleep
  uint64_t argument = 0;  // N-th pass, or milliseconds
  uint64_t passes = 0;
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
    std::string_view rest = env == nullptr ? "" : env;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      const std::string_view one = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
      const size_t equals = one.find('=');
      if (equals != std::string_view::npos) Set(one.substr(0, equals), one.substr(equals + 1));
    }
  }

  void Set(std::string_view name, std::string_view action) {
    std::lock_guard lock(mutex_);
    points_.erase(std::string(name));
    if (!action.empty()) points_[std::string(name)] = Parse(action);
    armed_.store(!points_.empty(), std::memory_order_release);
  }

  bool Evaluate(std::string_view name) {
    if (!armed_.load(std::memory_order_acquire)) return false;
    std::unique_lock lock(mutex_);
    const auto it = points_.find(std::string(name));
    if (it == points_.end()) return false;
    Failpoint& point = it->second;
    ++point.passes;
    if (point.action == "sleep") {
      const auto wait = std::chrono::milliseconds(point.argument);
      lock.unlock();
      std::this_thread::sleep_for(wait);
      return false;
    }
    if (point.argument != 0 && point.passes != point.argument) return false;
    if (point.action == "crash") kill(getpid(), SIGKILL);
    return point.action == "error";
  }

 private:
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
