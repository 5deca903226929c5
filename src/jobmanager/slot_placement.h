#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "jobmanager/values.h"

namespace weir::jobmanager {

/// A TaskManager as the scheduler sees it.
struct SlotOffer {
  SessionId session;
  TaskManagerId task_manager;
  std::vector<uint32_t> free_slots;  ///< ascending
  uint32_t slots = 0;                ///< altogether
  /// Idle, but another artifact is loaded: of use only after it has re-executed itself.
  bool needs_recycle = false;
  bool recycling = false;  ///< it is doing so now; needs_recycle is set, too
};

/// Which TaskManager held slot i of a slot-sharing group last time: its local state is there.
using SlotMemory = std::map<std::pair<std::string, uint32_t>, TaskManagerId>;

struct PlacementResult {
  bool placed = false;
  Placement placement;
  uint32_t slots_needed = 0;
  uint32_t slots_missing = 0;      ///< beyond those free and those that recycling brings
  std::vector<SessionId> recycle;  ///< idle TaskManagers to re-execute, not yet recycling
  std::string reason;              ///< why not placed, for people
};

/// Number of slots the job takes: the largest parallelism of each slot-sharing group, summed.
uint32_t SlotsNeeded(const JobPlan& plan);

/// Places every subtask that is not `running`, or none. Slot i of a group holds subtask i of every
/// vertex of the group; one that holds a running subtask takes the others of its number as well.
/// A slot goes to the TaskManager that held it before if that has room, otherwise to the one with
/// the fewest slots of this job, so that the job spreads. With `elsewhere`, a seed, `memory` does
/// not count and the job fills one TaskManager after the other, in an order that the seed draws:
/// for one whose last attempt ended because two of them cannot reach one another, and nobody knows
/// which of the two is cut off. Pure and deterministic.
PlacementResult PlaceJob(const JobPlan& plan, std::vector<SlotOffer> offers,
                         const SlotMemory& memory, const Placement& running = {},
                         std::optional<uint64_t> elsewhere = {});

/// What PlaceJob needs to prefer the same TaskManagers next time: `memory` with what of the job is
/// placed now.
SlotMemory Remember(const JobPlan& plan, const Placement& placement, SlotMemory memory = {});

}  // namespace weir::jobmanager
