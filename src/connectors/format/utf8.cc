#include "connectors/format/utf8.h"

#include <simdjson.h>

#include <cstdio>

namespace weir {

bool IsUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

// The slow way, for messages: the table of well-formed sequences in the Unicode standard (3-7).
size_t FirstInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](size_t i) -> unsigned {
      return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
    };
    const unsigned lead = byte(0);
    size_t length = 1;
    unsigned low = 0x80;
    unsigned high = 0xbf;  // what the second byte may be
    if (lead >= 0x80) {
      if (lead < 0xc2 || lead > 0xf4) return at;
      length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      if (lead == 0xe0) low = 0xa0;   // overlong
      if (lead == 0xed) high = 0x9f;  // surrogates
      if (lead == 0xf0) low = 0x90;   // overlong
      if (lead == 0xf4) high = 0x8f;  // above U+10FFFF
      if (byte(1) < low || byte(1) > high) return at;
      for (size_t i = 2; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return at;
      }
    }
    at += length;
  }
  return text.size();
}

std::string DescribeInvalidUtf8(std::string_view text) {
  const size_t at = FirstInvalidUtf8(text);
  char message[64];
  std::snprintf(message, sizeof message, "byte 0x%02x at offset %zu is not UTF-8",
                at < text.size() ? static_cast<unsigned char>(text[at]) : 0u, at);
  return message;
}

}  // namespace weir
