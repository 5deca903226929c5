#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "state/batch_reads.h"
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
    view.reads_ = {view.tables_, &backend};
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
    reads_.Read(hashes, n, key_at);
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

  Tables* tables_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  BatchReads<K, TypedValues<V>> reads_;
};

}  // namespace weir
