#pragma once

#include <cstdint>
#include <string>

namespace weir::cli {

/// True when somebody accepts connections there.
bool Answers(const std::string& host, int64_t port);

}  // namespace weir::cli
