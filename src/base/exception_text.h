#pragma once

#include <exception>
#include <string>

namespace weir {

/// What an exception says of itself; of one that says nothing, its type: a message that ends behind
/// the operator's name leaves nothing to look for.
std::string TextOf(const std::exception& e);

}  // namespace weir
