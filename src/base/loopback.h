#pragma once

#include <string>

namespace weir {

/// Whether a daemon that listens on this host is reached from its own machine alone: "localhost",
/// an address of 127.0.0.0/8, "::1". Any other name is held for one that others reach.
bool IsLoopback(const std::string& host);

}  // namespace weir
