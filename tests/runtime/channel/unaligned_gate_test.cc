#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/channel/in_flight.h"
#include "runtime/channel/input_gate.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using Event = InputGate::Event;
using test::ScriptedChannel;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::Optional;
using Values = std::vector<int>;

constexpr CheckpointId kFirst{1};
constexpr CheckpointId kSecond{2};

Values ValuesOf(Batch& batch) {
  Values values;
  static_cast<RecordBatch<int>&>(batch).ForEach([&](int value, Timestamp t) {
    EXPECT_EQ(t.ms, value) << "timestamps travel with their rows";
    values.push_back(value);
  });
  return values;
}

Values ValuesOf(const std::vector<InFlightRows>& rows) {
  RecordBatch<int> batch;
  for (const InFlightRows& one : rows) DecodeInFlight(one, batch);
  return ValuesOf(batch);
}

std::vector<InFlightRows> RowsOf(const Values& values, uint32_t edge) {
  RecordBatch<int> batch;
  for (const int value : values) batch.Append(value, Timestamp{value});
  return {EncodeInFlight(edge, RecordTypeOf<int>(), batch)};
}

/// Two channels of one edge, and a third of another edge that feeds the second input.
class UnalignedGateTest : public testing::Test {
 protected:
  UnalignedGateTest() : gate_(Channels()) {}

  std::vector<InputGate::Channel> Channels() {
    const RecordType* const type = &RecordTypeOf<int>();
    return {{.channel = &a_, .input = 0, .edge = 4, .type = type},
            {.channel = &b_, .input = 0, .edge = 4, .type = type},
            {.channel = &c_, .input = 1, .edge = 7, .type = type}};
  }

  void Pull() {
    while (gate_.Pull()) {
    }
  }
  /// What the subtask reads until there is no more: rows as they are, and the names of the rest.
  Values Read() {
    Values values;
    for (;;) {
      const InputGate::Input in = gate_.Next();
      if (in.event == Event::kNothing) return values;
      if (in.event != Event::kBatch) {
        events_.push_back(in.event);
        continue;
      }
      for (const int value : ValuesOf(*in.batch)) values.push_back(value);
      inputs_.push_back(in.input);
      gate_.Release();
    }
  }
  /// What a checkpoint has of a channel's rows, if it has them all.
  std::optional<Values> Recorded(CheckpointId id) {
    const auto rows = gate_.TakeRecorded(id);
    if (!rows) return std::nullopt;
    return ValuesOf(*rows);
  }
  /// The first checkpoint turned unaligned, its row 1 is not read yet, and row 2 and the second
  /// one's barriers came behind.
  void SecondComesBeforeTheRowsOfTheFirstAreRead() {
    a_.Values({1});
    BarriersOf(1);
    gate_.TurnUnaligned(kFirst);
    Pull();
    a_.Values({2});
    BarriersOf(2);
  }
  void BarriersOf(uint64_t id) {
    for (ScriptedChannel* channel : {&a_, &b_, &c_}) channel->BarrierOf(id);
  }

  ScriptedChannel a_, b_, c_;
  InputGate gate_;
  std::vector<Event> events_;
  std::vector<uint32_t> inputs_;
};

TEST_F(UnalignedGateTest, WhatComesBeforeTheBarriersIsRecordedAndStillRead) {
  a_.Values({1, 2});
  ASSERT_TRUE(gate_.MayTurnUnaligned(kFirst));
  gate_.TurnUnaligned(kFirst);
  EXPECT_TRUE(gate_.recording());
  Pull();
  EXPECT_EQ(a_.queued(), 0u) << "its producer has room again";
  a_.Values({3});
  BarriersOf(1);
  a_.Values({4});
  Pull();
  EXPECT_FALSE(gate_.recording());
  EXPECT_EQ(a_.queued(), 1u) << "what is behind the barrier stays where it is";
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1, 2, 3)));
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(events_, IsEmpty()) << "the subtask has taken its snapshot already";
}

TEST_F(UnalignedGateTest, RowsAreOfTheirEdge) {
  c_.Values({9});
  a_.Values({1});
  BarriersOf(1);
  gate_.TurnUnaligned(kFirst);
  Pull();
  const auto rows = gate_.TakeRecorded(kFirst);
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(rows->at(0).edge, 4u);
  EXPECT_EQ(rows->at(1).edge, 7u);
  Read();
  EXPECT_THAT(inputs_, ElementsAre(0, 1));
}

TEST_F(UnalignedGateTest, ChannelsThatAlignmentHoldsAreReleasedAndNotRecorded) {
  a_.BarrierOf(1);
  a_.Values({1});
  EXPECT_THAT(Read(), IsEmpty());
  b_.Values({2});
  gate_.TurnUnaligned(kFirst);
  Pull();
  EXPECT_EQ(a_.queued(), 1u);
  EXPECT_THAT(Read(), ElementsAre(1, 2));
  b_.BarrierOf(1);
  c_.BarrierOf(1);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(2)));
}

