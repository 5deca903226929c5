#include "jobmanager/control_plane.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace weir::jobmanager {

ControlPlane::ControlPlane(ControlPlaneOptions options, Instant now)
    : options_(options),
      membership_(options.membership),
      settle_until_(now + options.settle),
      next_heartbeat_(now + options.membership.heartbeat_interval) {}

const Job* ControlPlane::FindJob(const JobId& id) const {
  auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : it->second.get();
}

void ControlPlane::Step(const ControlEvent& event, Instant now, Out* out) {
  if (shut_down_) return;
  std::visit([&](const auto& e) { On(e, now, out); }, event);
  if (!shut_down_) PlaceWaitingJobs(now, out);
  for (const auto& [id, job] : jobs_) {
    uint64_t& announced = announced_[id];
    if (announced == job->version()) continue;
    announced = job->version();
    out->push_back(JobChanged{id});
  }
}

// ---------------------------------------------------------------- members

void ControlPlane::On(const TaskManagerRegistered& e, Instant now, Out* out) {
  const Membership::Admission admission = membership_.Judge(e.registration);
  switch (admission.refusal) {
    case Membership::Refusal::kNone:
      break;
    case Membership::Refusal::kStaleIncarnation:
      out->push_back(RefuseSession{e.session, admission.refusal,
                                   "a newer process is registered as TaskManager '" +
                                       e.registration.id.value +
                                       "'; end this one, or give it an "
                                       "id of its own"});
      return;
    case Membership::Refusal::kTooMany:
      out->push_back(RefuseSession{
          e.session, admission.refusal,
          "the cluster has its " + std::to_string(Membership::kMaxTaskManagers) + " TaskManagers"});
      return;
  }
  if (admission.replaces) Lose({*admission.replaces, "it registered anew"}, now, out);
  const TaskManagerEntry& entry = membership_.Add(e.session, e.registration, now);
  out->push_back(AcceptSession{e.session});
  for (const auto& [job, attempt] : entry.unwanted) {
    out->push_back(JobWork{job, CancelAttempt{attempt, e.session, CancelReason::kUnknown}});
  }
  for (const auto& crash : e.crashes) {
    StepJob(crash.job,
            CrashReported{crash.attempt, e.registration.id, crash.subtask, crash.failure}, now,
            out);
  }
  for (const auto& [id, job] : jobs_) {
    StepJob(id, TaskManagerBack{e.registration.id}, now, out);
  }
}

void ControlPlane::On(const TaskManagerHeard& e, Instant now, Out*) {
  membership_.Heard(e.session, now);
}

void ControlPlane::On(const SessionBroken& e, Instant now, Out* out) {
  Lose({.session = e.session, .reason = e.reason, .close = false, .in_order = e.in_order}, now,
       out);
}

void ControlPlane::Lose(const Loss& loss, Instant now, Out* out) {
  TaskManagerEntry* entry = membership_.Find(loss.session);
  if (entry == nullptr) return;
  const std::set<JobId> jobs = entry->Jobs();
  membership_.Remove(loss.session);
  if (loss.close) out->push_back(CloseSession{loss.session, loss.reason});
  for (const JobId& id : jobs) {
    StepJob(id, TaskManagerGone{loss.session, loss.reason, loss.in_order}, now, out);
  }
}

// ---------------------------------------------------------------- jobs

void ControlPlane::On(const JobAdmitted& e, Instant now, Out* out) {
  if (jobs_.contains(e.job)) return;
  jobs_[e.job] = std::make_unique<Job>(e.plan, e.seed);
  expected_.insert(e.previous.begin(), e.previous.end());
  StepJob(e.job, JobStarted{e.attempt_floor, e.canceled, e.restarts, e.memory, e.counts}, now, out);
}

void ControlPlane::On(const ForJob& e, Instant now, Out* out) {
  if (e.from) {
    if (!membership_.Heard(*e.from, now)) return;
    if (const auto* released = std::get_if<AttemptReleased>(&e.event)) {
      membership_.Find(*e.from)->unwanted.erase({e.job, released->attempt});
    }
  }
  StepJob(e.job, e.event, now, out);
}

void ControlPlane::On(const JobForgotten& e, Instant, Out*) {
  const Job* job = FindJob(e.job);
  if (job == nullptr || !IsTerminal(job->state())) return;
  jobs_.erase(e.job);
  announced_.erase(e.job);
}

void ControlPlane::On(const ShutDown&, Instant now, Out* out) {
  for (const auto& [id, job] : jobs_) StepJob(id, SuspendWanted{}, now, out);
  shut_down_ = true;
}

void ControlPlane::StepJob(const JobId& id, const JobEvent& event, Instant now, Out* out) {
  auto it = jobs_.find(id);
  if (it == jobs_.end()) return;
  std::vector<JobAction> actions;
  it->second->Step(event, now, &actions);
  for (JobAction& action : actions) {
    if (const auto* slots = std::get_if<GiveBackSlots>(&action)) {
      TaskManagerEntry* entry = membership_.Find(slots->session);
      if (entry == nullptr) continue;
      for (const uint32_t slot : slots->slots) {
        if (entry->slot_owners[slot] == id) entry->slot_owners[slot].reset();
      }
    } else if (const auto* drop = std::get_if<DropSession>(&action)) {
      Lose({drop->session, drop->reason}, now, out);
    } else {
      out->push_back(JobWork{id, std::move(action)});
    }
  }
}

