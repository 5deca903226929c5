#include "runtime/exchange/frame.h"

#include <gtest/gtest.h>

#include "runtime/exchange/element.h"
#include "runtime/exchange/handshake.h"

namespace weir {
namespace {

const FrameHeader kHeader{.kind = FrameKind::kData,
                          .flags = kPart | kHasChecksum,
                          .channel = {7, 8, 9},
                          .payload_bytes = 3,
                          .sequence = 1ull << 40,
                          .backlog = 5,
                          .payload_checksum = 0x1234567890abcdef};

std::string Written(const FrameHeader& header) {
  std::string out(kFrameHeaderBytes, '\0');
  WriteFrameHeader(header, out.data());
  return out;
}

TEST(Frame, ReadsBackWhatWasWritten) {
  const auto read = ReadFrameHeader(Written(kHeader), kFrameHeaderBytes + 3);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->kind, kHeader.kind);
  EXPECT_EQ(read->flags, kHeader.flags);
  EXPECT_EQ(read->channel, kHeader.channel);
  EXPECT_EQ(read->payload_bytes, kHeader.payload_bytes);
  EXPECT_EQ(read->sequence, kHeader.sequence);
  EXPECT_EQ(read->backlog, kHeader.backlog);
  EXPECT_EQ(read->payload_checksum, kHeader.payload_checksum);
}

TEST(Frame, EveryFlippedBitOfTheHeaderIsSeen) {
  const std::string good = Written(kHeader);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(ReadFrameHeader(bad, kFrameHeaderBytes + 3).ok()) << "bit " << bit;
  }
}

TEST(Frame, RefusesWhatIsShortOrOfAnotherLengthOrKind) {
  const std::string good = Written(kHeader);
  EXPECT_FALSE(ReadFrameHeader(good.substr(0, 55), 55).ok());
  EXPECT_FALSE(ReadFrameHeader({}, 0).ok());
  EXPECT_FALSE(ReadFrameHeader(good, kFrameHeaderBytes + 2).ok());
  EXPECT_TRUE(ReadFrameHeader(good, kFrameHeaderBytes + 4).ok()) << "the next frame follows";
  FrameHeader unknown = kHeader;
  unknown.kind = static_cast<FrameKind>(99);
  EXPECT_FALSE(ReadFrameHeader(Written(unknown), kFrameHeaderBytes + 3).ok());
}

TEST(Frame, SmallFrameCarriesItsChecksum) {
  const std::string frame = SmallFrame({.kind = FrameKind::kCredit}, "abc");
  const auto read = ReadFrameHeader(frame, frame.size());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->payload_checksum, Checksum("abc", 3));
  EXPECT_EQ(frame.substr(kFrameHeaderBytes), "abc");
}

TEST(Element, ReadsBackWhatWasWritten) {
  char bytes[kElementHeaderBytes];
  WriteElementHeader({.bytes = 77, .rows = 5, .kind = ElementKind::kWatermark, .tag = 9}, bytes);
  ElementHeader read;
  ASSERT_TRUE(ReadElementHeader({bytes, sizeof bytes}, &read));
  EXPECT_EQ(read.bytes, 77u);
  EXPECT_EQ(read.rows, 5u);
  EXPECT_EQ(read.kind, ElementKind::kWatermark);
  EXPECT_EQ(read.tag, 9);
  EXPECT_FALSE(ReadElementHeader({bytes, sizeof bytes - 1}, &read));
  bytes[8] = 99;
  EXPECT_FALSE(ReadElementHeader({bytes, sizeof bytes}, &read)) << "unknown kind";
}

const Handshake kHello{.attempt = {JobId{"00c0ffee"}, AttemptId{3}, LeaderEpoch{12}},
                       .name = "taskmanager-1"};

TEST(Handshake, ReadsBackWhatWasWritten) {
  const auto read = DecodeHandshake(EncodeHandshake(kHello));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->attempt, kHello.attempt);
  EXPECT_EQ(read->name, kHello.name);
}

TEST(Handshake, RefusesByReason) {
  const std::string good = EncodeHandshake(kHello);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(DecodeHandshake(good.substr(0, size)).ok()) << size;
  }
  std::string magic = good;
  magic[0] = 'X';
  EXPECT_EQ(DecodeHandshake(magic).status().code(), absl::StatusCode::kInvalidArgument);
  std::string version = good;
  version[8] = 4;
  EXPECT_NE(DecodeHandshake(version).status().message().find("speaks version 4"),
            absl::string_view::npos);
  std::string feature = good;
  feature[10] = 1;
  EXPECT_EQ(DecodeHandshake(feature).status().code(), absl::StatusCode::kFailedPrecondition);
  std::string optional_feature = good;
  optional_feature[14] = 1;  // bit 32
  EXPECT_TRUE(DecodeHandshake(optional_feature).ok());
}

}  // namespace
}  // namespace weir
