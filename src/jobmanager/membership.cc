#include "jobmanager/membership.h"

#include <algorithm>

namespace weir::jobmanager {

bool TaskManagerEntry::Idle() const {
  return std::none_of(slot_owners.begin(), slot_owners.end(),
                      [](const auto& owner) { return owner.has_value(); });
}

std::vector<uint32_t> TaskManagerEntry::FreeSlots() const {
  std::vector<uint32_t> free;
  for (uint32_t i = 0; i < slot_owners.size(); ++i) {
    if (!slot_owners[i]) free.push_back(i);
  }
  return free;
}

std::set<JobId> TaskManagerEntry::Jobs() const {
  std::set<JobId> jobs;
  for (const auto& owner : slot_owners) {
    if (owner) jobs.insert(*owner);
  }
  return jobs;
}

Membership::Admission Membership::Judge(const Registration& registration) const {
  for (const auto& [session, entry] : entries_) {
    if (entry.registration.id != registration.id) continue;
    if (registration.incarnation < entry.registration.incarnation) {
      return {.refusal = Refusal::kStaleIncarnation};
    }
    // The same process again: its stream broke before we saw it. Or its successor.
    return {.replaces = session};
  }
  if (entries_.size() >= kMaxTaskManagers) return {.refusal = Refusal::kTooMany};
  return {};
}

TaskManagerEntry& Membership::Add(SessionId session, Registration registration, Instant now) {
  TaskManagerEntry entry{.session = session, .last_heard = now};
  entry.slot_owners.resize(registration.slots);
  entry.unwanted.insert(registration.running.begin(), registration.running.end());
  entry.loaded_artifact = registration.loaded_artifact;
  entry.registration = std::move(registration);
  return entries_[session] = std::move(entry);
}

bool Membership::Heard(SessionId session, Instant now) {
  TaskManagerEntry* entry = Find(session);
  if (entry != nullptr) entry->last_heard = now;
  return entry != nullptr;
}

Instant Membership::ExpiryOf(const TaskManagerEntry& entry) const {
  Instant at = entry.last_heard + options_.heartbeat_timeout;
  if (entry.recycling_since) at = std::min(at, *entry.recycling_since + options_.recycle_timeout);
  return at;
}

std::vector<std::pair<SessionId, std::string>> Membership::Expired(Instant now) const {
  std::vector<std::pair<SessionId, std::string>> expired;
  for (const auto& [session, entry] : entries_) {
    if (now < ExpiryOf(entry)) continue;
    const bool silent = now >= entry.last_heard + options_.heartbeat_timeout;
    expired.emplace_back(
        session,
        silent ? "no heartbeat for " + std::to_string(options_.heartbeat_timeout.count()) + " ms"
               : "it was told to re-execute itself and did not");
  }
  return expired;
}

std::optional<Instant> Membership::NextExpiry() const {
  std::optional<Instant> next;
  for (const auto& [session, entry] : entries_) {
    const Instant at = ExpiryOf(entry);
    if (!next || at < *next) next = at;
  }
  return next;
}

TaskManagerEntry* Membership::Find(SessionId session) {
  auto it = entries_.find(session);
  return it == entries_.end() ? nullptr : &it->second;
}

}  // namespace weir::jobmanager
