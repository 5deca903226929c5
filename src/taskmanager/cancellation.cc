#include "taskmanager/task_manager.h"

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "log/log.h"

namespace weir {
namespace {

constexpr int kExitStuck = 1;

}  // namespace

void TaskManager::OnCancel(const proto::CancelJob& cancel) {
  const proto::AttemptRef& ref = cancel.attempt();
  history_.Note(ref.job_id(), ref.attempt());
  std::erase_if(waiting_, [&](const auto& waiting) {
    return waiting.first.first == ref.job_id() &&
           waiting.second.attempt().attempt() == ref.attempt();
  });
  if (LocalAttempt* attempt = Find(ref)) {
    Release(*attempt, cancel.reason());
    return;
  }
  proto::ToJobManager message = NewMessage();
  *message.mutable_attempt_released()->mutable_attempt() = ref;
  link_->Send(std::move(message));
}

void TaskManager::Release(LocalAttempt& attempt, proto::CancelReason reason) {
  if (attempt.releasing()) return;
  attempt.Release(reason);
  loop_->PostAfter(options_.cancellation_timeout, [this, ref = attempt.ref()] {
    if (const LocalAttempt* late = Find(ref)) GiveUp(*late);
  });
}

// A thread that does not come back from user code cannot be ended; the process can. Whatever else
// runs here is restarted elsewhere, and the next incarnation says why.
void TaskManager::GiveUp(const LocalAttempt& attempt) {
  const proto::AttemptRef& ref = attempt.ref();
  const std::string limit = std::to_string(options_.cancellation_timeout.count()) +
                            " ms of a cancel (task.cancellation.timeout)";
  std::string why = "attempt " + std::to_string(ref.attempt()) + " of job " + ref.job_id() +
                    " did not end within " + limit;
  std::optional<uint32_t> stuck;
  std::string name;
  for (uint32_t i = 0; i < options_.slots && !stuck; ++i) {
    const auto running = black_box_->WhatRuns(i);
    if (!running || running->job_id != ref.job_id() || running->attempt != ref.attempt()) continue;
    name = running->operator_name;
    if (running->opening) {
      // Slow disks and servers hang here as well: that ends the process, and accuses nobody.
      why = "attempt " + std::to_string(ref.attempt()) + " of job " + ref.job_id() +
            ", still opening operator '" + name + "' (subtask " +
            std::to_string(running->id.index) + "), did not end within " + limit;
      continue;
    }
    stuck = i;
    why = "it did not return within " + limit;
  }
  log::Error("ending the process: a cancel does not come back",
             {{"job", ref.job_id()}, {"operator", name}, {"reason", why}});
  black_box_->NoteStuck(stuck, why);
  if (options_.on_stuck) options_.on_stuck();
  std::_Exit(kExitStuck);
}

void TaskManager::OnReleased(const RegionKey& key) {
  const auto released = attempts_.find(key);
  // Under the epoch of whoever leads now: a new leader waits for the end of an old one's attempt,
  // and does not hear what that says under its own epoch.
  proto::ToJobManager message = NewMessage();
  *message.mutable_attempt_released()->mutable_attempt() = released->second->ref();
  attempts_.erase(released);
  ShareStateCache();
  link_->Send(std::move(message));
  const auto next = waiting_.find(key);
  if (next != waiting_.end() && !ending_) {
    const proto::DeployJob deploy = std::move(next->second);
    waiting_.erase(next);
    StartAttempt(deploy, leader_epoch_.load());
  }
  if (ending_) End(exit_);
}

}  // namespace weir
