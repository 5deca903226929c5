#include "ha/file_lock.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/base/file/temporary_directory.h"
#include "tests/ha/child_process.h"

namespace weir {
namespace {

class FileLockTest : public testing::Test {
 protected:
  bool Free() { return (*FileLock::TryAcquire(path_)).has_value(); }

  TemporaryDirectory directory_;
  const std::string path_ = directory_ / "lock";
};

TEST_F(FileLockTest, OneHolderAtATimeEvenInOneProcess) {
  EXPECT_FALSE(*FileLock::IsHeld(path_));
  {
    const auto held = FileLock::TryAcquire(path_);
    ASSERT_TRUE(held->has_value());
    EXPECT_FALSE(Free());
    EXPECT_TRUE(*FileLock::IsHeld(path_));
  }
  EXPECT_FALSE(*FileLock::IsHeld(path_));
  EXPECT_TRUE(Free());
}

TEST_F(FileLockTest, EndsWithItsProcess) {
  ChildProcess child([&] {
    static auto held = FileLock::TryAcquire(path_);
    if (!held->has_value()) abort();
  });
  EXPECT_FALSE(Free());
  EXPECT_TRUE(*FileLock::IsHeld(path_));
  child.Kill();
  EXPECT_TRUE(Free());
}

TEST_F(FileLockTest, AnExecutedProcessDoesNotKeepIt) {
  pid_t child = -1;
  int pipe_ends[2];
  {
    const auto held = FileLock::TryAcquire(path_);
    ASSERT_TRUE(held->has_value());
    ASSERT_EQ(pipe(pipe_ends), 0);
    child = fork();
    if (child == 0) {
      dup2(pipe_ends[1], 1);
      execl("/bin/sh", "sh", "-c", "echo ready; exec sleep 60", nullptr);
      _exit(1);
    }
    close(pipe_ends[1]);
    char byte;
    ASSERT_EQ(read(pipe_ends[0], &byte, 1), 1) << "the child runs another program";
  }
  EXPECT_TRUE(Free());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(pipe_ends[0]);
}

TEST_F(FileLockTest, TheHolderNoticesThatTheFileWasReplaced) {
  const auto held = FileLock::TryAcquire(path_);
  EXPECT_TRUE((*held)->StillTheFile());
  std::filesystem::remove(path_);
  EXPECT_FALSE((*held)->StillTheFile());
}

TEST_F(FileLockTest, ADirectoryThatIsNotThereIsNamed) {
  const auto lock = FileLock::TryAcquire(directory_ / "no/lock");
  EXPECT_TRUE(absl::IsNotFound(lock.status()));
  EXPECT_NE(lock.status().message().find("no/lock"), std::string::npos);
}

}  // namespace
}  // namespace weir
