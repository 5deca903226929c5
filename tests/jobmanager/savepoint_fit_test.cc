#include "jobmanager/savepoint_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/channel/partitioner.h"

namespace weir::jobmanager {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// "source" sends to "sink" at this parallelism.
proto::JobGraph Graph(proto::Partitioning partitioning, uint32_t parallelism) {
  proto::JobGraph graph;
  graph.set_max_parallelism(128);
  for (const char* uid : {"source", "sink"}) {
    proto::Vertex* vertex = graph.add_vertices();
    vertex->set_id(static_cast<uint32_t>(graph.vertices_size()) - 1);
    vertex->set_parallelism(parallelism);
    proto::Operator* op = vertex->add_operators();
    op->set_id(vertex->id());
    op->set_uid(uid);
  }
  proto::Edge* edge = graph.add_edges();
  edge->set_target_vertex(1);
  edge->set_partitioning(partitioning);
  return graph;
}

/// Rows were in flight to each of two subtasks of "sink".
proto::Manifest Unaligned(Partitioning partitioning, const std::string& producer = "source") {
  proto::Manifest manifest;
  proto::VertexSnapshot* vertex = manifest.add_vertices();
  vertex->set_parallelism(2);
  vertex->set_max_parallelism(128);
  for (uint32_t i = 0; i < 2; ++i) {
    proto::SubtaskSnapshot* subtask = vertex->add_subtasks();
    subtask->set_subtask(i);
    proto::StateHandle* rows = subtask->add_channel_state();
    rows->set_operator_uid("sink");
    rows->mutable_edge()->set_producer_uid(producer);
    rows->mutable_edge()->set_partitioning(static_cast<uint32_t>(partitioning));
  }
  return manifest;
}

class SavepointFitTest : public testing::Test {
 protected:
  std::string Refusal(const proto::Manifest& manifest, const proto::JobGraph& graph,
                      bool allow = false) {
    warnings_.clear();
    const absl::Status status = CheckSavepointFits(manifest, graph, allow, &warnings_);
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    }
    return std::string(status.message());
  }
  std::vector<std::string> warnings_;
};

TEST_F(SavepointFitTest, RowsInFlightFitTheParallelismOfTheirCheckpoint) {
  for (const auto& [written, now] : {std::pair{Partitioning::kForward, proto::PARTITIONING_FORWARD},
                                     {Partitioning::kBroadcast, proto::PARTITIONING_BROADCAST},
                                     {Partitioning::kHash, proto::PARTITIONING_HASH}}) {
    EXPECT_EQ(Refusal(Unaligned(written), Graph(now, 2)), "") << ToString(written);
  }
}

TEST_F(SavepointFitTest, RowsThatAreRoutedAgainOrGoAnywhereFitAnyParallelism) {
  for (const auto& [written, now] : {std::pair{Partitioning::kHash, proto::PARTITIONING_HASH},
                                     {Partitioning::kCustom, proto::PARTITIONING_CUSTOM},
                                     {Partitioning::kRebalance, proto::PARTITIONING_REBALANCE},
                                     {Partitioning::kRescale, proto::PARTITIONING_RESCALE},
                                     {Partitioning::kShuffle, proto::PARTITIONING_SHUFFLE},
                                     {Partitioning::kGlobal, proto::PARTITIONING_GLOBAL},
                                     {Partitioning::kForward, proto::PARTITIONING_REBALANCE}}) {
    EXPECT_EQ(Refusal(Unaligned(written), Graph(now, 3)), "") << ToString(written);
  }
}

TEST_F(SavepointFitTest, OthersAreRefusedAtAnotherParallelismByUidWithTheMend) {
  for (const auto& [written, now] : {std::pair{Partitioning::kForward, proto::PARTITIONING_FORWARD},
                                     {Partitioning::kBroadcast, proto::PARTITIONING_BROADCAST}}) {
    for (const bool allow : {false, true}) {
      const std::string refusal = Refusal(Unaligned(written), Graph(now, 3), allow);
      EXPECT_THAT(refusal, HasSubstr(std::string("now: from operator 'source' to operator 'sink' "
                                                 "(") +
                                     ToString(written) + "; parallelism 2, now 3); start the job"));
      EXPECT_THAT(refusal, HasSubstr("take a savepoint"));
    }
  }
  EXPECT_THAT(Refusal(Unaligned(Partitioning::kHash), Graph(proto::PARTITIONING_FORWARD, 2)),
              HasSubstr("(forward; parallelism 2, now 2)"))
      << "the keyed edge has become a forward one";
}

