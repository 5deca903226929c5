#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// Edits (insert, delete, replace, swap of neighbours) that turn one text into the other.
size_t EditDistance(std::string_view a, std::string_view b);

/// The candidate that `text` was probably meant to be: the one with fewest edits, if these are few
/// for its length. Empty: none is near.
std::string Nearest(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace weir