TEST_F(UnalignedGateTest, RowsThatCameSinceTheLastPullAreRecordedBeforeTheyAreRead) {
  gate_.TurnUnaligned(kFirst);
  Pull();
  a_.Values({1});
  EXPECT_THAT(Read(), ElementsAre(1));
  BarriersOf(1);
  EXPECT_THAT(Read(), IsEmpty());
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1)));
}

TEST_F(UnalignedGateTest, TheRestOfABatchThatIsBeingFedIsInFlightToo) {
  a_.Values({1, 2, 3, 4});
  a_.Values({5});
  InputGate::Input in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBatch);
  in.batch->SetView(0, 3);  // the subtask has fed so many, and has no room for more
  gate_.PutBack(3);
  gate_.TurnUnaligned(kFirst);
  BarriersOf(1);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(4, 5)));
  EXPECT_THAT(Read(), ElementsAre(4, 5));
}

TEST_F(UnalignedGateTest, OfABatchThatWasFilteredTheSelectedRowsAreInFlight) {
  a_.Values({1, 2, 3, 4});
  InputGate::Input in = gate_.Next();
  in.batch->Select([](uint32_t row) { return row % 2 == 1; });
  in.batch->SetView(0, 1);
  gate_.PutBack(1);
  gate_.TurnUnaligned(kFirst);
  BarriersOf(1);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(4)));
}

TEST_F(UnalignedGateTest, ABatchThatIsUsedUpLeavesNothingInFlight) {
  a_.Values({1});
  gate_.Next();
  gate_.PutBack(1);
  gate_.TurnUnaligned(kFirst);
  BarriersOf(1);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(IsEmpty()));
  EXPECT_THAT(Read(), IsEmpty());
}

TEST_F(UnalignedGateTest, WatermarksStatusAndEndKeepTheirPlaceAndAreNotRecorded) {
  for (ScriptedChannel* channel : {&a_, &b_}) {
    channel->Watermark(10);
    channel->End();
  }
  c_.Values({1});
  c_.Idle();
  c_.Values({2});
  c_.Watermark(20);
  c_.End();
  BarriersOf(1);
  gate_.TurnUnaligned(kFirst);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1, 2)));
  EXPECT_THAT(Read(), ElementsAre(1, 2));
  EXPECT_THAT(events_, testing::Contains(Event::kWatermark));
  EXPECT_EQ(events_.back(), Event::kEndOfInput);
}

TEST_F(UnalignedGateTest, AnAbortEndsTheRecordingAndLosesNoRow) {
  a_.Values({1});
  b_.BarrierOf(1);
  gate_.TurnUnaligned(kFirst);
  Pull();
  gate_.Abort(kFirst);
  EXPECT_FALSE(gate_.recording());
  EXPECT_FALSE(gate_.Pull());
  a_.BarrierOf(1);
  a_.Values({2});
  EXPECT_THAT(Read(), ElementsAre(1, 2));
  EXPECT_EQ(gate_.TakeRecorded(kFirst), std::nullopt);
  EXPECT_FALSE(gate_.MayTurnUnaligned(kFirst)) << "it was given up";
}

TEST_F(UnalignedGateTest, ABarrierOfANewerCheckpointEndsTheRecording) {
  a_.Values({1});
  a_.BarrierOf(2);  // 1 was given up before this one's source heard of it
  gate_.TurnUnaligned(kFirst);
  Pull();
  EXPECT_EQ(gate_.TakeRecorded(kFirst), std::nullopt);
  b_.BarrierOf(2);
  c_.BarrierOf(2);
  EXPECT_THAT(Read(), ElementsAre(1));
  EXPECT_THAT(events_, ElementsAre(Event::kBarrier)) << "and is aligned, behind what was pulled";
}

TEST_F(UnalignedGateTest, ItIsTooLateForACheckpointThatIsTaken) {
  BarriersOf(2);
  EXPECT_THAT(Read(), IsEmpty());
  ASSERT_THAT(events_, ElementsAre(Event::kBarrier));
  EXPECT_FALSE(gate_.MayTurnUnaligned(kSecond));
  EXPECT_FALSE(gate_.MayTurnUnaligned(kFirst));
  EXPECT_TRUE(gate_.MayTurnUnaligned(CheckpointId(3)));
}

TEST_F(UnalignedGateTest, TurnedTwiceItIsTurnedOnce) {
  gate_.TurnUnaligned(kFirst);
  EXPECT_FALSE(gate_.MayTurnUnaligned(kFirst));
}

TEST_F(UnalignedGateTest, RowsThatAreStillUnreadAreInFlightInTheNextCheckpointToo) {
  SecondComesBeforeTheRowsOfTheFirstAreRead();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1)));
  gate_.TurnUnaligned(kSecond);
  Pull();
  EXPECT_THAT(Recorded(kSecond), Optional(ElementsAre(1, 2)));
  EXPECT_THAT(Read(), ElementsAre(1, 2));
}

