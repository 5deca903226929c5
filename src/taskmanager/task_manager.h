#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "metrics/http_server.h"
#include "metrics/registry.h"
#include "proto/control.pb.h"
#include "runtime/exchange/exchange.h"
#include "runtime/task/slot.h"
#include "taskmanager/artifacts.h"
#include "taskmanager/attempt_history.h"
#include "taskmanager/black_box.h"
#include "taskmanager/cache_governor.h"
#include "taskmanager/control_loop.h"
#include "taskmanager/crash_reports.h"
#include "taskmanager/io_thread.h"
#include "taskmanager/job_manager_link.h"
#include "taskmanager/job_manager_silence.h"
#include "taskmanager/local_attempt.h"
#include "taskmanager/memory_plan.h"
#include "taskmanager/options.h"
#include "taskmanager/slot_watchdog.h"
#include "taskmanager/worker_service.h"

namespace weir {

/// The worker daemon: keeps the control stream to the JobManager, runs what it deploys.
///
/// One control loop owns everything but the threads that do the work (slots, exchange, I/O,
/// snapshots). When the JobManager goes away the tasks keep running; the next leader decides.
class TaskManager {
 public:
  enum class Exit { kShutdown, kRecycle, kRefused };

  /// Opens ports and directories; throws weir::Error naming what cannot be had.
  explicit TaskManager(TaskManagerOptions options);
  ~TaskManager();

  void Start();
  /// Any thread (and the signal watcher): ends in good order.
  void Shutdown(const std::string& reason);
  /// Blocks until the end.
  Exit Wait();

 private:
  using RegionKey = std::pair<std::string, uint32_t>;  // job, region

  // job_manager_messages.cc: what is said to and by the JobManager.
  void Register();
  void OnMessage(uint64_t stream, const proto::ToTaskManager& message);
  void OnBroken(uint64_t stream, const std::string& reason);
  void TellAway(const std::string& reason);
  void OnRegistered(const proto::RegisterAck& ack);
  void OnRefused(const proto::RegisterRefused& refused);
  void Heartbeat(uint64_t stream);
  void SendMetrics(uint64_t stream);

  // deployments.cc: attempts on their way in.
  void OnDeploy(const proto::DeployJob& deploy);
  LocalAttempt* Find(const proto::AttemptRef& ref);
  static RegionKey KeyOf(const proto::DeployJob& deploy) {
    return {deploy.attempt().job_id(), deploy.region()};
  }
  /// Copies of checkpoint files of jobs that have no attempt here: how a job that failed ended is
  /// told to nobody but the JobManager.
  void SweepCopies();
  std::string CopiesDirectory() const { return options_.directory + "/copies"; }
  /// The deployment that waits until an earlier attempt has gone.
  proto::DeployJob* FindWaiting(const proto::AttemptRef& ref);
  void StartAttempt(const proto::DeployJob& deploy, uint64_t leader_epoch);
  void OnStreamFailure(const std::string& job, uint32_t attempt, const std::string& what);

  // cancellation.cc: attempts on their way out.
  void OnCancel(const proto::CancelJob& cancel);
  /// Ends the attempt; one that does not go in time takes the process with it.
  void Release(LocalAttempt& attempt, proto::CancelReason reason);
  [[noreturn]] void GiveUp(const LocalAttempt& attempt);
  void OnReleased(const RegionKey& key);

  // state_memory.cc: what state may take of the budget.
  void WatchMemory();
  void ShareStateCache();
  /// I/O thread.
  RocksDbResources* SharedRocksDb();
  uint64_t RocksDbBytes() const;  ///< its planned memory, less what the governor took; I/O thread

  void WatchSlots();
  void AddMetrics();
  void End(Exit exit);
  bool Idle() const { return attempts_.empty(); }
  proto::ToJobManager NewMessage() const;
  metrics::Health HealthNow() const;

  const TaskManagerOptions options_;
  const MemoryPlan plan_;
  const uint64_t incarnation_;
  metrics::Registry metrics_;
  CrashReports crash_reports_;  // of earlier incarnations; until the JobManager has them
  std::unique_ptr<BlackBox> black_box_;
  std::unique_ptr<NetworkBufferPool> network_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<Artifacts> artifacts_;
  std::unique_ptr<RocksDbResources> rocksdb_;  // I/O thread, after the first use const
  double rocksdb_share_ = 1;                   // of the planned memory; I/O thread
  LocalCopyReport copy_report_;
  std::atomic<size_t> state_account_{0};  // see StateBound; any thread
  std::unique_ptr<WorkerService> worker_;
  std::unique_ptr<metrics::HttpServer> http_;
  std::vector<metrics::Registration> registrations_;
  std::vector<metrics::Registration> rocksdb_registrations_;  // I/O thread, as rocksdb_
  // At the last heartbeat.
  std::chrono::nanoseconds cpu_read_at_{0};
  double cpu_seconds_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<IoThread> io_;
  std::unique_ptr<IoThread> ends_;      // of attempts
  std::unique_ptr<IoThread> removals_;  // of their files

  // Control loop.
  SlotWatchdog watchdog_;
  CacheGovernor caches_;
  uint64_t stream_ = 0;  // the control stream in use
  bool registered_ = false;
  std::string cluster_id_;  // that this process belongs to; empty: not known yet
  bool ending_ = false;
  Exit exit_ = Exit::kShutdown;
  std::chrono::milliseconds retry_{50};
  std::chrono::milliseconds heartbeat_interval_{1000};
  std::chrono::milliseconds heartbeat_timeout_{5000};
  std::chrono::milliseconds metrics_interval_{0};
  JobManagerSilence silence_;
  std::chrono::nanoseconds told_away_{};  // when the log last said that the JobManager is away
  uint64_t heard_sequence_ = 0;
  std::string loaded_artifact_;
  std::map<RegionKey, std::unique_ptr<LocalAttempt>> attempts_;
  /// Deployments that wait for the region's former attempt to go.
  std::map<RegionKey, proto::DeployJob> waiting_;
  AttemptHistory history_{[this](const std::string& job) {
    const auto of_job = [&](const auto& entry) { return entry.first.first == job; };
    return std::any_of(attempts_.begin(), attempts_.end(), of_job) ||
           std::any_of(waiting_.begin(), waiting_.end(), of_job);
  }};

  std::atomic<uint64_t> leader_epoch_{0};  // the highest seen
  std::atomic<bool> ready_{false};
  std::mutex end_mutex_;
  std::condition_variable end_wake_;
  bool ended_ = false;  // end_mutex_

  std::unique_ptr<JobManagerLink> link_;
  std::unique_ptr<ControlLoop> loop_;
};

}  // namespace weir
