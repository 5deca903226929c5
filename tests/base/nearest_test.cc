#include "base/nearest.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Nearest, CountsEditsAndSwapsAndGivesUpWhenFar) {
  EXPECT_EQ(EditDistance("port", "prot"), 1u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(Nearest("jobmanager.rcp-port", {"jobmanager.rpc-port", "taskmanager.rpc-port"}),
            "jobmanager.rpc-port");
  EXPECT_EQ(Nearest("colour", {"jobmanager.rpc-port"}), "");
}

}  // namespace
}  // namespace weir
