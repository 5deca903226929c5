#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
    StateCache::ReadBatch& batch = cache->read_batch();
    batch.missing.clear();
    batch.keys.clear();
    batch.rows.clear();
    size_t bytes = 0;
    constexpr size_t kAhead = 24;
    for (size_t i = 0; i < std::min(n, kAhead); ++i) TableFor(hashes[i]).PrefetchGroup(hashes[i]);
    for (size_t i = 0; i < n; ++i) {
      if (i + kAhead < n) TableFor(hashes[i + kAhead]).PrefetchGroup(hashes[i + kAhead]);
      const TableOf& table = TableFor(hashes[i]);
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
      const TableOf& table = TableFor(hash);
      char* const end = table.WriteKey(key_at(i), at);
      batch.keys.push_back(
          {tables_->context().state_id, table.key_group(), {at, static_cast<size_t>(end - at)}});
      batch.rows.push_back(i);
      at = end;
    }
    if (!batch.keys.empty()) {
      cache->MultiGet(tables_->context(), batch.keys,
                      [&](size_t index, std::optional<std::string_view> value) {
                        const uint32_t i = batch.rows[index];
                        TableFor(hashes[i]).Fill(key_at(i), hashes[i], value.has_value(),
                                                 value.value_or(std::string_view()));
                      });
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
