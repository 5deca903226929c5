#include "taskmanager/identity.h"

#include <gtest/gtest.h>

#include <optional>

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

TEST(TaskManagerIdentity, ADirectoryThatCannotBeWrittenIsNamed) {
  const auto refused = ClaimIdentity("/proc/nowhere", "host");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("taskmanager.dir"), absl::string_view::npos)
      << refused.status();
}

}  // namespace
}  // namespace weir
