#include "jobmanager/artifact_store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace weir::jobmanager {
namespace {

class ArtifactStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weir-artifacts-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    Open();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Open() {
    auto store = ArtifactStore::Open(root_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status Put(const std::string& bytes) {
    auto upload = store_->Begin(Sha256Hex(bytes), bytes.size());
    if (!upload.ok()) return upload.status();
    if (absl::Status s = (*upload)->Append(bytes); !s.ok()) return s;
    return (*upload)->Finish();
  }
  size_t Files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(root_), {}));
  }

  std::string root_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(ArtifactStoreTest, KeepsBytesUnderTheirHash) {
  EXPECT_FALSE(store_->Has(Sha256Hex("library")));
  ASSERT_TRUE(Put("library").ok());
  EXPECT_TRUE(store_->Has(Sha256Hex("library")));
  EXPECT_TRUE(Put("library").ok()) << "the same again";
  EXPECT_EQ(Files(), 1u);
}

TEST_F(ArtifactStoreTest, AnUploadThatIsNotFinishedLeavesNothing) {
  auto upload = store_->Begin(Sha256Hex("library"), 7);
  ASSERT_TRUE(upload.ok());
  ASSERT_TRUE((*upload)->Append("lib").ok());
  upload->reset();
  EXPECT_EQ(Files(), 0u);
}

TEST_F(ArtifactStoreTest, AnUploadThatIsNotWhatWasAnnouncedIsRefusedAndLeavesNothing) {
  auto upload = store_->Begin(Sha256Hex("library"), 7);
  ASSERT_TRUE(upload.ok());
  ASSERT_TRUE((*upload)->Append("LIBRARY").ok());
  EXPECT_TRUE(absl::IsInvalidArgument((*upload)->Finish()));
  upload->reset();
  EXPECT_EQ(Files(), 0u);
}

TEST_F(ArtifactStoreTest, WhatADeadProcessWasUploadingIsSwept) {
  auto upload = store_->Begin(Sha256Hex("library"), 7);
  ASSERT_TRUE(upload.ok());
  EXPECT_EQ(Files(), 1u);
  Open();
  EXPECT_EQ(Files(), 0u);
}

TEST_F(ArtifactStoreTest, DeletesWhatNobodyNeeds) {
  ASSERT_TRUE(Put("one").ok());
  ASSERT_TRUE(Put("two").ok());
  store_->Keep({Sha256Hex("two")});
  EXPECT_FALSE(store_->Has(Sha256Hex("one")));
  EXPECT_TRUE(store_->Has(Sha256Hex("two")));
}

TEST_F(ArtifactStoreTest, AHashIsNoPath) {
  EXPECT_FALSE(store_->Has("../../etc/passwd"));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Begin("../x", 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Begin(Sha256Hex("x"), 0).status()));
}

}  // namespace
}  // namespace weir::jobmanager
