#include "taskmanager/attempt_history.h"

#include <gtest/gtest.h>

#include <set>

namespace weir {
namespace {

std::string Job(size_t i) { return "job-" + std::to_string(i); }

TEST(AttemptHistory, KnowsTheHighestAttemptOfAJob) {
  AttemptHistory history([](const std::string&) { return false; });
  EXPECT_EQ(history.Highest("a"), 0u);
  history.Note("a", 3);
  history.Note("a", 2);
  EXPECT_EQ(history.Highest("a"), 3u);
  EXPECT_EQ(history.Highest("b"), 0u);
}

TEST(AttemptHistory, ForgetsTheOldestJobsButNoneThatIsHere) {
  const std::set<std::string> here = {Job(0), Job(5)};
  AttemptHistory history([&](const std::string& job) { return here.count(job) != 0; });
  for (size_t i = 0; i < 3 * AttemptHistory::kMaxJobs; ++i) {
    history.Note(Job(i), 7);
    EXPECT_LE(history.size(), AttemptHistory::kMaxJobs);
    EXPECT_EQ(history.Highest(Job(i)), 7u);
  }
  EXPECT_EQ(history.Highest(Job(0)), 7u);
  EXPECT_EQ(history.Highest(Job(5)), 7u);
  EXPECT_EQ(history.Highest(Job(1)), 0u);
}

TEST(AttemptHistory, KeepsAllThatAreHereHoweverMany) {
  AttemptHistory history([](const std::string&) { return true; });
  for (size_t i = 0; i < AttemptHistory::kMaxJobs + 10; ++i) history.Note(Job(i), 1);
  EXPECT_EQ(history.size(), AttemptHistory::kMaxJobs + 10);
  EXPECT_EQ(history.Highest(Job(0)), 1u);
}

}  // namespace
}  // namespace weir
