#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "state/state_key.h"

namespace weir {

class TableBase;
struct TableContext;

/// What a table asks of its values. The two kinds: TypedValues, known at compile time, for built-in
/// operators; ErasedValues, for the handles of user functions, which know the value's type while
/// the table knows the key's.
template <class V>
struct TypedValues {
  static constexpr bool kEmpty = std::is_same_v<V, NoValue>;
  static constexpr bool kTrivial = std::is_trivially_copyable_v<V>;

  static constexpr size_t Size() { return kEmpty ? 0 : sizeof(V); }
  static constexpr size_t Align() { return kEmpty ? 1 : alignof(V); }
  static constexpr bool IsPersisted() { return true; }

  static void Construct(void* at) {
    if constexpr (!kEmpty) new (at) V();
  }
  static void Destroy(void* at) {
    if constexpr (!kEmpty) std::destroy_at(static_cast<V*>(at));
  }
  static void Relocate(void* from, void* to) {
    if constexpr (!kEmpty) {
      V* v = static_cast<V*>(from);
      new (to) V(std::move(*v));
      std::destroy_at(v);
    }
  }
  static size_t EncodedSize(const void* v) {
    if constexpr (kEmpty)
      return 0;
    else
      return Serde<V>::Size(*static_cast<const V*>(v));
  }
  static void Write(const void* v, char* out) {
    if constexpr (!kEmpty) Serde<V>::Write(*static_cast<const V*>(v), out);
  }
  static bool Read(ByteReader& in, void* v) {
    if constexpr (kEmpty)
      return in.ok();
    else
      return Serde<V>::Read(in, *static_cast<V*>(v));
  }
  static TableBase* Nested(void*) { return nullptr; }
  static constexpr bool HasNested() { return false; }
};

/// Type information of a value whose type the table does not know.
struct ValueType {
  size_t size = 0;
  size_t align = 1;
  /// The value itself has bytes (a map has only those of its entries).
  bool is_persisted = true;
  void (*construct)(void*) = nullptr;
  void (*destroy)(void*) = nullptr;
  void (*relocate)(void* from, void* to) = nullptr;
  size_t (*encoded_size)(const void*) = nullptr;
  void (*write)(const void*, char*) = nullptr;
  bool (*read)(ByteReader&, void*) = nullptr;
  /// For values that are tables themselves: the table, and restoring one entry of it.
  TableBase* (*nested)(void*) = nullptr;
  bool (*restore_nested)(void* value, const TableContext* context, uint16_t key_group,
                         std::string_view prefix, std::string_view key,
                         std::string_view bytes) = nullptr;
};

class ErasedValues {
 public:
  static constexpr bool kTrivial = false;

  explicit ErasedValues(const ValueType* type) : type_(type) {}
  size_t Size() const { return type_->size; }
  size_t Align() const { return type_->align; }
  bool IsPersisted() const { return type_->is_persisted; }
  void Construct(void* at) const { type_->construct(at); }
  void Destroy(void* at) const { type_->destroy(at); }
  void Relocate(void* from, void* to) const { type_->relocate(from, to); }
  size_t EncodedSize(const void* v) const { return type_->encoded_size(v); }
  void Write(const void* v, char* out) const { type_->write(v, out); }
  bool Read(ByteReader& in, void* v) const { return type_->read(in, v); }
  TableBase* Nested(void* v) const { return type_->nested ? type_->nested(v) : nullptr; }
  bool HasNested() const { return type_->nested != nullptr; }
  const ValueType& type() const { return *type_; }

 private:
  const ValueType* type_;
};

/// ValueType of a plain value.
template <class V>
const ValueType* ValueTypeOf() {
  using Typed = TypedValues<V>;
  static const ValueType type{.size = Typed::Size(),
                              .align = Typed::Align(),
                              .construct = &Typed::Construct,
                              .destroy = &Typed::Destroy,
                              .relocate = &Typed::Relocate,
                              .encoded_size = &Typed::EncodedSize,
                              .write = &Typed::Write,
                              .read = &Typed::Read};
  return &type;
}

}  // namespace weir
