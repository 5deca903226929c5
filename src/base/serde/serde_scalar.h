#pragma once

#include <chrono>
#include <cstdint>
#include <type_traits>

#include "base/ids.h"
#include "base/serde/serde_core.h"
#include "base/timestamp.h"

// Numbers, characters, bool, enums, times and ids: fixed width, little-endian.

namespace weir {

namespace serde_internal {

template <class T>
concept Number = std::is_arithmetic_v<T> && !std::is_same_v<T, bool> &&
                 !std::is_same_v<T, long double> && !std::is_const_v<T>;

template <Number T>
constexpr std::string_view NumberName() {
  if constexpr (std::is_floating_point_v<T>) return sizeof(T) == 4 ? "f32" : "f64";
  if constexpr (std::is_same_v<T, char>) return "char";
  constexpr int kLog = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
  constexpr std::string_view kSigned[] = {"i8", "i16", "i32", "i64"};
  constexpr std::string_view kUnsigned[] = {"u8", "u16", "u32", "u64"};
  return std::is_signed_v<T> ? kSigned[kLog] : kUnsigned[kLog];
}

}  // namespace serde_internal

template <serde_internal::Number T>
struct Serde<T> : BitwiseSerde<T> {
  static void Describe(SchemaWriter& out) { out.Text(serde_internal::NumberName<T>()); }
};

/// One byte, 0 or 1; any other byte is refused, because a bool made of it would be undefined.
template <>
struct Serde<bool> : SerdeBase<bool> {
  static constexpr size_t kFixedSize = 1;

  static constexpr size_t Size(bool) { return 1; }
  static char* Write(bool value, char* out) {
    *out = value ? 1 : 0;
    return out + 1;
  }
  static bool ReadFixed(const char* in, bool& value) {
    value = *in == 1;
    return *in == 0 || *in == 1;
  }
  static bool Read(ByteReader& reader, bool& value) {
    const char byte = reader.Get<char>();
    if (!ReadFixed(&byte, value)) reader.Fail();
    return reader.ok();
  }
  static void Describe(SchemaWriter& out) { out.Text("bool"); }
};

/// By the underlying integer; a value without an enumerator is kept as it is.
template <class T>
requires std::is_enum_v<T>
struct Serde<T> : BitwiseSerde<T> {
  static_assert(
      requires { T{std::underlying_type_t<T>{}}; },
      "Weir serialises an enum as its underlying type, and this one leaves that to the "
      "compiler: declare it as `enum class Kind : uint8_t` or `enum Kind : int32_t`");
  static_assert(!std::is_same_v<std::underlying_type_t<T>, bool>,
                "Weir cannot serialise an enum over bool: declare it over uint8_t");

  static void Describe(SchemaWriter& out) {
    out.Text("enum<");
    DescribeSchema<std::underlying_type_t<T>>(out);
    out.Text(">");
  }
};

template <>
struct Serde<Timestamp> : BitwiseSerde<Timestamp> {
  static void Describe(SchemaWriter& out) { out.Text("timestamp"); }
};

template <serde_internal::Number Rep, class Period>
struct Serde<std::chrono::duration<Rep, Period>>
    : BitwiseSerde<std::chrono::duration<Rep, Period>> {
  static void Describe(SchemaWriter& out) {
    out.Text("duration<");
    DescribeSchema<Rep>(out);
    out.Text(",");
    out.Number(Period::num);
    out.Text("/");
    out.Number(Period::den);
    out.Text(">");
  }
};

/// An id is its value, on the wire and in the schema.
template <class Tag, class Rep>
struct Serde<StrongId<Tag, Rep>> : SerdeBase<StrongId<Tag, Rep>> {
  using Id = StrongId<Tag, Rep>;
  static constexpr size_t kFixedSize = kSerdeFixedSize<Rep>;
  static constexpr size_t kMinSize = kSerdeMinSize<Rep>;
  static constexpr bool kBitwise = kSerdeIsBitwise<Rep>;

  static constexpr size_t Size(const Id& id) { return Serde<Rep>::Size(id.value); }
  static char* Write(const Id& id, char* out) { return Serde<Rep>::Write(id.value, out); }
  static bool Read(ByteReader& reader, Id& id) { return Serde<Rep>::Read(reader, id.value); }
  static void Describe(SchemaWriter& out) { DescribeSchema<Rep>(out); }
};

}  // namespace weir
