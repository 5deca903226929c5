#include "runtime/channel/input_gate.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using Event = InputGate::Event;
using test::ScriptedChannel;

class InputGateTest : public testing::Test {
 protected:
  InputGateTest() : gate_({{&a_, 0}, {&b_, 1}}) {}

  ScriptedChannel a_, b_;
  InputGate gate_;
};

TEST_F(InputGateTest, TakesBatchesInTurn) {
  a_.Rows(1);
  a_.Rows(1);
  b_.Rows(1);
  std::vector<uint32_t> inputs;
  for (InputGate::Input in = gate_.Next(); in.event == Event::kBatch; in = gate_.Next()) {
    inputs.push_back(in.input);
    gate_.Release();
  }
  EXPECT_EQ(inputs, (std::vector<uint32_t>{0, 1, 0}));
}

TEST_F(InputGateTest, WatermarkIsTheMinimumOfTheChannelsAndOnlyGrows) {
  a_.Watermark(10);
  EXPECT_EQ(gate_.Next().event, Event::kNothing) << "b has said nothing yet";
  b_.Watermark(5);
  InputGate::Input in = gate_.Next();
  EXPECT_EQ(in.event, Event::kWatermark);
  EXPECT_EQ(in.watermark.ms, 5);
  b_.Watermark(20);
  EXPECT_EQ(gate_.Next().watermark.ms, 10);
  a_.Watermark(3);
  EXPECT_EQ(gate_.Next().event, Event::kNothing) << "a watermark never falls";
}

TEST_F(InputGateTest, AnIdleChannelHoldsNothingBackUntilItSpeaksAgain) {
  b_.Idle();
  a_.Watermark(10);
  EXPECT_EQ(gate_.Next().watermark.ms, 10);
  b_.Watermark(7);
  a_.Watermark(30);
  EXPECT_EQ(gate_.Next().event, Event::kNothing) << "b is active again and stands at 7";
  b_.Watermark(20);
  EXPECT_EQ(gate_.Next().watermark.ms, 20);
}

TEST_F(InputGateTest, AllIdleIsToldOnce) {
  a_.Idle();
  b_.Idle();
  EXPECT_EQ(gate_.Next().event, Event::kIdle);
  EXPECT_EQ(gate_.Next().event, Event::kNothing);
}

TEST_F(InputGateTest, AChannelThatDeliveredTheBarrierWaitsForTheOthers) {
  a_.BarrierOf(1);
  a_.Rows(1);
  b_.Rows(2);
  b_.BarrierOf(1);
  InputGate::Input in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBatch);
  EXPECT_EQ(in.input, 1u) << "a's row is behind its barrier";
  gate_.Release();
  in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBarrier);
  EXPECT_EQ(in.barrier.id, CheckpointId(1));
  in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBatch);
  EXPECT_EQ(in.input, 0u);
}

TEST_F(InputGateTest, AtLeastOnceDoesNotWait) {
  a_.BarrierOf(1, /*aligned=*/false);
  a_.Rows(1);
  InputGate::Input in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBatch);
  EXPECT_EQ(in.input, 0u);
  gate_.Release();
  b_.BarrierOf(1, false);
  EXPECT_EQ(gate_.Next().event, Event::kBarrier);
}

TEST_F(InputGateTest, ANewerBarrierEndsTheWaitForAnOlderOne) {
  a_.BarrierOf(1);
  EXPECT_EQ(gate_.Next().event, Event::kNothing);
  b_.BarrierOf(2);  // 1 was given up before b's source heard of it
  EXPECT_EQ(gate_.Next().event, Event::kNothing);
  a_.Rows(1);
  a_.BarrierOf(2);
  ASSERT_EQ(gate_.Next().event, Event::kBatch) << "a is no longer held by barrier 1";
  gate_.Release();
  InputGate::Input in = gate_.Next();
  ASSERT_EQ(in.event, Event::kBarrier);
  EXPECT_EQ(in.barrier.id, CheckpointId(2));
}

TEST_F(InputGateTest, AnAbortReleasesTheChannelsAndLateBarriersAreIgnored) {
  a_.BarrierOf(1);
  a_.Rows(1);
  EXPECT_EQ(gate_.Next().event, Event::kNothing);
  gate_.Abort(CheckpointId(1));
  ASSERT_EQ(gate_.Next().event, Event::kBatch);
  gate_.Release();
  b_.BarrierOf(1);
  EXPECT_EQ(gate_.Next().event, Event::kNothing);
  EXPECT_FALSE(gate_.aligning());
}

TEST_F(InputGateTest, BarriersStillFollowTheEndOfInput) {
  a_.Watermark(Timestamp::Max().ms);
  a_.End();
  b_.Watermark(Timestamp::Max().ms);
  EXPECT_EQ(gate_.Next().event, Event::kWatermark);
  b_.End();
  EXPECT_EQ(gate_.Next().event, Event::kEndOfInput);
  a_.BarrierOf(4);
  b_.BarrierOf(4);
  EXPECT_EQ(gate_.Next().event, Event::kBarrier);
}

TEST_F(InputGateTest, AChannelAtItsEndHoldsNoWatermarkBack) {
  a_.End();
  b_.Watermark(50);
  EXPECT_EQ(gate_.Next().watermark.ms, 50);
}

TEST_F(InputGateTest, BarriersAreTakenAloneOnlyFromTheFront) {
  a_.BarrierOf(1);
  a_.Rows(1);
  b_.Rows(1);
  b_.BarrierOf(1);
  EXPECT_FALSE(gate_.TakeBarriers());
  EXPECT_EQ(gate_.aligning(), CheckpointId(1));
  EXPECT_EQ(a_.queued(), 1u);
  EXPECT_EQ(b_.queued(), 2u) << "a row stands before the barrier";
  ASSERT_EQ(gate_.Next().event, Event::kBatch);
  gate_.Release();
  const auto barrier = gate_.TakeBarriers();
  ASSERT_TRUE(barrier);
  EXPECT_EQ(barrier->id, CheckpointId(1));
  EXPECT_EQ(a_.queued(), 1u) << "rows stay";
}

TEST_F(InputGateTest, ABarrierThatStopsTheJobIsNotTakenAlone) {
  a_.BarrierOf(1, true, CheckpointKind::kStop);
  b_.BarrierOf(1, true, CheckpointKind::kStop);
  EXPECT_FALSE(gate_.TakeBarriers());
  EXPECT_EQ(a_.queued(), 1u);
  EXPECT_EQ(gate_.Next().event, Event::kBarrier);
}

}  // namespace
}  // namespace weir
