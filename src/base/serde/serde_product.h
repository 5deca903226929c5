#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/serde/fields.h"
#include "base/serde/serde_core.h"

// Aggregates, tuples, pairs and std::array: their members one after another, nothing between.

namespace weir {

namespace serde_internal {

/// Serialises a fixed list of members. Neighbours of fixed size are checked against the end of the
/// input once for the whole run of them.
template <class... Fs>
struct Members {
  static constexpr size_t kCount = sizeof...(Fs);
  static constexpr bool kFixed = (kSerdeIsFixed<Fs> && ...);
  static constexpr bool kAllBitwise = (kSerdeIsBitwise<Fs> && ...);
  static constexpr size_t kMinSize = (size_t{0} + ... + kSerdeMinSize<Fs>);
  static constexpr size_t kFixedSize = kFixed ? kMinSize : kVariableSize;
  static constexpr std::array<size_t, kCount> kSizes{kSerdeFixedSize<Fs>...};

  static constexpr size_t Size(const Fs&... members) {
    return (size_t{0} + ... + Serde<Fs>::Size(members));
  }

  static char* Write(char* out, const Fs&... members) {
    ((out = Serde<Fs>::Write(members, out)), ...);
    return out;
  }

  static bool Read(ByteReader& reader, Fs&... members) {
    return [&]<size_t... I>(std::index_sequence<I...>) {
      [[maybe_unused]] const char* run = nullptr;
      return (ReadMember<I>(reader, run, members) && ...);
    }
    (std::index_sequence_for<Fs...>{});
  }

  static bool ReadFixed(const char* in, Fs&... members) {
    [[maybe_unused]] auto one = [&in](auto& member) {
      const bool valid = SerdeReadFixed(in, member);
      in += kSerdeFixedSize<std::remove_cvref_t<decltype(member)>>;
      return valid;
    };
    return (one(members) && ...);
  }

 private:
  /// Bytes of the run of fixed-size members that begins at member i.
  static constexpr size_t RunSize(size_t i) {
    size_t size = 0;
    for (; i < kCount && kSizes[i] != kVariableSize; ++i) size += kSizes[i];
    return size;
  }
  static constexpr bool BeginsRun(size_t i) { return i == 0 || kSizes[i - 1] == kVariableSize; }

  template <size_t kIndex, class F>
  static bool ReadMember(ByteReader& reader, const char*& run, F& member) {
    if constexpr (kSizes[kIndex] != kVariableSize) {
      if constexpr (BeginsRun(kIndex)) {
        run = reader.GetBytes(RunSize(kIndex)).data();
        if (!reader.ok()) return false;
      }
      const bool valid = SerdeReadFixed(run, member);
      run += kSizes[kIndex];
      if (!valid) reader.Fail();
      return valid;
    } else {
      return Serde<F>::Read(reader, member);
    }
  }
};

template <class List>
struct MembersOfList;
template <class... Fs>
struct MembersOfList<TypeList<Fs...>> {
  using type = Members<Fs...>;
};

}  // namespace serde_internal

template <class T>
requires Reflectable<T>
struct Serde<T> : SerdeBase<T> {
  using Fields = typename serde_internal::MembersOfList<FieldTypes<T>>::type;
  static constexpr size_t kFixedSize = Fields::kFixedSize;
  static constexpr size_t kMinSize = Fields::kMinSize;
  /// No padding and nothing to check: the members' sizes add up to the struct's. Not with
  /// WEIR_FIELDS, whose order may differ from that in memory.
  static constexpr bool kBitwise = Fields::kAllBitwise && Fields::kFixedSize == sizeof(T) &&
                                   std::is_trivially_copyable_v<T> &&
                                   !fields_internal::HasListedFields<T>;

  static constexpr size_t Size(const T& value) {
    if constexpr (Fields::kFixed) {
      return kFixedSize;
    } else {
      return VisitFields(value, [](const auto&... f) { return Fields::Size(f...); });
    }
  }

  static char* Write(const T& value, char* out) {
    if constexpr (kBitwise) {
      std::memcpy(out, &value, sizeof value);
      return out + sizeof value;
    } else {
      return VisitFields(value, [out](const auto&... f) { return Fields::Write(out, f...); });
    }
  }

