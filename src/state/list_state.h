#pragma once

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "state/keyed_state_backend.h"
#include "state/table.h"
#include "state/value_state.h"

namespace weir {

/// A list per key, whose elements are stored one by one: appending costs one element in a
/// checkpoint, however long the list is. A handle for user functions; see ValueState.
template <class E>
class ListState {
 public:
  ListState() = default;

  static ListState Open(KeyedStateBackend& backend, const std::string& name,
                        StateScope scope = StateScope::kKey) {
    ListState handle;
    handle.state_ = backend.OpenErased(name, StateKind::kList, Type(), Serde<E>::SchemaHash(),
                                       "list<" + Serde<E>::SchemaName() + ">",
                                       scope == StateScope::kKeyAndNamespace);
    return handle;
  }

  void Add(E element) {
    Cell* cell = static_cast<Cell*>(state_->FindOrInsert());
    if (cell->elements == nullptr) {
      cell->elements = std::make_unique<Elements>(state_->context(), state_->key_group(),
                                                  state_->Prefix(), TypedValues<E>());
    }
    const ListPosition at{cell->end++};
    *static_cast<E*>(cell->elements->InsertNew(at, Hash(at))) = std::move(element);
  }
  void Update(std::vector<E> elements) {
    Clear();
    for (E& element : elements) Add(std::move(element));
  }

  uint64_t Size() const {
    const Cell* cell = static_cast<const Cell*>(state_->Find());
    return cell == nullptr ? 0 : cell->end;
  }
  bool Empty() const { return Size() == 0; }

  /// f(const E&) for the elements in the order in which they were added.
  template <class F>
  void ForEach(F&& f) const {
    Cell* cell = static_cast<Cell*>(state_->Find());
    if (cell == nullptr) return;
    if (cell->elements == nullptr) {  // its head came from the store
      cell->elements = std::make_unique<Elements>(state_->context(), state_->key_group(),
                                                  state_->Prefix(), TypedValues<E>());
    }
    for (ListPosition at; at.value < cell->end; ++at.value) {
      const void* element = cell->elements->Find(at, Hash(at));
      if (element == nullptr) StateCache::ThrowUndecodable(*state_->context());
      f(*static_cast<const E*>(element));
    }
  }
  std::vector<E> Get() const {
    std::vector<E> elements;
    ForEach([&](const E& element) { elements.push_back(element); });
    return elements;
  }

  /// Costs the same for every size.
  void Clear() {
    Cell* cell = static_cast<Cell*>(state_->Find());
    if (cell == nullptr) return;
    if (cell->elements == nullptr) {
      cell->elements = std::make_unique<Elements>(state_->context(), state_->key_group(),
                                                  state_->Prefix(), TypedValues<E>());
    }
    state_->context()->directory->Drop(std::move(cell->elements));
    state_->Erase();
  }

 private:
  using Elements = Table<ListPosition, TypedValues<E>>;
  /// The head is stored as the key's own value, the elements under (key, position).
  struct Cell {
    uint64_t end = 0;
    std::unique_ptr<Elements> elements;
  };

  static uint64_t Hash(ListPosition at) { return StateKeyCodec<ListPosition>::Hash(at); }

  static const ValueType* Type() {
    static const ValueType type{
        .size = sizeof(Cell),
        .align = alignof(Cell),
        .is_persisted = true,
        .construct = [](void* at) { new (at) Cell(); },
        .destroy = [](void* at) { static_cast<Cell*>(at)->~Cell(); },
        .relocate =
            [](void* from, void* to) {
              new (to) Cell(std::move(*static_cast<Cell*>(from)));
              static_cast<Cell*>(from)->~Cell();
            },
        .encoded_size = [](const void*) { return size_t{8}; },
        .write = [](const void* v,
                    char* out) { std::memcpy(out, &static_cast<const Cell*>(v)->end, 8); },
        .read =
            [](ByteReader& in, void* v) {
              static_cast<Cell*>(v)->end = in.Get<uint64_t>();
              return in.ok();
            },
        .nested = [](void* at) -> TableBase* { return static_cast<Cell*>(at)->elements.get(); },
        .restore_nested =
            [](void* at, const TableContext* context, uint16_t key_group, std::string_view prefix,
               std::string_view position_bytes, std::string_view bytes) {
              Cell* cell = static_cast<Cell*>(at);
              if (cell->elements == nullptr) {
                cell->elements = std::make_unique<Elements>(context, key_group, std::string(prefix),
                                                            TypedValues<E>());
              }
              ListPosition position;
              ByteReader in(position_bytes);
              if (!StateKeyCodec<ListPosition>::Read(in, position) || in.remaining() != 0)
                return false;
              return SerdeDecode(bytes, *static_cast<E*>(cell->elements->Restore(position)));
            }};
    return &type;
  }

  ErasedState* state_ = UnopenedState();
};

}  // namespace weir
