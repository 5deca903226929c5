#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>

#include "jobmanager/job_events.h"
#include "jobmanager/values.h"

namespace weir::jobmanager {

struct FailureRecord {
  Instant at{0};
  AttemptId attempt;             ///< the newest of `attempts`
  std::set<AttemptId> attempts;  ///< of the regions that it took
  Failure failure;
  std::optional<SubtaskId> subtask;
  TaskManagerId task_manager;
};

/// What went wrong with a job, for people: newest first, bounded. Decides nothing.
class FailureHistory {
 public:
  static constexpr size_t kKept = 32;

  void Add(FailureRecord record);
  /// What a dead process left takes the place of the loss of that process, if that is here, or
  /// comes first. False: it was told before.
  bool AddCrash(const CrashReported& e, const Failure& failure, Instant now);

  const std::deque<FailureRecord>& records() const { return records_; }
  /// The newest that is no echo of another; null: none.
  const FailureRecord* last_cause() const;
  uint64_t count() const { return count_; }  ///< all that ever were

 private:
  std::deque<FailureRecord> records_;
  uint64_t count_ = 0;
};

}  // namespace weir::jobmanager