  static bool Read(ByteReader& reader, T& value) {
    if constexpr (kBitwise) {
      return BitwiseSerde<T>::Read(reader, value);
    } else {
      return VisitFields(value, [&reader](auto&... f) { return Fields::Read(reader, f...); });
    }
  }

  static bool ReadFixed(const char* in, T& value) requires Fields::kFixed {
    return VisitFields(value, [in](auto&... f) { return Fields::ReadFixed(in, f...); });
  }

  static void Describe(SchemaWriter& out) {
    out.Open(TypeName<T>(), &kIdentity);
    DescribeFields(out, FieldTypes<T>{}, std::make_index_sequence<kFieldCount<T>>{});
    out.Close();
  }

 private:
  static constexpr char kIdentity = 0;

  template <class... Fs, size_t... I>
  static void DescribeFields(SchemaWriter& out, TypeList<Fs...>, std::index_sequence<I...>) {
    ((out.Field(kFieldNames<T>[I]), DescribeSchema<Fs>(out)), ...);
  }
};

namespace serde_internal {

/// std::tuple and std::pair.
template <class Tuple, class... Fs>
struct TupleSerde : SerdeBase<Tuple> {
  using Fields = Members<Fs...>;
  static constexpr size_t kFixedSize = Fields::kFixedSize;
  static constexpr size_t kMinSize = Fields::kMinSize;

  static constexpr size_t Size(const Tuple& value) { return std::apply(Fields::Size, value); }
  static char* Write(const Tuple& value, char* out) {
    return std::apply([out](const Fs&... f) { return Fields::Write(out, f...); }, value);
  }
  static bool Read(ByteReader& reader, Tuple& value) {
    return std::apply([&reader](Fs&... f) { return Fields::Read(reader, f...); }, value);
  }
  static bool ReadFixed(const char* in, Tuple& value) requires Fields::kFixed {
    return std::apply([in](Fs&... f) { return Fields::ReadFixed(in, f...); }, value);
  }
  static void Describe(SchemaWriter& out) {
    out.Text("tuple<");
    [[maybe_unused]] std::string_view separator = "";
    ((out.Text(separator), DescribeSchema<Fs>(out), separator = ","), ...);
    out.Text(">");
  }
};

}  // namespace serde_internal

template <class... Fs>
struct Serde<std::tuple<Fs...>> : serde_internal::TupleSerde<std::tuple<Fs...>, Fs...> {};

template <class A, class B>
struct Serde<std::pair<A, B>> : serde_internal::TupleSerde<std::pair<A, B>, A, B> {};

template <class T, size_t kCount>
struct Serde<std::array<T, kCount>> : SerdeBase<std::array<T, kCount>> {
  using Array = std::array<T, kCount>;
  static constexpr size_t kFixedSize =
      kSerdeIsFixed<T> ? kCount * kSerdeFixedSize<T> : kVariableSize;
  static constexpr size_t kMinSize = kCount * kSerdeMinSize<T>;
  static constexpr bool kBitwise =
      kSerdeIsBitwise<T> && kSerdeFixedSize<T> == sizeof(T) && kCount > 0;

  static constexpr size_t Size(const Array& value) {
    if constexpr (kSerdeIsFixed<T>) {
      return kFixedSize;
    } else {
      size_t size = 0;
      for (const T& element : value) size += Serde<T>::Size(element);
      return size;
    }
  }
  static char* Write(const Array& value, char* out) {
    if constexpr (kBitwise) {
      std::memcpy(out, value.data(), sizeof value);
      return out + sizeof value;
    } else {
      for (const T& element : value) out = Serde<T>::Write(element, out);
      return out;
    }
  }
  static bool Read(ByteReader& reader, Array& value) {
    if constexpr (kBitwise) {
      return BitwiseSerde<Array>::Read(reader, value);
    } else {
      for (T& element : value) {
        if (!Serde<T>::Read(reader, element)) return false;
      }
      return true;
    }
  }
  static void Describe(SchemaWriter& out) {
    out.Text("array<");
    DescribeSchema<T>(out);
    out.Text(",");
    out.Number(kCount);
    out.Text(">");
  }
};

}  // namespace weir
