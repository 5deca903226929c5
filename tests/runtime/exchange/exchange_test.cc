#include "runtime/exchange/exchange.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>

#include "tests/runtime/exchange/exchange_node.h"

namespace weir {
namespace {

const JobAttempt kAttempt{JobId{"00c0ffee"}, AttemptId{1}, LeaderEpoch{1}};
const ChannelId kChannel{0, 0, 0};
const ChannelId kOther{0, 1, 0};

/// One channel between two nodes; the consumer's parker serves both ends (one test thread).
struct OneChannel {
  explicit OneChannel(ExchangeOptions options = {}, size_t segments = 256,
                      size_t segment_bytes = 4096)
      : from("sender", segments, segment_bytes, options),
        to("receiver", segments, segment_bytes, options) {
    gate = *to.exchange().OpenGate(kAttempt, {kChannel}, &to.parker());
    sender = *from.exchange().OpenSender(to.address(), kAttempt, kChannel, &to.parker());
  }
  RemoteReceiver& receiver() { return gate->receiver(0); }
  const Element& NextElement() {
    to.RunUntil([&] { return receiver().Front() != nullptr; });
    return *receiver().Front();
  }

  ExchangeNode from;
  ExchangeNode to;
  std::unique_ptr<RemoteGate> gate;
  std::unique_ptr<RemoteSender> sender;
};

TEST(Exchange, RowsArriveInOrderAndWhole) {
  OneChannel edge;
  constexpr uint64_t kRows = 200'000;
  uint64_t sent = 0, received = 0;
  bool ended = false;
  edge.to.RunUntil([&] {
    while (sent < kRows && edge.sender->HasRoom()) {
      EXPECT_TRUE(SendRow(*edge.sender, {reinterpret_cast<const char*>(&sent), 8}).ok());
      ++sent;
      if (sent == kRows) {
        EXPECT_TRUE(edge.sender->SendEndOfInput().ok());
      }
    }
    while (const Element* element = edge.receiver().Front()) {
      ended = element->kind == ElementKind::kEndOfInput;
      EXPECT_EQ(element->bytes.size(), element->rows * 8);
      for (size_t at = 0; at < element->bytes.size(); at += 8) {
        uint64_t row = 0;
        std::memcpy(&row, element->bytes.data() + at, 8);
        EXPECT_EQ(row, received++);
      }
      edge.receiver().Pop();
    }
    return ended;
  });
  EXPECT_EQ(received, kRows);
  EXPECT_EQ(edge.sender->metrics()->records.Get(), kRows);
  EXPECT_EQ(edge.receiver().metrics()->records.Get(), kRows);
  EXPECT_EQ(edge.sender->metrics()->overdraft_frames.Get(), 0u);
  EXPECT_TRUE(edge.sender->Drained());
}

TEST(Exchange, RowsOfOneTagRunOnInOneElement) {
  OneChannel edge;
  ASSERT_TRUE(SendRow(*edge.sender, "one").ok());
  ASSERT_TRUE(SendRow(*edge.sender, "two").ok());
  auto room = edge.sender->Room(5, /*tag=*/7);
  std::memcpy(room->data(), "three", 5);
  edge.sender->Commit(5, 1);
  edge.to.Flush(*edge.sender);
  Element element = edge.NextElement();
  EXPECT_EQ(element.bytes, "onetwo");
  EXPECT_EQ(element.rows, 2u);
  edge.receiver().Pop();
  element = edge.NextElement();
  EXPECT_EQ(element.bytes, "three");
  EXPECT_EQ(element.tag, 7);
  edge.receiver().Pop();
}

TEST(Exchange, FlushWaitsForCredit) {
  ExchangeNode from("sender"), to("receiver");
  auto sender = *from.exchange().OpenSender(to.address(), kAttempt, kChannel, &from.parker());
  ASSERT_TRUE(SendRow(*sender, "early").ok());
  EXPECT_FALSE(sender->Flush()) << "the consumer is not there yet";
  auto gate = *to.exchange().OpenGate(kAttempt, {kChannel}, &to.parker());
  from.Flush(*sender);
  to.RunUntil([&] { return gate->receiver(0).Front() != nullptr; });
  EXPECT_EQ(gate->receiver(0).Front()->bytes, "early");
}

// The consumer never reads: the sender gets rid of what it has credit for, fills its own buffers,
// and has no room. Nothing is dropped, and nothing grows.
TEST(Exchange, AConsumerThatNeverReadsBoundsItsSender) {
  ExchangeOptions options;
  options.credit = {.exclusive_per_channel = 2, .floating_per_gate = 8, .floating_per_sender = 4};
  OneChannel edge(options);
  const std::string row(1000, 'x');
  uint64_t sent = 0;
  const auto fill = [&] {
    for (; edge.sender->HasRoom(); ++sent) EXPECT_TRUE(SendRow(*edge.sender, row).ok());
  };
  edge.to.RunUntil([&] {
    fill();
    const SenderMetrics& metrics = *edge.sender->metrics();
    return metrics.buffers.Get() - metrics.queued_buffers.Get() == 2 &&
           edge.receiver().Front() != nullptr;
  });
  fill();
  EXPECT_GE(sent, 6 * 4u) << "four rows fit a segment";
  EXPECT_LE(sent, (2 + 6) * 4u);
  EXPECT_LE(edge.from.pool().stats().peak_segments, 6u);
  EXPECT_EQ(edge.from.pool().stats().overdraft_bytes, 0u);
  EXPECT_EQ(edge.to.pool().stats().used_segments, 2u) << "the exclusive ones, charged";
  EXPECT_EQ(edge.sender->metrics()->credits.Get(), 0u);

  uint64_t received = 0;
  edge.to.FlushUntil([&] {
    while (const Element* element = edge.receiver().Front()) {
      received += element->rows;
      edge.receiver().Pop();
    }
    if (received > 0) edge.sender->Flush();
    return received == sent;
  });
}

// Of large buffers fewer float: 2 of 1 MiB beside the exclusive ones, on either side.
TEST(Exchange, LargeBuffersAreBoundedInBytes) {
  constexpr size_t kMiB = size_t{1} << 20;
  OneChannel edge({}, /*segments=*/16, /*segment_bytes=*/kMiB);
  const std::string row(kMiB / 2, 'x');
  edge.to.RunUntil([&] {
    while (edge.sender->HasRoom()) EXPECT_TRUE(SendRow(*edge.sender, row).ok());
    return edge.sender->metrics()->queued_buffers.Get() > 0 && edge.receiver().Front() != nullptr;
  });
  EXPECT_LE(edge.from.pool().stats().peak_segments, 4u);
  uint64_t received = 0;
  const auto read_all = [&] {
    while (const Element* element = edge.receiver().Front()) {
      received += element->rows;
      edge.receiver().Pop();
    }
  };
  edge.to.RunUntil([&] {
    while (received < 40 && edge.sender->HasRoom()) {
      EXPECT_TRUE(SendRow(*edge.sender, row).ok());
    }
    read_all();
    return received >= 40;
  });
  EXPECT_LE(edge.from.pool().stats().peak_segments, 4u);
  EXPECT_LE(edge.to.pool().stats().peak_segments, 4u);
}

TEST(Exchange, ASlowChannelDoesNotBlockAnotherOfTheSameConnection) {
  ExchangeNode from("sender"), to("receiver");
  auto slow_gate = *to.exchange().OpenGate(kAttempt, {kChannel}, &to.parker());
  auto quick_gate = *to.exchange().OpenGate(kAttempt, {kOther}, &to.parker());
  auto slow = *from.exchange().OpenSender(to.address(), kAttempt, kChannel, &to.parker());
  auto quick = *from.exchange().OpenSender(to.address(), kAttempt, kOther, &to.parker());
  const std::string row(1000, 'x');
  uint64_t slow_rows = 0, received = 0;
  to.RunUntil([&] {
    while (slow->HasRoom()) {
      EXPECT_TRUE(SendRow(*slow, row).ok());
      ++slow_rows;
    }
    while (quick->HasRoom() && received < 20'000) EXPECT_TRUE(SendRow(*quick, row).ok());
    while (const Element* element = quick_gate->receiver(0).Front()) {
      received += element->rows;
      quick_gate->receiver(0).Pop();
    }
    return received >= 20'000;
  });
  const CreditOptions credit;
  const uint64_t buffers = 2 * credit.exclusive_per_channel + credit.floating_per_sender;
  EXPECT_LE(slow_rows, buffers * 4) << "nobody read its channel; four rows fit a segment";
}

TEST(Exchange, WhileAChannelIsHeldItsSenderHasRoomOnlyForWhatABarrierWaitsFor) {
  OneChannel edge;
  const std::string row(1000, 'x');
  EXPECT_TRUE(SendRow(*edge.sender, row).ok());
  edge.to.Flush(*edge.sender);
  edge.NextElement();
  edge.receiver().Hold(true);
  edge.to.FlushUntil([&] { return !edge.sender->HasRoom(); });  // of that nobody is woken
  EXPECT_TRUE(edge.sender->HasRoom(true));
  EXPECT_TRUE(SendRow(*edge.sender, row).ok());
  EXPECT_TRUE(edge.sender->SendBarrier("barrier").ok());
  uint32_t rows = 0;
  bool barrier = false;
  edge.to.RunUntil([&] {
    while (const Element* element = edge.receiver().Front()) {
      rows += element->rows;
      barrier = barrier || element->kind == ElementKind::kBarrier;
      edge.receiver().Pop();
    }
    return barrier;
  });
  EXPECT_EQ(rows, 2u) << "they come all the same";
  EXPECT_FALSE(edge.sender->HasRoom());
  edge.receiver().Hold(false);
  edge.to.RunUntil([&] { return edge.sender->HasRoom(); });
}

TEST(Exchange, FloatingCreditFollowsTheBacklogAndIsCharged) {
  ExchangeOptions options;
  options.credit.floating_per_gate = 8;
  OneChannel edge(options);
  const std::string row(4000, 'x');
  uint64_t received = 0, most = 0;
  edge.to.RunUntil([&] {
    while (edge.sender->HasRoom()) EXPECT_TRUE(SendRow(*edge.sender, row).ok());
    if (edge.receiver().Front() != nullptr) {  // one at a time: a backlog builds up
      edge.receiver().Pop();
      ++received;
      edge.to.parker().Wake();
    }
    most = std::max(most, edge.receiver().metrics()->window.Get());
    return received == 500;
  });
  EXPECT_EQ(most, 10u);
  EXPECT_LE(edge.to.pool().stats().peak_segments, 10u);
}

TEST(Exchange, LargeRecordsTravelInPartsAmongSmallOnes) {
  OneChannel edge;
  std::mt19937_64 random(7);
  std::vector<std::string> rows;
  for (const size_t size : {10, 3'000, 4'028, 4'029, 100'000, 1, 3'000'000, 5}) {
    std::string row(size, '\0');
    for (char& c : row) c = static_cast<char>(random());
    rows.push_back(std::move(row));
  }
  size_t next = 0;
  std::string received;
  std::string expected;
  for (const auto& row : rows) expected += row;
  edge.to.FlushUntil([&] {
    while (next < rows.size() && edge.sender->HasRoom()) {
      EXPECT_TRUE(SendRow(*edge.sender, rows[next]).ok());
      ++next;
    }
    const bool all_sent = next == rows.size() && edge.sender->Flush();
    while (const Element* element = edge.receiver().Front()) {
      received += element->bytes;
      edge.receiver().Pop();
    }
    return all_sent && received.size() == expected.size();
  });
  EXPECT_TRUE(received == expected);
  EXPECT_EQ(edge.from.pool().stats().overdraft_bytes, 0u) << "given back";
}

// A row that does not fit what is left opens an overdraft buffer. It leaves without being flushed:
// a sender without room that waits for it would else wait for the buffer's time-out.
TEST(Exchange, AnOverdraftBufferLeavesWithoutAFlush) {
  ExchangeOptions options;
  options.credit = {.exclusive_per_channel = 1, .floating_per_gate = 0, .floating_per_sender = 0};
  ExchangeNode from("sender", 256, 4096, options), to("receiver", 256, 4096, options);
  auto sender = *from.exchange().OpenSender(to.address(), kAttempt, kChannel, &to.parker());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(sender->HasRoom());
    ASSERT_TRUE(SendRow(*sender, std::string(3000, 'x')).ok());
  }
  ASSERT_EQ(sender->metrics()->overdraft_frames.Get(), 1u);
  EXPECT_FALSE(sender->HasRoom());
  auto gate = *to.exchange().OpenGate(kAttempt, {kChannel}, &to.parker());
  uint64_t received = 0;
  to.RunUntil([&] {
    while (const Element* element = gate->receiver(0).Front()) {
      received += element->rows;
      gate->receiver(0).Pop();
    }
    return received == 2 && sender->HasRoom();
  });
  EXPECT_EQ(from.pool().stats().overdraft_bytes, 0u);
}

TEST(Exchange, ARecordAboveTheLimitIsRefusedByName) {
  OneChannel edge;
  const auto refused = edge.sender->LargeRoom(kDefaultRecordLimitBytes + 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("67108865 bytes"), absl::string_view::npos);
  EXPECT_NE(refused.status().message().find("limit of 67108864"), absl::string_view::npos);
}

TEST(Exchange, TheOverdraftTakesWhatOneStepStillEmitsAndIsBounded) {
  ExchangeOptions options;
  options.record_limit_bytes = 64 << 10;
  options.overdraft_limit_bytes = 2 << 20;
  OneChannel edge(options);
  const std::string row(3000, 'x');
  while (edge.sender->HasRoom()) ASSERT_TRUE(SendRow(*edge.sender, row).ok());
  absl::Status status;
  uint64_t beyond = 0;
  while ((status = SendRow(*edge.sender, row)).ok()) ++beyond;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("beyond the channel's room"), absl::string_view::npos);
  EXPECT_EQ(edge.from.pool().stats().overdraft_bytes, size_t{2} << 20);
  EXPECT_FALSE(edge.sender->HasRoom());
  // Nothing of it is lost, and room comes back once it has left.
  edge.to.RunUntil([&] {
    while (edge.receiver().Front() != nullptr) edge.receiver().Pop();
    return edge.sender->HasRoom();
  });
  EXPECT_GT(edge.sender->metrics()->records.Get(), beyond);
}

TEST(Exchange, ControlElementsKeepTheirPlaceAmongRows) {
  OneChannel edge;
  ASSERT_TRUE(SendRow(*edge.sender, "before").ok());
  ASSERT_TRUE(edge.sender->SendControl(ElementKind::kWatermark, "100").ok());
  ASSERT_TRUE(SendRow(*edge.sender, "after").ok());
  ASSERT_TRUE(edge.sender->SendControl(ElementKind::kStatus, "idle").ok());
  ASSERT_TRUE(edge.sender->SendBarrier("five").ok());
  const std::pair<ElementKind, std::string_view> expected[] = {
      {ElementKind::kRows, "before"},  {ElementKind::kWatermark, "100"},
      {ElementKind::kRows, "after"},   {ElementKind::kStatus, "idle"},
      {ElementKind::kBarrier, "five"},
  };
  for (const auto& [kind, bytes] : expected) {
    const Element& element = edge.NextElement();
    EXPECT_EQ(element.kind, kind);
    EXPECT_EQ(element.bytes, bytes);
    edge.receiver().Pop();
  }
}

TEST(Exchange, ABlockedChannelCollectsNoWatermarks) {
  ExchangeNode from("sender"), to("receiver");
  auto sender = *from.exchange().OpenSender(to.address(), kAttempt, kChannel, &from.parker());
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(sender->SendControl(ElementKind::kWatermark, std::to_string(i)).ok());
  }
  EXPECT_EQ(from.pool().stats().used_segments, 1u);
  auto gate = *to.exchange().OpenGate(kAttempt, {kChannel}, &from.parker());
  from.Flush(*sender);
  from.RunUntil([&] { return gate->receiver(0).Front() != nullptr; });
  EXPECT_EQ(gate->receiver(0).Front()->bytes, "99999");
}

