#include "runtime/channel/local_channel.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace weir {
namespace {

std::vector<uint16_t> AllRows(const Batch& batch) {
  std::vector<uint16_t> rows(batch.size());
  std::iota(rows.begin(), rows.end(), uint16_t{0});
  return rows;
}

class LocalChannelTest : public testing::Test {
 protected:
  void Send(int first, int count) {
    RecordBatch<int> batch;
    for (int i = 0; i < count;) {
      batch.Clear();
      for (; i < count && !batch.full(); ++i) batch.Append(first + i, Timestamp{first + i});
      const auto rows = AllRows(batch);
      channel_.Append(batch, rows.data(), static_cast<uint32_t>(rows.size()), true);
    }
  }
  // Everything that has arrived.
  std::vector<int> Receive() {
    std::vector<int> received;
    Batch* batch = nullptr;
    ControlElement control;
    while (channel_.Peek(batch, control) == InputChannel::Next::kBatch) {
      static_cast<RecordBatch<int>*>(batch)->ForEach(
          [&](int& row, Timestamp) { received.push_back(row); });
      channel_.Pop();
    }
    return received;
  }

  Parker producer_, consumer_;
  LocalChannel channel_{RecordTypeOf<int>(), &producer_, &consumer_};
};

TEST_F(LocalChannelTest, AMarkerGoesBehindTheRowsBeforeItAndNoSoonerThanThey) {
  Send(0, 1);
  channel_.EmitMarker({.source = VertexId(3), .due = {100}});
  channel_.EmitMarker({.source = VertexId(3), .due = {200}});
  Batch* batch = nullptr;
  ControlElement control;
  EXPECT_EQ(channel_.Peek(batch, control), InputChannel::Next::kNothing);
  channel_.Flush();
  EXPECT_EQ(Receive(), std::vector<int>{0});
  ASSERT_EQ(channel_.Peek(batch, control), InputChannel::Next::kControl);
  EXPECT_EQ(control.kind, ControlElement::Kind::kLatencyMarker);
  EXPECT_EQ(control.marker.source, VertexId(3));
  EXPECT_EQ(control.marker.due.ms, 100) << "the one that has waited longer";
  channel_.Pop();
  EXPECT_EQ(channel_.Peek(batch, control), InputChannel::Next::kNothing);
}

TEST_F(LocalChannelTest, KeepsOrderAcrossBatchesAndControl) {
  Send(0, 1500);  // more than one batch
  channel_.EmitControl({.kind = ControlElement::Kind::kWatermark, .watermark = {7}, .barrier = {}});
  Send(1500, 1);
  channel_.Flush();
  std::vector<int> received = Receive();
  ASSERT_EQ(received.size(), 1500u);
  Batch* batch = nullptr;
  ControlElement control;
  ASSERT_EQ(channel_.Peek(batch, control), InputChannel::Next::kControl);
  EXPECT_EQ(control.watermark.ms, 7);
  channel_.Pop();
  EXPECT_EQ(Receive(), std::vector<int>{1500});
}

TEST_F(LocalChannelTest, SaysWhenItIsFullAndWakesTheProducerWhenNot) {
  int sent = 0;
  while (channel_.HasRoom(false)) {
    Send(sent, Batch::kCapacity);
    sent += Batch::kCapacity;
  }
  EXPECT_EQ(channel_.queued(), LocalChannel::kRingElements);
  EXPECT_FALSE(channel_.HasRoom(false));
  Receive();
  producer_.Park(std::chrono::seconds(60));  // returns at once: it was woken
  EXPECT_TRUE(channel_.HasRoom(false));
}

TEST_F(LocalChannelTest, WhileItIsHeldThereIsRoomOnlyForWhatABarrierWaitsFor) {
  channel_.Hold(true);
  EXPECT_FALSE(channel_.HasRoom(false));
  EXPECT_TRUE(channel_.HasRoom(true));
  Send(0, 10);
  channel_.Flush();
  EXPECT_EQ(Receive().size(), 10u) << "what is on its way comes";
  EXPECT_FALSE(channel_.HasRoom(false));
  producer_.Park(std::chrono::nanoseconds(0));  // takes the wakes so far
  channel_.Hold(false);
  const auto began = std::chrono::steady_clock::now();
  producer_.Park(std::chrono::seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30)) << "it was woken";
  EXPECT_TRUE(channel_.HasRoom(false));
}

TEST_F(LocalChannelTest, WhatDoesNotFitIsKeptInOrder) {
  constexpr int kRows = 50 * Batch::kCapacity;
  Send(0, 1);  // open batch begins off the boundary
  for (int i = 1; i < kRows; i += 999) Send(i, std::min(999, kRows - i));
  channel_.Flush();
  std::vector<int> received;
  while (received.size() < kRows) {
    const auto more = Receive();
    ASSERT_FALSE(more.empty());
    received.insert(received.end(), more.begin(), more.end());
    channel_.HasRoom(false);  // moves the overdraft on
  }
  for (int i = 0; i < kRows; ++i) ASSERT_EQ(received[i], i);
}

