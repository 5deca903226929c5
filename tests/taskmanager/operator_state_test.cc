// State of operators that belongs to no key, from the snapshots of subtasks into a checkpoint and
// back: small in the manifest, large in the data file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "taskmanager/checkpoint_ack.h"
#include "taskmanager/checkpoint_writer.h"
#include "taskmanager/operator_state_section.h"
#include "taskmanager/restore.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

using testing::HasSubstr;
using Values = std::map<std::string, std::string>;

constexpr SubtaskId kSubtask{VertexId(0), 0};

/// source -> sink, chained, one subtask.
class OperatorStateTest : public testing::Test {
 protected:
  OperatorStateTest() : storage_(*DirectoryStorage::Open(directory_ / "job")) {
    graph_.settings.max_parallelism = 128;
    JobVertex vertex{.id = VertexId(0), .parallelism = 1};
    for (const char* uid : {"source", "sink"}) {
      vertex.operators.emplace_back();
      vertex.operators.back().uid = uid;
    }
    graph_.vertices.push_back(std::move(vertex));
  }

  absl::StatusOr<CheckpointWriter::Result> Checkpoint(const Values& source, const Values& sink) {
    std::promise<absl::StatusOr<CheckpointWriter::Result>> done;
    CheckpointWriter writer({.storage = storage_.get(),
                             .label = "test",
                             .epoch = LeaderEpoch(1),
                             .attempt = AttemptId(1),
                             .spill_directory = directory_ / "spill"},
                            {.on_done = [&](CheckpointId, auto r) { done.set_value(std::move(r)); },
                             .on_failed = [](const absl::Status&) {}});
    writer.Begin(CheckpointId(1), {kSubtask});
    SubtaskSnapshot snapshot;
    snapshot.id = CheckpointId(1);
    snapshot.operators.resize(2);
    snapshot.operators[0].uid = "source";
    snapshot.operators[0].state.values = source;
    snapshot.operators[1].uid = "sink";
    snapshot.operators[1].state.values = sink;
    writer.Deliver(kSubtask, std::move(snapshot));
    return done.get_future().get();
  }

  /// Its manifest becomes log/1.
  void Commit(const proto::SubtaskSnapshot& subtask) {
    proto::LogEntry entry;
    proto::Manifest& manifest = *entry.mutable_manifest();
    manifest.set_job_id("job");
    manifest.set_checkpoint_id(1);
    manifest.set_leader_epoch(1);
    manifest.set_kind(proto::Manifest::CHECKPOINT);
    proto::VertexSnapshot* vertex = manifest.add_vertices();
    vertex->set_uid("source");
    vertex->add_operator_uids("source");
    vertex->add_operator_uids("sink");
    vertex->set_parallelism(1);
    vertex->set_max_parallelism(128);
    *vertex->add_subtasks() = subtask;
    bytes_ = EncodeLogEntry(entry);
    ASSERT_TRUE(storage_->CreateIfAbsent("log/1", bytes_).ok());
  }

  absl::StatusOr<Values> Restored(const std::string& uid) {
    auto plan = RestorePlan::Load(*storage_, "log/1", graph_, false);
    if (!plan.ok()) return plan.status();
    auto restore = (*plan)->For(uid, 0, 1, {0, 128}, directory_ / "work");
    if (!restore.ok()) return restore.status();
    EXPECT_EQ(restore->operator_state.size(), 1u);
    return restore->operator_state.at(0).values;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
  JobGraph graph_;
  std::string bytes_;  // of the manifest
};

const Values kPositions{{"meter-0", "17"}, {"meter-1", "18"}};

TEST_F(OperatorStateTest, OfAnySizeComesBackAsItWas) {
  const Values epochs{{"epoch-1", std::string(9 << 20, 'a') + "end"},
                      {"epoch-2", ""},
                      {"", std::string("\0x", 2)},
                      {"epoch-3", std::string((1 << 20) + 1, 'c')}};
  const auto result = Checkpoint(kPositions, epochs);
  ASSERT_TRUE(result.ok()) << result.status();
  const proto::SubtaskSnapshot& subtask = result->at(kSubtask);
  Commit(subtask);
  EXPECT_EQ(*Restored("source"), kPositions);
  EXPECT_EQ(*Restored("sink"), epochs);
  EXPECT_GT(subtask.statistics().written_bytes(), 10u << 20);
}

TEST_F(OperatorStateTest, LargeOrSmallTheJobManagerIsToldLittle) {
  const auto result = Checkpoint({{"position", std::string(300 << 10, 'p')}},
                                 {{"epoch", std::string(300 << 10, 'e')}});
  ASSERT_TRUE(result.ok()) << result.status();
  const proto::SubtaskSnapshot& subtask = result->at(kSubtask);
  EXPECT_LT(subtask.ByteSizeLong(), 512u << 10) << "together they are above the limit";
  EXPECT_FALSE(subtask.operator_state(0).has_stored());
  EXPECT_TRUE(subtask.operator_state(1).has_stored());
  const auto acks = AcksOf({}, CheckpointId(1), *result);
  ASSERT_TRUE(acks.ok()) << acks.status();
  EXPECT_GT(acks->at(0).subtasks(0).full_state_bytes(), 300u << 10);
}

TEST_F(OperatorStateTest, SmallStateMakesNoFile) {
  const auto result = Checkpoint(kPositions, {});
  ASSERT_TRUE(result.ok()) << result.status();
  Commit(result->at(kSubtask));
  EXPECT_EQ(*Restored("source"), kPositions);
  EXPECT_TRUE(storage_->List("data")->empty());
  EXPECT_EQ(bytes_[12], 0) << "a Weir that knows no stored operator state reads it";
}

TEST_F(OperatorStateTest, AnOlderWeirDoesNotLeaveItOut) {
  const auto result = Checkpoint({}, {{"epoch", std::string(1 << 20, 'e')}});
  ASSERT_TRUE(result.ok()) << result.status();
  Commit(result->at(kSubtask));
  EXPECT_EQ(bytes_[12], static_cast<char>(kStoredOperatorStateFeature));
}

TEST_F(OperatorStateTest, AnotherVersionOfItIsRefusedByName) {
  auto result = Checkpoint({}, {{"epoch", std::string(1 << 20, 'e')}});
  ASSERT_TRUE(result.ok()) << result.status();
  proto::SubtaskSnapshot subtask = result->at(kSubtask);
  subtask.mutable_operator_state(0)->mutable_stored()->set_format_version(9);
  Commit(subtask);
  const absl::Status s = Restored("sink").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(s)) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("operator 'sink'"));
  EXPECT_THAT(std::string(s.message()), HasSubstr("version 9"));
}

TEST_F(OperatorStateTest, ASectionThatIsCutShortIsDamage) {
  auto result = Checkpoint({}, {{"epoch", std::string(9 << 20, 'e')}});
  ASSERT_TRUE(result.ok()) << result.status();
  proto::SubtaskSnapshot subtask = result->at(kSubtask);
  proto::StateHandle& stored = *subtask.mutable_operator_state(0)->mutable_stored();
  ASSERT_GT(stored.extents_size(), 1);
  const uint64_t last = stored.extents(stored.extents_size() - 1).length();
  stored.mutable_extents()->RemoveLast();
  stored.set_length(stored.length() - last);
  Commit(subtask);
  const absl::Status s = Restored("sink").status();
  EXPECT_TRUE(absl::IsDataLoss(s)) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("operator 'sink'"));
}

}  // namespace
}  // namespace weir