// No credit is left, the queue is full: a barrier waits its turn.
TEST(Exchange, ABarrierBehindDataComesBehindIt) {
  OneChannel edge;
  const std::string row(4000, 'x');
  while (edge.sender->HasRoom()) ASSERT_TRUE(SendRow(*edge.sender, row).ok());
  ASSERT_TRUE(edge.sender->SendBarrier("nine").ok());
  uint64_t rows = 0;
  while (edge.NextElement().kind != ElementKind::kBarrier) {
    rows += edge.NextElement().rows;
    edge.receiver().Pop();
  }
  EXPECT_EQ(edge.NextElement().bytes, "nine");
  EXPECT_EQ(rows, edge.sender->metrics()->records.Get());
}

TEST(Exchange, BarriersNeedNoCredit) {
  ExchangeOptions options;
  options.credit = {.exclusive_per_channel = 1, .floating_per_gate = 0};
  OneChannel edge(options);
  ASSERT_TRUE(SendRow(*edge.sender, "takes the only credit").ok());
  edge.to.Flush(*edge.sender);
  for (uint64_t id = 1; id <= 5; ++id) {
    ASSERT_TRUE(edge.sender->SendBarrier(std::to_string(id)).ok());
  }
  // All arrive although the row was not consumed: so no credit has gone back.
  edge.to.RunUntil([&] {
    return edge.receiver().Front() != nullptr && edge.sender->Drained() &&
           edge.sender->metrics()->credits.Get() == 0;
  });
  edge.receiver().Pop();
  for (uint64_t id = 1; id <= 5; ++id) {
    EXPECT_EQ(edge.NextElement().bytes, std::to_string(id));
    edge.receiver().Pop();
  }
}

