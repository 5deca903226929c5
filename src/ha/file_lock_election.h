#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ha/file_lock.h"
#include "ha/leader_election.h"

namespace weir {

/// Election among the processes of one machine by a lock on `<directory>/leader.lock`. The lock
/// ends with the process, so that the next candidate is elected within one interval.
class FileLockElection final : public LeaderElection {
 public:
  struct Options {
    std::string directory;
    /// For people, in the lock's directory: host, process.
    std::string holder;
    /// How often a candidate tries, and a leader looks whether its lock file was replaced.
    std::chrono::milliseconds interval{100};
  };

  explicit FileLockElection(Options options) : options_(std::move(options)) {}
  ~FileLockElection() override { Stop(); }

  absl::Status Start(const std::string& address, LeaderElectionListener* listener) override;
  void Stop() override;
  bool MayAct() const override { return leading_.load(std::memory_order_acquire); }
  absl::StatusOr<std::optional<LeaderInfo>> CurrentLeader() override;

  /// Who leads according to a directory; for processes that are no candidates.
  static absl::StatusOr<std::optional<LeaderInfo>> LookUp(const std::string& directory);

 private:
  void Run(LeaderElectionListener* listener);
  /// Tries once: the epoch if elected, nothing if another leads.
  absl::StatusOr<std::optional<LeaderEpoch>> TryLead();
  void StepDown();

  const Options options_;
  std::string address_;  // set before the thread starts
  std::atomic<bool> leading_{false};
  std::optional<FileLock> lock_;  // the thread's; after it ended, Stop's
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;  // guarded by mutex_
};

}  // namespace weir
