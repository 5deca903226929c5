#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/serde/fields.h"
#include "base/timestamp.h"
#include "connectors/format/iso_time.h"
#include "connectors/format/json_reader.h"
#include "connectors/format/json_writer.h"

// How values of C++ types stand in JSON:
//
//   bool, string                  as such
//   integers, enums, durations    integers, checked against the type's range
//   float, double                 numbers; "NaN", "Infinity", "-Infinity"
//   Timestamp                     written as integer milliseconds; read from those or ISO 8601
//   StrongId                      its value
//   optional                      the value or null; a missing field is null too
//   vector, deque, list, sets     arrays; a set refuses repeated elements
//   array, pair, tuple            arrays of exactly that length
//   map with string keys          objects; of repeated keys the last counts
//   structs (fields.h)            objects by field names: order is free, unknown names are ignored,
//                                 of repeated ones the last counts, missing ones are errors unless
//                                 optional
//
// For a type of one's own specialise JsonCodec<T> with Read and Write.

namespace weir {

template <class T>
struct JsonCodec {
  static_assert(!std::is_same_v<T, T>,
                "Weir cannot read or write this type as JSON. Make it an aggregate of supported "
                "types (json_codec.h lists them), name its fields with WEIR_FIELDS(Type, a, b), "
                "or specialise weir::JsonCodec<Type> with Read and Write");
};

template <>
struct JsonCodec<bool> {
  static bool Read(JsonReader& in, bool& value) { return in.ReadBool(value); }
  static void Write(bool value, JsonWriter& out) { out.Bool(value); }
};

template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) struct JsonCodec<T> {
  static bool Read(JsonReader& in, T& value) {
    using Limits = std::numeric_limits<T>;
    std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t> wide = 0;
    if constexpr (std::is_signed_v<T>) {
      if (!in.ReadInt(Limits::min(), Limits::max(), wide)) return false;
    } else {
      if (!in.ReadUint(Limits::max(), wide)) return false;
    }
    value = static_cast<T>(wide);
    return true;
  }
  static void Write(T value, JsonWriter& out) {
    if constexpr (std::is_signed_v<T>) {
      out.Int(value);
    } else {
      out.Uint(value);
    }
  }
};

template <>
struct JsonCodec<double> {
  static bool Read(JsonReader& in, double& value) {
    return in.ReadDouble(std::numeric_limits<double>::max(), value);
  }
  static void Write(double value, JsonWriter& out) { out.Double(value); }
};

template <>
struct JsonCodec<float> {
  static bool Read(JsonReader& in, float& value) {
    constexpr double kRoundsToMax = 0x1.fffffefffffffp127;  // the next double rounds to infinity
    double wide = 0;
    if (!in.ReadDouble(kRoundsToMax, wide)) return false;
    value = static_cast<float>(wide);
    return true;
  }
  static void Write(float value, JsonWriter& out) { out.Float(value); }
};

template <class T>
requires std::is_enum_v<T>
struct JsonCodec<T> {
  using Number = std::underlying_type_t<T>;
  static bool Read(JsonReader& in, T& value) {
    Number number{};
    if (!JsonCodec<Number>::Read(in, number)) return false;
    value = static_cast<T>(number);
    return true;
  }
  static void Write(T value, JsonWriter& out) {
    JsonCodec<Number>::Write(static_cast<Number>(value), out);
  }
};

template <>
struct JsonCodec<std::string> {
  static bool Read(JsonReader& in, std::string& value) { return in.ReadString(value); }
  static void Write(const std::string& value, JsonWriter& out) { out.String(value); }
};

template <>
struct JsonCodec<Timestamp> {
  static bool Read(JsonReader& in, Timestamp& value) {
    if (!in.IsString()) return JsonCodec<int64_t>::Read(in, value.ms);
    std::string_view text;
    if (!in.ReadText(text)) return false;
    if (ParseIsoTime(text, value)) return true;
    return in.Fail(
        "expected milliseconds since 1970 or an ISO 8601 time such as "
        "\"2026-11-21T09:30:00Z\", got \"" +
        std::string(text.substr(0, 40)) + "\"");
  }
  static void Write(Timestamp value, JsonWriter& out) { out.Int(value.ms); }
};

