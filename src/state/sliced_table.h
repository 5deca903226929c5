#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "state/keyed_state_backend.h"
#include "state/table.h"

namespace weir {

/// Keys in the order of their hashes, which is also the order of key groups: where an iteration
/// stands, independent of how tables lie in memory. Can be stored and continued after a restore,
/// at any parallelism.
struct HashRange {
  uint64_t next = 0;
  uint64_t last = std::numeric_limits<uint64_t>::max();
  bool done = false;

  friend bool operator==(const HashRange&, const HashRange&) = default;
};

/// State of a window operator: an accumulator per slice (known by its end) and key. A hash table
/// per slice and key group; slices in order; a slice is dropped at once, whatever its size. For
/// built-in operators. References are valid as in ValueTable.
///
/// Stored as (key group, slice end, key).
template <class K, class Acc>
class SlicedTable {
 public:
  using TableOf = Table<K, TypedValues<Acc>>;

  /// The tables of one slice, by key group from the subtask's first one; null where it has no key.
  using Slice = std::vector<std::unique_ptr<TableOf>>;

  SlicedTable() = default;

  static SlicedTable Open(KeyedStateBackend& backend, const std::string& name) {
    StateSchema schema{.name = name,
                       .kind = StateKind::kSliced,
                       .key_hash = StateKeyCodec<K>::SchemaHash(),
                       .value_hash = Serde<Acc>::SchemaHash(),
                       .key_schema = StateKeyCodec<K>::SchemaName(),
                       .value_schema = Serde<Acc>::SchemaName()};
    auto slices = std::make_unique<Slices>(std::move(schema), backend.key_groups());
    SlicedTable view;
    view.slices_ = slices.get();
    view.backend_ = &backend;
    backend.Add(std::move(slices));
    return view;
  }

  /// Null when there is no such slice.
  Slice* FindSlice(int64_t end) {
    const auto at = slices_->by_end.find(end);
    return at == slices_->by_end.end() ? nullptr : &at->second;
  }
  /// Stays where it is until dropped: a batch looks it up once.
  Slice& MakeSlice(int64_t end) { return slices_->Make(end); }

  /// Acc() when the slice does not have the key; counts as changed.
  Acc& FindOrInsert(int64_t end, Slice& slice, const K& key, uint64_t hash) {
    return *static_cast<Acc*>(
        slices_->TableFor(end, slice, backend_->KeyGroupFor(hash)).FindOrInsert(key, hash));
  }
  Acc& FindOrInsert(int64_t end, const K& key, uint64_t hash) {
    return FindOrInsert(end, MakeSlice(end), key, hash);
  }
  const Acc* Find(int64_t end, const K& key, uint64_t hash) {
    Slice* slice = FindSlice(end);
    if (slice == nullptr) return nullptr;
    TableOf* table = (*slice)[backend_->KeyGroupFor(hash) - backend_->key_groups().first].get();
    return table == nullptr ? nullptr : static_cast<const Acc*>(table->Find(key, hash));
  }
  bool Erase(int64_t end, const K& key, uint64_t hash) {
    Slice* slice = FindSlice(end);
    if (slice == nullptr) return false;
    TableOf* table = (*slice)[backend_->KeyGroupFor(hash) - backend_->key_groups().first].get();
    return table != nullptr && table->Erase(key, hash);
  }

  /// Of a batch that goes into one slice: brings the tables' memory into the processor's caches.
  void Prefetch(const Slice& slice, uint64_t hash) const {
    const TableOf* table = slice[backend_->KeyGroupFor(hash) - backend_->key_groups().first].get();
    if (table != nullptr) table->PrefetchGroup(hash);
  }

  std::optional<int64_t> FirstSlice() const {
    if (slices_->by_end.empty()) return std::nullopt;
    return slices_->by_end.begin()->first;
  }
  /// The first slice that ends at or after `end`.
  std::optional<int64_t> SliceFrom(int64_t end) const {
    const auto at = slices_->by_end.lower_bound(end);
    if (at == slices_->by_end.end()) return std::nullopt;
    return at->first;
  }
  size_t slice_count() const { return slices_->by_end.size(); }

  /// One prefix deletion per key group, whatever the number of keys.
  void Drop(int64_t end) {
    const auto at = slices_->by_end.find(end);
    if (at == slices_->by_end.end()) return;
    for (auto& table : at->second) backend_->directory().Drop(std::move(table));
    slices_->by_end.erase(at);
    sorted_.ends.clear();
  }

  /// f(key, hash, const Acc&) for each key of the slices `ends` in the range, once, in the order of
  /// the hashes; accumulators of one key in several slices are joined by merge(Acc& into, const
  /// Acc&). Stops behind the key for which f returns false; `range` says where it stands. True when
  /// the range is done. Between calls, and in f, slices may change (which ends the life of f's
  /// accumulator); a key that comes in behind the cursor is not visited. f must not drop a slice of
  /// `ends`.
  template <class Merge, class F>
  bool ForEach(std::span<const int64_t> ends, HashRange& range, Merge&& merge, F&& f) {
    const KeyGroupRange groups = backend_->key_groups();
    const uint32_t max = backend_->max_parallelism();
    while (!range.done) {
      const uint32_t group = std::max(KeyGroupOf(range.next, max), groups.first);
      if (group >= groups.end) break;
      Sort(ends, group);
      auto at = std::lower_bound(
          sorted_.entries.begin(), sorted_.entries.end(), range.next,
          [](const typename Sorted::Entry& entry, uint64_t hash) { return entry.hash < hash; });
      while (at != sorted_.entries.end() && at->hash <= range.last) {
        // All keys of one hash go together: the cursor cannot stand between them.
        const uint64_t hash = at->hash;
        bool go_on = true;
        const auto end = std::find_if(at, sorted_.entries.end(),
                                      [&](const auto& entry) { return entry.hash != hash; });
        for (auto entry = at; entry != end; ++entry) go_on &= Visit(entry, end, merge, f);
        range.done = hash >= range.last || hash == std::numeric_limits<uint64_t>::max();
        range.next = hash + 1;
        if (!go_on || range.done) return range.done;
        if (Changed(ends, group)) break;
        at = end;
      }
      if (at != sorted_.entries.end() && at->hash <= range.last) continue;  // changed: sort again
      const uint64_t next_group = FirstHashOfKeyGroup(group + 1, max);
      if (next_group == 0 || next_group > range.last) break;
      range.next = std::max(range.next, next_group);
    }
    range.done = true;
    return true;
  }

