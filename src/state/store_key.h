#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace weir {

/// A key below the cache. Ordered by (state, key group, key bytes).
struct StoreKey {
  uint16_t state = 0;
  uint16_t key_group = 0;
  std::string_view key;
};

/// Takes what was read for the key at `index`; nothing when the key is absent. The value is valid
/// during the call.
using StoreFound = std::function<void(size_t index, std::optional<std::string_view> value)>;

}  // namespace weir
