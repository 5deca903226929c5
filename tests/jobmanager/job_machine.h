#pragma once

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "jobmanager/job.h"

namespace weir::jobmanager {

/// One job's machine, its clock, and what it wanted done so far.
class JobMachineTest : public ::testing::Test {
 protected:
  explicit JobMachineTest(JobPlan plan) : job_(std::move(plan), 1) {}

  void Send(const JobEvent& event) { job_.Step(event, now_, &actions_); }
  void Advance(int64_t ms) {
    now_ += milliseconds(ms);
    Send(JobTick{});
  }
  /// The number of the attempts that were granted last is durable, and `restored`, if any, is the
  /// newest checkpoint.
  void Prepared(uint64_t restored = 0) {
    AttemptPrepared prepared{.attempt = job_.last_attempt(), .id_limit = CheckpointId(10'000)};
    if (restored > 0) {
      prepared.restore = RestorePoint{.id = CheckpointId(restored), .manifest_path = "m"};
      prepared.last_completed = CheckpointId(restored);
    }
    Send(prepared);
  }
  /// A TaskManager's word about a subtask of the attempt that it is of now.
  void Task(SubtaskId subtask, TaskState state, Failure failure = {}) {
    const Attempt* attempt = job_.AttemptOf(subtask);
    Send(TaskChanged{attempt == nullptr ? job_.last_attempt() : attempt->id, subtask, state,
                     std::move(failure)});
  }
  /// From the grant of these slots to all subtasks running.
  void RunOn(const Placement& placement, uint64_t restored = 0) {
    Send(SlotsGranted{placement});
    Prepared(restored);
    for (const auto& [subtask, slot] : placement) Task(subtask, TaskState::kRunning);
  }
  /// Actions of this type so far, of the job or of its coordinator.
  template <class T>
  std::vector<T> All() const {
    std::vector<T> all;
    auto look = [&](const auto& a) {
      if constexpr (std::is_same_v<std::decay_t<decltype(a)>, T>) all.push_back(a);
    };
    for (const JobAction& action : actions_) {
      std::visit(look, action);
      if (const auto* work = std::get_if<CheckpointWork>(&action)) std::visit(look, work->action);
    }
    return all;
  }
  template <class T>
  size_t Count() const {
    return All<T>().size();
  }

  Job job_;
  Instant now_{1};
  std::vector<JobAction> actions_;
};

}  // namespace weir::jobmanager
