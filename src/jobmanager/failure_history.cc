#include "jobmanager/failure_history.h"

#include <utility>

namespace weir::jobmanager {

const FailureRecord* FailureHistory::Add(FailureRecord record) {
  ++count_;
  records_.push_front(std::move(record));
  if (records_.size() > kKept) {
    if (blamed_ == &records_.back()) blamed_ = nullptr;
    records_.pop_back();
  }
  return &records_.front();
}

const FailureRecord* FailureHistory::AddCrash(const CrashReported& e, const Failure& failure,
                                              Instant now) {
  FailureRecord* loss = nullptr;
  for (FailureRecord& record : records_) {
    if (!record.attempts.contains(e.attempt) || record.task_manager != e.task_manager) continue;
    if (record.failure.death) return nullptr;  // told twice, because the answer was lost
    if (record.failure.operator_uid.empty() && !record.subtask) loss = &record;
  }
  if (loss == nullptr) {
    return Add({.at = now,
                .attempt = e.attempt,
                .attempts = {e.attempt},
                .failure = failure,
                .subtask = e.subtask,
                .task_manager = e.task_manager});
  }
  loss->failure = failure;
  loss->attempt = e.attempt;
  loss->subtask = e.subtask;
  return loss;
}

const FailureRecord* FailureHistory::last_cause() const {
  if (blamed_ != nullptr) return blamed_;
  for (const FailureRecord& record : records_) {
    if (!record.failure.secondary && !record.after_end) return &record;
  }
  return records_.empty() ? nullptr : &records_.front();
}

}  // namespace weir::jobmanager
