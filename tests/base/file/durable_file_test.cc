// What is said of a link(2) that fails: a plain no where it is one, doubt where there is doubt.

#include "base/file/durable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/base/file/temporary_directory.h"

namespace {

int link_error = 0;        // of the next calls; 0: none
bool link_anyway = false;  // the link is there all the same

}  // namespace

// In place of the C library's, for all of this program.
extern "C" int link(const char* from, const char* to) noexcept {
  if (link_error == 0 || link_anyway) {
    const int linked = static_cast<int>(syscall(SYS_link, from, to));
    if (link_error == 0) return linked;
  }
  errno = link_error;
  return -1;
}

namespace weir {
namespace {

using testing::HasSubstr;

class FailingLinkTest : public testing::Test {
 protected:
  ~FailingLinkTest() override {
    link_error = 0;
    link_anyway = false;
  }

  absl::Status Publish(int error) {
    std::ofstream(directory_ / "temp") << "content";
    link_error = error;
    return PublishExclusive(directory_ / "temp", directory_ / "file", "test");
  }

  TemporaryDirectory directory_;
};

TEST_F(FailingLinkTest, WithoutAnErrorTheFileHasItsName) {
  EXPECT_TRUE(Publish(0).ok());
  EXPECT_TRUE(std::filesystem::exists(directory_ / "file"));
  EXPECT_TRUE(absl::IsAlreadyExists(Publish(0)));
}

// The other end of a network file system may have done it.
TEST_F(FailingLinkTest, WhatMayHaveTakenPlaceIsUnknown) {
  for (const int error : {EIO, ESTALE, ETIMEDOUT}) {
    const absl::Status status = Publish(error);
    EXPECT_TRUE(absl::IsUnknown(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(strerror(error)));
  }
}

TEST_F(FailingLinkTest, AnErrorOfALinkThatIsThereIsNone) {
  link_anyway = true;
  EXPECT_TRUE(Publish(EEXIST).ok());
  EXPECT_TRUE(std::filesystem::exists(directory_ / "file"));
}

TEST_F(FailingLinkTest, AFileSystemWithoutHardLinksIsNamedAsSuch) {
  for (const int error : {EPERM, EOPNOTSUPP}) {
    const absl::Status status = Publish(error);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("no hard links"));
  }
}

TEST_F(FailingLinkTest, AFullDiskIsFull) {
  const absl::Status status = Publish(ENOSPC);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left on device"));
}

TEST_F(FailingLinkTest, TheTemporaryIsGoneInEveryCase) {
  for (const int error : {0, EIO, EPERM, ENOSPC}) {
    (void)Publish(error);
    EXPECT_FALSE(std::filesystem::exists(directory_ / "temp")) << strerror(error);
  }
}

}  // namespace
}  // namespace weir
