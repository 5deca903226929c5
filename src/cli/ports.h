#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace weir::cli {

/// True when somebody accepts connections there.
bool Answers(const std::string& host, int64_t port);

/// The same of HOST:PORT, a name or [IPv6] too, looked at for `limit` at most: name, addresses and
/// all. A process that hangs accepts
/// connections all the same: the kernel does it.
bool Listens(const std::string& address, std::chrono::milliseconds limit);

}  // namespace weir::cli
