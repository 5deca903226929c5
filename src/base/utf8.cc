#include "base/utf8.h"

namespace weir {

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

std::string ToUtf8(std::string_view text, size_t limit) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string result;
  while (!text.empty()) {
    const size_t valid = FirstInvalidUtf8(text);
    result.append(text.substr(0, valid));
    if (valid == text.size()) break;
    result.append(kReplacement);
    text.remove_prefix(valid + 1);
    if (result.size() > limit) break;
  }
  if (result.size() > limit) {
    // Back to the first byte of the character that does not fit.
    while (limit > 0 && (result[limit] & 0xc0) == 0x80) --limit;
    result.resize(limit);
  }
  return result;
}

}  // namespace weir
