#include "base/failpoint.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Failpoint, FailsOnlyWhereAndWhenItIsSet) {
  EXPECT_FALSE(EvaluateFailpoint("a"));
  SetFailpoint("a", "error:2");
  EXPECT_FALSE(EvaluateFailpoint("a"));
  EXPECT_TRUE(EvaluateFailpoint("a")) << "the second pass";
  EXPECT_FALSE(EvaluateFailpoint("a"));
  EXPECT_FALSE(EvaluateFailpoint("b"));
  SetFailpoint("a", "");
  EXPECT_FALSE(EvaluateFailpoint("a"));
}

TEST(FailpointDeathTest, CrashKillsTheProcess) {
  EXPECT_EXIT(
      {
        SetFailpoint("a", "crash");
        EvaluateFailpoint("a");
      },
      testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace weir