// As many checkpoints as one likes may be given up while a consumer stands still in user code: the
// barriers that it has no room for are as good as late.
TEST(Exchange, AConsumerThatStandsStillMissesBarriersAndNothingElse) {
  OneChannel edge;
  constexpr uint64_t kCheckpoints = 1000;
  for (uint64_t id = 1; id <= kCheckpoints; ++id) {
    ASSERT_TRUE(edge.sender->SendBarrier(std::to_string(id)).ok());
  }
  ASSERT_TRUE(SendRow(*edge.sender, "row").ok());
  edge.to.Flush(*edge.sender);
  ASSERT_TRUE(edge.sender->SendEndOfInput().ok());
  edge.to.RunUntil([&] { return edge.to.failures() > 0 || edge.sender->Drained(); });
  ASSERT_EQ(edge.to.failures(), 0u);
  uint64_t barriers = 0;
  for (; edge.NextElement().kind == ElementKind::kBarrier; edge.receiver().Pop()) {
    const uint64_t id = std::stoull(std::string(edge.NextElement().bytes));
    EXPECT_GT(id, barriers);
    barriers = id;
  }
  EXPECT_GE(barriers, kMaxCreditFreeFrames - 1);
  EXPECT_EQ(edge.NextElement().bytes, "row");
  edge.receiver().Pop();
  EXPECT_EQ(edge.NextElement().kind, ElementKind::kEndOfInput);
  edge.receiver().Pop();
  EXPECT_EQ(edge.from.failures() + edge.to.failures(), 0u);
}

