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
  bool after_end = false;  ///< the job's end was decided before: a subtask told it on its way out
};

/// What went wrong with a job, for people: newest first, bounded. Decides nothing.
class FailureHistory {
 public:
  static constexpr size_t kKept = 32;

  FailureHistory() = default;
  FailureHistory(const FailureHistory&) = delete;  // blamed_ points into itself
  FailureHistory& operator=(const FailureHistory&) = delete;

  const FailureRecord* Add(FailureRecord record);
  /// What a dead process left takes the place of the loss of that process, if that is here, or
  /// comes first. Null: it was told before.
  const FailureRecord* AddCrash(const CrashReported& e, const Failure& failure, Instant now);
  /// What the job's restart or end is put down to is this one; null: there is neither.
  void Blame(const FailureRecord* record) { blamed_ = record; }

  const std::deque<FailureRecord>& records() const { return records_; }
  /// The one that is to blame; if none is, the newest that is no echo of another and did not come
  /// after the end. Null: there were none.
  const FailureRecord* last_cause() const;
  uint64_t count() const { return count_; }  ///< all that ever were
  /// Under former leaders, whose records are gone.
  void AddFormer(uint64_t count) { count_ += count; }

 private:
  std::deque<FailureRecord> records_;  // grows and shrinks at its ends: records keep their place
  const FailureRecord* blamed_ = nullptr;
  uint64_t count_ = 0;
};

}  // namespace weir::jobmanager
