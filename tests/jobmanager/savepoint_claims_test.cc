#include "jobmanager/savepoint_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/base/file/temporary_directory.h"

namespace weir::jobmanager {
namespace {

using testing::HasSubstr;

TEST(SavepointClaims, WhatIsBegunFromIsNotDisposedOfUntilTheLastHasLetGo) {
  const TemporaryDirectory directory;
  SavepointClaims claims;
  auto first = claims.ToRestore(directory.path());
  auto second = claims.ToRestore(directory.path() + "/.");
  ASSERT_TRUE(first.ok() && second.ok());
  first->reset();
  const absl::Status refused = claims.ToDispose(directory.path()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr(directory.path()));
  second->reset();
  EXPECT_TRUE(claims.ToDispose(directory.path()).ok());
}

TEST(SavepointClaims, WhatIsDisposedOfIsNotBegunFromByAnyName) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "savepoint");
  std::filesystem::create_directory_symlink(directory / "savepoint", directory / "link");
  SavepointClaims claims;
  auto disposing = claims.ToDispose(directory / "savepoint");
  ASSERT_TRUE(disposing.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToRestore(directory / "link").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToDispose(directory / "link").status()));
  disposing->reset();
  EXPECT_TRUE(claims.ToRestore(directory / "link").ok());
}

TEST(SavepointClaims, WhatAJobIsToOwnNobodyElseBeginsFromOrDisposesOf) {
  const TemporaryDirectory directory;
  SavepointClaims claims;
  auto restoring = claims.ToRestore(directory.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToOwn(directory.path()).status()));
  restoring->reset();
  auto owning = claims.ToOwn(directory.path());
  ASSERT_TRUE(owning.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToRestore(directory.path()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToDispose(directory.path()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(claims.ToOwn(directory.path()).status()));
}

TEST(SavepointClaims, WhatIsNotThereIsNamed) {
  SavepointClaims claims;
  EXPECT_TRUE(absl::IsNotFound(claims.ToRestore("/no/such").status()));
  EXPECT_TRUE(absl::IsNotFound(claims.ToDispose("/no/such").status()));
}

}  // namespace
}  // namespace weir::jobmanager
