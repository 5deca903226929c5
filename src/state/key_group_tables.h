#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "state/keyed_state_backend.h"
#include "state/table.h"

namespace weir {

/// A state with one table per key group of the subtask: rehashing one of them is a short pause.
template <class K, class Values>
class KeyGroupTables final : public StateTables {
 public:
  using TableOf = Table<K, Values>;

  KeyGroupTables(StateSchema schema, KeyGroupRange range, Values values)
      : StateTables(std::move(schema)), range_(range), values_(values) {}
  ~KeyGroupTables() override {
    for (uint32_t i = 0; i < made_; ++i) std::destroy_at(&tables_[i]);
    if (tables_ != nullptr) std::allocator<TableOf>().deallocate(tables_, range_.size());
  }

  /// Before Add.
  void set_pinned() { pinned_ = true; }
  bool IsPinned() const override { return pinned_; }

  void MakeTables() override {
    tables_ = std::allocator<TableOf>().allocate(range_.size());
    for (; made_ < range_.size(); ++made_) {
      std::construct_at(&tables_[made_], &context(), static_cast<uint16_t>(range_.first + made_),
                        std::string(), values_);
    }
  }

  /// `key_group` must be in the range.
  TableOf& Of(uint32_t key_group) { return tables_[key_group - range_.first]; }

  /// The table of the first key group; the others follow.
  TableOf* data() { return tables_; }

  void Restore(const RestoredState::Entry& entry) override {
    ByteReader in(entry.key);
    K key{};
    if (!StateKeyCodec<K>::Read(in, key)) ThrowUndecodable();
    TableOf& table = Of(entry.key_group);
    void* value = table.Restore(key);
    if (in.remaining() > 0) {
      if constexpr (requires { values_.type(); }) {
        const size_t prefix_size = entry.key.size() - in.remaining();
        if (values_.type().restore_nested != nullptr &&
            values_.type().restore_nested(value, &context(), entry.key_group,
                                          entry.key.substr(0, prefix_size),
                                          entry.key.substr(prefix_size), entry.value)) {
          return;
        }
      }
      ThrowUndecodable();
    }
    ByteReader bytes(entry.value);
    if (!values_.IsPersisted() || !values_.Read(bytes, value) || !bytes.ok() ||
        bytes.remaining() != 0) {
      ThrowUndecodable();
    }
  }

  void ForEachTable(const std::function<void(TableBase&)>& visit) override {
    for (uint32_t i = 0; i < made_; ++i) visit(tables_[i]);
  }

  const Values& values() const { return values_; }

 private:
  const KeyGroupRange range_;
  [[no_unique_address]] const Values values_;
  bool pinned_ = false;
  TableOf* tables_ = nullptr;
  uint32_t made_ = 0;
};

}  // namespace weir
