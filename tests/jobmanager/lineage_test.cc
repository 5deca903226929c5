#include "jobmanager/lineage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ha/directory_metadata_store.h"
#include "jobmanager/lineage_records.h"
#include "tests/base/file/temporary_directory.h"

namespace weir::jobmanager {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Begins from checkpoint 5. Of its sinks the first one guards its lineage.
proto::JobRecord Job(std::vector<std::string> unguarded = {"files"}) {
  proto::JobRecord job;
  job.mutable_initial_restore()->set_checkpoint_id(5);
  job.mutable_initial_restore()->set_directory("/savepoints/s");
  proto::Vertex* vertex = job.mutable_graph()->add_vertices();
  vertex->add_operators()->set_uid("kafka");
  for (const std::string& uid : unguarded) {
    proto::Operator* op = vertex->add_operators();
    op->set_name("sink of " + uid);
    op->set_uid(uid);
    op->set_unguarded_lineage(true);
  }
  return job;
}

LineageUse Ended(const std::string& job, uint64_t published) {
  return {.job = job, .published = CheckpointId(published), .directory = "/checkpoints/" + job};
}

std::string Refusal(const proto::JobRecord& job, const std::vector<LineageUse>& uses) {
  const absl::Status status = CheckLineage(job, uses);
  if (!status.ok()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
  return std::string(status.message());
}

TEST(LineageTest, TheNewestPointIsBegunFromByOneAtATime) {
  EXPECT_EQ(Refusal(Job(), {}), "");
  EXPECT_EQ(Refusal(Job(), {Ended("a", 5), Ended("b", 0)}), "");
  EXPECT_THAT(
      Refusal(Job(), {Ended("a", 5), {.job = "b", .running = true}}),
      AllOf(HasSubstr("'sink of files' (uid 'files')"),
            HasSubstr("job b of the same output lineage has not ended"), HasSubstr("weir stop b"),
            HasSubstr("--new-lineage"), HasSubstr("checkpoint 5 in /savepoints/s")));
}

TEST(LineageTest, AnOlderPointIsRefusedWithTheNewestOne) {
  EXPECT_THAT(Refusal(Job({"files", "rows"}), {Ended("a", 6), Ended("c", 9), Ended("b", 7)}),
              AllOf(HasSubstr("'sink of files' (uid 'files'), 'sink of rows' (uid 'rows')"),
                    HasSubstr("job c of the same output lineage has published up to checkpoint 9"),
                    HasSubstr("/checkpoints/c"),
                    HasSubstr("--new-lineage, which repeats all results since")));
}

TEST(LineageTest, SinksThatGuardThemselvesMayBeginAnywhere) {
  EXPECT_EQ(Refusal(Job({}), {Ended("a", 9), {.job = "b", .running = true}}), "");
}

proto::LineageRecord Past(const std::string& job, uint64_t published, int64_t ended_ms) {
  proto::LineageRecord record;
  record.set_format(kLineageRecordFormat);
  record.set_job_id(job);
  record.set_published(published);
  record.set_ended_ms(ended_ms);
  return record;
}

TEST(PastLineagesTest, OfSeveralJobsTheOneThatHasPublishedFurthestCounts) {
  PastLineages lineages;
  EXPECT_EQ(lineages.Find("x"), nullptr);
  lineages.Add("x", Past("a", 9, 1));
  const proto::LineageRecord& kept = lineages.Add("x", Past("b", 7, 2));
  EXPECT_EQ(kept.job_id(), "a");
  EXPECT_EQ(kept.ended_ms(), 2);
  EXPECT_EQ(lineages.Find("x")->published(), 9u);
  EXPECT_EQ(lineages.Add("x", Past("c", 11, 3)).job_id(), "c");
}

TEST(PastLineagesTest, WhatEndedFirstIsForgottenFirst) {
  PastLineages lineages;
  lineages.Add("x", Past("a", 1, 1));
  lineages.Add("y", Past("b", 1, 2));
  lineages.Add("z", Past("c", 1, 3));
  lineages.Add("x", Past("d", 1, 4));
  EXPECT_EQ(lineages.TakeSurplus(2), "y");
  EXPECT_EQ(lineages.TakeSurplus(2), std::nullopt);
  EXPECT_EQ(lineages.Find("y"), nullptr);
  EXPECT_NE(lineages.Find("x"), nullptr);
}

TEST(LineageRecordsTest, AreReadBackAndReplacedAndDeleted) {
  TemporaryDirectory directory;
  const auto store = *DirectoryMetadataStore::Open(directory.path());
  const LeaderEpoch epoch(1);
  for (const uint64_t published : {4, 9}) {
    ASSERT_TRUE(StoreLineage(*store, "x", Past("a", published, 1), epoch).ok());
  }
  ASSERT_TRUE(StoreLineage(*store, "y", Past("b", 1, 1), epoch).ok());
  ASSERT_TRUE(DeleteLineage(*store, "y", epoch).ok());
  EXPECT_TRUE(DeleteLineage(*store, "y", epoch).ok());
  const auto read = ReadLineages(*store);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 1u);
  EXPECT_EQ(read->at("x").published(), 9u);

  proto::LineageRecord other = Past("a", 1, 1);
  other.set_format(2);
  ASSERT_TRUE(StoreLineage(*store, "z", other, epoch).ok());
  EXPECT_THAT(std::string(ReadLineages(*store).status().message()), HasSubstr("lineages/z"));
}

}  // namespace
}  // namespace weir::jobmanager
