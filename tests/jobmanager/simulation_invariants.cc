#include "tests/jobmanager/simulation.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace weir::jobmanager {

bool Simulation::AllEnded() const {
  return submitted_ > 0 && std::all_of(durable_.begin(), durable_.end(),
                                       [](const auto& job) { return job.second.end.has_value(); });
}

void Simulation::CheckInvariants() {
  if (!leader_) return;
  using Slots = std::vector<std::pair<SessionId, uint32_t>>;  // in order
  std::map<JobId, Slots> owned;
  for (const auto& [session, entry] : leader_->membership().entries()) {
    if (entry.registration.dedicated && entry.Jobs().size() > 1) {
      Fail("a dedicated TaskManager serves two jobs");
    }
    for (uint32_t slot = 0; slot < entry.slot_owners.size(); ++slot) {
      if (entry.slot_owners[slot]) owned[*entry.slot_owners[slot]].emplace_back(session, slot);
    }
  }
  for (const auto& [id, job] : leader_->jobs()) {
    Slots held;
    for (const auto& [region, attempt] : job->attempts()) {
      for (const auto& [subtask, slot] : attempt.placement) {
        if (attempt.holding.contains(slot.session)) held.emplace_back(slot.session, slot.slot);
      }
    }
    std::sort(held.begin(), held.end());
    held.erase(std::unique(held.begin(), held.end()), held.end());
    if (owned[id] != held) Fail("slots of " + id.value + " and its attempts disagree");
    if (IsTerminal(job->state())) {
      if (!held.empty()) Fail(id.value + " has ended and holds slots");
      if (durable_[id].end != job->state()) Fail(id.value + " has ended, its record has not");
    }
    const bool active = job->attempts().size() == job->regions() &&
                        std::none_of(job->attempts().begin(), job->attempts().end(),
                                     [](const auto& attempt) { return attempt.second.ending; });
    const bool needs = job->state() == JobState::kDeploying || job->state() == JobState::kRunning;
    if (needs && !active) Fail(id.value + " is " + ToString(job->state()) + " without attempts");
    owned.erase(id);
  }
  if (!owned.empty()) Fail("slots are owned by a job that does not exist");
}

void Simulation::CheckEnd(const JobId& id, JobState end) {
  if (end != JobState::kFinished) return;
  const auto& manifests = durable_[id].manifests;
  const bool good = std::any_of(manifests.begin(), manifests.end(), [&](const auto& m) {
    if (!m.all_at_end && !m.stop) return false;
    for (const SubtaskId& subtask : durable_[id].plan.TransactionalSubtasks()) {
      if (chronicles_[id].published[subtask] < m.id) return false;
    }
    return true;
  });
  if (!good) Fail(id.value + " has finished without a final checkpoint, durable and published");
}

void Simulation::CheckAtEnd() {
  if (leader_ && !requests_.empty()) Fail("a request was never answered");
}

}  // namespace weir::jobmanager
