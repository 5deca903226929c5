#include "jobmanager/io_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <vector>

namespace weir::jobmanager {
namespace {

TEST(IoThreadsTest, AStrandRunsInOrderOnePieceAtATime) {
  constexpr int kPieces = 2'000;
  std::vector<int> seen;  // no lock: that is what the strand is for
  std::promise<void> done;
  IoThreads io(4);
  for (int i = 0; i < kPieces; ++i) {
    io.Post("a", [&, i] {
      seen.push_back(i);
      if (i == kPieces - 1) done.set_value();
    });
  }
  done.get_future().wait();
  ASSERT_EQ(seen.size(), static_cast<size_t>(kPieces));
  for (int i = 0; i < kPieces; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(IoThreadsTest, AStrandThatBlocksHoldsUpNoOther) {
  IoThreads io(2);
  std::promise<void> release, other_ran;
  io.Post("blocked", [&] { release.get_future().wait(); });
  io.Post("other", [&] { other_ran.set_value(); });
  other_ran.get_future().wait();
  release.set_value();
}

TEST(IoThreadsTest, TellsTheOldestPieceOfAStrandFromAllOthers) {
  IoThreads io(1);
  EXPECT_EQ(io.OldestPiece("held"), 0u);
  std::promise<void> release, next_began, release_next;
  io.Post("held", [&] { release.get_future().wait(); });
  io.Post("held", [&] {
    next_began.set_value();
    release_next.get_future().wait();
  });
  io.Post("behind", [] {});
  const uint64_t first = io.OldestPiece("held"), behind = io.OldestPiece("behind");
  EXPECT_NE(first, 0u);
  EXPECT_NE(behind, 0u) << "waiting for a thread counts, too";
  EXPECT_NE(behind, first);
  EXPECT_EQ(io.OldestPiece("held"), first);
  release.set_value();
  next_began.get_future().wait();
  EXPECT_NE(io.OldestPiece("held"), first);
  EXPECT_NE(io.OldestPiece("held"), 0u);
  release_next.set_value();
  io.Stop();
  EXPECT_EQ(io.OldestPiece("held"), 0u);
}

TEST(IoThreadsTest, StopWaitsForWhatRunsAndNothingRunsAfterIt) {
  std::atomic<bool> ended{false}, late{false};
  std::promise<void> started;
  IoThreads io(1);
  io.Post("a", [&] {
    started.set_value();
    ended = true;
  });
  started.get_future().wait();
  io.Stop();
  EXPECT_TRUE(ended);
  io.Post("a", [&] { late = true; });
  io.Stop();
  EXPECT_FALSE(late);
}

}  // namespace
}  // namespace weir::jobmanager
