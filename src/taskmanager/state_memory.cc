#include "taskmanager/task_manager.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>

#include "log/log.h"
#include "metrics/process_metrics.h"

// What state may take of the memory budget, and what happens when more is resident.

namespace weir {
namespace {

constexpr std::chrono::milliseconds kWatchMemoryInterval(1000);

}  // namespace

uint64_t TaskManager::RocksDbBytes() const {
  return static_cast<uint64_t>(static_cast<double>(plan_.rocksdb) * rocksdb_share_);
}

RocksDbResources* TaskManager::SharedRocksDb() {
  if (rocksdb_ != nullptr) return rocksdb_.get();
  rocksdb_ = std::make_unique<RocksDbResources>(
      RocksDbResources::Options{.memory_bytes = plan_.rocksdb, .memtable_bytes = plan_.memtables});
  // The governor may have gone down before the first store was opened.
  if (rocksdb_share_ < 1) rocksdb_->SetMemoryBytes(RocksDbBytes());
  size_t i = 0;
  for (const auto& [name, value] : rocksdb_->Metrics()) {
    const bool counts = name.ends_with("_total");
    rocksdb_registrations_.push_back(metrics_.AddFunction(
        "weir_" + name, "Of RocksDB, all stores of the process together",
        counts ? metrics::Family::Type::kCounter : metrics::Family::Type::kGauge, {},
        [resources = rocksdb_.get(), i] { return resources->Metrics()[i].second; }));
    ++i;
  }
  return rocksdb_.get();
}

// State that cannot shrink is first come, first served: see StateBound. The caches share equally in
// what that leaves; an attempt's own such state is in its tables as well.
void TaskManager::ShareStateCache() {
  size_t sharing = 0;
  for (const auto& [job, attempt] : attempts_) sharing += attempt->UsesStateCache() ? 1 : 0;
  if (sharing == 0) return;
  const size_t claimed = state_account_.load();
  const size_t left = plan_.tables - std::min(claimed, plan_.tables - plan_.tables / 8);
  const double each = static_cast<double>(left) / static_cast<double>(sharing) * caches_.share();
  for (const auto& [job, attempt] : attempts_) {
    if (attempt->UsesStateCache()) {
      attempt->SetCacheBytes(static_cast<size_t>(each) + attempt->ClaimedBytes());
    }
  }
}

// What is resident decides, not what was planned: user code keeps to no plan.
void TaskManager::WatchMemory() {
  const double before = caches_.share();
  const uint64_t resident = metrics::ResidentBytes();
  const double share = caches_.Look(resident);
  if (share != before) {
    if (share < before) {
      log::Warn("more memory is resident than taskmanager.memory allows; the state's caches shrink",
                {{"resident_bytes", resident},
                 {"budget_bytes", options_.memory_bytes},
                 {"caches_share", share}});
    }
    io_->Post([this, share] {
      rocksdb_share_ = share;
      if (rocksdb_ != nullptr) {
        rocksdb_->SetMemoryBytes(RocksDbBytes());
      }
      // The allocator keeps what was freed otherwise. Tables shrink as they are used: the last
      // look's are done by now.
      malloc_trim(0);
    });
  }
  ShareStateCache();  // attempts have been prepared or have claimed more since, or are on their way
  loop_->PostAfter(kWatchMemoryInterval, [this] { WatchMemory(); });
}

}  // namespace weir
