#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/serde/serde_core.h"
#include "base/serde/serde_product.h"
#include "base/serde/serde_scalar.h"

// Containers: a count (32 bits), then the elements. A count is believed only as far as the
// remaining bytes can hold so many elements, and memory grows with the elements actually read.

namespace weir {

namespace serde_internal {

/// Elements reserved at most before any of them has been read.
inline constexpr size_t kReserveLimit = 1024;

template <class Element>
bool ReadCount(ByteReader& reader, size_t& count) {
  static_assert(kSerdeMinSize<Element> > 0,
                "Weir cannot serialise a container of values without content: store their number");
  count = reader.Get<uint32_t>();
  if (count > reader.remaining() / kSerdeMinSize<Element>) reader.Fail();
  return reader.ok();
}

inline char* WriteCount(size_t count, char* out) {
  const auto count32 = static_cast<uint32_t>(count);
  std::memcpy(out, &count32, 4);
  return out + 4;
}

template <class Container, class Element>
struct ContainerSerde : SerdeBase<Container> {
  static constexpr size_t kMinSize = 4;

  static size_t Size(const Container& value) {
    if constexpr (kSerdeIsFixed<Element>) {
      return 4 + value.size() * kSerdeFixedSize<Element>;
    } else {
      size_t size = 4;
      for (const auto& element : value) size += Serde<Element>::Size(element);
      return size;
    }
  }
  static char* Write(const Container& value, char* out) {
    out = WriteCount(value.size(), out);
    for (const auto& element : value) out = Serde<Element>::Write(element, out);
    return out;
  }
};

/// vector, deque, list.
template <class Container>
struct SequenceSerde : ContainerSerde<Container, typename Container::value_type> {
  using Element = typename Container::value_type;

  static bool Read(ByteReader& reader, Container& value) {
    size_t count = 0;
    if (!ReadCount<Element>(reader, count)) return false;
    if (value.size() > count) value.resize(count);
    if constexpr (requires { value.reserve(count); }) {
      value.reserve(std::min(count, kReserveLimit));
    }
    for (Element& element : value) {
      if (!Serde<Element>::Read(reader, element)) return false;
    }
    while (value.size() < count) {
      if (!Serde<Element>::Read(reader, value.emplace_back())) return false;
    }
    return true;
  }
  static void Describe(SchemaWriter& out) {
    out.Text("list<");
    DescribeSchema<Element>(out);
    out.Text(">");
  }
};

/// set, unordered_set. Equal elements in the input are refused: no set wrote them.
template <class Container>
struct SetSerde : ContainerSerde<Container, typename Container::key_type> {
  using Element = typename Container::key_type;

  static bool Read(ByteReader& reader, Container& value) {
    size_t count = 0;
    value.clear();
    if (!ReadCount<Element>(reader, count)) return false;
    for (size_t i = 0; i < count; ++i) {
      Element element{};
      if (!Serde<Element>::Read(reader, element)) return false;
      value.insert(value.end(), std::move(element));
    }
    if (value.size() != count) reader.Fail();
    return reader.ok();
  }
  static void Describe(SchemaWriter& out) {
    out.Text("set<");
    DescribeSchema<Element>(out);
    out.Text(">");
  }
};

/// map, unordered_map: a set of (key, value).
template <class Container>
struct MapSerde : SerdeBase<Container> {
  using Key = typename Container::key_type;
  using Mapped = typename Container::mapped_type;
  static constexpr size_t kMinSize = 4;

  static size_t Size(const Container& value) {
    size_t size = 4;
    for (const auto& [key, mapped] : value) {
      size += Serde<Key>::Size(key) + Serde<Mapped>::Size(mapped);
    }
    return size;
  }
  static char* Write(const Container& value, char* out) {
    out = WriteCount(value.size(), out);
    for (const auto& [key, mapped] : value) {
      out = Serde<Mapped>::Write(mapped, Serde<Key>::Write(key, out));
    }
    return out;
  }
  static bool Read(ByteReader& reader, Container& value) {
    size_t count = 0;
    value.clear();
    if (!ReadCount<std::pair<Key, Mapped>>(reader, count)) return false;
    for (size_t i = 0; i < count; ++i) {
      Key key{};
      if (!Serde<Key>::Read(reader, key)) return false;
      auto at = value.emplace_hint(value.end(), std::move(key), Mapped{});
      if (!Serde<Mapped>::Read(reader, at->second)) return false;
    }
    if (value.size() != count) reader.Fail();
    return reader.ok();
  }
  static void Describe(SchemaWriter& out) {
    out.Text("map<");
    DescribeSchema<Key>(out);
    out.Text(",");
    DescribeSchema<Mapped>(out);
    out.Text(">");
  }
};

}  // namespace serde_internal

/// Elements that are their own bytes go by one memcpy.
template <class T, class Alloc>
struct Serde<std::vector<T, Alloc>> : serde_internal::SequenceSerde<std::vector<T, Alloc>> {
  using Base = serde_internal::SequenceSerde<std::vector<T, Alloc>>;

  static char* Write(const std::vector<T, Alloc>& value, char* out) {
    if constexpr (kSerdeIsBitwise<T>) {
      out = serde_internal::WriteCount(value.size(), out);
      const size_t bytes = value.size() * sizeof(T);
      if (bytes > 0) std::memcpy(out, value.data(), bytes);
      return out + bytes;
    } else {
      return Base::Write(value, out);
    }
  }
  static bool Read(ByteReader& reader, std::vector<T, Alloc>& value) {
    if constexpr (kSerdeIsBitwise<T>) {
      size_t count = 0;
      if (!serde_internal::ReadCount<T>(reader, count)) return false;
      const std::string_view bytes = reader.GetBytes(count * sizeof(T));
      if (!reader.ok()) return false;
      value.resize(count);
      if (count > 0) std::memcpy(value.data(), bytes.data(), bytes.size());
      return true;
    } else {
      return Base::Read(reader, value);
    }
  }
};

/// vector<bool> hands out no references to its elements.
template <class Alloc>
struct Serde<std::vector<bool, Alloc>> : serde_internal::SequenceSerde<std::vector<bool, Alloc>> {
  static bool Read(ByteReader& reader, std::vector<bool, Alloc>& value) {
    size_t count = 0;
    value.clear();
    if (!serde_internal::ReadCount<bool>(reader, count)) return false;
    value.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      bool element = false;
      if (!Serde<bool>::Read(reader, element)) return false;
      value.push_back(element);
    }
    return true;
  }
};

template <class T, class Alloc>
struct Serde<std::deque<T, Alloc>> : serde_internal::SequenceSerde<std::deque<T, Alloc>> {};

template <class T, class Alloc>
struct Serde<std::list<T, Alloc>> : serde_internal::SequenceSerde<std::list<T, Alloc>> {};

template <class T, class Less, class Alloc>
struct Serde<std::set<T, Less, Alloc>> : serde_internal::SetSerde<std::set<T, Less, Alloc>> {};

template <class T, class Hash, class Equal, class Alloc>
struct Serde<std::unordered_set<T, Hash, Equal, Alloc>>
    : serde_internal::SetSerde<std::unordered_set<T, Hash, Equal, Alloc>> {};

template <class K, class V, class Less, class Alloc>
struct Serde<std::map<K, V, Less, Alloc>> : serde_internal::MapSerde<std::map<K, V, Less, Alloc>> {
};

template <class K, class V, class Hash, class Equal, class Alloc>
struct Serde<std::unordered_map<K, V, Hash, Equal, Alloc>>
    : serde_internal::MapSerde<std::unordered_map<K, V, Hash, Equal, Alloc>> {};

}  // namespace weir
