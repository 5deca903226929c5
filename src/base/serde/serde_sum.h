#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <variant>

#include "base/serde/serde_core.h"
#include "base/serde/serde_scalar.h"

// One of several: optional, variant, monostate.

namespace weir {

template <>
struct Serde<std::monostate> : SerdeBase<std::monostate> {
  static constexpr size_t kFixedSize = 0;

  static constexpr size_t Size(std::monostate) { return 0; }
  static char* Write(std::monostate, char* out) { return out; }
  static bool Read(ByteReader& reader, std::monostate&) { return reader.ok(); }
  static void Describe(SchemaWriter& out) { out.Text("none"); }
};

/// A byte 0, or a byte 1 and the value.
template <class T>
struct Serde<std::optional<T>> : SerdeBase<std::optional<T>> {
  static constexpr size_t kMinSize = 1;

  static size_t Size(const std::optional<T>& value) {
    return 1 + (value ? Serde<T>::Size(*value) : 0);
  }
  static char* Write(const std::optional<T>& value, char* out) {
    *out++ = value ? 1 : 0;
    return value ? Serde<T>::Write(*value, out) : out;
  }
  static bool Read(ByteReader& reader, std::optional<T>& value) {
    bool present = false;
    if (!Serde<bool>::Read(reader, present)) return false;
    if (!present) {
      value.reset();
      return true;
    }
    if (!value) value.emplace();
    return Serde<T>::Read(reader, *value);
  }
  static void Describe(SchemaWriter& out) {
    out.Text("optional<");
    DescribeSchema<T>(out);
    out.Text(">");
  }
};

/// A byte that says which alternative, then the alternative. Reading the alternative that is
/// already there assigns into it. A valueless variant throws std::bad_variant_access.
template <class... Ts>
struct Serde<std::variant<Ts...>> : SerdeBase<std::variant<Ts...>> {
  using Variant = std::variant<Ts...>;
  static_assert(sizeof...(Ts) <= 255, "Weir serialises variants of at most 255 alternatives");
  static constexpr size_t kMinSize = 1;

  static size_t Size(const Variant& value) {
    return 1 + std::visit([]<class T>(const T& v) { return Serde<T>::Size(v); }, value);
  }
  static char* Write(const Variant& value, char* out) {
    *out = static_cast<char>(value.index());
    return std::visit([out]<class T>(const T& v) { return Serde<T>::Write(v, out + 1); }, value);
  }
  static bool Read(ByteReader& reader, Variant& value) {
    const size_t index = reader.Get<uint8_t>();
    if (!reader.ok()) return false;
    return [&]<size_t... I>(std::index_sequence<I...>) {
      bool valid = false;
      const bool known = ((I == index && (valid = ReadAlternative<I>(reader, value), true)) || ...);
      if (!known) reader.Fail();
      return valid;
    }
    (std::index_sequence_for<Ts...>{});
  }
  static void Describe(SchemaWriter& out) {
    out.Text("variant<");
    std::string_view separator = "";
    ((out.Text(separator), DescribeSchema<Ts>(out), separator = ","), ...);
    out.Text(">");
  }

 private:
  template <size_t kIndex>
  static bool ReadAlternative(ByteReader& reader, Variant& value) {
    using T = std::variant_alternative_t<kIndex, Variant>;
    if (value.index() != kIndex) value.template emplace<kIndex>();
    return Serde<T>::Read(reader, *std::get_if<kIndex>(&value));
  }
};

}  // namespace weir
