#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/operator/operator_state.h"
#include "state/keyed_state_backend.h"
#include "state/sliced_table.h"

namespace weir {

/// How far the firing of windows has come: for each stretch of key hashes, which windows are done
/// and where in the next one the cursor stands. One stretch in ordinary operation; one of each
/// former subtask after a change of parallelism, until all stand at the same time. Slot thread
/// only.
class FiringProgress {
 public:
  struct Stretch {
    uint64_t first_hash = 0;
    uint64_t last_hash = UINT64_MAX;
    /// All windows that end at or before this have fired.
    int64_t fired_end = INT64_MIN;
    /// Keys of the next window below this hash have fired.
    uint64_t next_hash = 0;
  };

  /// At the start of a job.
  FiringProgress() : stretches_(1) {}

  /// What the former subtasks' progress (value `name` of their state) means for `key_groups`.
  /// Nothing of a stretch is taken to have fired past limit_of(its first hash).
  static FiringProgress Restore(const std::vector<RestoredOperatorState>& formers,
                                const std::string& name, KeyGroupRange key_groups,
                                uint32_t max_parallelism,
                                const std::function<int64_t(uint64_t)>& limit_of);

  std::vector<Stretch>& stretches() { return stretches_; }

  /// The lowest fired_end, and the highest.
  int64_t fired_end() const;
  int64_t last_fired_end() const;

  /// Every window that ends at or before `end` has fired for every key.
  void Complete(int64_t end) {
    stretches_.assign(1, Stretch());
    stretches_[0].fired_end = end;
  }

  std::string Encode() const;

 private:
  std::vector<Stretch> stretches_;
};

}  // namespace weir
