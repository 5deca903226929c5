#include "jobmanager/failure_history.h"

#include <utility>

namespace weir::jobmanager {

void FailureHistory::Add(FailureRecord record) {
  ++count_;
  records_.push_front(std::move(record));
  if (records_.size() > kKept) records_.pop_back();
}

bool FailureHistory::AddCrash(const CrashReported& e, const Failure& failure, Instant now) {
  FailureRecord* loss = nullptr;
  for (FailureRecord& record : records_) {
    if (!record.attempts.contains(e.attempt) || record.task_manager != e.task_manager) continue;
    if (record.failure.death) return false;  // told twice, because the answer was lost
    if (record.failure.operator_uid.empty() && !record.subtask) loss = &record;
  }
  if (loss == nullptr) {
    Add({.at = now,
         .attempt = e.attempt,
         .attempts = {e.attempt},
         .failure = failure,
         .subtask = e.subtask,
         .task_manager = e.task_manager});
    return true;
  }
  loss->failure = failure;
  loss->attempt = e.attempt;
  loss->subtask = e.subtask;
  return true;
}

const FailureRecord* FailureHistory::last_cause() const {
  for (const FailureRecord& record : records_) {
    if (!record.failure.secondary) return &record;
  }
  return records_.empty() ? nullptr : &records_.front();
}

}  // namespace weir::jobmanager
