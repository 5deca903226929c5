#include "base/failpoint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

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

TEST(Failpoint, HoldWaitsUntilItIsTakenAway) {
  SetFailpoint("held", "hold");
  std::atomic<bool> taken_away{false};
  std::thread other([&] {
    SetFailpoint("not held", "error");
    taken_away = true;
    SetFailpoint("held", "");
  });
  EXPECT_FALSE(EvaluateFailpoint("held"));
  EXPECT_TRUE(taken_away);
  other.join();
  EXPECT_FALSE(EvaluateFailpoint("held"));
}

TEST(FailpointDeathTest, CrashKillsTheProcess) {
  EXPECT_EXIT(
      {
        SetFailpoint("a", "crash");
        EvaluateFailpoint("a");
      },
      testing::KilledBySignal(SIGKILL), "");
}

/// Gives the file another content, and this time of modification; its inode stays.
void Rewrite(const std::string& path, const std::string& text, time_t modified) {
  std::ofstream(path, std::ios::trunc) << text;
  const timespec times[2] = {{modified, 0}, {modified, 0}};
  utimensat(AT_FDCWD, path.c_str(), times, 0);
}

TEST(FailpointDeathTest, AnotherFileWithTheInodeOfTheOldOneIsRead) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the environment is read once in a process
  char name[] = "/tmp/weir-failpoint-XXXXXX";
  close(mkstemp(name));
  // Of one size, and the second has one time: each must do alone.
  const auto run = [&] {
    setenv("WEIR_FAILPOINTS", ("@" + std::string(name)).c_str(), 1);
    Rewrite(name, "a=error\n", 1000);
    if (!EvaluateFailpoint("a")) _exit(1);
    Rewrite(name, "b=error\n", 2000);
    if (EvaluateFailpoint("a") || !EvaluateFailpoint("b")) _exit(2);
    Rewrite(name, "long=error\n", 2000);
    if (EvaluateFailpoint("b") || !EvaluateFailpoint("long")) _exit(3);
    _exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
  std::filesystem::remove(name);
}

}  // namespace
}  // namespace weir
