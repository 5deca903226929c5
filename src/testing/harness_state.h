#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/operator/operator_state.h"
#include "state/keyed_state_backend.h"
#include "state/state_schema.h"

namespace weir::testing {

/// A link of the chain that keyed state is restored from: a segment, and which of its key groups
/// count.
struct StateSegment {
  std::string bytes;
  KeyGroupRange key_groups;
};

/// What one subtask put into a snapshot.
struct SubtaskState {
  KeyGroupRange key_groups;
  std::map<std::string, std::string> values;
  std::vector<StateSegment> segments;  // from old to new
};

/// What an operator's subtasks put into a snapshot: bytes only.
struct HarnessSnapshot {
  uint32_t max_parallelism = 0;
  std::vector<SubtaskState> subtasks;
};

/// Where keyed state lies: in memory alone, or in RocksDB with a cache of so many bytes before it.
struct HarnessBackend {
  bool rocksdb = false;
  size_t cache_bytes = 64 * 1024;
};

/// Takes the keyed snapshots of one subtask under test and keeps their chain. As at a real
/// checkpoint a snapshot holds what changed since the one before. What the cache writes reaches
/// RocksDB at once.
class KeyedSnapshots {
 public:
  /// The chain goes on from `restored`.
  KeyedSnapshots(std::string operator_uid, uint32_t max_parallelism, KeyGroupRange key_groups,
                 const HarnessSnapshot* restored, const HarnessBackend& backend);
  ~KeyedSnapshots();

  /// For OperatorContext.
  KeyedStateOptions Options();

  /// What the backend, whose states these are, has written since the last call joins the chain.
  void Collect(const std::vector<StateSchema>& schemas);
  const std::vector<StateSegment>& segments() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::testing