TEST_F(UnalignedGateTest, TheNextCheckpointMayBeAligned) {
  SecondComesBeforeTheRowsOfTheFirstAreRead();
  EXPECT_EQ(gate_.TakeBarriers(), std::nullopt) << "rows are before a's barrier";
  EXPECT_THAT(Read(), ElementsAre(1, 2));
  EXPECT_THAT(events_, ElementsAre(Event::kBarrier));
}

TEST_F(UnalignedGateTest, RestoredRowsComeBeforeAllElse) {
  gate_.Restore(RowsOf({1, 2}, 7));
  a_.Values({3});
  b_.BarrierOf(1);
  EXPECT_EQ(gate_.TakeBarriers(), std::nullopt);
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3));
  EXPECT_THAT(inputs_, ElementsAre(1, 0)) << "edge 7 feeds the second input";
  EXPECT_THAT(gate_.aligning(), Optional(kFirst));
}

TEST_F(UnalignedGateTest, RestoredRowsThatAreUnreadAreInFlightAgain) {
  gate_.Restore(RowsOf({1, 2, 3}, 4));
  a_.Values({4});
  const InputGate::Input in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBatch);
  gate_.PutBack(1);
  gate_.TurnUnaligned(kFirst);
  BarriersOf(1);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(2, 3, 4)));
  EXPECT_THAT(Read(), ElementsAre(2, 3, 4));
}

TEST_F(UnalignedGateTest, OnlySoMuchIsPulledAheadAndTheRestIsReadAtTheConsumersPace) {
  InputGate gate(Channels(), {.pulled_bytes = 1, .recorded_bytes = 1 << 20});
  for (const int value : {1, 2, 3}) a_.Values({value});
  BarriersOf(1);
  gate.TurnUnaligned(kFirst);
  EXPECT_TRUE(gate.Pull());
  EXPECT_FALSE(gate.Pull());
  EXPECT_EQ(a_.queued(), 3u) << "two batches and the barrier";
  Values read;
  for (InputGate::Input in = gate.Next(); in.event == Event::kBatch; in = gate.Next()) {
    for (const int value : ValuesOf(*in.batch)) read.push_back(value);
    gate.Release();
  }
  EXPECT_THAT(read, ElementsAre(1, 2, 3));
  EXPECT_FALSE(gate.recording());
  EXPECT_THAT(ValuesOf(*gate.TakeRecorded(kFirst)), ElementsAre(1, 2, 3));
}

TEST_F(UnalignedGateTest, AChannelIsHeldUntilWhatWasPulledOutOfItIsRead) {
  for (const int value : {1, 2, 3}) a_.Values({value});
  b_.Values({4});
  gate_.TurnUnaligned(kFirst);
  BarriersOf(1);
  Pull();
  EXPECT_TRUE(a_.held)
      << "else its producer fills it again, and the next checkpoint pulls that, too";
  EXPECT_FALSE(b_.held);
  Values read;
  while (a_.held) {
    const InputGate::Input in = gate_.Next();
    ASSERT_EQ(in.event, Event::kBatch);
    for (const int value : ValuesOf(*in.batch)) read.push_back(value);
    gate_.Release();
  }
  EXPECT_THAT(read, Not(Contains(3))) << "its producer goes on before the last of them is read";
  EXPECT_THAT(Read(), Contains(3));
}

TEST_F(UnalignedGateTest, ACheckpointThatWouldHoldTooMuchOverruns) {
  InputGate gate(Channels(), {.pulled_bytes = 1 << 20, .recorded_bytes = 30});
  for (const int value : {1, 2, 3}) a_.Values({value});
  BarriersOf(1);
  gate.TurnUnaligned(kFirst);
  while (gate.Pull()) {
  }
  EXPECT_TRUE(gate.RecordingOverran(kFirst));
  EXPECT_EQ(gate.TakeRecorded(kFirst), std::nullopt);
  gate.Abort(kFirst);
  EXPECT_FALSE(gate.RecordingOverran(kFirst));
}

TEST(InFlight, RowsOfVeryDifferentSizesKeepTheirBytes) {
  RecordBatch<std::string> batch;
  for (int i = 0; i < 1000; ++i) batch.Append(std::string(i % 7 == 0 ? 3000 : 1, 'x'), {i});
  const InFlightRows rows = EncodeInFlight(0, RecordTypeOf<std::string>(), batch);
  EXPECT_EQ(rows.rows, 1000u);
  RecordBatch<std::string> back;
  DecodeInFlight(rows, back);
  ASSERT_EQ(back.size(), 1000u);
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(back.Row(i), batch.Row(i)) << i;
    ASSERT_EQ(back.TimestampOf(i).ms, i);
  }
}

TEST(InFlight, DamagedRowsAreRefusedByTheirType) {
  InFlightRows rows = RowsOf({1, 2, 3}, 0).front();
  rows.bytes = std::make_shared<const std::string>(rows.bytes->substr(0, 20));
  RecordBatch<int> batch;
  EXPECT_THROW(DecodeInFlight(rows, batch), Error);
}

}  // namespace
}  // namespace weir