template <class Rep, class Period>
struct JsonCodec<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  static bool Read(JsonReader& in, Duration& value) {
    Rep count{};
    if (!JsonCodec<Rep>::Read(in, count)) return false;
    value = Duration(count);
    return true;
  }
  static void Write(Duration value, JsonWriter& out) { JsonCodec<Rep>::Write(value.count(), out); }
};

template <class Tag, class Rep>
struct JsonCodec<StrongId<Tag, Rep>> {
  static bool Read(JsonReader& in, StrongId<Tag, Rep>& id) {
    return JsonCodec<Rep>::Read(in, id.value);
  }
  static void Write(const StrongId<Tag, Rep>& id, JsonWriter& out) {
    JsonCodec<Rep>::Write(id.value, out);
  }
};

template <class T>
struct JsonCodec<std::optional<T>> {
  static bool Read(JsonReader& in, std::optional<T>& value) {
    if (in.SkipNull()) {
      value.reset();
      return true;
    }
    if (!value) value.emplace();
    return JsonCodec<T>::Read(in, *value);
  }
  static void Write(const std::optional<T>& value, JsonWriter& out) {
    if (value) {
      JsonCodec<T>::Write(*value, out);
    } else {
      out.Null();
    }
  }
};

namespace json_internal {

/// Arrays of any length. `next` gives the place of the next element or reads it.
template <class ReadElement>
bool ReadArray(JsonReader& in, ReadElement&& read_element) {
  if (!in.EnterArray()) return false;
  size_t index = 0;
  while (in.NextElement()) {
    if (!read_element(index)) {
      in.AddIndex(index);
      return false;
    }
    ++index;
  }
  return in.ok();
}

template <class Range>
void WriteArray(const Range& range, JsonWriter& out) {
  using T = typename Range::value_type;
  char separator = '[';
  for (const auto& element : range) {
    out.Raw(separator);
    JsonCodec<T>::Write(element, out);
    separator = ',';
  }
  if (separator == '[') out.Raw('[');
  out.Raw(']');
}

template <class Sequence>
struct SequenceCodec {
  using T = typename Sequence::value_type;
  static bool Read(JsonReader& in, Sequence& value) {
    auto at = value.begin();  // what is there is assigned into
    const auto read = [&](size_t) {
      if (at == value.end()) {
        value.emplace_back();
        at = std::prev(value.end());
      }
      return JsonCodec<T>::Read(in, *at++);
    };
    if (!ReadArray(in, read)) return false;
    value.erase(at, value.end());
    return true;
  }
  static void Write(const Sequence& value, JsonWriter& out) { WriteArray(value, out); }
};

template <class Set>
struct SetCodec {
  using T = typename Set::value_type;
  static bool Read(JsonReader& in, Set& value) {
    value.clear();
    return ReadArray(in, [&](size_t) {
      T element{};
      if (!JsonCodec<T>::Read(in, element)) return false;
      return value.insert(std::move(element)).second || in.Fail("repeats an element of the set");
    });
  }
  static void Write(const Set& value, JsonWriter& out) { WriteArray(value, out); }
};

template <class Map>
struct MapCodec {
  static_assert(std::is_same_v<typename Map::key_type, std::string>,
                "the keys of a JSON object are strings: use a map with std::string keys");
  using T = typename Map::mapped_type;
  static bool Read(JsonReader& in, Map& value) {
    value.clear();
    if (!in.EnterObject()) return false;
    std::string_view text;
    while (in.NextField(text)) {
      std::string key(text);
      if (!JsonCodec<T>::Read(in, value[key])) {
        in.AddField(key);
        return false;
      }
    }
    return in.ok();
  }
  static void Write(const Map& value, JsonWriter& out) {
    char separator = '{';
    for (const auto& [key, mapped] : value) {
      out.Raw(separator);
      out.String(key);
      out.Raw(':');
      JsonCodec<T>::Write(mapped, out);
      separator = ',';
    }
    if (separator == '{') out.Raw('{');
    out.Raw('}');
  }
};

/// An array with one value for each of several members.
template <class... Fs>
bool ReadMembers(JsonReader& in, Fs&... members) {
  constexpr size_t kCount = sizeof...(Fs);
  if (!in.EnterArray()) return false;
  size_t index = 0;
  const auto read = [&]<class F>(F& member) {
    if (!in.NextElement()) {
      return in.ok() && in.Fail("expected an array of " + std::to_string(kCount) + ", got " +
                                std::to_string(index));
    }
    if (JsonCodec<F>::Read(in, member)) return ++index, true;
    in.AddIndex(index);
    return false;
  };
  if (!(read(members) && ...)) return false;
  if (in.NextElement())
    return in.Fail("expected an array of " + std::to_string(kCount) + ", got more");
  return in.ok();
}

template <class... Fs>
void WriteMembers(JsonWriter& out, const Fs&... members) {
  out.Raw('[');
  [[maybe_unused]] bool first = true;
  ((first ? void() : out.Raw(','), first = false, JsonCodec<Fs>::Write(members, out)), ...);
  out.Raw(']');
}

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

/// `"name":` of field I, behind the brace or comma before it.
template <class T, size_t kIndex>
inline constexpr auto kFieldPrefix = [] {
  constexpr std::string_view kName = kFieldNames<T>[kIndex];
  std::array<char, kName.size() + 4> text{};
  char* at = text.data();
  *at++ = kIndex == 0 ? '{' : ',';
  *at++ = '"';
  for (char c : kName) *at++ = c;
  *at++ = '"';
  *at++ = ':';
  return text;
}();

}  // namespace json_internal

