#pragma once

#include <cstddef>

#include "base/serde/serde_core.h"

namespace weir {

/// One record, serialised. A larger one fails the job under the name of the operator that emits it,
/// wherever it goes.
inline constexpr size_t kMaxRecordBytes = size_t{64} << 20;
/// A batch is full at so many bytes, however few its rows are.
inline constexpr size_t kFullBatchBytes = size_t{1} << 20;
/// A batch that held more gives its memory back, instead of keeping it for the next rows.
inline constexpr size_t kLargestKeptBatchBytes = 4 * kFullBatchBytes;

/// Rows of other types are as large as their type says, and are counted by their number alone.
template <class T>
inline constexpr bool kRowsVary = !kSerdeIsFixed<T>;

[[noreturn]] void ThrowRecordTooLarge(size_t bytes);

/// What a row takes, about: its encoded size. Throws above kMaxRecordBytes.
template <class T>
size_t RowBytes(const T& row) {
  const size_t bytes = Serde<T>::Size(row);
  if (bytes > kMaxRecordBytes) [[unlikely]]
    ThrowRecordTooLarge(bytes);
  return bytes;
}

}  // namespace weir
