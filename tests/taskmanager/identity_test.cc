#include "taskmanager/identity.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>
#include <string>

#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

Identity Claim(const TemporaryDirectory& directory) {
  auto identity = ClaimIdentity(directory / "work", "host");
  EXPECT_TRUE(identity.ok()) << identity.status();
  return *std::move(identity);
}

TEST(TaskManagerIdentity, TheNextIncarnationHasTheNameOfTheDeadOne) {
  const TemporaryDirectory directory;
  std::string first;
  {
    const Identity identity = Claim(directory);
    first = identity.id;
  }
  EXPECT_TRUE(first.starts_with("host-")) << first;
  EXPECT_EQ(Claim(directory).id, first);
}

TEST(TaskManagerIdentity, TwoBesideEachOtherHaveDifferentNames) {
  const TemporaryDirectory directory;
  std::optional<Identity> one = Claim(directory);
  const Identity two = Claim(directory);
  EXPECT_NE(one->id, two.id);
  const std::string first = one->id;
  one.reset();
  EXPECT_EQ(Claim(directory).id, first) << "the free one, not a third";
}

// While it executes itself anew: whoever starts in that moment is another one.
TEST(TaskManagerIdentity, GoesOverToTheProgramThatIsExecutedNext) {
  const TemporaryDirectory directory;
  std::optional<Identity> before = Claim(directory);
  const std::string id = before->id;
  ASSERT_TRUE(HandOver(*before).ok());
  const std::string left = getenv("_WEIR_HANDED_OVER_IDENTITY");
  const int descriptor = std::stoi(left);
  EXPECT_EQ(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
  before.reset();  // closed by the execution
  unsetenv("_WEIR_HANDED_OVER_IDENTITY");
  const Identity stranger = Claim(directory);
  EXPECT_NE(stranger.id, id);
  setenv("_WEIR_HANDED_OVER_IDENTITY", left.c_str(), 1);
  {
    const Identity after = Claim(directory);
    EXPECT_EQ(after.id, id);
    EXPECT_EQ(getenv("_WEIR_HANDED_OVER_IDENTITY"), nullptr);
    EXPECT_NE(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0) << "not for what it starts itself";
    EXPECT_NE(Claim(directory).id, id) << "held";
  }
  EXPECT_EQ(Claim(directory).id, id) << "free once it has ended";
}

TEST(TaskManagerIdentity, ADescriptorThatIsSomethingElseIsLeftAlone) {
  const TemporaryDirectory directory;
  setenv("_WEIR_HANDED_OVER_IDENTITY", ("0 " + (directory / "work/identities/1")).c_str(), 1);
  EXPECT_TRUE(Claim(directory).id.starts_with("host-"));
  EXPECT_NE(fcntl(0, F_GETFD), -1);
}

TEST(TaskManagerIdentity, ADirectoryThatCannotBeWrittenIsNamed) {
  const auto refused = ClaimIdentity("/proc/nowhere", "host");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("taskmanager.dir"), absl::string_view::npos)
      << refused.status();
}

}  // namespace
}  // namespace weir
