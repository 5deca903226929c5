#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/serde/schema.h"
#include "base/serde/type_name.h"

namespace weir {

/// How a value of T becomes bytes and comes back; see serde.h. This primary template is what a
/// type gets that Weir cannot serialise: the assertion says what to do about it.
template <class T>
struct Serde {
  static_assert(!std::is_pointer_v<T> && !std::is_null_pointer_v<T>,
                "Weir cannot serialise a pointer: its target is not part of the record. Hold the "
                "value itself, or std::optional of it");
  static_assert(!std::is_same_v<T, std::string_view>,
                "Weir cannot serialise std::string_view: it owns no bytes. Use std::string");
  static_assert(!std::is_array_v<T>, "Weir cannot serialise a C array: use std::array");
  static_assert(!std::is_same_v<T, long double>,
                "Weir cannot serialise long double: its layout differs by platform. Use double");
  static_assert(!std::is_reference_v<T> && !std::is_const_v<T>,
                "Weir cannot serialise a const or reference field: reading assigns into it");
  static_assert(std::is_pointer_v<T> || std::is_null_pointer_v<T> ||
                    std::is_same_v<T, std::string_view> || std::is_array_v<T> ||
                    std::is_same_v<T, long double> || std::is_reference_v<T> || std::is_const_v<T>,
                "Weir cannot serialise this type. Make it an aggregate (no constructors, private "
                "members, virtual functions or bases, at most 32 members), or name its fields "
                "with WEIR_FIELDS(Type, a, b, ...), or specialise weir::Serde<Type>");

  // Not defined: here so that the assertion is the only error.
  static size_t Size(const T&);
  static char* Write(const T&, char* out);
  static bool Read(ByteReader&, T&);
  static std::string SchemaName();
  static uint64_t SchemaHash();
};

/// kFixedSize of a type whose values differ in size.
inline constexpr size_t kVariableSize = SIZE_MAX;

/// Size of every encoded T, or kVariableSize.
template <class T>
inline constexpr size_t kSerdeFixedSize = [] {
  if constexpr (requires { Serde<T>::kFixedSize; }) {
    return size_t{Serde<T>::kFixedSize};
  } else {
    return kVariableSize;
  }
}();

template <class T>
inline constexpr bool kSerdeIsFixed = kSerdeFixedSize<T> != kVariableSize;

/// Least size of an encoded T: what bounds a count that was read by the bytes that are left.
template <class T>
inline constexpr size_t kSerdeMinSize = [] {
  if constexpr (kSerdeIsFixed<T>) {
    return kSerdeFixedSize<T>;
  } else if constexpr (requires { Serde<T>::kMinSize; }) {
    return size_t{Serde<T>::kMinSize};
  } else {
    return size_t{1};
  }
}();

/// Whether T's bytes in memory are its encoding, every bit pattern being a valid value: arrays and
/// aggregates of such types go by one memcpy.
template <class T>
inline constexpr bool kSerdeIsBitwise = [] {
  if constexpr (requires { Serde<T>::kBitwise; }) {
    static_assert(!Serde<T>::kBitwise || std::is_trivially_copyable_v<T>);
    return bool{Serde<T>::kBitwise};
  } else {
    return false;
  }
}();

/// Reads a T of fixed size from bytes that are known to be there. False: not a valid value.
template <class T>
requires kSerdeIsFixed<T>
inline bool SerdeReadFixed(const char* in, T& value) {
  if constexpr (kSerdeIsBitwise<T>) {
    if constexpr (kSerdeFixedSize < T >> 0) std::memcpy(&value, in, sizeof value);
    return true;
  } else if constexpr (requires { Serde<T>::ReadFixed(in, value); }) {
    return Serde<T>::ReadFixed(in, value);
  } else {
    ByteReader reader(std::string_view(in, kSerdeFixedSize<T>));
    return Serde<T>::Read(reader, value);
  }
}

/// Adds the description of T to `out`. A Serde without Describe is described by its SchemaName().
template <class T>
void DescribeSchema(SchemaWriter& out) {
  if constexpr (requires { Serde<T>::Describe(out); }) {
    Serde<T>::Describe(out);
  } else {
    out.Text(Serde<T>::SchemaName());
  }
  if constexpr (requires { Serde<T>::kVersion; }) {
    if (Serde<T>::kVersion != 1) {
      out.Text("@");
      out.Number(Serde<T>::kVersion);
    }
  }
}

/// What every Serde has alike. `Serde<T> : SerdeBase<T>` provides kVersion (raise it by shadowing
/// when the bytes of an unchanged type change), SchemaName and SchemaHash; the rest is the
/// family's: Size, Write, Read, Describe, and where it applies kFixedSize, kMinSize, kBitwise,
/// ReadFixed.
template <class T>
struct SerdeBase {
  static constexpr uint32_t kVersion = 1;

  /// For example `Order{customer:string,cents:i64,at:timestamp}`; grammar in schema.h.
  static std::string SchemaName() {
    SchemaWriter writer(SchemaWriter::Style::kReadable);
    DescribeSchema<T>(writer);
    return std::move(writer).Take();
  }

  /// Equal for types whose bytes mean the same: hash of the description without type names.
  static uint64_t SchemaHash() {
    static const uint64_t hash = [] {
      SchemaWriter writer(SchemaWriter::Style::kHashed);
      DescribeSchema<T>(writer);
      return HashSchema(std::move(writer).Take());
    }();
    return hash;
  }
};

/// SerdeBase of a type that is one memcpy of a fixed size.
template <class T>
struct BitwiseSerde : SerdeBase<T> {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr size_t kFixedSize = sizeof(T);
  static constexpr bool kBitwise = true;

  static constexpr size_t Size(const T&) { return sizeof(T); }
  static char* Write(const T& value, char* out) {
    std::memcpy(out, &value, sizeof value);
    return out + sizeof value;
  }
  static bool Read(ByteReader& reader, T& value) {
    const std::string_view bytes = reader.GetBytes(sizeof value);
    if (!reader.ok()) return false;
    std::memcpy(&value, bytes.data(), sizeof value);
    return true;
  }
};

}  // namespace weir
