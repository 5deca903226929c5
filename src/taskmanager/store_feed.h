#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "state/store.h"

namespace weir {

/// Applies what a backend's tables handed over (SnapshotChunk) to the store below them: in the
/// order in which it was written, of each key the last.
[[nodiscard]] absl::Status ApplyChunk(std::string_view chunk, StateStore& store);

}  // namespace weir
