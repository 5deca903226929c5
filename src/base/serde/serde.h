#pragma once

#include <string>
#include <string_view>

#include "base/serde/serde_container.h"
#include "base/serde/serde_core.h"
#include "base/serde/serde_product.h"
#include "base/serde/serde_scalar.h"
#include "base/serde/serde_string.h"
#include "base/serde/serde_sum.h"

/// Serde<T>: how a value becomes bytes and comes back, chosen at compile time. Used on network
/// channels, in state and in checkpoints, so that the bytes of a type never change (golden bytes
/// in tests/base/serde); a change needs a higher kVersion.
///
///   static size_t Size(const T&)               bytes that Write will write
///   static char*  Write(const T&, char* out)   writes exactly Size bytes, returns their end
///   static bool   Read(ByteReader&, T&)        assigns into the existing value (strings and
///                                              vectors keep their capacity); false and a failed
///                                              reader on bytes that are not a T
///   static uint64_t SchemaHash()               equal for types whose bytes mean the same
///   static std::string SchemaName()            the same, readable
///   static constexpr uint32_t kVersion
///   static constexpr size_t kFixedSize         only where every value has that size
///
/// Rows are fixed-width and little-endian, without padding, tags or alignment. Strings and
/// containers begin with a 32-bit length or count, optional with a byte 0 or 1, variant with a byte
/// that says which. Reading trusts nothing: what does not fit into the remaining bytes fails before
/// memory is taken for it. After a failed Read the value holds anything of its type.
///
/// Supported: numbers, bool, enums, Timestamp, std::chrono durations, StrongId, std::string,
/// optional, pair, tuple, variant, monostate, array, vector, deque, list, (unordered_)set and map,
/// and structs of these (fields.h). The encoding of an unordered container follows its iteration
/// order: equal values can differ in bytes, which is why it cannot be a key.
///
/// A type of one's own that none of this fits:
///
///   template <>
///   struct weir::Serde<Decimal> : weir::SerdeBase<Decimal> {
///     static size_t Size(const Decimal&);
///     static char* Write(const Decimal&, char* out);
///     static bool Read(weir::ByteReader&, Decimal&);
///     static void Describe(weir::SchemaWriter& out) { out.Text("decimal"); }
///   };
///
/// Every value of it must take at least one byte.

namespace weir {

/// Adds the encoded value to `out`.
template <class T>
void SerdeAppend(const T& value, std::string& out) {
  const size_t at = out.size();
  out.resize(at + Serde<T>::Size(value));
  Serde<T>::Write(value, out.data() + at);
}

template <class T>
std::string SerdeEncode(const T& value) {
  std::string bytes;
  SerdeAppend(value, bytes);
  return bytes;
}

/// Reads a value that takes up all of `bytes`.
template <class T>
[[nodiscard]] bool SerdeDecode(std::string_view bytes, T& value) {
  ByteReader reader(bytes);
  return Serde<T>::Read(reader, value) && reader.ok() && reader.remaining() == 0;
}

}  // namespace weir
