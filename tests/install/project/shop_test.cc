// A user's own test: the installed harness runs an operator of the job without a cluster.
#include "shop.h"

#include <gtest/gtest.h>
#include <testing/operator_harness.h>

using Harness = weir::testing::OperatorHarness<Order, Spent>;

TEST(SpentPerCustomer, GrowsWithEachOrderOfACustomer) {
  Harness harness(&SpentPerCustomer);
  harness.Push({"ann", 120});
  harness.Push({"bob", 50});
  harness.Push({"ann", 80});
  EXPECT_EQ(harness.TakeRows(), (std::vector<Spent>{{"ann", 120}, {"bob", 50}, {"ann", 200}}));
}

TEST(SpentPerCustomer, GoesOnFromASnapshotAtAnotherParallelismAndOnRocksDb) {
  for (const bool rocksdb : {false, true}) {
    Harness before(&SpentPerCustomer, {.parallelism = 2, .backend = {.rocksdb = rocksdb}});
    before.Push({"ann", 120});
    before.Push({"bob", 50});
    const weir::testing::HarnessSnapshot snapshot = before.Snapshot();

    Harness after(&SpentPerCustomer, {.parallelism = 3, .restore = &snapshot});
    after.Push({"ann", 80});
    EXPECT_EQ(after.TakeRows(), (std::vector<Spent>{{"ann", 200}}));
  }
}
