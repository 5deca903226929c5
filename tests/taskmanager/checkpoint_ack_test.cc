#include "taskmanager/checkpoint_ack.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace weir {
namespace {

proto::SubtaskSnapshot Snapshot(size_t bytes) {
  proto::SubtaskSnapshot snapshot;
  snapshot.mutable_statistics()->set_written_bytes(7);
  snapshot.add_operator_state()->add_entries()->set_value(std::string(bytes, 'x'));
  snapshot.add_keyed_state()->set_length(3);
  snapshot.add_epoch_output()->set_length(4);
  snapshot.set_at_end_of_data(true);
  return snapshot;
}

proto::AttemptRef Attempt() {
  proto::AttemptRef attempt;
  attempt.set_job_id("job");
  attempt.set_attempt(3);
  return attempt;
}

TEST(CheckpointAckTest, SaysOfEachSubtaskWhatIsDurable) {
  const auto acks = AcksOf(Attempt(), CheckpointId(5), {{{VertexId(1), 2}, Snapshot(10)}});
  ASSERT_TRUE(acks.ok()) << acks.status();
  ASSERT_EQ(acks->size(), 1u);
  const proto::CheckpointAck& ack = acks->front();
  EXPECT_EQ(ack.attempt().attempt(), 3u);
  EXPECT_EQ(ack.checkpoint_id(), 5u);
  ASSERT_EQ(ack.subtasks_size(), 1);
  const proto::SubtaskAck& one = ack.subtasks(0);
  EXPECT_EQ(one.subtask().vertex(), 1u);
  EXPECT_EQ(one.subtask().index(), 2u);
  EXPECT_EQ(one.state(), Snapshot(10).SerializeAsString());
  EXPECT_EQ(one.state_bytes(), 7u);
  EXPECT_EQ(one.full_state_bytes(), 7u);
  EXPECT_TRUE(one.at_end_of_data());
}

// A message above its limit breaks the control stream, which counts as the loss of the process.
TEST(CheckpointAckTest, NoMessageIsLargerThanTheControlStreamTakes) {
  CheckpointWriter::Result result;
  for (uint32_t i = 0; i < 64; ++i) result[{VertexId(0), i}] = Snapshot(512 << 10);
  const auto acks = AcksOf(Attempt(), CheckpointId(5), result);
  ASSERT_TRUE(acks.ok()) << acks.status();
  std::set<uint32_t> told;
  for (const proto::CheckpointAck& ack : *acks) {
    EXPECT_LE(ack.ByteSizeLong(), kMaxAckBytes);
    EXPECT_EQ(ack.attempt().job_id(), "job");
    EXPECT_EQ(ack.checkpoint_id(), 5u);
    EXPECT_GT(ack.subtasks_size(), 0);
    for (const proto::SubtaskAck& one : ack.subtasks()) {
      EXPECT_TRUE(told.insert(one.subtask().index()).second);
    }
  }
  EXPECT_EQ(told.size(), 64u);
  EXPECT_LE(acks->size(), 4u);
}

TEST(CheckpointAckTest, ASubtaskThatHasTooMuchToSayIsNamed) {
  const auto acks =
      AcksOf(Attempt(), CheckpointId(5),
             {{{VertexId(1), 0}, Snapshot(1)}, {{VertexId(4), 2}, Snapshot(20 << 20)}});
  ASSERT_FALSE(acks.ok());
  EXPECT_NE(std::string(acks.status().message()).find("subtask 2 of vertex 4"), std::string::npos)
      << acks.status();
}

}  // namespace
}  // namespace weir
