#include "jobmanager/slot_placement.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace weir::jobmanager {
namespace {

JobPlan Plan(std::vector<std::tuple<uint32_t, uint32_t, std::string>> vertices) {
  JobPlan plan;
  for (const auto& [id, parallelism, group] : vertices) {
    plan.vertices.push_back(
        {.id = VertexId(id), .parallelism = parallelism, .slot_sharing_group = group});
  }
  return plan;
}

SlotOffer Offer(uint64_t session, const std::string& tm, uint32_t slots) {
  SlotOffer offer{.session = SessionId(session), .task_manager = TaskManagerId(tm), .slots = slots};
  for (uint32_t i = 0; i < slots; ++i) offer.free_slots.push_back(i);
  return offer;
}

SubtaskId Subtask(uint32_t vertex, uint32_t index) { return {VertexId(vertex), index}; }

TEST(SlotPlacementTest, SlotIHoldsSubtaskIOfEveryVertexOfItsGroup) {
  const JobPlan plan = Plan({{0, 2, "default"}, {1, 3, "default"}});
  const auto result = PlaceJob(plan, {Offer(1, "a", 2), Offer(2, "b", 2)}, {});
  ASSERT_TRUE(result.placed);
  EXPECT_EQ(result.slots_needed, 3u);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(result.placement.at(Subtask(0, i)), result.placement.at(Subtask(1, i)));
  }
}

TEST(SlotPlacementTest, GroupsDoNotShareSlots) {
  const JobPlan plan = Plan({{0, 2, "default"}, {1, 1, "heavy"}});
  EXPECT_EQ(SlotsNeeded(plan), 3u);
  const auto result = PlaceJob(plan, {Offer(1, "a", 4)}, {});
  std::set<uint32_t> slots;
  for (const auto& [subtask, slot] : result.placement) slots.insert(slot.slot);
  EXPECT_EQ(slots.size(), 3u);
}

TEST(SlotPlacementTest, SpreadsOverTaskManagers) {
  const JobPlan plan = Plan({{0, 4, "default"}});
  const auto result = PlaceJob(plan, {Offer(1, "a", 8), Offer(2, "b", 2), Offer(3, "c", 8)}, {});
  std::map<std::string, int> used;
  for (const auto& [subtask, slot] : result.placement) ++used[slot.task_manager.value];
  EXPECT_EQ(used, (std::map<std::string, int>{{"a", 2}, {"b", 1}, {"c", 1}}));
}

TEST(SlotPlacementTest, PrefersTheTaskManagerThatHoldsTheLocalState) {
  const JobPlan plan = Plan({{0, 2, "default"}});
  const auto before = PlaceJob(plan, {Offer(1, "b", 1), Offer(2, "c", 1)}, {});
  const SlotMemory memory = Remember(plan, before.placement);
  const auto after = PlaceJob(plan, {Offer(7, "a", 4), Offer(8, "b", 1), Offer(9, "c", 1)}, memory);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after.placement.at(Subtask(0, i)).task_manager,
              before.placement.at(Subtask(0, i)).task_manager);
  }
}

TEST(SlotPlacementTest, ElsewhereFillsOneTaskManagerAfterTheOtherAndSoonOthers) {
  const JobPlan plan = Plan({{0, 4, "default"}});
  const auto offers = [] {
    return std::vector{Offer(1, "a", 2), Offer(2, "b", 2), Offer(3, "c", 2)};
  };
  const SlotMemory memory = Remember(plan, PlaceJob(plan, offers(), {}).placement);
  std::set<std::set<std::string>> pairs;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto result = PlaceJob(plan, offers(), memory, {}, seed);
    ASSERT_TRUE(result.placed);
    std::set<std::string> used;
    for (const auto& [subtask, slot] : result.placement) used.insert(slot.task_manager.value);
    EXPECT_EQ(used.size(), 2u);
    pairs.insert(used);
  }
  EXPECT_EQ(pairs.size(), 3u) << "a pair that cannot work comes again and again";
}

TEST(SlotPlacementTest, ElsewhereIsNotAlwaysOnTheLargest) {
  const JobPlan plan = Plan({{0, 6, "default"}});
  bool without_the_largest_pair = false;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto result =
        PlaceJob(plan, {Offer(1, "a", 4), Offer(2, "b", 3), Offer(3, "c", 2)}, {}, {}, seed);
    std::set<std::string> used;
    for (const auto& [subtask, slot] : result.placement) used.insert(slot.task_manager.value);
    without_the_largest_pair |= !used.contains("a") || !used.contains("b");
  }
  EXPECT_TRUE(without_the_largest_pair) << "they may be the two that cannot reach one another";
}

TEST(SlotPlacementTest, WhatRunsStaysAndSharesItsSlotsWithWhatIsPlaced) {
  const JobPlan plan = Plan({{0, 2, "default"}, {1, 3, "default"}});
  const SlotRef first{SessionId(1), TaskManagerId("a"), 0};
  const SlotRef second{SessionId(1), TaskManagerId("a"), 1};
  const auto result =
      PlaceJob(plan, {Offer(2, "b", 1)}, {}, {{Subtask(0, 0), first}, {Subtask(0, 1), second}});
  ASSERT_TRUE(result.placed);
  EXPECT_EQ(result.placement, (Placement{{Subtask(1, 0), first},
                                         {Subtask(1, 1), second},
                                         {Subtask(1, 2), {SessionId(2), TaskManagerId("b"), 0}}}));
}

TEST(SlotPlacementTest, OnlySlotsOfWhatDoesNotRunAreWanted) {
  const JobPlan plan = Plan({{0, 2, "default"}, {1, 3, "heavy"}});
  Placement running;
  for (uint32_t i = 0; i < 3; ++i) running[Subtask(1, i)] = {SessionId(1), TaskManagerId("a"), i};
  const auto result = PlaceJob(plan, {Offer(2, "b", 1)}, {}, running);
  EXPECT_FALSE(result.placed);
  EXPECT_EQ(result.slots_missing, 1u);
}

TEST(SlotPlacementTest, TooFewSlotsSaysHowManyAreMissing) {
  const JobPlan plan = Plan({{0, 5, "default"}});
  const auto result = PlaceJob(plan, {Offer(1, "a", 2)}, {});
  EXPECT_FALSE(result.placed);
  EXPECT_EQ(result.slots_missing, 3u);
  EXPECT_NE(result.reason.find("needs 5 slots, 2 are free"), std::string::npos) << result.reason;
}

TEST(SlotPlacementTest, RecyclesNoMoreTaskManagersThanItNeeds) {
  const JobPlan plan = Plan({{0, 3, "default"}});
  SlotOffer other = Offer(2, "b", 2), third = Offer(3, "c", 2);
  other.needs_recycle = third.needs_recycle = true;
  auto result = PlaceJob(plan, {Offer(1, "a", 2), other, third}, {});
  EXPECT_FALSE(result.placed);
  EXPECT_EQ(result.slots_missing, 0u);
  EXPECT_EQ(result.recycle, std::vector<SessionId>{SessionId(2)});

  third.recycling = true;
  result = PlaceJob(plan, {Offer(1, "a", 2), other, third}, {});
  EXPECT_TRUE(result.recycle.empty()) << "one under way is enough";
}

}  // namespace
}  // namespace weir::jobmanager
