#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "state/key_group_tables.h"
#include "state/keyed_state_backend.h"

namespace weir {

/// Reads what a batch of rows will ask one keyed state for from the store below, all at once,
/// before the rows are processed. One per state that has a value per key. Slot thread only.
template <class K, class Values>
class BatchReads {
 public:
  using Tables = KeyGroupTables<K, Values>;

  BatchReads() = default;
  BatchReads(Tables* tables, KeyedStateBackend* backend) : tables_(tables), backend_(backend) {}

  /// Brings those of the `n` keys key_at(i), with their `hashes`, that are not cached into the
  /// cache. Nothing on the memory backend. Not worth looking while nearly all of this state's keys
  /// are cached: then single reads do.
  template <class KeyAt>
  void Read(const uint64_t* hashes, size_t n, KeyAt&& key_at) {
    StateCache* const cache = backend_->directory().cache;
    if (cache == nullptr) return;
    const uint64_t reads_before = tables_->context().store_reads;
    const bool mostly_hit = (reads_before - reads_seen_) * kHitFactor < keys_seen_;
    if (mostly_hit && ++skipped_ < kLookAgain) {
      keys_seen_ += n;
      return;
    }
    StateCache::ReadBatch& batch = cache->read_batch();
    batch.missing.clear();
    batch.keys.clear();
    batch.rows.clear();
    size_t bytes = 0;
    constexpr size_t kAhead = 24;
    for (size_t i = 0; i < std::min(n, kAhead); ++i) TableFor(hashes[i]).PrefetchGroup(hashes[i]);
    for (size_t i = 0; i < n; ++i) {
      if (i + kAhead < n) TableFor(hashes[i + kAhead]).PrefetchGroup(hashes[i + kAhead]);
      const auto& table = TableFor(hashes[i]);
      if (table.IsCached(key_at(i), hashes[i])) continue;
      batch.missing.emplace_back(hashes[i], static_cast<uint32_t>(i));
      bytes += table.EncodedKeySize(key_at(i));
    }
    std::sort(batch.missing.begin(), batch.missing.end());
    batch.bytes.resize(bytes);
    char* at = batch.bytes.data();
    for (const auto& [hash, i] : batch.missing) {
      // Again, or another key of the same hash, to be read singly.
      if (!batch.rows.empty() && hashes[batch.rows.back()] == hash) continue;
      const auto& table = TableFor(hash);
      char* const end = table.WriteKey(key_at(i), at);
      batch.keys.push_back(
          {tables_->context().state_id, table.key_group(), {at, static_cast<size_t>(end - at)}});
      batch.rows.push_back(i);
      at = end;
    }
    if (!batch.keys.empty()) {
      const size_t missing = batch.rows.size();
      cache->MultiGet(tables_->context(), batch.keys,
                      [&](size_t index, std::optional<std::string_view> value) {
                        if (index + kFillAhead < missing) {
                          const uint64_t hash = hashes[batch.rows[index + kFillAhead]];
                          TableFor(hash).PrefetchGroup(hash);
                        }
                        const uint32_t i = batch.rows[index];
                        TableFor(hashes[i]).Fill(key_at(i), hashes[i], value.has_value(),
                                                 value.value_or(std::string_view()));
                      });
    }
    skipped_ = 0;
    reads_seen_ = reads_before;
    keys_seen_ = n;
  }

 private:
  auto& TableFor(uint64_t hash) { return tables_->Of(backend_->KeyGroupFor(hash)); }

  /// Mostly hit: fewer than one read in so many keys since the last look.
  static constexpr uint64_t kHitFactor = 50;
  static constexpr uint32_t kLookAgain = 16;
  /// So many keys before its value is filled in, a key's group is fetched from memory.
  static constexpr size_t kFillAhead = 8;

  Tables* tables_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  uint64_t reads_seen_ = 0;
  uint64_t keys_seen_ = 0;
  uint32_t skipped_ = 0;
};

}  // namespace weir
