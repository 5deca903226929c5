#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "base/bytes.h"
#include "base/serde/serde.h"
#include "base/serde/type_name.h"
#include "runtime/element/batch.h"
#include "runtime/element/record_limit.h"

namespace weir {

/// What the engine can do with rows whose type it does not know; one immortal object per row type.
/// Thread-safe (stateless). Virtual calls are per batch.
class RecordType {
 public:
  /// Rows [0, rows) of the given list were encoded into `bytes` bytes.
  struct Encoded {
    uint32_t rows = 0;
    size_t bytes = 0;
  };

  virtual ~RecordType() = default;

  virtual std::unique_ptr<Batch> NewBatch() const = 0;

  /// Appends copies of the `count` listed rows of `from` to `to`. `to` has room.
  virtual void CopyRows(const Batch& from, const uint16_t* rows, uint32_t count,
                        Batch& to) const = 0;

  /// As CopyRows, but swaps rows with the spare ones of `to`, so that nothing is allocated: `from`
  /// is left with old values.
  virtual void TakeRows(Batch& from, const uint16_t* rows, uint32_t count, Batch& to) const = 0;

  /// Writes as many of the listed rows as fit whole into `out`: [timestamp i64][row] each.
  /// Zero rows when not even the first fits.
  virtual Encoded Encode(const Batch& batch, const uint16_t* rows, uint32_t count, char* out,
                         size_t capacity) const = 0;

  /// Bytes that Encode needs for one row.
  virtual size_t EncodedSize(const Batch& batch, uint16_t row) const = 0;

  /// Appends the encoded rows at `bytes` to `batch` until it is full or the bytes end. Returns the
  /// bytes consumed, or -1 when they are damaged.
  virtual int64_t Decode(std::string_view bytes, Batch& batch) const = 0;

  /// Whether rows differ in size, so that it is worth asking for it.
  virtual bool RowsVary() const = 0;
  /// Encoded bytes of `count` rows from `first` on, selected or not. Throws when one of them is
  /// above kMaxRecordBytes.
  virtual size_t BytesOf(const Batch& batch, uint32_t first, uint32_t count) const = 0;

  virtual std::string SchemaName() const = 0;
  virtual uint64_t SchemaHash() const = 0;

  /// Which C++ type the rows have.
  virtual const std::type_info& Identity() const = 0;
  /// Its name as the compiler prints it: for people.
  virtual std::string_view TypeName() const = 0;
  /// Each library has objects of its own for a type.
  bool Is(const RecordType& other) const {
    return this == &other || Identity() == other.Identity();
  }
};

template <class T>
class TypedRecordType final : public RecordType {
 public:
  std::unique_ptr<Batch> NewBatch() const override { return std::make_unique<RecordBatch<T>>(); }

  void CopyRows(const Batch& from, const uint16_t* rows, uint32_t count, Batch& to) const override {
    const auto& source = static_cast<const RecordBatch<T>&>(from);
    auto& target = static_cast<RecordBatch<T>&>(to);
    const auto out = target.Extend(count);
    const T* const in = source.rows();
    const Timestamp* const timestamps = source.timestamps();
    for (uint32_t i = 0; i < count; ++i) {
      out.rows[i] = in[rows[i]];
      out.timestamps[i] = timestamps[rows[i]];
    }
  }

  void TakeRows(Batch& from, const uint16_t* rows, uint32_t count, Batch& to) const override {
    if constexpr (std::is_trivially_copyable_v<T>) {
      CopyRows(from, rows, count, to);
    } else {
      auto& source = static_cast<RecordBatch<T>&>(from);
      auto& target = static_cast<RecordBatch<T>&>(to);
      const auto out = target.Extend(count);
      for (uint32_t i = 0; i < count; ++i) {
        using std::swap;
        swap(out.rows[i], source.Row(rows[i]));
        out.timestamps[i] = source.TimestampOf(rows[i]);
      }
    }
  }

  Encoded Encode(const Batch& batch, const uint16_t* rows, uint32_t count, char* out,
                 size_t capacity) const override {
    const auto& source = static_cast<const RecordBatch<T>&>(batch);
    char* at = out;
    const char* const end = out + capacity;
    for (uint32_t i = 0; i < count; ++i) {
      const T& row = source.Row(rows[i]);
      if (static_cast<size_t>(end - at) < sizeof(int64_t) + Serde<T>::Size(row)) {
        return {i, static_cast<size_t>(at - out)};
      }
      const int64_t timestamp = source.TimestampOf(rows[i]).ms;
      std::memcpy(at, &timestamp, sizeof timestamp);
      at = Serde<T>::Write(row, at + sizeof timestamp);
    }
    return {count, static_cast<size_t>(at - out)};
  }

  size_t EncodedSize(const Batch& batch, uint16_t row) const override {
    return sizeof(int64_t) + Serde<T>::Size(static_cast<const RecordBatch<T>&>(batch).Row(row));
  }

  int64_t Decode(std::string_view bytes, Batch& batch) const override {
    auto& target = static_cast<RecordBatch<T>&>(batch);
    ByteReader reader(bytes);
    while (reader.remaining() > 0 && !target.full()) {
      T& row = target.Append(Timestamp{reader.Get<int64_t>()});
      if (!Serde<T>::Read(reader, row)) return -1;
    }
    return reader.ok() ? reader.position() - bytes.data() : -1;
  }

  bool RowsVary() const override { return kRowsVary<T>; }
  size_t BytesOf(const Batch& batch, uint32_t first, uint32_t count) const override {
    const T* const rows = static_cast<const RecordBatch<T>&>(batch).rows() + first;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; ++i) bytes += RowBytes(rows[i]);
    return bytes;
  }

  std::string SchemaName() const override { return Serde<T>::SchemaName(); }
  uint64_t SchemaHash() const override { return Serde<T>::SchemaHash(); }
  const std::type_info& Identity() const override { return typeid(T); }
  std::string_view TypeName() const override { return weir::TypeName<T>(); }
};

/// The record type of T.
template <class T>
const RecordType& RecordTypeOf() {
  static const TypedRecordType<T> type;
  return type;
}

}  // namespace weir
