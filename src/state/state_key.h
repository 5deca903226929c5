#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/serde/key_hash.h"
#include "base/serde/serde.h"

namespace weir {

/// Writes integers so that the order of the bytes is the order of the numbers.
inline char* WriteOrdered(uint64_t v, char* out) {
  v = __builtin_bswap64(v);
  std::memcpy(out, &v, sizeof v);
  return out + sizeof v;
}
inline char* WriteOrdered(int64_t v, char* out) {
  return WriteOrdered(static_cast<uint64_t>(v) ^ (uint64_t{1} << 63), out);
}
inline uint64_t ReadOrderedUnsigned(ByteReader& in) {
  return __builtin_bswap64(in.Get<uint64_t>());
}
inline int64_t ReadOrderedSigned(ByteReader& in) {
  return static_cast<int64_t>(ReadOrderedUnsigned(in) ^ (uint64_t{1} << 63));
}

/// How a key of a state table becomes the bytes below the table and in snapshots. Encodings are
/// self-delimiting (no encoding is a prefix of another), so that keys can be joined.
template <class T>
struct StateKeyCodec {
  static size_t Size(const T& v) { return Serde<T>::Size(v); }
  static char* Write(const T& v, char* out) { return Serde<T>::Write(v, out); }
  static bool Read(ByteReader& in, T& v) { return Serde<T>::Read(in, v); }
  static uint64_t Hash(const T& v) { return KeyHash(v); }
  static uint64_t SchemaHash() { return Serde<T>::SchemaHash(); }
  static std::string SchemaName() { return Serde<T>::SchemaName(); }
};

/// By ==, or by bytes for structs that have none.
template <class K>
bool StateKeysEqual(const K& a, const K& b) {
  if constexpr (requires {
                  { a == b } -> std::convertible_to<bool>;
                }) {
    return a == b;
  } else {
    return SerdeEncode(a) == SerdeEncode(b);
  }
}

/// Key and namespace (the window): (key, namespace), the namespace in order. The key group comes
/// from the hash of the key alone.
template <class K>
struct NamespacedKey {
  K key{};
  int64_t name_space = 0;
  friend bool operator==(const NamespacedKey& a, const NamespacedKey& b) {
    return a.name_space == b.name_space && StateKeysEqual(a.key, b.key);
  }
};

template <class K>
struct StateKeyCodec<NamespacedKey<K>> {
  using Key = NamespacedKey<K>;
  static size_t Size(const Key& v) { return StateKeyCodec<K>::Size(v.key) + 8; }
  static char* Write(const Key& v, char* out) {
    return WriteOrdered(v.name_space, StateKeyCodec<K>::Write(v.key, out));
  }
  static bool Read(ByteReader& in, Key& v) {
    if (!StateKeyCodec<K>::Read(in, v.key)) return false;
    v.name_space = ReadOrderedSigned(in);
    return in.ok();
  }
  static uint64_t Hash(const Key& v) { return Hash(StateKeyCodec<K>::Hash(v.key), v.name_space); }
  static uint64_t Hash(uint64_t key_hash, int64_t name_space) {
    return CombineHashes(key_hash, static_cast<uint64_t>(name_space));
  }
  static uint64_t SchemaHash() { return CombineHashes(StateKeyCodec<K>::SchemaHash(), 0x6e73); }
  static std::string SchemaName() { return StateKeyCodec<K>::SchemaName() + "+namespace"; }
};

/// A timer: (time, key, namespace), in order of time.
template <class K>
struct TimerKey {
  int64_t time_ms = 0;
  K key{};
  int64_t name_space = 0;
  friend bool operator==(const TimerKey& a, const TimerKey& b) {
    return a.time_ms == b.time_ms && a.name_space == b.name_space && StateKeysEqual(a.key, b.key);
  }
};

template <class K>
struct StateKeyCodec<TimerKey<K>> {
  using Key = TimerKey<K>;
  static size_t Size(const Key& v) { return StateKeyCodec<K>::Size(v.key) + 16; }
  static char* Write(const Key& v, char* out) {
    out = WriteOrdered(v.time_ms, out);
    out = StateKeyCodec<K>::Write(v.key, out);
    return WriteOrdered(v.name_space, out);
  }
  static bool Read(ByteReader& in, Key& v) {
    v.time_ms = ReadOrderedSigned(in);
    if (!StateKeyCodec<K>::Read(in, v.key)) return false;
    v.name_space = ReadOrderedSigned(in);
    return in.ok();
  }
  static uint64_t Hash(const Key& v) {
    return Hash(StateKeyCodec<K>::Hash(v.key), v.time_ms, v.name_space);
  }
  static uint64_t Hash(uint64_t key_hash, int64_t time_ms, int64_t name_space) {
    return CombineHashes(CombineHashes(key_hash, static_cast<uint64_t>(time_ms)),
                         static_cast<uint64_t>(name_space));
  }
  static uint64_t SchemaHash() { return CombineHashes(StateKeyCodec<K>::SchemaHash(), 0x746d); }
  static std::string SchemaName() {
    return "time+" + StateKeyCodec<K>::SchemaName() + "+namespace";
  }
};

/// Position of an element in a list state: in order.
struct ListPosition {
  uint64_t value = 0;
  friend bool operator==(const ListPosition&, const ListPosition&) = default;
};

template <>
struct StateKeyCodec<ListPosition> {
  static size_t Size(const ListPosition&) { return 8; }
  static char* Write(const ListPosition& v, char* out) { return WriteOrdered(v.value, out); }
  static bool Read(ByteReader& in, ListPosition& v) {
    v.value = ReadOrderedUnsigned(in);
    return in.ok();
  }
  static uint64_t Hash(const ListPosition& v) { return StableHash(v.value); }
  static uint64_t SchemaHash() { return 0x6c70; }
  static std::string SchemaName() { return "position"; }
};

/// The value of an entry that is only a key.
struct NoValue {};

}  // namespace weir
