#include "state/rocksdb/rocksdb_resources.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/statistics.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>

#include "state/rocksdb/local_file_system.h"

namespace weir {
namespace {

// Index and filter blocks go into the high-priority pool: they are dropped last.
constexpr double kHighPriorityShare = 0.3;

std::shared_ptr<rocksdb::Cache> NewCache(uint64_t bytes) {
  rocksdb::LRUCacheOptions options;
  options.capacity = bytes;
  options.high_pri_pool_ratio = kHighPriorityShare;
  options.strict_capacity_limit = false;
  // A filter or index block that does not fit well into a shard is read again and again: few large
  // shards. RocksDB's own choice is 64, which is for many more threads than read here.
  options.num_shard_bits = 1;
  return rocksdb::NewLRUCache(options);
}

std::shared_ptr<rocksdb::Statistics> NewStatistics() {
  std::shared_ptr<rocksdb::Statistics> statistics = rocksdb::CreateDBStatistics();
  statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  return statistics;
}

}  // namespace

RocksDbResources::RocksDbResources(const Options& options)
    : background_threads_(std::max(options.background_threads, 1)),
      memtable_share_(options.memtable_bytes == 0 ? 0.25
                                                  : static_cast<double>(options.memtable_bytes) /
                                                        static_cast<double>(options.memory_bytes)),
      env_(UnsyncedEnv()),
      cache_(NewCache(options.memory_bytes)),
      write_buffers_(std::make_shared<rocksdb::WriteBufferManager>(
          static_cast<size_t>(static_cast<double>(options.memory_bytes) * memtable_share_),
          cache_)),
      statistics_(NewStatistics()) {
  env_->SetBackgroundThreads(background_threads_, rocksdb::Env::Priority::LOW);
  env_->SetBackgroundThreads(1, rocksdb::Env::Priority::HIGH);
}

RocksDbResources::~RocksDbResources() = default;

void RocksDbResources::SetMemoryBytes(uint64_t bytes) {
  cache_->SetCapacity(bytes);
  write_buffers_->SetBufferSize(
      std::max<size_t>(1, static_cast<size_t>(static_cast<double>(bytes) * memtable_share_)));
}

void RocksDbResources::DropUnusedBlocks() { cache_->EraseUnRefEntries(); }

std::vector<std::pair<std::string, double>> RocksDbResources::Metrics() const {
  const auto ticker = [&](uint32_t t) {
    return static_cast<double>(statistics_->getTickerCount(t));
  };
  return {
      {"rocksdb_cache_capacity_bytes", static_cast<double>(cache_->GetCapacity())},
      {"rocksdb_cache_used_bytes", static_cast<double>(cache_->GetUsage())},
      {"rocksdb_cache_pinned_bytes", static_cast<double>(cache_->GetPinnedUsage())},
      {"rocksdb_memtable_bytes", static_cast<double>(write_buffers_->memory_usage())},
      {"rocksdb_block_cache_hits_total", ticker(rocksdb::BLOCK_CACHE_HIT)},
      {"rocksdb_block_cache_misses_total", ticker(rocksdb::BLOCK_CACHE_MISS)},
      {"rocksdb_bloom_useful_total", ticker(rocksdb::BLOOM_FILTER_USEFUL)},
      {"rocksdb_bytes_flushed_total", ticker(rocksdb::FLUSH_WRITE_BYTES)},
      {"rocksdb_bytes_compaction_read_total", ticker(rocksdb::COMPACT_READ_BYTES)},
      {"rocksdb_bytes_compaction_written_total", ticker(rocksdb::COMPACT_WRITE_BYTES)},
      {"rocksdb_stall_microseconds_total", ticker(rocksdb::STALL_MICROS)},
  };
}

}  // namespace weir
