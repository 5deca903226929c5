#include "jobmanager/region_attempts.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace weir::jobmanager {
namespace {

uint32_t CountRegions(const std::map<VertexId, uint32_t>& region_of) {
  uint32_t count = 1;
  for (const auto& [vertex, region] : region_of) count = std::max(count, region + 1);
  return count;
}

}  // namespace

RegionAttempts::RegionAttempts(const JobPlan& plan)
    : region_of_(plan.Regions()), regions_(CountRegions(region_of_)) {}

// ---------------------------------------------------------------- what there is

RegionAttempts::Regions RegionAttempts::All() const {
  Regions all;
  for (uint32_t region = 0; region < regions_; ++region) all.insert(region);
  return all;
}

RegionAttempts::Regions RegionAttempts::NotRunning() const {
  Regions rest = All();
  for (const auto& [region, attempt] : attempts_) {
    if (attempt.running_since.count() > 0 && !attempt.ending) rest.erase(region);
  }
  return rest;
}

const Attempt* RegionAttempts::Find(AttemptId id) const {
  for (const auto& [region, attempt] : attempts_) {
    if (attempt.id == id) return &attempt;
  }
  return nullptr;
}

const Attempt* RegionAttempts::Of(SubtaskId subtask) const {
  const auto region = region_of_.find(subtask.vertex);
  if (region == region_of_.end()) return nullptr;
  const auto found = attempts_.find(region->second);
  return found == attempts_.end() ? nullptr : &found->second;
}

std::set<AttemptId> RegionAttempts::IdsOf(const Regions& regions) const {
  std::set<AttemptId> ids;
  for (const auto& [region, attempt] : attempts_) {
    if (regions.contains(region)) ids.insert(attempt.id);
  }
  return ids;
}

bool RegionAttempts::AnyEnding() const {
  return std::any_of(attempts_.begin(), attempts_.end(),
                     [](const auto& a) { return a.second.ending; });
}

bool RegionAttempts::AnyToEnd(const Regions& regions) const {
  return std::any_of(attempts_.begin(), attempts_.end(),
                     [&](const auto& a) { return regions.contains(a.first) && !a.second.ending; });
}

bool RegionAttempts::AllDeployed() const {
  return std::all_of(attempts_.begin(), attempts_.end(),
                     [](const auto& a) { return a.second.deployed; });
}

bool RegionAttempts::NoneDeployed() const {
  return std::none_of(attempts_.begin(), attempts_.end(),
                      [](const auto& a) { return a.second.deployed; });
}

bool RegionAttempts::AllTasks(bool (*is)(TaskState)) const {
  return attempts_.size() == regions_ &&
         std::all_of(attempts_.begin(), attempts_.end(), [&](const auto& a) {
           return std::all_of(a.second.tasks.begin(), a.second.tasks.end(),
                              [&](const auto& t) { return is(t.second); });
         });
}

Placement RegionAttempts::Placed() const {
  Placement placed;
  for (const auto& [region, attempt] : attempts_) {
    if (!attempt.ending) placed.insert(attempt.placement.begin(), attempt.placement.end());
  }
  return placed;
}

milliseconds RegionAttempts::RanFor(const Regions& regions, Instant now) const {
  milliseconds least = milliseconds::max();
  for (const uint32_t region : regions) {
    const auto found = attempts_.find(region);
    if (found == attempts_.end() || found->second.running_since.count() == 0) {
      return milliseconds(0);
    }
    least = std::min(least,
                     std::chrono::duration_cast<milliseconds>(now - found->second.running_since));
  }
  return least;
}

// ---------------------------------------------------------------- in

AttemptId RegionAttempts::Grant(const Placement& placement, AttemptId last) {
  for (const auto& [subtask, slot] : placement) {
    const uint32_t region = region_of_.at(subtask.vertex);
    Attempt& attempt = attempts_[region];
    assert(!attempt.deployed);
    attempt.region = region;
    attempt.placement[subtask] = slot;
    attempt.tasks[subtask] = TaskState::kDeploying;
    attempt.holding.insert(slot.session);
  }
  for (auto& [region, attempt] : attempts_) {
    if (attempt.deployed) continue;
    last = AttemptId(last.value + 1);
    attempt.id = last;
  }
  return last;
}

