#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weir {

bool IsUtf8(std::string_view text);

/// Offset of the first byte that is not part of a valid UTF-8 sequence; text.size() if there is
/// none.
size_t FirstInvalidUtf8(std::string_view text);

/// "byte 0xff at offset 17 is not UTF-8", for a text that is not.
std::string DescribeInvalidUtf8(std::string_view text);

}  // namespace weir
