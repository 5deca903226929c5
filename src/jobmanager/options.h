#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace weir {

/// What a JobManager process is told. Filled from the configuration in main.
struct JobManagerOptions {
  /// Where the RPC port listens. Another address than a loopback one needs `insecure`: whoever
  /// reaches the port can run code.
  std::string bind_host = "127.0.0.1";
  int rpc_port = 6123;      ///< 0: any free port
  int metrics_port = 9249;  ///< 0: any free port; -1: off
  /// Where a port is taken: listen on another instead of giving up.
  bool other_rpc_port = false;
  bool other_metrics_port = false;
  /// Metadata store, leader lock, artifacts. One running JobManager per directory.
  std::string directory;
  /// Where jobs' checkpoints go unless they say otherwise; must be reachable by all TaskManagers
  /// under the same path. Empty: below `directory`.
  std::string checkpoint_directory;
  /// Where savepoints go unless the request says otherwise. Empty: below the checkpoint directory.
  std::string savepoint_directory;
  std::chrono::milliseconds heartbeat_interval{1'000};
  std::chrono::milliseconds heartbeat_timeout{5'000};
  /// Until all subtasks of an attempt run.
  std::chrono::milliseconds deployment_timeout{600'000};
  std::chrono::milliseconds metrics_interval{5'000};  ///< of TaskManagers' reports
  std::string metrics_scope = "flink_jobmanager";     ///< begins the metrics' names
  /// How long to wait at the start for a former JobManager's leadership to end.
  std::chrono::milliseconds leadership_wait{10'000};
  /// Between two tries to delete checkpoints that an ended job does not retain.
  std::chrono::milliseconds deletion_retry{3'600'000};
  bool insecure = false;
  struct Ready {
    int rpc_port = 0;
    int metrics_port = 0;    ///< 0: off
    std::string cluster_id;  ///< whoever asks at the port for it knows that this JobManager answers
  };
  /// Called once, when it leads and jobs are recovered.
  std::function<void(const Ready&)> on_ready;
};

/// Runs a JobManager until SIGTERM or SIGINT. Returns the process's exit code: 0 after a signal, 1
/// when it could not start or lost its leadership; the reason goes to the log.
int RunJobManager(const JobManagerOptions& options);

}  // namespace weir
