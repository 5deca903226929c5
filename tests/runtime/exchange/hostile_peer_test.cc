// What strangers and broken peers send: the stream ends with a clear status, the process goes on.

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/bytes.h"
#include "tests/port_noise.h"
#include "tests/runtime/exchange/exchange_node.h"
#include "tests/runtime/exchange/raw_peer.h"

namespace weir {
namespace {

const JobAttempt kAttempt{JobId{"00c0ffee"}, AttemptId{1}, LeaderEpoch{1}};
const ChannelId kChannel{3, 1, 0};

/// A channel still works.
void ExpectServes(ExchangeNode& node, uint32_t edge) {
  ExchangeNode friendly("friendly");
  const ChannelId channel{edge, 0, 0};
  auto gate = node.exchange().OpenGate(kAttempt, {channel}, &node.parker());
  ASSERT_TRUE(gate.ok()) << gate.status();
  auto sender = *friendly.exchange().OpenSender(node.address(), kAttempt, channel, &node.parker());
  ASSERT_TRUE(SendRow(*sender, "hello").ok());
  node.Flush(*sender);
  node.RunUntil([&] { return (*gate)->receiver(0).Front() != nullptr; });
  EXPECT_EQ((*gate)->receiver(0).Front()->bytes, "hello");
}

/// A raw peer with an open channel and credit for it.
struct OpenedRawPeer : RawPeer {
  OpenedRawPeer(ExchangeNode& node, RemoteGate&) : RawPeer(node.address()) {
    Hello(kAttempt);
    Receive();  // welcome
    Send(SmallFrame({.kind = FrameKind::kOpen, .channel = kChannel}, {}));
    Receive();  // credit
  }
};

std::string DataFrame(FrameHeader header, std::string_view row) {
  std::string payload(kElementHeaderBytes, '\0');
  WriteElementHeader({.bytes = static_cast<uint32_t>(row.size()), .rows = 1}, payload.data());
  payload += row;
  header.kind = FrameKind::kData;
  header.channel = kChannel;
  return SmallFrame(header, payload);
}

// Strangers shout, drip bytes and say half of what they should, all the while rows flow.
TEST(HostilePeer, NoiseBesideARunningStream) {
  ExchangeNode node("receiver"), friendly("friendly");
  const ChannelId channel{0, 0, 0};
  auto gate = *node.exchange().OpenGate(kAttempt, {channel}, &node.parker());
  auto sender = *friendly.exchange().OpenSender(node.address(), kAttempt, channel, &node.parker());
  RemoteReceiver& receiver = gate->receiver(0);
  uint64_t sent = 0, received = 0;
  const auto exchange_rows = [&](uint64_t until) {
    node.FlushUntil([&] {
      while (sent < until && sender->HasRoom()) {
        EXPECT_TRUE(SendRow(*sender, {reinterpret_cast<const char*>(&sent), sizeof sent}).ok());
        ++sent;
      }
      if (sent == until) sender->Flush();
      while (const Element* element = receiver.Front()) {
        for (size_t at = 0; at < element->bytes.size(); at += sizeof received) {
          uint64_t row = 0;
          std::memcpy(&row, element->bytes.data() + at, sizeof row);
          EXPECT_EQ(row, received++);
        }
        receiver.Pop();
      }
      return received == until;
    });
  };

  std::mt19937_64 random(1);
  const int port = node.exchange().port();
  std::vector<NoisyConnection> dripping;
  for (int i = 0; i < 20; ++i) dripping.emplace_back(port);
  const std::string drip = std::string(kHttp2Preface) + Http2FrameHeader(0xffffff, 0, 0, 1);
  constexpr size_t kRounds = 100;
  size_t resident = 0;
  for (size_t round = 0; round < kRounds; ++round) {
    std::vector<NoisyConnection> open;
    for (const std::string& noise : Noises(random)) open.emplace_back(port).Send(noise);
    for (NoisyConnection& slow : dripping) slow.Send(drip.substr(round % drip.size(), 1));
    exchange_rows(sent + 2000);
    if (round == kRounds / 5) resident = ResidentBytes();
  }
  // About 60 MB of noise since the first look.
  if (kResidentMeansUsed) {
    EXPECT_LT(ResidentBytes(), resident + (size_t{16} << 20));
  }
  EXPECT_EQ(node.failures(), 0u);
  EXPECT_EQ(friendly.failures(), 0u);
}

TEST(HostilePeer, AConnectionWithoutAGreetingIsClosed) {
  ExchangeOptions options;
  options.connect_timeout = std::chrono::milliseconds(200);
  ExchangeNode node("receiver", 256, 4096, options);
  for (std::string_view said : {std::string_view(), kHttp2Preface.substr(0, 11), kHttp2Preface}) {
    NoisyConnection silent(node.exchange().port());
    silent.Send(said);
    EXPECT_TRUE(silent.WaitClosed()) << "after '" << said << "'";
  }
}

TEST(HostilePeer, MessagesThatAreNoFrames) {
  ExchangeNode node("receiver");
  for (const std::string& message :
       {std::string("x"), std::string(100, 'x'), std::string(100'000, '\0')}) {
    RawPeer peer(node.address());
    peer.Send(message);
    EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  ExpectServes(node, 0);
}

TEST(HostilePeer, AnEmptyMessage) {
  ExchangeNode node("receiver");
  RawPeer peer(node.address());
  peer.Send("");
  EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(HostilePeer, AMessageThatEndsWithinItsSecondFrame) {
  ExchangeNode node("receiver");
  const std::string hello =
      SmallFrame({.kind = FrameKind::kHello}, EncodeHandshake({kAttempt, "raw peer"}));
  const std::string open = SmallFrame({.kind = FrameKind::kOpen, .channel = kChannel}, {});
  for (size_t cut = 1; cut < open.size(); cut += 11) {
    RawPeer peer(node.address());
    peer.Send(hello + open.substr(0, cut));
    EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << cut;
  }
}

TEST(HostilePeer, AMessageAboveTheLimit) {
  ExchangeNode node("receiver");
  RawPeer peer(node.address());
  peer.Send(std::string(kMaxMessageBytes + 1, 'x'));
  EXPECT_FALSE(peer.Status().ok());
  ExpectServes(node, 0);
}

TEST(HostilePeer, AnotherMethod) {
  ExchangeNode node("receiver");
  RawPeer peer(node.address(), "/weir.Control/Register");
  const grpc::Status status = peer.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_NE(status.error_message().find("/weir.Control/Register"), std::string::npos);
}

TEST(HostilePeer, FramesBeforeTheHandshake) {
  ExchangeNode node("receiver");
  RawPeer peer(node.address());
  peer.Send(SmallFrame({.kind = FrameKind::kOpen, .channel = kChannel}, {}));
  const grpc::Status status = peer.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("handshake"), std::string::npos);
}

TEST(HostilePeer, NoHandshakeAtAll) {
  ExchangeOptions options;
  options.connect_timeout = std::chrono::milliseconds(100);
  ExchangeNode node("receiver", 256, 4096, options);
  RawPeer peer(node.address());
  EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(HostilePeer, AnotherVersionIsNamed) {
  ExchangeNode node("receiver");
  std::string hello = EncodeHandshake({kAttempt, "old"});
  hello[8] = 9;
  RawPeer peer(node.address());
  peer.Send(SmallFrame({.kind = FrameKind::kHello}, hello));
  const grpc::Status status = peer.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("version 9"), std::string::npos);
}

TEST(HostilePeer, AnAttemptFromThePast) {
  ExchangeNode node("receiver");
  JobAttempt newer = kAttempt;
  newer.attempt = AttemptId{7};
  RawPeer first(node.address());
  first.Hello(newer);
  ASSERT_FALSE(first.Receive().empty());
  RawPeer second(node.address());
  second.Hello(kAttempt);
  const grpc::Status status = second.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("attempt 7"), std::string::npos);
}

TEST(HostilePeer, AGapInTheSequenceNamesTheChannel) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  peer.Send(DataFrame({.sequence = 0}, "first"));
  peer.Send(DataFrame({.sequence = 2}, "third"));
  const grpc::Status status = peer.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_NE(status.error_message().find("edge 3, 1 -> 0"), std::string::npos);
  const StreamFailure failure = node.WaitForFailure();
  EXPECT_EQ(failure.channels, std::vector<ChannelId>{kChannel});
  EXPECT_TRUE(failure.inbound);
}

TEST(HostilePeer, MoreThanItsCredit) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  for (uint64_t i = 0; i < 3; ++i) peer.Send(DataFrame({.sequence = i}, "row"));
  EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(node.WaitForFailure().reason.message().find("its credit of 2"),
            absl::string_view::npos);
}

TEST(HostilePeer, EndlessBarriers) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  for (uint64_t i = 0; i < 200; ++i) {
    peer.Send(DataFrame({.flags = kFree, .sequence = i}, ""));
  }
  EXPECT_EQ(peer.Status().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(HostilePeer, ADamagedPayload) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  std::string frame = DataFrame({.sequence = 0}, "row");
  frame.back() ^= 1;
  peer.Send(frame);
  node.RunUntil([&] { return gate->receiver(0).Front() == nullptr && node.failures() > 0; });
  const StreamFailure failure = node.WaitForFailure();
  EXPECT_EQ(failure.reason.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(failure.reason.message().find("edge 3, 1 -> 0: frame 0"), absl::string_view::npos)
      << failure.reason;
}

TEST(HostilePeer, ElementsThatOverrunTheirFrame) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  std::string payload(kElementHeaderBytes, '\0');
  WriteElementHeader({.bytes = 1000, .rows = 1}, payload.data());
  peer.Send(SmallFrame({.kind = FrameKind::kData, .channel = kChannel}, payload));
  node.RunUntil([&] { return gate->receiver(0).Front() == nullptr && node.failures() > 0; });
  EXPECT_EQ(node.WaitForFailure().reason.code(), absl::StatusCode::kDataLoss);
}

TEST(HostilePeer, ALargeElementAboveTheRecordLimit) {
  ExchangeNode node("receiver");
  auto gate = *node.exchange().OpenGate(kAttempt, {kChannel}, &node.parker());
  OpenedRawPeer peer(node, *gate);
  std::string payload(kElementHeaderBytes + 10, '\0');
  WriteElementHeader({.bytes = 0xf0000000, .rows = 1}, payload.data());
  peer.Send(SmallFrame({.kind = FrameKind::kData, .flags = kPart | kFirstPart, .channel = kChannel},
                       payload));
  node.RunUntil([&] { return gate->receiver(0).Front() == nullptr && node.failures() > 0; });
  EXPECT_EQ(node.WaitForFailure().reason.code(), absl::StatusCode::kResourceExhausted);
}

TEST(HostilePeer, FramesForAChannelThatIsNotOpen) {
  ExchangeNode node("receiver");
  RawPeer peer(node.address());
  peer.Hello(kAttempt);
  peer.Send(DataFrame({.sequence = 0}, "row"));
  const grpc::Status status = peer.Status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("edge 3, 1 -> 0"), std::string::npos);
}

// Every frame of a real conversation, one bit flipped at a time: never a crash, never a wrong row.
TEST(HostilePeer, FlippedBitsNeverReachTheConsumer) {
  ExchangeNode node("receiver");
  const std::string good = DataFrame({.sequence = 0}, "twelve bytes");
  std::mt19937_64 random(3);
  for (uint32_t round = 0; round < 100; ++round) {
    JobAttempt attempt = kAttempt;
    attempt.attempt = AttemptId{round + 2};
    auto gate = *node.exchange().OpenGate(attempt, {kChannel}, &node.parker());
    RawPeer peer(node.address());
    peer.Hello(attempt);
    peer.Receive();
    peer.Send(SmallFrame({.kind = FrameKind::kOpen, .channel = kChannel}, {}));
    peer.Receive();
    std::string bad = good;
    const size_t bit = random() % (bad.size() * 8);
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    peer.Send(bad);
    const size_t before = node.failures();
    node.RunUntil([&] {
      EXPECT_EQ(gate->receiver(0).Front(), nullptr) << "bit " << bit;
      return node.failures() > round || node.failures() > before;
    });
  }
}

}  // namespace
}  // namespace weir
