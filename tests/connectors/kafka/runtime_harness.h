#pragma once

#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/operator/runtime_context.h"

namespace weir::kafka::testing {

/// What a reader or writer is given by its subtask, for one that a test drives by hand. The test's
/// thread is the slot's.
class RuntimeHarness {
 public:
  RuntimeHarness() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-kafka-test-XXXXXX").string();
    context.local_directory = mkdtemp(path.data());
    context.job_name = "test";
    context.job_id = JobId{"job"};
    context.operator_uid = "uid";
    context.attempt = AttemptId{1};
    context.leader_epoch = LeaderEpoch{1};
    context.clock = &Clock::System();
    context.wake = [this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      changed_.notify_all();
    };
    context.request_checkpoint = [this] { ++checkpoints_requested; };
    context.log_warning = [this](const std::string& line) {
      std::lock_guard lock(mutex_);
      log_ += line + "\n";
      woken_ = true;
      changed_.notify_all();
    };
    context.add_to_counter = [this](const std::string& name, int64_t delta) {
      counters[name] += delta;
    };
    context.set_gauge = [this](const std::string& name, const std::string& label, double value) {
      gauges[name + "/" + label] = value;
    };
  }
  ~RuntimeHarness() { std::filesystem::remove_all(context.local_directory); }

  /// Calls `step` after each wake and log line until it returns true; false after a minute.
  template <class F>
  bool RunUntil(F&& step) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!step()) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_until(lock, deadline, [&] { return woken_; })) return false;
      woken_ = false;
    }
    return true;
  }

  std::string log() const {
    std::lock_guard lock(mutex_);
    return log_;
  }

  RuntimeContext context;
  int checkpoints_requested = 0;
  std::map<std::string, int64_t> counters;
  std::map<std::string, double> gauges;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  std::string log_;
};

/// The message of the weir::Error that `f` throws; "" when it throws none.
template <class F>
std::string ErrorOf(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace weir::kafka::testing
