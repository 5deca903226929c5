#pragma once

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "state/keyed_state_backend.h"
#include "state/table.h"
#include "state/value_state.h"

namespace weir {

/// A map per key, whose entries are stored one by one: a change costs one entry in a checkpoint,
/// however large the map is. A handle for user functions; see ValueState.
template <class MK, class MV>
class MapState {
 public:
  MapState() = default;

  static MapState Open(KeyedStateBackend& backend, const std::string& name,
                       StateScope scope = StateScope::kKey) {
    MapState handle;
    handle.state_ = backend.OpenErased(
        name, StateKind::kMap, Type(),
        CombineHashes(StateKeyCodec<MK>::SchemaHash(), Serde<MV>::SchemaHash()),
        "map<" + StateKeyCodec<MK>::SchemaName() + "," + Serde<MV>::SchemaName() + ">",
        scope == StateScope::kKeyAndNamespace);
    return handle;
  }

  /// Null when the map has no such key. Valid until the next call on any state that can insert.
  const MV* Get(const MK& key) const {
    Entries* entries = FindEntries();
    return entries == nullptr ? nullptr : static_cast<const MV*>(entries->Find(key, Hash(key)));
  }
  bool Contains(const MK& key) const { return Get(key) != nullptr; }
  /// For changing the value in place; MV() when the map has no such key.
  MV& Mutable(const MK& key) {
    return *static_cast<MV*>(MakeEntries().FindOrInsert(key, Hash(key)));
  }
  void Put(const MK& key, MV value) { Mutable(key) = std::move(value); }
  void Remove(const MK& key) {
    Entries* entries = FindEntries();
    if (entries == nullptr) return;
    entries->Erase(key, Hash(key));
    // Without a store an empty table is an empty map, and keys whose map is empty cost nothing.
    if (entries->empty() && !HasStore()) Clear();
  }

  /// f(const MK&, const MV&) for all entries, in no order. f must not change the map.
  template <class F>
  void ForEach(F&& f) const {
    Entries* entries = FindEntries();
    if (entries == nullptr) return;
    for (size_t s = entries->NextLive(0); s != TableBase::kNoSlot; s = entries->NextLive(s + 1)) {
      f(entries->KeyAt(s), *static_cast<const MV*>(entries->ValueAt(s)));
    }
    if (!HasStore() || entries->complete()) return;
    ScanBelow(*entries, [&](const MK& key, const MV& value) {
      if (!entries->IsCached(key, Hash(key))) f(key, value);
      return true;
    });
  }
  bool Empty() const {
    Entries* entries = FindEntries();
    if (entries == nullptr) return true;
    if (!entries->empty()) return false;
    bool empty = true;
    if (HasStore() && !entries->complete()) {
      ScanBelow(*entries, [&](const MK& key, const MV&) {
        empty = entries->IsCached(key, Hash(key));  // cached here means cached as removed
        return empty;
      });
    }
    return empty;
  }

  /// Costs the same for every size.
  void Clear() {
    if (HasStore()) {
      // The new, empty table answers for the store until that has seen the deletion: the key's slot
      // counts as changed, and stays until what was written before it is settled.
      Cell* cell = static_cast<Cell*>(state_->FindOrInsert());
      if (cell->entries == nullptr) cell->entries = NewEntries();
      state_->context()->directory->Drop(std::move(cell->entries));
      cell->entries = NewEntries();
      cell->entries->set_complete();
    } else if (Cell* cell = static_cast<Cell*>(state_->Find())) {
      state_->context()->directory->Drop(std::move(cell->entries));
      state_->Erase();
    }
  }

 private:
  using Entries = Table<MK, TypedValues<MV>>;
  struct Cell {
    std::unique_ptr<Entries> entries;
  };

  static uint64_t Hash(const MK& key) { return StateKeyCodec<MK>::Hash(key); }
  bool HasStore() const { return state_->context()->directory->cache != nullptr; }

  std::unique_ptr<Entries> NewEntries() const {
    return std::make_unique<Entries>(state_->context(), state_->key_group(), state_->Prefix(),
                                     TypedValues<MV>());
  }
  // With a store the key's own slot has changed only by Clear: entries answer for themselves, and
  // their table keeps the slot for as long as it holds any.
  Entries& MakeEntries() const {
    Cell* cell = static_cast<Cell*>(HasStore() ? state_->FindOrCache() : state_->FindOrInsert());
    if (cell->entries == nullptr) cell->entries = NewEntries();
    return *cell->entries;
  }
  Entries* FindEntries() const {
    if (HasStore()) return &MakeEntries();
    Cell* cell = static_cast<Cell*>(state_->Find());
    return cell == nullptr ? nullptr : cell->entries.get();
  }

  /// visit(key, value) for the store's entries of this map until it returns false.
  template <class F>
  static void ScanBelow(const Entries& entries, F&& visit) {
    const TableContext& context = entries.context();
    context.directory->cache->Scan(
        context, entries.key_group(), entries.prefix(),
        [&](std::string_view key_bytes, std::string_view bytes) {
          MK key{};
          MV value{};
          ByteReader key_in(key_bytes.substr(entries.prefix().size()));
          if (!StateKeyCodec<MK>::Read(key_in, key) || !SerdeDecode(bytes, value)) {
            StateCache::ThrowUndecodable(context);
          }
          return visit(key, value);
        });
  }

  static const ValueType* Type() {
    static const ValueType type{
        .size = sizeof(Cell),
        .align = alignof(Cell),
        .is_persisted = false,
        .construct = [](void* at) { new (at) Cell(); },
        .destroy = [](void* at) { static_cast<Cell*>(at)->~Cell(); },
        .relocate =
            [](void* from, void* to) {
              new (to) Cell(std::move(*static_cast<Cell*>(from)));
              static_cast<Cell*>(from)->~Cell();
            },
        .nested = [](void* at) -> TableBase* { return static_cast<Cell*>(at)->entries.get(); },
        .restore_nested =
            [](void* at, const TableContext* context, uint16_t key_group, std::string_view prefix,
               std::string_view key_bytes, std::string_view bytes) {
              Cell* cell = static_cast<Cell*>(at);
              if (cell->entries == nullptr) {
                cell->entries = std::make_unique<Entries>(context, key_group, std::string(prefix),
                                                          TypedValues<MV>());
              }
              MK key{};
              ByteReader in(key_bytes);
              if (!StateKeyCodec<MK>::Read(in, key) || in.remaining() != 0) return false;
              return SerdeDecode(bytes, *static_cast<MV*>(cell->entries->Restore(key)));
            }};
    return &type;
  }

  ErasedState* state_ = UnopenedState();
};

}  // namespace weir