// ---------------------------------------------------------------- slots

bool ControlPlane::Settling(Instant now) {
  if (settled_) return false;
  std::set<TaskManagerId> missing = expected_;
  for (const auto& [session, entry] : membership_.entries()) missing.erase(entry.registration.id);
  // Recovered jobs are admitted before anything else: with none to wait for, there are none.
  settled_ = now >= settle_until_ || missing.empty();
  return !settled_;
}

std::vector<SlotOffer> ControlPlane::OffersFor(const JobId& id, const JobPlan& plan) const {
  std::vector<SlotOffer> offers;
  for (const auto& [session, entry] : membership_.entries()) {
    if (!entry.unwanted.empty()) continue;
    SlotOffer offer{.session = session,
                    .task_manager = entry.registration.id,
                    .free_slots = entry.FreeSlots(),
                    .slots = static_cast<uint32_t>(entry.slot_owners.size()),
                    .recycling = entry.recycling_since.has_value()};
    if (offer.recycling) {
      offer.needs_recycle = true;
    } else if (entry.registration.dedicated) {
      const std::set<JobId> jobs = entry.Jobs();
      if (!jobs.empty() && (jobs.size() > 1 || *jobs.begin() != id)) continue;
      offer.needs_recycle =
          !entry.loaded_artifact.empty() && entry.loaded_artifact != plan.artifact_hash;
    }
    offers.push_back(std::move(offer));
  }
  return offers;
}

// Exclusive buffers that do not fit would leave channels without any: nothing would move.
std::string ControlPlane::BuffersLacking(const JobPlan& plan, const Placement& placement) const {
  const auto ends = RemoteChannelEnds(
      plan.edges, [&](SubtaskId subtask) { return placement.at(subtask).session.value; });
  for (const auto& [session, count] : ends) {
    const Registration& r = membership_.entries().at(SessionId(session)).registration;
    const uint64_t needed = count * r.exclusive_buffers;
    if (needed <= r.network_buffers) continue;
    return "its part on TaskManager '" + r.id.value + "' needs " + std::to_string(needed) +
           " network buffers (" + std::to_string(r.exclusive_buffers) + " for each of " +
           std::to_string(count) + " ends of channels to other TaskManagers), which has " +
           std::to_string(r.network_buffers) + "; raise network.buffers, or lower the parallelism";
  }
  return {};
}

void ControlPlane::PlaceWaitingJobs(Instant now, Out* out) {
  slots_wanted_ = 0;
  if (Settling(now)) return;
  std::vector<std::pair<Instant, JobId>> waiting;
  for (const auto& [id, job] : jobs_) {
    if (job->state() == JobState::kWaitingForSlots) waiting.emplace_back(job->state_since(), id);
  }
  std::sort(waiting.begin(), waiting.end());  // who waits longest goes first
  for (const auto& [since, id] : waiting) {
    const Job& job = *jobs_.at(id);
    Placement placed = job.Placed();
    PlacementResult result =
        PlaceJob(job.plan(), OffersFor(id, job.plan()), job.slot_memory(), placed, job.elsewhere());
    if (!result.placed) {
      slots_wanted_ += result.slots_missing;
      for (SessionId session : result.recycle) {
        membership_.Find(session)->recycling_since = now;
        out->push_back(SendRecycle{session, "job '" + job.plan().name + "' needs its slots"});
      }
      StepJob(id, StillWaiting{std::move(result.reason)}, now, out);
      continue;
    }
    placed.insert(result.placement.begin(), result.placement.end());
    if (std::string lack = BuffersLacking(job.plan(), placed); !lack.empty()) {
      StepJob(id, PlacementRefused{std::move(lack)}, now, out);
      continue;
    }
    for (const auto& [subtask, slot] : result.placement) {
      TaskManagerEntry* entry = membership_.Find(slot.session);
      entry->slot_owners[slot.slot] = id;
      entry->loaded_artifact = job.plan().artifact_hash;
    }
    StepJob(id, SlotsGranted{std::move(result.placement)}, now, out);
  }
}

// ---------------------------------------------------------------- time

void ControlPlane::On(const ControlTick&, Instant now, Out* out) {
  for (const auto& [session, reason] : membership_.Expired(now)) {
    Lose({session, reason}, now, out);
  }
  if (now >= next_heartbeat_) {
    next_heartbeat_ = now + options_.membership.heartbeat_interval;
    out->emplace_back(std::in_place_type<SendHeartbeats>);
  }
  for (const auto& [id, job] : jobs_) {
    const std::optional<Instant> due = job->NextDeadline();
    if (due && now >= *due) StepJob(id, JobTick{}, now, out);
  }
}

Instant ControlPlane::NextDeadline() const {
  Instant next = next_heartbeat_;
  if (!settled_) next = std::min(next, settle_until_);
  if (auto expiry = membership_.NextExpiry()) next = std::min(next, *expiry);
  for (const auto& [id, job] : jobs_) {
    if (auto due = job->NextDeadline()) next = std::min(next, *due);
  }
  return next;
}

}  // namespace weir::jobmanager