TEST(Exchange, ADeploymentBeyondThePoolIsRefusedWithTheFigure) {
  ExchangeNode node("small", /*segments=*/16);
  std::vector<ChannelId> channels;
  for (uint32_t i = 0; i < 9; ++i) channels.push_back({0, i, 0});
  const auto gate = node.exchange().OpenGate(kAttempt, channels, &node.parker());
  ASSERT_FALSE(gate.ok());
  EXPECT_EQ(gate.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(gate.status().message().find("18 exclusive network buffers"), absl::string_view::npos);
  EXPECT_NE(gate.status().message().find("network.buffers"), absl::string_view::npos);
}

TEST(Exchange, AnOlderAttemptIsRefusedOnBothSides) {
  ExchangeNode from("sender"), to("receiver");
  JobAttempt newer = kAttempt;
  newer.attempt = AttemptId{2};
  auto gate = *to.exchange().OpenGate(newer, {kChannel}, &to.parker());
  EXPECT_FALSE(to.exchange().OpenGate(kAttempt, {kOther}, &to.parker()).ok());
  // The sending process does not know better, until the peer tells it.
  auto sender = from.exchange().OpenSender(to.address(), kAttempt, kChannel, &from.parker());
  const StreamFailure failure = from.WaitForFailure();
  EXPECT_EQ(failure.reason.code(), absl::StatusCode::kFailedPrecondition) << failure.reason;
  EXPECT_NE(failure.reason.message().find("attempt 1"), absl::string_view::npos);
  EXPECT_NE(failure.reason.message().find("attempt 2"), absl::string_view::npos);
  if (sender.ok()) {
    EXPECT_FALSE((*sender)->HasRoom());
    EXPECT_EQ((*sender)->status(), failure.reason);
  } else {
    EXPECT_EQ(sender.status(), failure.reason);
  }
}

TEST(Exchange, AnOlderLeaderEpochIsRefusedWhateverItsAttempt) {
  ExchangeNode from("sender"), to("receiver");
  JobAttempt newer = kAttempt;
  newer.epoch = LeaderEpoch{2};
  auto gate = *to.exchange().OpenGate(newer, {kChannel}, &to.parker());
  JobAttempt old = kAttempt;
  old.attempt = AttemptId{99};
  auto sender = from.exchange().OpenSender(to.address(), old, kChannel, &from.parker());
  EXPECT_EQ(from.WaitForFailure().reason.code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Exchange, AnotherProcessThatIsNotThereIsReported) {
  ExchangeOptions options;
  options.connect_timeout = std::chrono::milliseconds(200);
  ExchangeNode from("sender", 256, 4096, options);
  std::string address;
  { address = ExchangeNode("gone").address(); }
  auto sender = *from.exchange().OpenSender(address, kAttempt, kChannel, &from.parker());
  const StreamFailure failure = from.WaitForFailure();
  EXPECT_NE(failure.peer.find(address), std::string::npos);
  EXPECT_NE(failure.reason.message().find(address), absl::string_view::npos) << failure.reason;
}

TEST(Exchange, ATakenPortIsRefusedByName) {
  ExchangeNode first("first");
  ExchangeOptions options;
  options.port = first.exchange().port();
  const auto second = Exchange::Start(options, &first.pool(), [](const StreamFailure&) {});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(std::to_string(options.port)), absl::string_view::npos);
}

TEST(Exchange, ClosingAnAttemptSendsWhatWasQueuedAndFailsNobody) {
  OneChannel edge;
  const std::string row(1000, 'x');
  uint64_t sent = 0;
  for (; edge.sender->HasRoom(); ++sent) ASSERT_TRUE(SendRow(*edge.sender, row).ok());
  ASSERT_TRUE(edge.sender->SendEndOfInput().ok());
  edge.sender.reset();
  edge.from.exchange().CloseAttempt(kAttempt, /*drain=*/true);
  uint64_t received = 0;
  while (edge.NextElement().kind != ElementKind::kEndOfInput) {
    received += edge.receiver().Front()->rows;
    edge.receiver().Pop();
  }
  EXPECT_EQ(received, sent);
  const StreamFailure end = edge.to.WaitForFailure();
  EXPECT_TRUE(end.orderly) << end.reason;
  EXPECT_EQ(edge.from.failures(), 0u);
}

TEST(Exchange, AConsumerThatClosesTheAttemptEndsItsSendersInOrder) {
  OneChannel edge;
  ASSERT_TRUE(SendRow(*edge.sender, "row").ok());
  edge.to.Flush(*edge.sender);
  edge.NextElement();
  edge.to.exchange().CloseAttempt(kAttempt, /*drain=*/false);
  const StreamFailure end = edge.from.WaitForFailure();
  EXPECT_TRUE(end.orderly) << end.reason;
  EXPECT_EQ(edge.to.failures(), 0u);
  EXPECT_FALSE(edge.sender->HasRoom());
}

TEST(Exchange, ANewAttemptRunsAfterTheOldOneWasClosed) {
  OneChannel edge;
  ASSERT_TRUE(SendRow(*edge.sender, "old").ok());
  edge.sender.reset();
  edge.gate.reset();
  edge.from.exchange().CloseAttempt(kAttempt, false);
  edge.to.exchange().CloseAttempt(kAttempt, false);
  JobAttempt next = kAttempt;
  next.attempt = AttemptId{2};
  edge.gate = *edge.to.exchange().OpenGate(next, {kChannel}, &edge.to.parker());
  edge.sender =
      *edge.from.exchange().OpenSender(edge.to.address(), next, kChannel, &edge.to.parker());
  ASSERT_TRUE(SendRow(*edge.sender, "new").ok());
  edge.to.Flush(*edge.sender);
  EXPECT_EQ(edge.NextElement().bytes, "new");
}

// Producer and consumer at full speed on their own threads while both exchanges stop.
TEST(Exchange, StopsUnderLoadWithoutHangOrLoss) {
  for (int round = 0; round < 5; ++round) {
    OneChannel edge;
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> received{0};
    Parker producer_parker;
    auto producer =
        *edge.from.exchange().OpenSender(edge.to.address(), kAttempt, kOther, &producer_parker);
    auto gate = *edge.to.exchange().OpenGate(kAttempt, {kOther}, &edge.to.parker());
    std::jthread producing([&] {
      const std::string row(1000, 'x');
      while (!stop.load()) {
        while (producer->HasRoom()) (void)SendRow(*producer, row);
        producer_parker.Park(std::chrono::milliseconds(50));
      }
    });
    edge.to.RunUntil([&] {
      while (const Element* element = gate->receiver(0).Front()) {
        received += element->rows;
        gate->receiver(0).Pop();
      }
      return received > 5'000;
    });
    if (round % 2 == 0) edge.from.exchange().Stop();
    edge.to.exchange().Stop();
    edge.from.exchange().Stop();
    stop.store(true);
    producing.join();
  }
}

}  // namespace
}  // namespace weir
