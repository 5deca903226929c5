#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace weir {

/// Whether files can be made in the directory, found by making one; the directory, and what is
/// missing above it, are created. `point`: see durable_file.h.
[[nodiscard]] absl::Status CheckWritable(const std::string& directory, std::string_view point);

}  // namespace weir