void RegionAttempts::SendDeployments(const AttemptPrepared& prepared, Out* out) {
  for (auto& [region, attempt] : attempts_) {
    if (attempt.deployed) continue;
    attempt.deployed = true;
    attempt.restore = prepared.restore;
    out->emplace_back(Deploy{attempt.id, region, attempt.placement, prepared.restore,
                             prepared.id_floor, prepared.stop.has_value()});
  }
}

bool RegionAttempts::SetTask(const TaskChanged& e) {
  Attempt* attempt = Mutable(e.attempt);
  if (attempt == nullptr || !attempt->deployed) return false;
  const auto task = attempt->tasks.find(e.subtask);
  if (task == attempt->tasks.end()) return false;
  const bool failed = e.state == TaskState::kFailed;
  if (failed && task->second == TaskState::kFailed && !e.failure.secondary) {
    return attempt->echoed.erase(e.subtask) > 0;
  }
  if (task->second == e.state) return false;
  // Gone is gone, and no task un-ends.
  if (task->second == TaskState::kCanceled || task->second == TaskState::kFailed) return false;
  if (task->second == TaskState::kAtEnd && e.state == TaskState::kRunning) return false;
  task->second = e.state;
  if (failed && e.failure.secondary) attempt->echoed.insert(e.subtask);
  return true;
}

void RegionAttempts::MarkRunning(Instant now) {
  for (auto& [region, attempt] : attempts_) {
    if (attempt.running_since.count() == 0) attempt.running_since = now;
  }
}

// ---------------------------------------------------------------- out

void RegionAttempts::End(const Regions& regions, CancelReason reason, Instant now, Out* out) {
  DropUndeployed(out);
  for (auto& [region, attempt] : attempts_) {
    if (attempt.ending || !regions.contains(region)) continue;
    attempt.ending = true;
    attempt.cancel_deadline = now + kCancelTimeout;
    for (SessionId session : attempt.holding) {
      out->emplace_back(CancelAttempt{attempt.id, session, reason});
    }
  }
}

void RegionAttempts::DropUndeployed(Out* out) {
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    if (it->second.deployed) {
      ++it;
      continue;
    }
    Attempt& attempt = it->second;
    while (!attempt.holding.empty()) {
      const SessionId session = *attempt.holding.begin();
      GiveBack(attempt, session, out);
      attempt.holding.erase(session);
    }
    it = attempts_.erase(it);
  }
}

// Slots that another region's subtasks share stay the job's.
void RegionAttempts::GiveBack(const Attempt& attempt, SessionId session, Out* out) const {
  std::set<uint32_t> slots;
  for (const auto& [subtask, slot] : attempt.placement) {
    if (slot.session == session) slots.insert(slot.slot);
  }
  for (const auto& [region, other] : attempts_) {
    if (&other == &attempt || !other.holding.contains(session)) continue;
    for (const auto& [subtask, slot] : other.placement) {
      if (slot.session == session) slots.erase(slot.slot);
    }
  }
  if (!slots.empty()) out->emplace_back(GiveBackSlots{session, std::move(slots)});
}

bool RegionAttempts::Release(AttemptId id, SessionId session, Out* out) {
  Attempt* attempt = Mutable(id);
  if (attempt == nullptr || !attempt->holding.contains(session)) return false;
  GiveBack(*attempt, session, out);
  attempt->holding.erase(session);
  if (!attempt->ending || !attempt->holding.empty()) return false;
  attempts_.erase(attempt->region);
  return true;
}

void RegionAttempts::DropSilent(const std::string& job_name, Instant now, Out* out) {
  for (auto& [region, attempt] : attempts_) {
    if (!attempt.cancel_deadline || now < *attempt.cancel_deadline) continue;
    attempt.cancel_deadline = now + kCancelTimeout;
    for (SessionId session : attempt.holding) {
      out->emplace_back(DropSession{session, "it did not confirm the end of attempt " +
                                                 std::to_string(attempt.id.value) + " of job '" +
                                                 job_name + "'"});
    }
  }
}

std::optional<Instant> RegionAttempts::NextDeadline() const {
  std::optional<Instant> next;
  for (const auto& [region, attempt] : attempts_) {
    if (attempt.cancel_deadline && (!next || *attempt.cancel_deadline < *next)) {
      next = attempt.cancel_deadline;
    }
  }
  return next;
}

}  // namespace weir::jobmanager
