#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "state/batch_reads.h"
#include "state/key_group_tables.h"
#include "state/keyed_state_backend.h"

namespace weir {

/// Keyed state of an operator whose key is a K. Holds the current key, which the handles of user
/// functions (value_state.h, list_state.h, map_state.h) refer to. See KeyedStateBackend.
template <class K>
class KeyedState final : public KeyedStateBackend {
 public:
  using KeyedStateBackend::KeyedStateBackend;

  /// `key` must stay where it is until the next call; `hash` is KeyHash(key).
  void SetCurrentKey(const K& key, uint64_t hash) {
    key_ = &key;
    hash_ = hash;
    key_group_ = KeyGroupFor(hash);
  }
  /// No key is at hand any more: until the next one is set, whoever uses a state is told so.
  void ClearCurrentKey() { key_ = nullptr; }
  const K& current_key() const {
    if (key_ == nullptr) [[unlikely]]
      ThrowNoKey({});
    return *key_;
  }
  uint64_t current_hash() const { return hash_; }
  uint32_t current_key_group() const { return key_group_; }

  /// Before the `n` rows of a batch are processed: brings what their keys have in the declared
  /// value states into the cache, with one read of the store for each state.
  template <class KeyAt>
  void ReadValuesOf(const uint64_t* hashes, size_t n, KeyAt&& key_at) {
    for (auto& reads : value_reads_) reads.Read(hashes, n, key_at);
  }

  /// The namespace (window) of states that were opened with one.
  void SetCurrentNamespace(int64_t name_space) { namespace_ = name_space; }
  int64_t current_namespace() const { return namespace_; }

  ErasedState* OpenErased(const std::string& name, StateKind kind, const ValueType* type,
                          uint64_t value_hash, const std::string& value_schema,
                          bool namespaced) override {
    return namespaced ? OpenAs<NamespacedKey<K>>(name, kind, type, value_hash, value_schema)
                      : OpenAs<K>(name, kind, type, value_hash, value_schema);
  }

 private:
  /// TableKey is K or NamespacedKey<K>.
  template <class TableKey>
  class State final : public ErasedState {
   public:
    using Tables = KeyGroupTables<TableKey, ErasedValues>;
    static constexpr bool kNamespaced = !std::is_same_v<TableKey, K>;

    State(KeyedState* owner, Tables* tables) : owner_(owner), tables_(tables) {}

    void* Find() override { return Table().Find(Key(), Hash()); }
    void* FindForUpdate() override { return Table().FindForUpdate(Key(), Hash()); }
    void* FindOrInsert() override { return Table().FindOrInsert(Key(), Hash()); }
    void* FindOrCache() override { return Table().FindOrCache(Key(), Hash()); }
    void Erase() override { Table().Erase(Key(), Hash()); }
    std::string Prefix() const override {
      CheckKey();
      decltype(auto) key = Key();
      std::string bytes(StateKeyCodec<TableKey>::Size(key), '\0');
      StateKeyCodec<TableKey>::Write(key, bytes.data());
      return bytes;
    }
    const TableContext* context() const override { return &tables_->context(); }
    uint16_t key_group() const override { return static_cast<uint16_t>(owner_->key_group_); }

   private:
    decltype(auto) Key() const {
      if constexpr (kNamespaced) {
        return TableKey{*owner_->key_, owner_->namespace_};
      } else {
        return (*owner_->key_);
      }
    }
    uint64_t Hash() const {
      if constexpr (kNamespaced) {
        return StateKeyCodec<TableKey>::Hash(owner_->hash_, owner_->namespace_);
      } else {
        return owner_->hash_;
      }
    }
    // The first that every access asks for.
    auto& Table() const {
      CheckKey();
      return tables_->Of(owner_->key_group_);
    }
    void CheckKey() const {
      if (owner_->key_ == nullptr) [[unlikely]]
        ThrowNoKey(tables_->schema().name);
    }

    KeyedState* const owner_;
    Tables* const tables_;
  };

  template <class TableKey>
  ErasedState* OpenAs(const std::string& name, StateKind kind, const ValueType* type,
                      uint64_t value_hash, const std::string& value_schema) {
    StateSchema schema{.name = name,
                       .kind = kind,
                       .key_hash = StateKeyCodec<TableKey>::SchemaHash(),
                       .value_hash = value_hash,
                       .key_schema = StateKeyCodec<TableKey>::SchemaName(),
                       .value_schema = value_schema};
    auto tables = std::make_unique<KeyGroupTables<TableKey, ErasedValues>>(
        std::move(schema), key_groups(), ErasedValues(type));
    auto state = std::make_unique<State<TableKey>>(this, tables.get());
    ErasedState* const result = state.get();
    if constexpr (std::is_same_v<TableKey, K>) {
      if (kind == StateKind::kValue) value_reads_.push_back({tables.get(), this});
    }
    Add(std::move(tables));
    erased_.push_back(std::move(state));
    return result;
  }

  const K* key_ = nullptr;
  uint64_t hash_ = 0;
  uint32_t key_group_ = 0;
  int64_t namespace_ = 0;
  std::vector<std::unique_ptr<ErasedState>> erased_;
  std::vector<BatchReads<K, ErasedValues>> value_reads_;
};

}  // namespace weir
