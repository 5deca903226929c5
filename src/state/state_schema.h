#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "state/snapshot_stream.h"

namespace weir {

/// Shape of a state; part of every snapshot, so the numbers never change.
enum class StateKind : uint8_t { kValue = 1, kList = 2, kMap = 3, kSliced = 4, kTimers = 5 };

const char* ToString(StateKind kind);

/// What a state's bytes mean. A snapshot is only read by a state of the same name, kind and hashes.
struct StateSchema {
  std::string name;
  StateKind kind = StateKind::kValue;
  uint64_t key_hash = 0;
  uint64_t value_hash = 0;
  /// For people.
  std::string key_schema;
  std::string value_schema;

  bool Matches(const StateSchema& other) const {
    return kind == other.kind && key_hash == other.key_hash && value_hash == other.value_hash;
  }
  /// For example `map key=u64 value=string`.
  std::string Describe() const;
};

/// Key groups [first, end).
struct KeyGroupRange {
  uint32_t first = 0;
  uint32_t end = 0;
  bool Contains(uint32_t key_group) const { return first <= key_group && key_group < end; }
  uint32_t size() const { return end - first; }
};

/// What one operator's keyed state is restored from: the snapshots of all its former subtasks.
/// Damage leaves as Error that names file and offset.
class RestoredState {
 public:
  struct Entry {
    uint16_t key_group = 0;
    EntryKind kind = EntryKind::kValue;
    std::string_view key;
    std::string_view value;
  };
  virtual ~RestoredState() = default;
  virtual std::vector<StateSchema> Schemas() const = 0;
  /// The newest entry of each key, in order of key group and key. With `changes`, deletions too
  /// (for a store that holds the base already), otherwise only what is present.
  virtual void ForEach(const std::string& state, KeyGroupRange range, bool changes,
                       const std::function<void(const Entry&)>& visit) const = 0;
};

}  // namespace weir
