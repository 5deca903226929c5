#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace weir::config {

/// What can be configured. The initialisers are the defaults; keys.cc names, limits and documents
/// each field. Sizes are bytes.
struct JobManagerSection {
  std::string bind_host = "127.0.0.1";
  int64_t rpc_port = 6123;
  std::string address = "127.0.0.1:6123";
  std::string dir;
  std::chrono::milliseconds heartbeat_interval{1000};
  std::chrono::milliseconds heartbeat_timeout{5000};
};

struct TaskManagerSection {
  std::string id;
  std::string cluster_id;
  std::string bind_host = "127.0.0.1";
  std::string host;
  int64_t rpc_port = 6122;
  int64_t data_port = 6121;
  int64_t slots = 0;
  int64_t memory = 0;
  bool dedicated = true;
  std::string dir;
  std::string deployment_type = "process";
  int64_t min_instances = 2;
  int64_t max_instances = 10;
  std::chrono::milliseconds idle_timeout{60'000};
};

struct TaskSection {
  std::chrono::milliseconds cancellation_timeout{30000};
  std::chrono::milliseconds deployment_timeout{600'000};
  std::chrono::milliseconds watchdog_timeout{10000};
};

struct LocalSection {
  std::string dir;
};

struct NetworkSection {
  int64_t buffers = 0;
  int64_t buffer_size = 64 << 10;
};

struct CheckpointSection {
  std::string dir;
  std::string savepoint_dir;
  bool local_recovery = true;
};

/// What `weir run` takes when it is not given.
struct RunSection {
  int64_t parallelism = 0;
  std::string state_backend = "job";
  std::chrono::milliseconds job_function_timeout{60'000};
};

/// Of the RocksDB stores of a TaskManager.
struct RocksDbSection {
  int64_t write_buffer_size = 0;
  int64_t block_size = 4 << 10;
  int64_t cache_size = 0;
  int64_t bloom_bits = 10;
};

struct MetricsSection {
  bool enabled = true;
  int64_t port = 9249;
  std::chrono::milliseconds interval{10000};
  std::chrono::milliseconds latency_interval{1000};
  std::string scope_job_manager = "flink_jobmanager";
  std::string scope_task_manager = "flink_taskmanager";
};

struct LogSection {
  std::string level = "info";
  std::string format = "text";
  std::string dir;
  int64_t max_size = 64 << 20;
  int64_t max_files = 5;
};

struct SecuritySection {
  bool insecure = false;
};

struct Options {
  JobManagerSection jobmanager;
  TaskManagerSection taskmanager;
  TaskSection task;
  LocalSection local;
  NetworkSection network;
  CheckpointSection checkpoint;
  RunSection run;
  RocksDbSection rocksdb;
  MetricsSection metrics;
  LogSection log;
  SecuritySection security;
};

}  // namespace weir::config
