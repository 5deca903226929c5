#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace weir::config {

// How values are written. Reading refuses anything else, and the message says what is expected;
// writing gives the shortest form that reads back as the same value.

/// "100ms", "5s", "1min" or "1m", "2h", "1d"; a bare 0 is a duration, another bare number is not.
absl::StatusOr<std::chrono::milliseconds> ReadDuration(std::string_view text);
std::string WriteDuration(std::chrono::milliseconds value);

/// "32kb", "64mb", "2gb", "100b": powers of 1024, "kib" and so on mean the same. A bare number is
/// bytes.
absl::StatusOr<int64_t> ReadSize(std::string_view text);
std::string WriteSize(int64_t bytes);

absl::StatusOr<int64_t> ReadInteger(std::string_view text);

/// "host:port", "[::1]:port"; the port is one that can be connected to.
absl::StatusOr<std::string> ReadAddress(std::string_view text);

/// true, false, yes, no, on, off, 1, 0.
absl::StatusOr<bool> ReadBool(std::string_view text);

/// One of `choices`, in any letter case.
absl::StatusOr<std::string> ReadChoice(std::string_view text,
                                       const std::vector<std::string>& choices);

}  // namespace weir::config
