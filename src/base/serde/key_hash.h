#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "base/ids.h"
#include "base/serde/fields.h"
#include "base/timestamp.h"

/// KeyHash(key): the hash behind keyBy. The same in every process, build and year, because key
/// groups, and with them where each key's state lies in a checkpoint, follow from it.
///
/// Equal keys of related types hash alike: integers by value whatever their width, enums and ids as
/// their number, Timestamp and durations as their count, std::string, string_view and literals by
/// their bytes. Tuples, pairs, arrays and aggregates combine their members in order, containers
/// begin with their size. Refused at compile time: floating point (0.0 == -0.0 and NaN != NaN, so
/// that equal keys could part and one key could be many) and unordered containers.
///
/// For a type of one's own specialise KeyHasher<K>, which must be as stable; equal keys must have
/// equal hashes.

namespace weir {

template <class K>
struct KeyHasher;

template <class K>
constexpr uint64_t KeyHash(const K& key) {
  return KeyHasher<K>::Hash(key);
}

namespace key_hash_internal {

inline constexpr uint64_t kAbsent = StableHash(uint64_t{0x6e6f6e65});  // "none"

template <class... Ms>
constexpr uint64_t CombineMembers(const Ms&... members) {
  uint64_t hash = sizeof...(Ms);
  ((hash = CombineHashes(hash, KeyHash(members))), ...);
  return hash;
}

template <class K>
constexpr uint64_t CombineRange(const K& range) {
  uint64_t hash = StableHash(uint64_t{range.size()});
  for (const auto& element : range) hash = CombineHashes(hash, KeyHash(element));
  return hash;
}

}  // namespace key_hash_internal

template <class K>
struct KeyHasher {
  static_assert(!std::is_floating_point_v<K>,
                "a floating point number cannot be a key: 0.0 equals -0.0 and NaN equals nothing, "
                "so that the same key could live in two places. Key by an integer, for example "
                "cents instead of dollars, or std::llround(value * scale)");
  static_assert(std::is_floating_point_v<K> || !std::is_same_v<K, K>,
                "Weir cannot hash this type as a key. Use integers, strings, enums, Timestamp, "
                "optional, pair, tuple, variant, array, vector or a struct of these, or "
                "specialise weir::KeyHasher<K> with a hash that never changes");
  static constexpr uint64_t Hash(const K&) { return 0; }
};

template <class K>
requires std::is_integral_v<K>
struct KeyHasher<K> {
  static constexpr uint64_t Hash(K key) { return StableHash(static_cast<uint64_t>(key)); }
};

template <class K>
requires std::is_enum_v<K>
struct KeyHasher<K> {
  static constexpr uint64_t Hash(K key) {
    return KeyHash(static_cast<std::underlying_type_t<K>>(key));
  }
};

template <class K>
requires std::convertible_to<const K&, std::string_view>
struct KeyHasher<K> {
  static uint64_t Hash(std::string_view key) { return StableHash(key); }
};

template <>
struct KeyHasher<Timestamp> {
  static constexpr uint64_t Hash(Timestamp key) { return KeyHash(key.ms); }
};

template <class Rep, class Period>
struct KeyHasher<std::chrono::duration<Rep, Period>> {
  static constexpr uint64_t Hash(std::chrono::duration<Rep, Period> key) {
    return KeyHash(key.count());
  }
};

template <class Tag, class Rep>
struct KeyHasher<StrongId<Tag, Rep>> {
  static constexpr uint64_t Hash(const StrongId<Tag, Rep>& key) { return KeyHash(key.value); }
};

template <>
struct KeyHasher<std::monostate> {
  static constexpr uint64_t Hash(std::monostate) { return key_hash_internal::kAbsent; }
};

template <class T>
struct KeyHasher<std::optional<T>> {
  static constexpr uint64_t Hash(const std::optional<T>& key) {
    return key ? CombineHashes(1, KeyHash(*key)) : key_hash_internal::kAbsent;
  }
};

template <class... Ts>
struct KeyHasher<std::tuple<Ts...>> {
  static constexpr uint64_t Hash(const std::tuple<Ts...>& key) {
    return std::apply(key_hash_internal::CombineMembers<Ts...>, key);
  }
};

template <class A, class B>
struct KeyHasher<std::pair<A, B>> {
  static constexpr uint64_t Hash(const std::pair<A, B>& key) {
    return key_hash_internal::CombineMembers(key.first, key.second);
  }
};

template <class... Ts>
struct KeyHasher<std::variant<Ts...>> {
  static constexpr uint64_t Hash(const std::variant<Ts...>& key) {
    return CombineHashes(key.index(), std::visit([](const auto& v) { return KeyHash(v); }, key));
  }
};

template <class T, size_t kCount>
struct KeyHasher<std::array<T, kCount>> {
  static constexpr uint64_t Hash(const std::array<T, kCount>& key) {
    return key_hash_internal::CombineRange(key);
  }
};

template <class T, class Alloc>
struct KeyHasher<std::vector<T, Alloc>> {
  static constexpr uint64_t Hash(const std::vector<T, Alloc>& key) {
    return key_hash_internal::CombineRange(key);
  }
};

template <class K>
requires(Reflectable<K> && !std::convertible_to<const K&, std::string_view>) struct KeyHasher<K> {
  static constexpr uint64_t Hash(const K& key) {
    return VisitFields(
        key, [](const auto&... members) { return key_hash_internal::CombineMembers(members...); });
  }
};

}  // namespace weir
