#include "jobmanager/slot_placement.h"

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

namespace weir::jobmanager {
namespace {

using GroupSlot = std::pair<std::string, uint32_t>;  // (group, slot number in the group)

/// In order.
std::vector<GroupSlot> GroupSlots(const JobPlan& plan) {
  std::map<std::string, uint32_t> width;
  for (const VertexPlan& vertex : plan.vertices) {
    uint32_t& w = width[vertex.slot_sharing_group];
    w = std::max(w, vertex.parallelism);
  }
  std::vector<GroupSlot> slots;
  for (const auto& [group, count] : width) {
    for (uint32_t i = 0; i < count; ++i) slots.emplace_back(group, i);
  }
  return slots;
}

/// Where the group's slots are that hold these subtasks.
std::map<GroupSlot, SlotRef> HeldBy(const JobPlan& plan, const Placement& placement) {
  std::map<GroupSlot, SlotRef> held;
  for (const VertexPlan& vertex : plan.vertices) {
    for (uint32_t i = 0; i < vertex.parallelism; ++i) {
      const auto at = placement.find({vertex.id, i});
      if (at != placement.end()) held[{vertex.slot_sharing_group, i}] = at->second;
    }
  }
  return held;
}

/// The group's slots of the subtasks that do not run.
std::set<GroupSlot> Needed(const JobPlan& plan, const Placement& running) {
  std::set<GroupSlot> needed;
  for (const VertexPlan& vertex : plan.vertices) {
    for (uint32_t i = 0; i < vertex.parallelism; ++i) {
      if (!running.contains({vertex.id, i})) needed.insert({vertex.slot_sharing_group, i});
    }
  }
  return needed;
}

struct Candidate {
  SlotOffer offer;
  uint32_t used_by_job = 0;

  SlotRef Take() {
    SlotRef ref{offer.session, offer.task_manager, offer.free_slots.front()};
    offer.free_slots.erase(offer.free_slots.begin());
    ++used_by_job;
    return ref;
  }
};

}  // namespace

uint32_t SlotsNeeded(const JobPlan& plan) { return static_cast<uint32_t>(GroupSlots(plan).size()); }

PlacementResult PlaceJob(const JobPlan& plan, std::vector<SlotOffer> offers,
                         const SlotMemory& memory, const Placement& running,
                         std::optional<uint64_t> elsewhere) {
  std::map<GroupSlot, SlotRef> assigned = HeldBy(plan, running);
  std::map<SessionId, std::set<uint32_t>> held;
  for (const auto& [group, slot] : assigned) held[slot.session].insert(slot.slot);
  auto wanted = GroupSlots(plan);
  std::erase_if(wanted, [&, needed = Needed(plan, running)](const GroupSlot& slot) {
    return assigned.contains(slot) || !needed.contains(slot);
  });
  PlacementResult result;
  result.slots_needed = static_cast<uint32_t>(wanted.size());

  std::sort(offers.begin(), offers.end(), [](const SlotOffer& a, const SlotOffer& b) {
    // Those that recycle already count first, so that no more are sent after them.
    return std::tuple(!a.recycling, a.task_manager, a.session) <
           std::tuple(!b.recycling, b.task_manager, b.session);
  });
  std::vector<Candidate> candidates;
  uint32_t free = 0;
  for (SlotOffer& offer : offers) {
    if (offer.needs_recycle || offer.free_slots.empty()) continue;
    free += static_cast<uint32_t>(offer.free_slots.size());
    const auto before = held.find(offer.session);
    candidates.push_back(
        {offer, before == held.end() ? 0 : static_cast<uint32_t>(before->second.size())});
  }
  if (free < wanted.size()) {
    uint32_t reachable = free;
    uint32_t recycling = 0;
    for (const SlotOffer& offer : offers) {
      if (!offer.needs_recycle || reachable >= wanted.size()) continue;
      reachable += offer.slots;
      recycling += 1;
      if (!offer.recycling) result.recycle.push_back(offer.session);
    }
    result.slots_missing =
        reachable >= wanted.size() ? 0 : static_cast<uint32_t>(wanted.size()) - reachable;
    result.reason = "needs " + std::to_string(wanted.size()) +
                    (wanted.size() == 1 ? " slot, " : " slots, ") + std::to_string(free) +
                    (free == 1 ? " is free for it" : " are free for it");
    if (recycling > 0) {
      result.reason += ", " + std::to_string(recycling) + " TaskManagers are recycled for it";
    }
    if (result.slots_missing > 0) {
      result.reason += "; start TaskManagers with " + std::to_string(result.slots_missing) +
                       (result.slots_missing == 1 ? " more slot" : " more slots") +
                       ", or lower the parallelism; one that restarts counts again when it is back";
    }
    return result;
  }

  if (elsewhere) {
    std::mt19937_64 dice(*elsewhere);
    std::shuffle(candidates.begin(), candidates.end(), dice);
  }
  for (const auto& slot : wanted) {
    auto before = memory.find(slot);
    if (before == memory.end() || elsewhere) continue;
    for (Candidate& candidate : candidates) {
      if (candidate.offer.task_manager != before->second) continue;
      if (candidate.offer.free_slots.empty()) continue;
      assigned[slot] = candidate.Take();
      break;
    }
  }
  for (const auto& slot : wanted) {
    if (assigned.contains(slot)) continue;
    Candidate* best = nullptr;
    for (Candidate& candidate : candidates) {
      if (candidate.offer.free_slots.empty()) continue;
      const bool less = best != nullptr && candidate.used_by_job < best->used_by_job;
      if (best == nullptr || (less && !elsewhere)) best = &candidate;
    }
    assigned[slot] = best->Take();
  }
  for (const VertexPlan& vertex : plan.vertices) {
    for (uint32_t i = 0; i < vertex.parallelism; ++i) {
      if (running.contains({vertex.id, i})) continue;
      result.placement[{vertex.id, i}] = assigned.at({vertex.slot_sharing_group, i});
    }
  }
  result.placed = true;
  return result;
}

SlotMemory Remember(const JobPlan& plan, const Placement& placement, SlotMemory memory) {
  for (const auto& [group, slot] : HeldBy(plan, placement)) memory[group] = slot.task_manager;
  return memory;
}

}  // namespace weir::jobmanager
