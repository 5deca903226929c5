#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "state/snapshot_stream.h"
#include "state/store_key.h"

namespace weir {

struct StoreEntry {
  uint16_t state = 0;
  uint16_t key_group = 0;
  EntryKind kind = EntryKind::kValue;
  std::string_view key;
  std::string_view value;
};

/// Ordered reading of one state and key group, of the store as it was when the scan began.
class StoreScan {
 public:
  virtual ~StoreScan() = default;
  virtual bool Valid() const = 0;
  /// Valid until Next.
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual void Next() = 0;
  /// Why it is not Valid any more; ok at the end of the prefix.
  virtual absl::Status status() const = 0;
};

/// What lies below the cache of one subtask's keyed state: all entries that are not in the cache,
/// and older values of some that are. Keys and values are opaque bytes; state ids are the
/// backend's.
///
/// Threads: Get, MultiGet and Scan are called by the slot thread (they may read a disk, never
/// wait for a write); Apply by one background thread at a time; both sides at once. A read that
/// begins after Apply has returned sees what was applied. OpenState comes before any of these.
class StateStore {
 public:
  virtual ~StateStore() = default;

  /// Announces a state. Called for each one before its first use.
  [[nodiscard]] virtual absl::Status OpenState(uint16_t state, const std::string& name) = 0;

  /// One key; false when it is absent.
  [[nodiscard]] virtual absl::StatusOr<bool> Get(const StoreKey& key, std::string* value) = 0;

  /// Many keys of one state, in any order, each at most once. Calls `found` for each of them, in
  /// their order.
  [[nodiscard]] virtual absl::Status MultiGet(std::span<const StoreKey> keys,
                                              const StoreFound& found) = 0;

  /// Entries of the state and key group whose key begins with `prefix` and is not below `from`.
  virtual std::unique_ptr<StoreScan> Scan(uint16_t state, uint16_t key_group,
                                          std::string_view prefix, std::string_view from) = 0;

  /// Applies changes: sorted by (state, key group, key), each key at most once, except that a
  /// prefix tombstone may stand before a value of the same key. A prefix tombstone deletes what was
  /// applied before under the prefix and nothing of the same call. All or nothing is not required:
  /// after an error the store is used no more and the task fails.
  [[nodiscard]] virtual absl::Status Apply(std::span<const StoreEntry> entries) = 0;
};

}  // namespace weir
