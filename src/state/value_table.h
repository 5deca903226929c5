#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "state/key_group_tables.h"

namespace weir {

/// Keyed values for built-in operators, which know the types of key and value: no virtual call, and
/// whole batches at once. A view of a state of the backend; cheap to copy.
///
/// `hash` is always KeyHash(key). A returned reference is valid until the next call that can insert
/// a key, or the next SnapshotSlice.
template <class K, class V>
class ValueTable {
 public:
  using Tables = KeyGroupTables<K, TypedValues<V>>;
  using TableOf = typename Tables::TableOf;

  ValueTable() = default;

  /// In the operator's Open. Restores the state when the backend is restored.
  static ValueTable Open(KeyedStateBackend& backend, const std::string& name) {
    StateSchema schema{.name = name,
                       .kind = StateKind::kValue,
                       .key_hash = StateKeyCodec<K>::SchemaHash(),
                       .value_hash = Serde<V>::SchemaHash(),
                       .key_schema = StateKeyCodec<K>::SchemaName(),
                       .value_schema = Serde<V>::SchemaName()};
    auto tables =
        std::make_unique<Tables>(std::move(schema), backend.key_groups(), TypedValues<V>());
    ValueTable view;
    view.tables_ = tables.get();
    view.backend_ = &backend;
    backend.Add(std::move(tables));
    return view;
  }

  /// Null when the key has no value.
  const V* Find(const K& key, uint64_t hash) {
    return static_cast<const V*>(TableFor(hash).Find(key, hash));
  }
  /// As Find, for changing the value in place.
  V* FindForUpdate(const K& key, uint64_t hash) {
    return static_cast<V*>(TableFor(hash).FindForUpdate(key, hash));
  }
  /// The value, V() if there was none; counts as changed.
  V& FindOrInsert(const K& key, uint64_t hash) {
    return *static_cast<V*>(TableFor(hash).FindOrInsert(key, hash));
  }
  bool Erase(const K& key, uint64_t hash) { return TableFor(hash).Erase(key, hash); }

  /// f(i, V&) for each i < n in order, with FindOrInsert of key_at(i) and hashes[i]. Brings tables
  /// and, on a store, missing entries into reach before they are used.
  template <class KeyAt, class F>
  void UpdateBatch(const uint64_t* hashes, size_t n, KeyAt&& key_at, F&& f) {
    // Copies, so that the compiler sees that f changes none of them.
    TableOf* const tables = tables_->data();
    const KeyGroupRange range = backend_->key_groups();
    const uint32_t max = backend_->max_parallelism();
    const auto table_for = [=, this](uint64_t hash) -> TableOf& {
      const uint32_t index = KeyGroupOf(hash, max) - range.first;
      if (index >= range.size()) [[unlikely]]
        backend_->KeyGroupFor(hash);  // throws
      return tables[index];
    };
    if (backend_->directory().cache != nullptr) Prefetch(hashes, n, key_at);
    if (backend_->directory().bytes < kPrefetchAboveBytes) {
      for (size_t i = 0; i < n; ++i) {
        f(i, *static_cast<V*>(table_for(hashes[i]).FindOrInsert(key_at(i), hashes[i])));
      }
      return;
    }
    constexpr size_t kAhead = 12;
    for (size_t i = 0; i < std::min(n, 2 * kAhead); ++i)
      table_for(hashes[i]).PrefetchGroup(hashes[i]);
    for (size_t i = 0; i < std::min(n, kAhead); ++i) table_for(hashes[i]).PrefetchSlot(hashes[i]);
    for (size_t i = 0; i < n; ++i) {
      if (i + 2 * kAhead < n) {
        table_for(hashes[i + 2 * kAhead]).PrefetchGroup(hashes[i + 2 * kAhead]);
      }
      if (i + kAhead < n) table_for(hashes[i + kAhead]).PrefetchSlot(hashes[i + kAhead]);
      f(i, *static_cast<V*>(table_for(hashes[i]).FindOrInsert(key_at(i), hashes[i])));
    }
  }

  /// Reads those of the batch's keys that are not cached from the store, all at once. Nothing on
  /// the memory backend. Not worth looking while nearly all keys are cached: then single reads do.
  template <class KeyAt>
  void Prefetch(const uint64_t* hashes, size_t n, KeyAt&& key_at) {
    StateCache* const cache = backend_->directory().cache;
    if (cache == nullptr) return;
    const uint64_t reads_before = cache->counters().reads;
    const bool mostly_hit = (reads_before - reads_seen_) * kHitFactor < keys_seen_;
    if (mostly_hit && ++skipped_ < kLookAgain) {
      keys_seen_ += n;
      return;
    }
    std::vector<std::pair<uint64_t, size_t>> missing;
    for (size_t i = 0; i < n; ++i) {
      if (!TableFor(hashes[i]).IsCached(key_at(i), hashes[i])) missing.emplace_back(hashes[i], i);
    }
    std::sort(missing.begin(), missing.end());
    std::vector<CacheRead> reads;
    std::vector<size_t> rows;
    for (const auto& [hash, i] : missing) {
      if (!rows.empty() && hashes[rows.back()] == hash) continue;  // again, or to be read singly
      const TableOf& table = TableFor(hash);
      CacheRead& read = reads.emplace_back();
      read.key_group = table.key_group();
      read.key.resize(table.EncodedKeySize(key_at(i)));
      table.WriteKey(key_at(i), read.key.data());
      rows.push_back(i);
    }
    if (!reads.empty()) cache->MultiGet(tables_->context(), reads);
    for (size_t r = 0; r < rows.size(); ++r) {
      const uint64_t hash = hashes[rows[r]];
      TableFor(hash).Fill(key_at(rows[r]), hash, reads[r].present, reads[r].value);
    }
    skipped_ = 0;
    reads_seen_ = reads_before;
    keys_seen_ = n;
  }

  /// f(key, const V&) for all keys that are in memory, in no order.
  template <class F>
  void ForEach(F&& f) {
    for (uint32_t g = backend_->key_groups().first; g < backend_->key_groups().end; ++g) {
      auto& table = tables_->Of(g);
      for (size_t s = table.NextLive(0); s != TableBase::kNoSlot; s = table.NextLive(s + 1)) {
        f(table.KeyAt(s), *static_cast<const V*>(table.ValueAt(s)));
      }
    }
  }

 private:
  /// Below this everything is in the processor's caches and prefetching only costs.
  static constexpr size_t kPrefetchAboveBytes = size_t{1} << 20;

  TableOf& TableFor(uint64_t hash) { return tables_->Of(backend_->KeyGroupFor(hash)); }

  /// Mostly hit: fewer than one read in so many keys since the last look.
  static constexpr uint64_t kHitFactor = 50;
  static constexpr uint32_t kLookAgain = 16;

  Tables* tables_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  uint64_t reads_seen_ = 0;
  uint64_t keys_seen_ = 0;
  uint32_t skipped_ = 0;
};

}  // namespace weir