TEST_F(SavepointFitTest, RowsOnAnEdgeThatHasGoneAreRefusedOrDropped) {
  const proto::Manifest manifest = Unaligned(Partitioning::kHash, "former");
  const proto::JobGraph graph = Graph(proto::PARTITIONING_HASH, 2);
  EXPECT_THAT(Refusal(manifest, graph),
              AllOf(HasSubstr("from operator 'former' to operator 'sink'; start the job"),
                    HasSubstr("--allow-non-restored-state")));
  EXPECT_EQ(Refusal(manifest, graph, /*allow=*/true), "");
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("dropped: from operator 'former'")));
}

/// Checkpoint 7 with state of "sink" and of "other", and output of "sink".
proto::Manifest WithOutput(proto::Manifest::Kind kind) {
  proto::Manifest manifest;
  manifest.set_kind(kind);
  manifest.set_checkpoint_id(7);
  proto::VertexSnapshot* vertex = manifest.add_vertices();
  vertex->set_parallelism(2);
  vertex->set_max_parallelism(128);
  for (uint32_t i = 0; i < 2; ++i) {
    proto::SubtaskSnapshot* subtask = vertex->add_subtasks();
    subtask->set_subtask(i);
    for (const char* uid : {"other", "sink"}) subtask->add_operator_state()->set_operator_uid(uid);
    proto::StateHandle* output = subtask->add_epoch_output();
    output->set_kind(proto::StateHandle::EPOCH_OUTPUT);
    output->set_operator_uid("sink");
    output->set_checkpoint_id(6);
  }
  return manifest;
}

TEST_F(SavepointFitTest, OutputThatIsDroppedWithItsSinkIsToldApart) {
  proto::JobGraph graph = Graph(proto::PARTITIONING_FORWARD, 2);
  graph.mutable_vertices(1)->mutable_operators(0)->set_uid("renamed");
  EXPECT_EQ(Refusal(WithOutput(proto::Manifest::CHECKPOINT), graph, /*allow=*/true), "");
  EXPECT_THAT(warnings_,
              ElementsAre(AllOf(HasSubstr("dropped: other, sink; among it output of sink in "
                                          "checkpoint 7 that may not be published yet"),
                                HasSubstr("start once with sink"), HasSubstr("weir stop"))));
  // A savepoint is written once its output is published.
  EXPECT_EQ(Refusal(WithOutput(proto::Manifest::SAVEPOINT), graph, /*allow=*/true), "");
  EXPECT_THAT(warnings_,
              ElementsAre(AllOf(HasSubstr("dropped: other, sink"), Not(HasSubstr("published")))));
}

TEST_F(SavepointFitTest, AReaderThatHasGoneIsToldOnce) {
  proto::JobGraph graph = Graph(proto::PARTITIONING_FORWARD, 3);
  graph.mutable_vertices(1)->mutable_operators(0)->set_uid("renamed");
  const proto::Manifest manifest = Unaligned(Partitioning::kForward);
  EXPECT_THAT(Refusal(manifest, graph),
              AllOf(HasSubstr("state of uids that the job does not have: sink"),
                    Not(HasSubstr("in flight"))));
  EXPECT_EQ(Refusal(manifest, graph, /*allow=*/true), "");
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("dropped: sink")));
}

TEST_F(SavepointFitTest, RowsOfASideOutputAreNotThoseOfTheMainOne) {
  proto::JobGraph graph = Graph(proto::PARTITIONING_FORWARD, 2);
  graph.mutable_edges(0)->set_side_output("late");
  proto::Manifest manifest = Unaligned(Partitioning::kForward);
  EXPECT_THAT(Refusal(manifest, graph), HasSubstr("has no channel"));
  for (proto::SubtaskSnapshot& subtask : *manifest.mutable_vertices(0)->mutable_subtasks()) {
    subtask.mutable_channel_state(0)->mutable_edge()->set_tag("late");
  }
  EXPECT_EQ(Refusal(manifest, graph), "");
}

TEST_F(SavepointFitTest, AnotherMaxParallelismIsRefusedWhateverTheStateIs) {
  proto::JobGraph graph = Graph(proto::PARTITIONING_HASH, 2);
  graph.set_max_parallelism(64);
  EXPECT_THAT(
      Refusal(Unaligned(Partitioning::kHash), graph),
      HasSubstr("max parallelism 128, the job has 64; start it with --max-parallelism 128"));
  EXPECT_THAT(warnings_, IsEmpty());
}

}  // namespace
}  // namespace weir::jobmanager
