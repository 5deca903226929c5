#include "connectors/format/utf8.h"

#include <simdjson.h>

#include <cstdio>

namespace weir {

bool IsUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

std::string DescribeInvalidUtf8(std::string_view text) {
  const size_t at = FirstInvalidUtf8(text);
  char message[64];
  std::snprintf(message, sizeof message, "byte 0x%02x at offset %zu is not UTF-8",
                at < text.size() ? static_cast<unsigned char>(text[at]) : 0u, at);
  return message;
}

}  // namespace weir
