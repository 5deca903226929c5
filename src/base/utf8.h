#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace weir {

/// Offset of the first byte that is not part of a valid UTF-8 sequence; text.size() if there is
/// none.
size_t FirstInvalidUtf8(std::string_view text);

/// The text as valid UTF-8 of at most `limit` bytes: each byte that is none becomes U+FFFD, and the
/// cut falls between characters. Users' words go through this before they go into a message:
/// Protobuf refuses a whole message for one such byte.
std::string ToUtf8(std::string_view text, size_t limit = std::numeric_limits<size_t>::max());

}  // namespace weir