TEST_F(LocalChannelTest, RefusesToHoldMoreThanTheOverdraft) {
  EXPECT_THROW(
      {
        for (uint32_t i = 0; i <= LocalChannel::kMaxOverdraftElements + LocalChannel::kRingElements;
             ++i) {
          channel_.EmitControl({});
        }
      },
      Error);
}

TEST_F(LocalChannelTest, WhatWaitedForRoomWakesTheConsumerWhenItGetsIn) {
  const auto end = [] {
    return ControlElement{
        .kind = ControlElement::Kind::kEndOfInput, .watermark = {}, .barrier = {}};
  };
  for (uint32_t i = 0; i <= LocalChannel::kRingElements; ++i) channel_.EmitControl(end());
  channel_.Kick();
  EXPECT_FALSE(channel_.HasRoom(false)) << "one element waits for room";
  Batch* batch = nullptr;
  ControlElement control;
  while (channel_.Peek(batch, control) != InputChannel::Next::kNothing) channel_.Pop();
  consumer_.Park(std::chrono::nanoseconds(0));  // takes the wakes so far
  EXPECT_TRUE(channel_.HasRoom(false));
  const auto began = std::chrono::steady_clock::now();
  consumer_.Park(std::chrono::seconds(30));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(15));
  EXPECT_EQ(channel_.Peek(batch, control), InputChannel::Next::kControl);
}

TEST_F(LocalChannelTest, TwoThreadsExchangeEveryRowOnce) {
  constexpr int kRows = 2'000'000;
  std::jthread producer([&] {
    RecordBatch<int> batch;
    for (int i = 0; i < kRows;) {
      batch.Clear();
      while (!batch.full() && i < kRows) batch.Append(i++, Timestamp{0});
      const auto rows = AllRows(batch);
      channel_.Append(batch, rows.data(), static_cast<uint32_t>(rows.size()), true);
      while (!channel_.HasRoom(false)) producer_.Park(std::chrono::seconds(60));
    }
    channel_.Flush();
    channel_.EmitControl(
        {.kind = ControlElement::Kind::kEndOfInput, .watermark = {}, .barrier = {}});
    channel_.Kick();
    while (!channel_.HasRoom(false)) producer_.Park(std::chrono::seconds(60));
  });
  int expected = 0;
  for (bool end = false; !end;) {
    Batch* batch = nullptr;
    ControlElement control;
    switch (channel_.Peek(batch, control)) {
      case InputChannel::Next::kNothing:
        consumer_.Park(std::chrono::seconds(60));
        break;
      case InputChannel::Next::kBatch:
        static_cast<RecordBatch<int>*>(batch)->ForEach(
            [&](int& row, Timestamp) { EXPECT_EQ(row, expected++); });
        channel_.Pop();
        break;
      case InputChannel::Next::kControl:
        channel_.Pop();
        end = true;
        break;
    }
  }
  EXPECT_EQ(expected, kRows);
}

class LargeRowsTest : public testing::Test {
 protected:
  void Send(size_t bytes) {
    RecordBatch<std::string> batch;
    batch.Append(std::string(bytes, 'x'), Timestamp{1});
    const uint16_t row = 0;
    channel_.Append(batch, &row, 1, true);
  }
  bool Pop() {
    Batch* batch = nullptr;
    ControlElement control;
    if (channel_.Peek(batch, control) == InputChannel::Next::kNothing) return false;
    channel_.Pop();
    return true;
  }

  Parker producer_, consumer_;
  LocalChannel channel_{RecordTypeOf<std::string>(), &producer_, &consumer_};
};

TEST_F(LargeRowsTest, FewFillABatchAndTakeTheRoom) {
  Send(kFullBatchBytes / 2);
  EXPECT_FALSE(Pop()) << "half a batch waits for more";
  Send(kFullBatchBytes / 2);
  EXPECT_TRUE(channel_.HasRoom(false));
  for (int i = 0; i < 3; ++i) Send(kFullBatchBytes);
  EXPECT_FALSE(channel_.HasRoom(false));
  EXPECT_TRUE(Pop());
  EXPECT_TRUE(channel_.HasRoom(false));
}

TEST_F(LargeRowsTest, AStepThatEmitsTooManyBytesFailsByNumber) {
  try {
    for (size_t sent = 0; sent <= LocalChannel::kMaxBytes; sent += size_t{32} << 20) {
      Send(size_t{32} << 20);
    }
    Send(size_t{32} << 20);
    FAIL() << "all of it is on its way";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(std::to_string(LocalChannel::kMaxBytes)),
              std::string::npos)
        << e.what();
  }
}

TEST_F(LargeRowsTest, ARecordAboveTheLimitIsRefused) {
  EXPECT_NO_THROW(Send(kMaxRecordBytes - 64));
  EXPECT_THROW(Send(kMaxRecordBytes + 1), Error);
}

}  // namespace
}  // namespace weir