template <class T, class Alloc>
struct JsonCodec<std::vector<T, Alloc>> : json_internal::SequenceCodec<std::vector<T, Alloc>> {};
template <class T, class Alloc>
struct JsonCodec<std::deque<T, Alloc>> : json_internal::SequenceCodec<std::deque<T, Alloc>> {};
template <class T, class Alloc>
struct JsonCodec<std::list<T, Alloc>> : json_internal::SequenceCodec<std::list<T, Alloc>> {};

template <class Alloc>
struct JsonCodec<std::vector<bool, Alloc>> {
  static bool Read(JsonReader& in, std::vector<bool, Alloc>& value) {
    value.clear();
    return json_internal::ReadArray(in, [&](size_t) {
      bool element = false;
      if (!in.ReadBool(element)) return false;
      value.push_back(element);
      return true;
    });
  }
  static void Write(const std::vector<bool, Alloc>& value, JsonWriter& out) {
    json_internal::WriteArray(value, out);
  }
};

template <class T, class Less, class Alloc>
struct JsonCodec<std::set<T, Less, Alloc>> : json_internal::SetCodec<std::set<T, Less, Alloc>> {};
template <class T, class Hash, class Equal, class Alloc>
struct JsonCodec<std::unordered_set<T, Hash, Equal, Alloc>>
    : json_internal::SetCodec<std::unordered_set<T, Hash, Equal, Alloc>> {};

template <class K, class V, class Less, class Alloc>
struct JsonCodec<std::map<K, V, Less, Alloc>>
    : json_internal::MapCodec<std::map<K, V, Less, Alloc>> {};
template <class K, class V, class Hash, class Equal, class Alloc>
struct JsonCodec<std::unordered_map<K, V, Hash, Equal, Alloc>>
    : json_internal::MapCodec<std::unordered_map<K, V, Hash, Equal, Alloc>> {};

