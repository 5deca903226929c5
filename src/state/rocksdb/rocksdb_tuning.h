#pragma once

#include <cstdint>

namespace weir {

/// What a cluster may set of each RocksDB store (state.rocksdb.*). The defaults are what measured
/// best: docs/decisions/rocksdb-defaults.md.
struct RocksDbTuning {
  /// Of one memtable of one state.
  uint64_t write_buffer_bytes = uint64_t{32} << 20;
  uint64_t block_bytes = uint64_t{4} << 10;
  /// 0: no filters.
  double bloom_bits_per_key = 10;
};

}  // namespace weir
