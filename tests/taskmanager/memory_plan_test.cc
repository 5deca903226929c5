#include "taskmanager/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "taskmanager/cache_governor.h"

namespace weir {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::string ErrorOf(const MemorySettings& settings) {
  const auto plan = PlanMemory(settings);
  return plan.ok() ? "" : std::string(plan.status().message());
}

TEST(MemoryPlan, ThePartsAreTheBudgetWhateverItIs) {
  for (const uint64_t budget : {192 * kMiB, 256 * kMiB, 2048 * kMiB, 262'144 * kMiB}) {
    const auto plan = PlanMemory({.budget = budget});
    ASSERT_TRUE(plan.ok()) << plan.status();
    uint64_t sum = 0;
    for (const auto& [name, bytes] : plan->Parts()) {
      EXPECT_GT(bytes, 0u) << name << " of " << budget;
      sum += bytes;
    }
    EXPECT_EQ(sum, budget);
    EXPECT_EQ(plan->budget(), budget);
  }
}

TEST(MemoryPlan, MessagesThatWaitForTheJobManagerAreOfTheUsersPart) {
  for (const uint64_t budget : {192 * kMiB, 2048 * kMiB, 262'144 * kMiB}) {
    const auto plan = PlanMemory({.budget = budget});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_GT(plan->control(), 8 * kMiB);
    EXPECT_LE(plan->control(), plan->user / 2);
    EXPECT_LE(plan->control(), 256 * kMiB);
  }
}

TEST(MemoryPlan, WhatIsSetWinsAndTheTablesGiveWayForIt) {
  const auto plain = PlanMemory({.budget = 2048 * kMiB});
  const auto set =
      PlanMemory({.budget = 2048 * kMiB, .network = 512 * kMiB, .rocksdb = 300 * kMiB});
  ASSERT_TRUE(plain.ok() && set.ok());
  EXPECT_EQ(set->network, 512 * kMiB);
  EXPECT_EQ(set->rocksdb, 300 * kMiB);
  EXPECT_EQ(set->connectors, plain->connectors);
  EXPECT_LT(set->tables, plain->tables);
  EXPECT_EQ(set->budget(), 2048 * kMiB);
}

TEST(MemoryPlan, WhatDoesNotFitIsRefusedByNameWithWhatWould) {
  EXPECT_THAT(ErrorOf({.budget = 64 * kMiB}),
              AllOf(HasSubstr("taskmanager.memory is 64mb"), HasSubstr("process 64mb"),
                    HasSubstr("raise it to 190mb")));
  EXPECT_EQ(ErrorOf({.budget = 190 * kMiB}), "");
  EXPECT_THAT(ErrorOf({.budget = 1024}), HasSubstr("taskmanager.memory is 1kb"));
  EXPECT_THAT(ErrorOf({.budget = 256 * kMiB, .network = 128 * kMiB}),
              AllOf(HasSubstr("network 128mb"), HasSubstr("raise it to 398mb"),
                    HasSubstr("or lower network.buffers")));
  EXPECT_EQ(ErrorOf({.budget = 398 * kMiB, .network = 128 * kMiB}), "");
}

TEST(MemoryPlan, AWriteBufferThatIsSetHasRoomForTwo) {
  const auto plan =
      PlanMemory({.budget = 2048 * kMiB, .rocksdb = 256 * kMiB, .write_buffer = 64 * kMiB});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->memtables, 128 * kMiB);
  EXPECT_THAT(ErrorOf({.budget = 256 * kMiB, .write_buffer = 64 * kMiB}),
              AllOf(HasSubstr("state.rocksdb.write-buffer-size is 64mb"), HasSubstr("32mb"),
                    HasSubstr("taskmanager.memory to 1024mb")));
}

TEST(CacheGovernor, ShrinksWhileTheProcessIsBeyondItsBudgetAndGrowsBackSlowly) {
  CacheGovernor governor(1000 * kMiB);
  EXPECT_EQ(governor.Look(999 * kMiB), 1);
  EXPECT_EQ(governor.Look(1001 * kMiB), 0.75);
  EXPECT_EQ(governor.Look(950 * kMiB), 0.75) << "neither beyond nor well below";
  EXPECT_EQ(governor.Look(899 * kMiB), 0.8125);
  for (int i = 0; i < 100; ++i) governor.Look(2000 * kMiB);
  EXPECT_EQ(governor.share(), CacheGovernor::kLeast);
  for (int i = 0; i < 100; ++i) governor.Look(10 * kMiB);
  EXPECT_EQ(governor.share(), 1);
}

}  // namespace
}  // namespace weir