template <class T, size_t kCount>
struct JsonCodec<std::array<T, kCount>> {
  static bool Read(JsonReader& in, std::array<T, kCount>& value) {
    return std::apply([&](auto&... e) { return json_internal::ReadMembers(in, e...); }, value);
  }
  static void Write(const std::array<T, kCount>& value, JsonWriter& out) {
    json_internal::WriteArray(value, out);
  }
};

template <class... Fs>
struct JsonCodec<std::tuple<Fs...>> {
  static bool Read(JsonReader& in, std::tuple<Fs...>& value) {
    return std::apply([&](Fs&... f) { return json_internal::ReadMembers(in, f...); }, value);
  }
  static void Write(const std::tuple<Fs...>& value, JsonWriter& out) {
    std::apply([&](const Fs&... f) { json_internal::WriteMembers(out, f...); }, value);
  }
};

template <class A, class B>
struct JsonCodec<std::pair<A, B>> {
  static bool Read(JsonReader& in, std::pair<A, B>& value) {
    return json_internal::ReadMembers(in, value.first, value.second);
  }
  static void Write(const std::pair<A, B>& value, JsonWriter& out) {
    json_internal::WriteMembers(out, value.first, value.second);
  }
};

template <class T>
requires Reflectable<T>
struct JsonCodec<T> {
  static bool Read(JsonReader& in, T& value) {
    if (!in.EnterObject()) return false;
    uint64_t seen = 0;
    size_t expected = 0;
    std::string_view key;
    while (in.NextField(key)) {
      const size_t index = Find(key, expected);
      if (index == kCount) continue;
      if (!ReadField(in, value, index)) {
        in.AddField(kFieldNames<T>[index]);
        return false;
      }
      seen |= uint64_t{1} << index;
      expected = index + 1;
    }
    if (!in.ok()) return false;
    constexpr uint64_t kAll = (uint64_t{1} << kCount) - 1;
    return seen == kAll || FillMissing(in, value, kAll & ~seen);
  }

  static void Write(const T& value, JsonWriter& out) {
    if constexpr (kCount == 0) out.Raw('{');
    ForEachField(value, [&out]<class F>(auto index, const F& field) {
      constexpr auto& kPrefix = json_internal::kFieldPrefix<T, decltype(index)::value>;
      out.Raw(std::string_view(kPrefix.data(), kPrefix.size()));
      JsonCodec<F>::Write(field, out);
    });
    out.Raw('}');
  }

 private:
  static constexpr size_t kCount = kFieldCount<T>;

  /// Documents mostly keep to one order: the field after the last one is tried first.
  static size_t Find(std::string_view key, size_t expected) {
    const auto& names = kFieldNames<T>;
    if (expected < kCount && names[expected] == key) return expected;
    size_t index = 0;
    while (index < kCount && names[index] != key) ++index;
    return index;
  }

  template <size_t kIndex>
  static bool ReadAt(JsonReader& in, T& value) {
    return VisitFields(value, [&in](auto&... fields) {
      auto& field = std::get<kIndex>(std::tie(fields...));
      return JsonCodec<std::remove_reference_t<decltype(field)>>::Read(in, field);
    });
  }
  static bool ReadField(JsonReader& in, T& value, size_t index) {
    using Reader = bool (*)(JsonReader&, T&);
    static constexpr auto kReaders = []<size_t... I>(std::index_sequence<I...>) {
      return std::array<Reader, kCount>{&ReadAt<I>...};
    }
    (std::make_index_sequence<kCount>{});
    return kReaders[index](in, value);
  }

  static bool FillMissing(JsonReader& in, T& value, uint64_t missing) {
    ForEachField(value, [&]<class F>(auto index, F& field) {
      if ((missing >> index & 1) == 0) return;
      if constexpr (json_internal::kIsOptional<F>) {
        field.reset();
      } else if (in.ok()) {
        in.Fail("is missing");
        in.AddField(kFieldNames<T>[index]);
      }
    });
    return in.ok();
  }
};

}  // namespace weir
