#include "taskmanager/restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"
#include "taskmanager/prepared_attempt.h"
#include "tests/base/file/temporary_directory.h"
#include "tests/state/checkpoint/manifests.h"

namespace weir {
namespace {

using testing::HasSubstr;

class RestoreTest : public testing::Test {
 protected:
  RestoreTest() : storage_(*DirectoryStorage::Open(directory_ / "job")) {
    graph_.settings.max_parallelism = 128;
    JobVertex vertex{.id = VertexId(0), .parallelism = 1};
    vertex.operators.emplace_back();
    vertex.operators.back().uid = "count";
    graph_.vertices.push_back(std::move(vertex));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
  JobGraph graph_;
};

TEST_F(RestoreTest, AManifestThatIsNotSeenHereIsNoDamageAndTheMachineIsNamed) {
  const absl::Status missing = RestorePlan::Load(*storage_, "log/1", graph_, false).status();
  ASSERT_TRUE(absl::IsNotFound(missing)) << missing;
  const absl::Status s = NotSeenHere(missing, "tm-3", directory_ / "job");
  EXPECT_EQ(FailureKindOf(s), proto::FAILURE_KIND_EXTERNAL);
  EXPECT_THAT(std::string(s.message()), HasSubstr("TaskManager 'tm-3'"));
  EXPECT_THAT(std::string(s.message()), HasSubstr(directory_ / "job"));
  EXPECT_THAT(std::string(s.message()), HasSubstr("every process must reach checkpoint.dir"));
}

TEST_F(RestoreTest, WhatElseGoesWrongIsToldAsItIs) {
  const absl::Status damage = absl::DataLossError("the checksum does not match");
  EXPECT_EQ(NotSeenHere(damage, "tm-3", "/d"), damage);
  EXPECT_EQ(FailureKindOf(damage), proto::FAILURE_KIND_FATAL);
}

TEST_F(RestoreTest, AFileOfStateThatIsMissingBesideItsManifestIsDamage) {
  proto::StateHandle handle = WriteData(*storage_, 1, 1, "rows");
  handle.set_store_file("out");
  proto::LogEntry entry;
  *entry.mutable_manifest() = MakeManifest(1, 1, {});
  *entry.mutable_manifest()->mutable_vertices(0)->mutable_subtasks(0)->add_epoch_output() = handle;
  ASSERT_TRUE(storage_->CreateIfAbsent("log/1", EncodeLogEntry(entry)).ok());
  ASSERT_TRUE(storage_->Delete(handle.file()).ok());
  const auto plan = RestorePlan::Load(*storage_, "log/1", graph_, false);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const absl::Status s = (*plan)->For("count", 0, 1, {0, 128}, directory_ / "work").status();
  EXPECT_EQ(FailureKindOf(s), proto::FAILURE_KIND_FATAL) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr(handle.file()));
}

TEST_F(RestoreTest, IsCalledOffBetweenTwoReads) {
  proto::StateHandle handle = WriteData(*storage_, 1, 1, "rows");
  handle.set_store_file("out");
  proto::LogEntry entry;
  *entry.mutable_manifest() = MakeManifest(1, 1, {});
  *entry.mutable_manifest()->mutable_vertices(0)->mutable_subtasks(0)->add_epoch_output() = handle;
  ASSERT_TRUE(storage_->CreateIfAbsent("log/1", EncodeLogEntry(entry)).ok());
  const auto stop = std::make_shared<std::atomic<bool>>(false);
  StoppableStorage stoppable(*storage_, stop);
  const auto plan = RestorePlan::Load(stoppable, "log/1", graph_, false);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_TRUE((*plan)->For("count", 0, 1, {0, 128}, directory_ / "first").ok());
  stop->store(true);
  const absl::Status s = (*plan)->For("count", 0, 1, {0, 128}, directory_ / "second").status();
  EXPECT_TRUE(absl::IsCancelled(s)) << s;
  const absl::Status copied = CopyFile(stoppable, *storage_, handle.file());
  EXPECT_TRUE(absl::IsCancelled(copied)) << copied;
}

}  // namespace
}  // namespace weir
