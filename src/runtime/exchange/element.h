#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "runtime/exchange/limits.h"

namespace weir {

/// What one element of a data frame is. The exchange looks at this and at nothing inside: rows and
/// the bytes of control elements are the business of the layer above.
enum class ElementKind : uint8_t {
  kRows = 1,
  kWatermark = 2,
  kStatus = 3,  ///< idle or active
  kBarrier = 4,
  kEndOfInput = 5,
  kLatencyMarker = 6,
};

/// element := bytes:u32 rows:u32 kind:u8 tag:u8 zero:u16, then `bytes` bytes.
struct ElementHeader {
  uint32_t bytes = 0;
  uint32_t rows = 0;
  ElementKind kind = ElementKind::kRows;
  uint8_t tag = 0;  ///< the upper layer's own (kind of encoding ...)
};

inline void WriteElementHeader(const ElementHeader& header, char* out) {
  const uint16_t zero = 0;
  std::memcpy(out, &header.bytes, 4);
  std::memcpy(out + 4, &header.rows, 4);
  out[8] = static_cast<char>(header.kind);
  out[9] = static_cast<char>(header.tag);
  std::memcpy(out + 10, &zero, 2);
}

/// False when `in` does not begin with a whole element header of a known kind.
inline bool ReadElementHeader(std::string_view in, ElementHeader* header) {
  if (in.size() < kElementHeaderBytes) return false;
  std::memcpy(&header->bytes, in.data(), 4);
  std::memcpy(&header->rows, in.data() + 4, 4);
  const auto kind = static_cast<uint8_t>(in[8]);
  header->kind = static_cast<ElementKind>(kind);
  header->tag = static_cast<uint8_t>(in[9]);
  return kind >= static_cast<uint8_t>(ElementKind::kRows) &&
         kind <= static_cast<uint8_t>(ElementKind::kLatencyMarker);
}

/// An element as the consumer sees it. `bytes` are contiguous and live until Pop().
struct Element {
  ElementKind kind = ElementKind::kRows;
  uint8_t tag = 0;
  uint32_t rows = 0;
  uint64_t sequence = 0;  ///< of the frame that carried it
  std::string_view bytes;
};

}  // namespace weir
