#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "state/rocksdb/rocksdb_tuning.h"

namespace weir {

/// What a TaskManager process is told. Filled from the configuration in main; sizes are bytes.
struct TaskManagerOptions {
  /// Stable across incarnations of this worker; empty: made up from host and process id.
  std::string id;
  /// host:port of the JobManager.
  std::string job_manager = "127.0.0.1:6123";
  /// Silence of the JobManager's machine, not of its process, that breaks the connection to it.
  std::chrono::milliseconds unacknowledged{5'000};
  /// The same between TaskManagers.
  std::chrono::milliseconds unacknowledged_data{10'000};
  /// The only cluster it works for; empty: the first that it registers with.
  std::string cluster_id;
  std::string bind_host = "127.0.0.1";
  /// Under which peers reach this process; empty: bind_host.
  std::string host;
  int rpc_port = 6122;      ///< 0: any free port
  int data_port = 6121;     ///< 0: any free port
  int metrics_port = 9249;  ///< 0: any free port; -1: off
  /// 0: one per core.
  uint32_t slots = 0;
  /// The whole process; 0: the cgroup's limit, else 2 GiB.
  uint64_t memory_bytes = 0;
  /// 0: the plan's share.
  uint32_t network_buffers = 0;
  uint32_t network_buffer_bytes = 64 << 10;
  RocksDbTuning rocksdb;
  /// Of one memtable, where it is set; 0: the tuning's.
  uint64_t write_buffer_bytes = 0;
  /// Of all RocksDB stores together; 0: the plan's share.
  uint64_t rocksdb_bytes = 0;
  /// Working files: artifacts, open epochs, local state. Swept of dead incarnations at the start.
  std::string directory;
  /// Keeps copies there of the checkpoint files that it writes to another file system.
  bool local_recovery = true;
  std::string log_file;  ///< for ReadLog; empty: none
  /// A slot that has not come back from one turn for so long is named.
  std::chrono::milliseconds watchdog_timeout{10'000};
  /// An attempt that has not gone so long after it was told to ends the process.
  std::chrono::milliseconds cancellation_timeout{30'000};
  /// Begins the names of metrics that other systems know.
  std::string metrics_scope = "flink_taskmanager";
  /// How often rates are worked out anew.
  std::chrono::milliseconds metrics_interval{10'000};
  /// How often each source emits a latency marker; 0: never.
  std::chrono::milliseconds latency_interval{1'000};
  bool dedicated = true;
  bool insecure = false;
  /// Asked, on a thread of its own, whether it ends by this signal (SIGTERM, SIGINT, SIGHUP);
  /// empty: it does, and SIGHUP is not taken. `to_us_alone`: by kill, where a terminal's goes to
  /// all that run there.
  std::function<bool(int signal, bool to_us_alone)> ends_by;
  /// Called, if there is one, when the process is about to end because an attempt does not; it may
  /// end it itself.
  std::function<void()> on_stuck;
};

/// Runs a TaskManager until SIGTERM, SIGINT or a Shutdown from the JobManager. Returns the
/// process's exit code; 3 when it wants to be executed again with the same options (Recycle).
int RunTaskManager(const TaskManagerOptions& options);

}  // namespace weir
