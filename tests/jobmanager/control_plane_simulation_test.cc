#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/jobmanager/simulation.h"

// WEIR_SIMULATION_SEED=n replays one history and prints it.

namespace weir::jobmanager {
namespace {

TEST(ControlPlaneSimulationTest, InvariantsHoldInEveryHistory) {
  if (const char* seed = std::getenv("WEIR_SIMULATION_SEED")) {
    Simulation simulation(std::strtoull(seed, nullptr, 10));
    const std::string error = simulation.Run();
    EXPECT_EQ(error, "") << simulation.history();
    return;
  }
  const char* wanted = std::getenv("WEIR_SIMULATION_HISTORIES");
  const uint64_t histories = wanted ? std::strtoull(wanted, nullptr, 10) : 300;
  std::map<std::string, uint64_t> coverage;
  uint64_t steps = 0;
  for (uint64_t seed = 1; seed <= histories; ++seed) {
    Simulation simulation(seed);
    const std::string error = simulation.Run();
    steps += simulation.steps();
    for (const auto& [what, count] : simulation.coverage) coverage[what] += count;
    ASSERT_EQ(error, "") << "seed " << seed << ":\n" << simulation.history();
  }
  for (const auto& [what, count] : coverage) std::printf("  %-24s %lu\n", what.c_str(), count);
  std::printf("  %lu histories, %lu steps\n", histories, steps);
  // A run in which a fault never landed proves nothing about it.
  for (const char* what : {"worker killed",
                           "worker hung",
                           "stream broken",
                           "leader killed",
                           "task failed",
                           "recycled",
                           "restored",
                           "others ran on",
                           "completed for the others",
                           "committed",
                           "checkpoint aborted",
                           "overlapped",
                           "overtaken",
                           "turned unaligned",
                           "taken ahead of barriers",
                           "savepoint",
                           "disturbed a stop",
                           "stop gone on with",
                           "stop given up",
                           "ended FINISHED",
                           "ended CANCELED",
                           "ended FAILED",
                           "note of a restart",
                           "note lost",
                           "declined at the end",
                           "cancel overtook"}) {
    EXPECT_GT(coverage[what], 0u) << what;
  }
}

}  // namespace
}  // namespace weir::jobmanager
