#include "config/keys.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/value.h"

namespace weir::config {

std::string EnvironmentName(const std::string& key) {
  std::string name = absl::StrCat("WEIR_", key);
  for (char& c : name) c = (c == '.' || c == '-') ? '_' : absl::ascii_toupper(c);
  return name;
}

namespace {

using std::chrono::milliseconds;

/// Reads with `read` into the field.
template <class Field, class Read>
auto Into(Field field, Read read) {
  return [field, read](Options& o, std::string_view text) -> absl::Status {
    auto value = read(text);
    if (!value.ok()) return value.status();
    field(o) = *std::move(value);
    return absl::OkStatus();
  };
}

/// `read`, and then within limits.
template <class T, class Read, class Write>
auto Within(Read read, T low, T high, Write write) {
  return [=](std::string_view text) -> absl::StatusOr<T> {
    absl::StatusOr<T> value = read(text);
    if (value.ok() && (*value < low || *value > high)) {
      return absl::InvalidArgumentError(
          absl::StrCat("must be from ", write(low), " to ", write(high)));
    }
    return value;
  };
}

/// Collects the table. `field` is a function from Options to a reference to the field, usable on
/// const and mutable Options.
class Table {
 public:
  std::vector<Key> Take() && { return std::move(keys_); }
  void Section(std::string name) { section_ = std::move(name); }

  template <class Field>
  Key& Text(const char* name, Field field, const char* doc) {
    return Add(
        name, "text", doc,
        [field](Options& o, std::string_view text) {
          field(o) = std::string(text);
          return absl::OkStatus();
        },
        [field](const Options& o) { return field(o); });
  }

  template <class Field>
  Key& Address(const char* name, Field field, const char* doc) {
    return Add(name, "host:port", doc, Into(field, ReadAddress),
               [field](const Options& o) { return field(o); });
  }

  template <class Field>
  Key& Bool(const char* name, Field field, const char* doc) {
    return Add(name, "true or false", doc, Into(field, ReadBool),
               [field](const Options& o) { return field(o) ? "true" : "false"; });
  }

  template <class Field>
  Key& Integer(const char* name, Field field, int64_t low, int64_t high, const char* doc) {
    return Add(name, absl::StrCat(low, " to ", high), doc,
               Into(field, Within<int64_t>(ReadInteger, low, high,
                                           [](int64_t v) { return absl::StrCat(v); })),
               [field](const Options& o) { return absl::StrCat(field(o)); });
  }

  template <class Field>
  Key& Port(const char* name, Field field, const char* doc) {
    Key& key = Integer(name, field, 0, 65535, doc);
    key.expects = "a port; 0: any free one";
    return key;
  }

  template <class Field>
  Key& Size(const char* name, Field field, int64_t low, int64_t high, const char* doc) {
    return Add(name, absl::StrCat("a size, ", WriteSize(low), " to ", WriteSize(high)), doc,
               Into(field, Within<int64_t>(ReadSize, low, high, WriteSize)),
               [field](const Options& o) { return WriteSize(field(o)); });
  }

  template <class Field>
  Key& Duration(const char* name, Field field, milliseconds low, milliseconds high,
                const char* doc) {
    return Add(name, absl::StrCat("a duration, ", WriteDuration(low), " to ", WriteDuration(high)),
               doc, Into(field, Within<milliseconds>(ReadDuration, low, high, WriteDuration)),
               [field](const Options& o) { return WriteDuration(field(o)); });
  }

  template <class Field>
  Key& Choice(const char* name, Field field, std::vector<std::string> choices, const char* doc) {
    const std::string expects = absl::StrJoin(choices, ", ");
    return Add(name, expects, doc,
               Into(field, [choices](std::string_view t) { return ReadChoice(t, choices); }),
               [field](const Options& o) { return field(o); });
  }