 private:
  class Slices final : public StateTables {
   public:
    Slices(StateSchema schema, KeyGroupRange range)
        : StateTables(std::move(schema)), range_(range) {}
    void MakeTables() override {}
    Slice& Make(int64_t end) {
      Slice& slice = by_end[end];
      if (slice.empty()) slice.resize(range_.size());
      return slice;
    }
    TableOf& TableFor(int64_t end, Slice& slice, uint32_t key_group) {
      auto& table = slice[key_group - range_.first];
      if (table == nullptr) [[unlikely]] {
        std::string prefix(8, '\0');
        WriteOrdered(end, prefix.data());
        table = std::make_unique<TableOf>(&context(), static_cast<uint16_t>(key_group),
                                          std::move(prefix), TypedValues<Acc>());
      }
      return *table;
    }
    void Restore(const RestoredState::Entry& entry) override {
      ByteReader in(entry.key);
      const int64_t end = ReadOrderedSigned(in);
      K key{};
      if (!StateKeyCodec<K>::Read(in, key) || in.remaining() != 0) ThrowUndecodable();
      void* value = TableFor(end, Make(end), entry.key_group).Restore(key);
      if (!SerdeDecode(entry.value, *static_cast<Acc*>(value))) ThrowUndecodable();
    }
    bool IsPinned() const override { return true; }
    void ForEachTable(const std::function<void(TableBase&)>& visit) override {
      for (auto& [end, slice] : by_end) {
        for (auto& table : slice) {
          if (table != nullptr) visit(*table);
        }
      }
    }

    std::map<int64_t, Slice> by_end;

   private:
    const KeyGroupRange range_;
  };

  /// Entries of the slices `ends` in one key group in the order of their hashes, for as long as
  /// none of the tables changes.
  struct Sorted {
    struct Entry {
      uint64_t hash;
      TableOf* table;
      size_t slot;
    };
    std::vector<int64_t> ends;
    uint32_t key_group = 0;
    uint64_t version = 0;
    std::vector<Entry> entries;
    std::vector<bool> visited;
  };

  uint64_t VersionOf(std::span<const int64_t> ends, uint32_t group) {
    uint64_t version = 0;
    for (int64_t end : ends) {
      Slice* slice = FindSlice(end);
      if (slice == nullptr) continue;
      const TableOf* table = (*slice)[group - backend_->key_groups().first].get();
      if (table != nullptr) version += table->version() + uint64_t{1};
    }
    return version;
  }
  bool Changed(std::span<const int64_t> ends, uint32_t group) {
    return VersionOf(ends, group) != sorted_.version;
  }

  void Sort(std::span<const int64_t> ends, uint32_t group) {
    const uint64_t version = VersionOf(ends, group);
    if (sorted_.key_group == group && sorted_.version == version && !sorted_.ends.empty() &&
        std::equal(ends.begin(), ends.end(), sorted_.ends.begin(), sorted_.ends.end())) {
      return;
    }
    sorted_.ends.assign(ends.begin(), ends.end());
    sorted_.key_group = group;
    sorted_.version = version;
    sorted_.entries.clear();
    for (int64_t end : ends) {
      Slice* slice = FindSlice(end);
      if (slice == nullptr) continue;
      TableOf* table = (*slice)[group - backend_->key_groups().first].get();
      if (table == nullptr) continue;
      for (size_t s = table->NextLive(0); s != TableBase::kNoSlot; s = table->NextLive(s + 1)) {
        sorted_.entries.push_back({table->HashAt(s), table, s});
      }
    }
    std::sort(sorted_.entries.begin(), sorted_.entries.end(),
              [](const auto& a, const auto& b) { return a.hash < b.hash; });
  }

  /// Visits the key of `entry` unless an entry before it, of the same hash, had the same key.
  template <class It, class Merge, class F>
  bool Visit(It entry, It end, Merge& merge, F& f) {
    const K key = entry->table->KeyAt(entry->slot);
    const uint64_t hash = entry->hash;
    const Acc& own = *static_cast<const Acc*>(entry->table->ValueAt(entry->slot));
    if (std::next(entry) == end &&
        (entry == sorted_.entries.begin() || std::prev(entry)->hash != entry->hash)) {
      return f(key, hash, own);
    }
    for (It e = entry; e != sorted_.entries.begin() && std::prev(e)->hash == hash; --e) {
      if (StateKeysEqual(std::prev(e)->table->KeyAt(std::prev(e)->slot), key)) return true;
    }
    Acc joined = own;
    for (It e = std::next(entry); e != end; ++e) {
      if (StateKeysEqual(e->table->KeyAt(e->slot), key)) {
        merge(joined, *static_cast<const Acc*>(e->table->ValueAt(e->slot)));
      }
    }
    return f(key, hash, joined);
  }

  Slices* slices_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  Sorted sorted_;
};

}  // namespace weir
