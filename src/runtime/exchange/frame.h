#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "runtime/exchange/limits.h"

namespace weir {

// A gRPC message of the exchange is one frame or several, end to end:
//
//   message := frame+
//   frame   := header payload
//   header  := magic:u32 kind:u16 flags:u16 edge:u32 producer:u32 consumer:u32 payload_bytes:u32
//              sequence:u64 backlog:u32 zero:u32 payload_checksum:u64 header_checksum:u64
//   payload := kData       element*            (element.h), or one part of a large element
//              kHello      see handshake.h     kWelcome   see handshake.h
//              kOpen       nothing             kGoodbye   nothing
//              kCredit     (edge:u32 producer:u32 consumer:u32 credits:u32)*
//              kHold       (edge:u32 producer:u32 consumer:u32 held:u32)*
//
// Little-endian. Checksums are XXH3 (64 bits); the header's covers its first 48 bytes.
//
//   sender                                   receiver
//     hello (job, attempt, leader epoch) ->
//                                         <- welcome, or the stream ends with the refusal
//     open(channel) ...                  ->
//                                         <- credit(channel, n), once its consumer is there
//     data(channel, sequence) ...        ->     a frame takes one credit, unless kFree
//                                         <- hold(channel): no room for rows until it is let go
//     goodbye, half-close                ->
//                                         <- status OK
enum class FrameKind : uint16_t {
  kHello = 1,
  kWelcome = 2,
  kOpen = 3,
  kData = 4,
  kCredit = 5,
  kGoodbye = 6,
  kHold = 7,
};

/// Bits of FrameHeader::flags.
enum FrameFlag : uint16_t {
  kFree = 1,       ///< data frame of barriers and end of input only: takes no credit
  kPart = 2,       ///< the payload is a part of one large element
  kFirstPart = 4,  ///< its first part: begins with the element's header
  kLastPart = 8,   ///< its last
  kHasChecksum = 16,
};

struct FrameHeader {
  FrameKind kind = FrameKind::kData;
  uint16_t flags = 0;
  ChannelId channel;
  uint32_t payload_bytes = 0;
  uint64_t sequence = 0;  ///< of data frames, per channel, from 0 without gaps
  uint32_t backlog = 0;   ///< of data frames: how many more wait at the sender
  uint64_t payload_checksum = 0;
};

uint64_t Checksum(const char* data, size_t size);

/// Writes exactly kFrameHeaderBytes, checksum of the header included.
void WriteFrameHeader(const FrameHeader& header, char* out);

/// Reads and checks the header of the frame that begins with `data`, where `left` bytes of the
/// message are left. `data` holds at least min(left, kFrameHeaderBytes) bytes. Never trusts its
/// input.
absl::StatusOr<FrameHeader> ReadFrameHeader(std::string_view data, size_t left);

/// Header and payload in one string: for the small frames. Adds the payload's checksum.
std::string SmallFrame(FrameHeader header, std::string_view payload);

/// "edge 3, 1 -> 0": how messages name a channel.
std::string ToString(const ChannelId& channel);

}  // namespace weir