 private:
  Key& Add(const char* name, std::string expects, const char* doc,
           std::function<absl::Status(Options&, std::string_view)> read,
           std::function<std::string(const Options&)> write) {
    keys_.push_back({section_,
                     name,
                     {EnvironmentName(name)},
                     std::move(expects),
                     doc,
                     std::move(read),
                     std::move(write),
                     false});
    return keys_.back();
  }

  std::string section_;
  std::vector<Key> keys_;
};

// The field of Options that a key fills.
#define WEIR_FIELD(path) \
  [](auto& o) -> auto& { return o.path; }

constexpr milliseconds kHour{3'600'000};

std::vector<Key> MakeKeys() {
  Table t;
  t.Section("JobManager");
  t.Address("jobmanager.address", WEIR_FIELD(jobmanager.address),
            "Where TaskManagers and the command line find the JobManager.")
      .of_commands = true;
  t.Text("jobmanager.bind-host", WEIR_FIELD(jobmanager.bind_host),
         "Address the JobManager listens on. Another than this machine's own needs "
         "security.insecure.");
  t.Port("jobmanager.rpc-port", WEIR_FIELD(jobmanager.rpc_port), "Port of the JobManager's RPCs.");
  t.Text("jobmanager.dir", WEIR_FIELD(jobmanager.dir),
         "Directory of the metadata store and of submitted job libraries. Empty: "
         "~/.weir/jobmanager.");
  t.Duration("jobmanager.heartbeat-interval", WEIR_FIELD(jobmanager.heartbeat_interval),
             milliseconds(50), kHour, "How often JobManager and TaskManagers greet one another.");
  t.Duration(
      "jobmanager.heartbeat-timeout", WEIR_FIELD(jobmanager.heartbeat_timeout), milliseconds(100),
      kHour,
      "Silence after which a TaskManager is held for lost. A JobManager's is told after it, and "
      "its connection given up after twelve times as long, or at once when its machine "
      "acknowledges nothing. A broken connection is noticed at once.");

  t.Section("TaskManager");
  t.Text("taskmanager.id", WEIR_FIELD(taskmanager.id),
         "Name of the TaskManager, kept across its restarts. Empty: one that is kept in "
         "taskmanager.dir, of its own for each that runs there.");
  t.Text("taskmanager.cluster-id", WEIR_FIELD(taskmanager.cluster_id),
         "Cluster that the TaskManager works for (`weir status` tells it); another one at "
         "jobmanager.address is refused. Empty: the first that it registers with, until it ends. "
         "`weir local` sets it.");
  t.Text("taskmanager.bind-host", WEIR_FIELD(taskmanager.bind_host),
         "Address the TaskManager listens on. Another than this machine's own needs "
         "security.insecure.");
  t.Text("taskmanager.host", WEIR_FIELD(taskmanager.host),
         "Address under which others reach the TaskManager. Empty: taskmanager.bind-host.");
  t.Port("taskmanager.rpc-port", WEIR_FIELD(taskmanager.rpc_port),
         "Port for printed results and logs.");
  t.Port("taskmanager.data-port", WEIR_FIELD(taskmanager.data_port),
         "Port on which records come in from other TaskManagers.");
  t.Integer("taskmanager.slots", WEIR_FIELD(taskmanager.slots), 0, 1024,
            "Slots, each one thread. 0: one for each core.");
  t.Size("taskmanager.memory", WEIR_FIELD(taskmanager.memory), 0, int64_t{1} << 44,
         "Memory budget of the whole process. 0: the container's limit, else 2gb.");
  t.Bool("taskmanager.dedicated", WEIR_FIELD(taskmanager.dedicated),
         "Serve one job at a time, and start afresh before another.");
  t.Text("taskmanager.dir", WEIR_FIELD(taskmanager.dir),
         "Directory of working files and working state; wants the fastest local disk. Each "
         "TaskManager makes its own in it. Empty: below /tmp.")
      .environment.push_back("ROCKSDB_DATA_DIR");
  t.Choice("taskmanager.deployment-type", WEIR_FIELD(taskmanager.deployment_type), {"process"},
           "How `weir local` starts TaskManagers.")
      .environment.push_back("TASKMANAGER_DEPLOYMENT_TYPE");
  t.Integer("taskmanager.min-instances", WEIR_FIELD(taskmanager.min_instances), 1, 10000,
            "TaskManagers that `weir local` starts at once.")
      .environment.push_back("TASKMANAGER_MIN_INSTANCES");
  t.Integer("taskmanager.max-instances", WEIR_FIELD(taskmanager.max_instances), 1, 10000,
            "TaskManagers that `weir local` starts at most, when jobs need them.")
      .environment.push_back("TASKMANAGER_MAX_INSTANCES");
  t.Duration("taskmanager.idle-timeout", WEIR_FIELD(taskmanager.idle_timeout), milliseconds(100),
             24 * kHour,
             "A TaskManager that `weir local` started because jobs needed it ends when it has run "
             "none for so long.");

  t.Section("Tasks");
  t.Duration("task.cancellation.timeout", WEIR_FIELD(task.cancellation_timeout), milliseconds(100),
             kHour,
             "Time in which the tasks of a job end that is cancelled, stopped or restarted. If one "
             "does not, its TaskManager ends itself, and what else it runs is restarted.");
  t.Duration("task.deployment.timeout", WEIR_FIELD(task.deployment_timeout), milliseconds(1000),
             24 * kHour,
             "Time in which all tasks of a job run once they are deployed: the library is fetched, "
             "state is restored. Longer for very large state.");
  t.Duration("task.watchdog.timeout", WEIR_FIELD(task.watchdog_timeout), milliseconds(100), kHour,
             "A task that has not come back for so long from one record, timer or call is named in "
             "the log, in the metrics and by `weir describe`.");

  t.Section("Local cluster");
  t.Text("local.dir", WEIR_FIELD(local.dir),
         "Directory of the cluster that `weir local` runs; the command line finds it there. Empty: "
         "~/.weir/local.")
      .of_commands = true;

  t.Section("Network");
  t.Integer("network.buffers", WEIR_FIELD(network.buffers), 0, 1 << 24,
            "Buffers of a TaskManager's network pool. 0: a tenth of taskmanager.memory, from 8mb "
            "to 1gb.");
  t.Size("network.buffer-size", WEIR_FIELD(network.buffer_size), 4 << 10, 1 << 20,
         "Size of a network buffer.");

  t.Section("Checkpoints");
  t.Text("checkpoint.dir", WEIR_FIELD(checkpoint.dir),
         "Directory of checkpoints, an absolute path; every process must reach it. Empty: below "
         "jobmanager.dir.");
  t.Text("savepoint.dir", WEIR_FIELD(checkpoint.savepoint_dir),
         "Directory of savepoints, an absolute path. Empty: below checkpoint.dir.");
  t.Bool("state.local-recovery", WEIR_FIELD(checkpoint.local_recovery),
         "TaskManagers keep copies in taskmanager.dir of the checkpoint files that they write, and "
         "restore from those. Where checkpoint.dir is on the same file system there are no copies: "
         "its files are as near. They take as much of the disk as retained checkpoints do, and "
         "leave a tenth of it free.");

  t.Section("Jobs");
  t.Integer("parallelism.default", WEIR_FIELD(run.parallelism), 0, 32768,
            "Parallelism of `weir run` without --parallelism. 0: as the job says.")
      .of_commands = true;
  t.Choice("state.backend", WEIR_FIELD(run.state_backend), {"job", "rocksdb", "memory"},
           "State backend of `weir run` without --state-backend; job: as the job says.")
      .of_commands = true;
  t.Duration("job.function.timeout", WEIR_FIELD(run.job_function_timeout), milliseconds(100),
             24 * kHour,
             "Time in which the job function of `weir run` returns, and its sources and sinks have "
             "found what they connect to.")
      .of_commands = true;

  t.Section("RocksDB");
  t.Size("state.rocksdb.write-buffer-size", WEIR_FIELD(rocksdb.write_buffer_size), 0,
         int64_t{1} << 32,
         "Changes that one state gathers in memory before they become a file. 0: 32mb, and less "
         "where many share a quarter of RocksDB's memory.")
      .environment.push_back("ROCKSDB_WRITE_BUFFER_SIZE");
  t.Size("state.rocksdb.block-size", WEIR_FIELD(rocksdb.block_size), 1 << 10, 16 << 20,
         "What is read from the disk, and cached, at once.")
      .environment.push_back("ROCKSDB_BLOCK_SIZE");
  t.Size("state.rocksdb.cache-size", WEIR_FIELD(rocksdb.cache_size), 0, int64_t{1} << 44,
         "Memory of all RocksDB stores of a TaskManager together: blocks, indexes, filters, and "
         "write buffers. 0: an eighth of taskmanager.memory.")
      .environment.push_back("ROCKSDB_CACHE_SIZE");
  t.Integer("state.rocksdb.bloom-bits", WEIR_FIELD(rocksdb.bloom_bits), 0, 32,
            "Bits of the Bloom filters for each key; 0: none.")
      .environment.push_back("ROCKSDB_BLOOM_FILTER_BITS_PER_KEY");

  t.Section("Metrics");
  t.Bool("metrics.enabled", WEIR_FIELD(metrics.enabled), "Serve /metrics and /health over HTTP.");
  t.Port("metrics.port", WEIR_FIELD(metrics.port), "Port of /metrics and /health.");
  t.Duration("metrics.interval", WEIR_FIELD(metrics.interval), milliseconds(100), kHour,
             "How often rates (..._per_second) are worked out anew.");
  t.Duration("metrics.latency-interval", WEIR_FIELD(metrics.latency_interval), milliseconds(0),
             kHour,
             "How often each source sends a marker, whose way to the sinks is measured. 0: never.");
  t.Text("metrics.scope.jobmanager", WEIR_FIELD(metrics.scope_job_manager),
         "Prefix of the metrics that other systems know by name, on the JobManager.");
  t.Text("metrics.scope.taskmanager", WEIR_FIELD(metrics.scope_task_manager),
         "Prefix of the metrics that other systems know by name, on TaskManagers.");

  t.Section("Logs");
  t.Choice("log.level", WEIR_FIELD(log.level), {"trace", "debug", "info", "warn", "error", "off"},
           "Least severity that is written.");
  t.Choice("log.format", WEIR_FIELD(log.format), {"text", "json"},
           "text for people, json for machines (one object a line).");
  t.Text("log.dir", WEIR_FIELD(log.dir),
         "Directory of log files, one for each process. Empty: standard error only.")
      .of_commands = true;
  t.Size("log.max-size", WEIR_FIELD(log.max_size), 64 << 10, int64_t{1} << 40,
         "A log file that grows beyond is set aside.");
  t.Integer("log.max-files", WEIR_FIELD(log.max_files), 1, 1000,
            "Log files kept for each process.");

  t.Section("Security");
  t.Bool("security.insecure", WEIR_FIELD(security.insecure),
         "Listen on addresses that other machines reach, without TLS. Whoever reaches the "
         "JobManager can run code.");
  return std::move(t).Take();
}

#undef WEIR_FIELD

}  // namespace

const std::vector<Key>& Keys() {
  static const std::vector<Key>& keys = *new std::vector<Key>(MakeKeys());
  return keys;
}

const Key* FindKey(std::string_view name) {
  for (const Key& key : Keys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

const Key* FindKeyByEnvironment(std::string_view variable) {
  for (const Key& key : Keys()) {
    for (const std::string& name : key.environment) {
      if (name == variable) return &key;
    }
  }
  return nullptr;
}

}  // namespace weir::config
