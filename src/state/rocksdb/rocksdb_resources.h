#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rocksdb {
class Cache;
class Env;
class Statistics;
class WriteBufferManager;
}  // namespace rocksdb

namespace weir {

/// What all RocksDB stores of a process share. One per process, made before the stores and
/// outliving them. Thread-safe.
class RocksDbResources {
 public:
  struct Options {
    /// For everything RocksDB keeps in memory: blocks, indexes, filters and memtables, of all
    /// stores together.
    uint64_t memory_bytes = uint64_t{256} << 20;
    /// The part of it that memtables may take: beyond it one of them goes to the disk, full or not.
    /// 0: a quarter.
    uint64_t memtable_bytes = 0;
    /// Flushes and compactions at once, of all stores together.
    int background_threads = 2;
  };

  explicit RocksDbResources(const Options& options);
  ~RocksDbResources();

  /// Named figures for the metrics. Any thread.
  std::vector<std::pair<std::string, double>> Metrics() const;

  /// Less memory, or more again: blocks are dropped at once, memtables when they are written down.
  /// Memtables keep their part of it. Any thread.
  void SetMemoryBytes(uint64_t bytes);

  /// Frees the blocks that nobody reads at this moment, those of stores that have gone among them;
  /// stores that are open read theirs again. Any thread.
  void DropUnusedBlocks();

  const std::shared_ptr<rocksdb::Cache>& cache() const { return cache_; }
  const std::shared_ptr<rocksdb::WriteBufferManager>& write_buffers() const {
    return write_buffers_;
  }
  const std::shared_ptr<rocksdb::Statistics>& statistics() const { return statistics_; }
  rocksdb::Env* env() const { return env_.get(); }
  int background_threads() const { return background_threads_; }

 private:
  const int background_threads_;
  const double memtable_share_;
  const std::shared_ptr<rocksdb::Env> env_;
  const std::shared_ptr<rocksdb::Cache> cache_;
  const std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  const std::shared_ptr<rocksdb::Statistics> statistics_;
};

}  // namespace weir
