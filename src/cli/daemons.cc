#include "cli/daemons.h"

#include <linux/close_range.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "cli/local_files.h"
#include "cli/ready_file.h"
#include "jobmanager/options.h"
#include "log/log.h"
#include "taskmanager/identity.h"
#include "taskmanager/options.h"

namespace weir::cli {
namespace {

// What RunTaskManager returns when it wants to begin afresh with nothing loaded.
constexpr int kExecuteAgain = 3;
// Part of a container's memory that is left to the kernel's own use for it.
constexpr double kContainerShare = 0.9;
// A bound for what loops over all possible descriptors.
constexpr rlim_t kMostDescriptors = 1 << 20;
// How often TaskManagers tell the JobManager their figures: what `weir describe` shows is this old.
constexpr std::chrono::milliseconds kReportInterval{1000};

void SetUpLogs(const config::LogSection& options, const std::string& name, bool launched) {
  log::LogOptions log;
  log::ParseLevel(options.level, log.level);
  log.json = options.format == "json";
  if (!options.dir.empty()) log.file = absl::StrCat(options.dir, "/", name, ".log");
  log.max_file_bytes = static_cast<uint64_t>(options.max_size);
  log.max_files = static_cast<uint32_t>(options.max_files);
  log.instance = name;
  // A launcher keeps what comes on standard error for crashes; the log file has the rest.
  log.to_stderr = !launched || log.file.empty();
  log::Configure(log);
}

/// The container's memory limit; 0: none.
uint64_t ContainerMemory() {
  std::ifstream in("/sys/fs/cgroup/memory.max");
  uint64_t limit = 0;
  return in >> limit ? limit : 0;  // "max" is no number
}

/// Sockets and RocksDB's files need more than the 1024 descriptors that are usual.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, kMostDescriptors);
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string HostName() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

/// Becomes a new process with the same pid and arguments.
[[noreturn]] void ExecuteAgain(const std::optional<Identity>& identity) {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
  if (identity) {
    if (const absl::Status kept = HandOver(*identity); !kept.ok()) {
      log::Warn("the name may change", {{"reason", std::string(kept.message())}});
    }
  }
  execv("/proc/self/exe", argv.data());
  log::Error("cannot start afresh", {{"reason", std::strerror(errno)}});
  _exit(kFailed);
}

}  // namespace

ExitCode ServeJobManager(const Context& context, const Launched& launched) {
  if (launched.parent_pid != 0) DieWithParent(launched.parent_pid);
  RaiseDescriptorLimit();
  const config::Options& o = context.config.options();
  JobManagerOptions options;
  options.bind_host = o.jobmanager.bind_host;
  options.rpc_port = static_cast<int>(o.jobmanager.rpc_port);
  options.metrics_port = o.metrics.enabled ? static_cast<int>(o.metrics.port) : -1;
  options.directory = o.jobmanager.dir.empty() ? HomeDirectory() + "/jobmanager" : o.jobmanager.dir;
  options.checkpoint_directory = o.checkpoint.dir;
  options.savepoint_directory = o.checkpoint.savepoint_dir;
  options.heartbeat_interval = o.jobmanager.heartbeat_interval;
  options.heartbeat_timeout = o.jobmanager.heartbeat_timeout;
  options.deployment_timeout = o.task.deployment_timeout;
  options.metrics_interval = kReportInterval;
  options.metrics_scope = o.metrics.scope_job_manager;
  options.insecure = o.security.insecure;
  options.other_rpc_port = launched.other_rpc_port;
  options.other_metrics_port = launched.other_metrics_port;
  options.on_ready = [&](const JobManagerOptions::Ready& ready) {
    log::Info("JobManager ready", {{"rpc", absl::StrCat(options.bind_host, ":", ready.rpc_port)},
                                   {"metrics_port", ready.metrics_port},
                                   {"dir", options.directory}});
    if (!launched.ready_file.empty()) WriteReadyFile(launched.ready_file, ready);
  };
  SetUpLogs(o.log, "jobmanager", launched.parent_pid != 0);
  return RunJobManager(options) == 0 ? kDone : kFailed;
}

TaskManagerOptions TaskManagerOptionsOf(const config::Options& o) {
  TaskManagerOptions options;
  options.id = o.taskmanager.id;
  options.cluster_id = o.taskmanager.cluster_id;
  options.job_manager = o.jobmanager.address;
  options.unacknowledged = o.jobmanager.heartbeat_timeout;
  // Later than the JobManager misses one that has gone: its loss is the better reason.
  options.unacknowledged_data = 2 * o.jobmanager.heartbeat_timeout;
  options.bind_host = o.taskmanager.bind_host;
  options.host = o.taskmanager.host;
  options.rpc_port = static_cast<int>(o.taskmanager.rpc_port);
  options.data_port = static_cast<int>(o.taskmanager.data_port);
  options.metrics_port = o.metrics.enabled ? static_cast<int>(o.metrics.port) : -1;
  options.metrics_scope = o.metrics.scope_task_manager;
  options.metrics_interval = o.metrics.interval;
  options.latency_interval = o.metrics.latency_interval;
  options.slots = static_cast<uint32_t>(o.taskmanager.slots);
  options.memory_bytes = static_cast<uint64_t>(o.taskmanager.memory);
  if (options.memory_bytes == 0) {
    options.memory_bytes =
        static_cast<uint64_t>(static_cast<double>(ContainerMemory()) * kContainerShare);
  }
  options.network_buffers = static_cast<uint32_t>(o.network.buffers);
  options.network_buffer_bytes = static_cast<uint32_t>(o.network.buffer_size);
  options.write_buffer_bytes = static_cast<uint64_t>(o.rocksdb.write_buffer_size);
  options.rocksdb = {.block_bytes = static_cast<uint64_t>(o.rocksdb.block_size),
                     .bloom_bits_per_key = static_cast<double>(o.rocksdb.bloom_bits)};
  options.rocksdb_bytes = static_cast<uint64_t>(o.rocksdb.cache_size);
  options.watchdog_timeout = o.task.watchdog_timeout;
  options.cancellation_timeout = o.task.cancellation_timeout;
  options.local_recovery = o.checkpoint.local_recovery;
  options.dedicated = o.taskmanager.dedicated;
  options.insecure = o.security.insecure;
  return options;
}

ExitCode ServeTaskManager(const Context& context, int parent_pid) {
  if (parent_pid != 0) DieWithParent(parent_pid);
  RaiseDescriptorLimit();
  TaskManagerOptions options = TaskManagerOptionsOf(context.config.options());
  const std::string& dir = context.config.options().taskmanager.dir;
  std::optional<Identity> identity;  // until the process ends
  if (options.id.empty()) {
    const std::string directory =
        dir.empty() ? absl::StrCat("/tmp/weir-taskmanager-", getuid()) : dir;
    absl::StatusOr<Identity> claimed = ClaimIdentity(directory, HostName());
    if (!claimed.ok()) return context.Fail(claimed.status());
    identity = *std::move(claimed);
    options.id = identity->id;
    options.directory = absl::StrCat(directory, "/", options.id);
  } else if (!dir.empty()) {
    options.directory = absl::StrCat(dir, "/", options.id);
  }
  SetUpLogs(context.config.options().log, options.id, parent_pid != 0);
  log::Info("TaskManager starts", {{"job_manager", options.job_manager}, {"pid", getpid()}});
  const int code = RunTaskManager(options);
  if (code == kExecuteAgain) ExecuteAgain(identity);
  return code == 0 ? kDone : kFailed;
}

}  // namespace weir::cli
