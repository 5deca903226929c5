#include "cli/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace weir::cli {
namespace {

/// Child::Spawn starts this same test binary; it acts as told here instead of running tests.
int ActAsChild(const std::string& role, pid_t parent) {
  DieWithParent(parent);
  if (role == "exit7") return 7;
  std::printf("hello from pgid %d\n", getpgrp() == getpid() ? 1 : 0);
  std::fflush(stdout);
  for (;;) pause();
}

class ChildTest : public testing::Test {
 protected:
  ChildTest() {
    char dir[] = "/tmp/weir_child_XXXXXX";
    dir_ = mkdtemp(dir);
  }
  ~ChildTest() override { std::filesystem::remove_all(dir_); }

  std::string Output() const {
    std::ifstream in(dir_ + "/out");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  /// Waits, with a limit, for what another process is about to do.
  template <class Condition>
  static bool Eventually(Condition condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::yield();
    }
    return true;
  }

  std::string dir_;
};

TEST_F(ChildTest, EndsAreToldApart) {
  auto child = Child::Spawn({"exit7"}, dir_ + "/out");
  ASSERT_TRUE(child.ok());
  std::optional<Ending> ending;
  ASSERT_TRUE(Eventually([&] { return (ending = child->Poll()).has_value(); }));
  EXPECT_FALSE(ending->by_signal);
  EXPECT_EQ(ending->code, 7);
  EXPECT_EQ(ending->Text(), "ended with exit code 7");
}

TEST_F(ChildTest, RunsInAGroupOfItsOwnAndItsOutputIsKept) {
  auto child = Child::Spawn({"stay"}, dir_ + "/out");
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(Eventually([&] { return Output() == "hello from pgid 1\n"; }));
  child->Signal(SIGTERM);
  std::optional<Ending> ending;
  ASSERT_TRUE(Eventually([&] { return (ending = child->Poll()).has_value(); }));
  EXPECT_TRUE(ending->by_signal);
  EXPECT_EQ(ending->code, SIGTERM);
}

TEST_F(ChildTest, GoesWithItsOwner) {
  pid_t pid = 0;
  {
    auto child = Child::Spawn({"stay"}, dir_ + "/out");
    ASSERT_TRUE(child.ok());
    pid = child->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1) << "killed and reaped";
}

TEST_F(ChildTest, DiesWithItsParentEvenWhenThatIsKilled) {
  // A parent of its own, so that the test can kill it: it spawns and tells the grandchild's pid.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    auto child = Child::Spawn({"stay"}, dir_ + "/out");
    const pid_t pid = child.ok() ? child->pid() : 0;
    if (write(ends[1], &pid, sizeof pid) != sizeof pid) _exit(1);
    for (;;) pause();
  }
  pid_t grandchild = 0;
  ASSERT_EQ(read(ends[0], &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
  ASSERT_GT(grandchild, 0);
  ASSERT_TRUE(Eventually([&] { return !Output().empty(); }));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  EXPECT_TRUE(Eventually([&] {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string text;
    return !std::getline(stat, text) || text.find(") Z ") != std::string::npos;
  }));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace weir::cli

int main(int argc, char** argv) {
  const std::string last = argc > 1 ? argv[argc - 1] : "";
  constexpr std::string_view kParent = "--parent-pid=";
  if (last.rfind(kParent, 0) == 0) {
    return weir::cli::ActAsChild(argv[1], std::atoi(last.c_str() + kParent.size()));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
