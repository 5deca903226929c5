#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace weir {

bool IsUtf8(std::string_view text);

/// "byte 0xff at offset 17 is not UTF-8", for a text that is not.
std::string DescribeInvalidUtf8(std::string_view text);

}  // namespace weir
