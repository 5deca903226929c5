#pragma once

#include <cstdint>
#include <string>

namespace weir::cli {

/// The port if nothing listens there, with 0 one that is free; 0: it is taken.
int64_t TryPort(const std::string& host, int64_t port);

/// True when somebody accepts connections there.
bool Answers(const std::string& host, int64_t port);

}  // namespace weir::cli
