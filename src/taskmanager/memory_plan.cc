#include "taskmanager/memory_plan.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/exchange/network_buffer_pool.h"

namespace weir {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// Measured: a TaskManager without a job has 55 to 60 MiB resident.
constexpr uint64_t kProcess = 64 * kMiB;
// With less, tables are dropped and read again all the time.
constexpr uint64_t kLeastTables = 16 * kMiB;
constexpr uint64_t kLeastRocksDb = 8 * kMiB;

std::string Mebibytes(uint64_t bytes) { return absl::StrCat((bytes + kMiB - 1) / kMiB, "mb"); }

/// A size that somebody set: as whole units, never rounded.
std::string AsSet(uint64_t bytes) {
  if (bytes % kMiB == 0) return Mebibytes(bytes);
  return bytes % 1024 == 0 ? absl::StrCat(bytes / 1024, "kb") : absl::StrCat(bytes, "b");
}

}  // namespace

std::vector<std::pair<std::string, uint64_t>> MemoryPlan::Parts() const {
  return {{"process", process},       {"user", user},           {"network", network},
          {"connectors", connectors}, {"snapshots", snapshots}, {"rocksdb", rocksdb},
          {"tables", tables}};
}

absl::StatusOr<MemoryPlan> PlanMemory(const MemorySettings& settings) {
  const uint64_t budget = settings.budget;
  MemoryPlan plan;
  plan.process = kProcess;
  plan.user = budget / 10;
  plan.network = settings.network != 0 ? settings.network : NetworkBufferPool::DefaultBytes(budget);
  plan.connectors = budget / 8;
  plan.snapshots = budget / 8;
  plan.rocksdb = settings.rocksdb != 0 ? settings.rocksdb : std::max(budget / 8, kLeastRocksDb);
  const uint64_t taken = plan.budget();
  if (taken + kLeastTables > budget) {
    std::string parts;
    for (const auto& [name, bytes] : plan.Parts()) {
      if (name != "tables") absl::StrAppend(&parts, name, " ", Mebibytes(bytes), ", ");
    }
    std::string mend;
    if (settings.network != 0) absl::StrAppend(&mend, ", or lower network.buffers");
    if (settings.rocksdb != 0) absl::StrAppend(&mend, ", or lower state.rocksdb.cache-size");
    // What does not grow with the budget, over the share that the rest leaves of it.
    const double share = 1 - 0.1 - 2.0 / 8 - (settings.network == 0 ? 0.1 : 0) -
                         (settings.rocksdb == 0 ? 1.0 / 8 : 0);
    const uint64_t fixed = kProcess + kLeastTables + settings.network + settings.rocksdb;
    const auto needed = static_cast<uint64_t>(static_cast<double>(fixed) / share) + kMiB;
    return absl::InvalidArgumentError(absl::StrCat(
        "taskmanager.memory is ", AsSet(budget), ", and does not hold ", parts, "and at least ",
        Mebibytes(kLeastTables), " for state; raise it to ", Mebibytes(needed), mend));
  }
  plan.tables = budget - taken;
  // A quarter, and room for two of a size that was asked for: one that fills, one on its way down.
  plan.memtables = plan.rocksdb / 4;
  if (settings.write_buffer != 0) {
    if (2 * settings.write_buffer > plan.rocksdb) {
      return absl::InvalidArgumentError(absl::StrCat(
          "state.rocksdb.write-buffer-size is ", AsSet(settings.write_buffer),
          ", and two of them do not fit into RocksDB's ", Mebibytes(plan.rocksdb),
          "; lower it, or raise ",
          settings.rocksdb != 0 ? "state.rocksdb.cache-size" : "taskmanager.memory", " to ",
          Mebibytes((settings.rocksdb != 0 ? 2 : 16) * settings.write_buffer)));
    }
    plan.memtables = std::max(plan.memtables, 2 * settings.write_buffer);
  }
  return plan;
}

}  // namespace weir
