#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/timestamp.h"
#include "runtime/operator/operator_state.h"
#include "state/state_schema.h"

namespace weir {

/// How far event time is for the keys of one subtask: in ordinary operation as far as its
/// watermark, for all alike.
///
/// The subtasks of a checkpoint need not stand at one watermark (one that turned unaligned has
/// watermarks on their way, and an input may be idle to some of them only), and after a change of
/// parallelism keys of several former subtasks meet in one. Those of a subtask that was ahead stay
/// ahead until the watermark has come there, so that for every key what was late stays late, and
/// what has fired does not fire again. Slot thread only.
class EventTime {
 public:
  /// From what the former subtasks have put into their snapshots. Of those that own none of
  /// `key_groups` now nothing is taken, whatever their time.
  void Restore(const std::vector<RestoredOperatorState>& formers, KeyGroupRange key_groups,
               uint32_t max_parallelism);
  void Snapshot(std::map<std::string, std::string>& values) const;

  void Advance(Timestamp watermark) {
    watermark_ = std::max(watermark_, watermark);
    if (latest_ <= watermark_) {
      latest_ = watermark_;
      ahead_.clear();
    }
  }

  /// The least of all keys' times: what may be passed on.
  Timestamp watermark() const { return watermark_; }
  /// The greatest.
  Timestamp latest() const { return latest_; }
  /// All keys stand at the watermark.
  bool even() const { return ahead_.empty(); }
  Timestamp Of(uint64_t key_hash) const {
    if (even()) return watermark_;
    return std::max(watermark_, ahead_[KeyGroupOf(key_hash, max_parallelism_) - first_key_group_]);
  }

 private:
  Timestamp watermark_ = Timestamp::Min();
  Timestamp latest_ = Timestamp::Min();
  std::vector<Timestamp> ahead_;  // by key group, from the first one on; empty when even
  uint32_t first_key_group_ = 0;
  uint32_t max_parallelism_ = 0;
};

}  // namespace weir
