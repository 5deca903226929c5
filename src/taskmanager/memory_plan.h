#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace weir {

/// What a plan is made from. Bytes; 0: as the plan finds.
struct MemorySettings {
  uint64_t budget = 0;        ///< taskmanager.memory
  uint64_t network = 0;       ///< network.buffers times network.buffer-size
  uint64_t rocksdb = 0;       ///< state.rocksdb.cache-size
  uint64_t write_buffer = 0;  ///< state.rocksdb.write-buffer-size; 0: the default
};

/// How one TaskManager's memory budget is shared out. The parts add up to the budget; each is an
/// upper bound that whoever draws from it keeps. docs/decisions/memory-plan.md.
struct MemoryPlan {
  uint64_t process = 0;  ///< code, threads, gRPC: there before the first job
  uint64_t user = 0;     ///< batches on their way, user functions, control(), the allocator's waste
  uint64_t network = 0;  ///< the buffer pool
  uint64_t connectors = 0;  ///< queues of Kafka's clients, all of an attempt together
  uint64_t snapshots = 0;   ///< what is sorted and written for a checkpoint
  uint64_t rocksdb = 0;     ///< blocks, indexes, filters, memtables
  uint64_t memtables = 0;   ///< of rocksdb
  uint64_t tables = 0;      ///< the tables in front of RocksDB

  /// State of jobs without RocksDB, and what windows and timers may hold.
  uint64_t state() const { return rocksdb + tables; }
  uint64_t budget() const {
    return process + user + network + connectors + snapshots + rocksdb + tables;
  }
  /// Messages that wait for a slow JobManager; of user, whose operators' lists are what makes
  /// acknowledgements large.
  uint64_t control() const { return std::min<uint64_t>(user / 2, uint64_t{256} << 20); }
  /// By name, for the log and the metrics.
  std::vector<std::pair<std::string, uint64_t>> Parts() const;
};

/// What is set wins and the tables shrink for it. An error names what does not fit, and the mend.
absl::StatusOr<MemoryPlan> PlanMemory(const MemorySettings& settings);

}  // namespace weir
