#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/element/record_limit.h"

namespace weir {

/// Everything in the exchange is bounded; the bounds stand here together with their relations.
/// What a user may set is in ExchangeOptions, within these.

/// Segment sizes. A segment holds one frame: header, then payload.
inline constexpr size_t kMinSegmentBytes = size_t{4} << 10;
inline constexpr size_t kDefaultSegmentBytes = size_t{64} << 10;
inline constexpr size_t kMaxSegmentBytes = size_t{1} << 20;

/// Fixed header in front of every frame.
inline constexpr size_t kFrameHeaderBytes = 56;
/// Fixed header in front of every element of a data frame.
inline constexpr size_t kElementHeaderBytes = 12;
/// Frames that wait together leave in one gRPC message, until it has this size: every message costs
/// its own way through gRPC, a window update back and wake-ups at both ends.
inline constexpr size_t kFullMessageBytes = size_t{512} << 10;
/// A gRPC message above this is refused before it is read: a stranger cannot fill our memory.
inline constexpr size_t kMaxMessageBytes =
    kFullMessageBytes + kMaxSegmentBytes + (size_t{64} << 10);

/// Floating buffers of one channel and of one gate. Below a few full messages the ends wait for one
/// another; what is under way beyond the processor's cache is read from memory when it leaves,
/// which costs more than waiting for credit saves.
inline constexpr size_t kMaxBytesPerSender = size_t{2} << 20;
inline constexpr size_t kMaxBytesPerGate = size_t{2} << 20;

/// Opaque bytes of one control element (watermark, barrier ...).
inline constexpr size_t kMaxControlBytes = 1024;
/// One record, serialised. Larger ones are refused by name.
inline constexpr size_t kDefaultRecordLimitBytes = kMaxRecordBytes;
/// What one channel may hold beyond its room: what a single record or fired key still emits after
/// HasRoom() turned false.
inline constexpr size_t kDefaultOverdraftLimitBytes = 2 * kDefaultRecordLimitBytes;

/// Frames without credit (barriers, end of input) that a consumer may have unread. The number of
/// checkpoints in flight is 16 at most: that many barriers are only unread when a consumer stands
/// still while one checkpoint after the other is given up.
inline constexpr size_t kMaxCreditFreeFrames = 32;
/// Credits one channel can ever hold (exclusive and floating).
inline constexpr uint32_t kMaxCreditsPerChannel = 4096;
/// Channels in one credit frame; the rest follows in the next.
inline constexpr size_t kMaxCreditEntries = 4096;
/// Channels of one stream (one sender process to one receiver process, one attempt).
inline constexpr size_t kMaxChannelsPerStream = size_t{1} << 16;
/// Jobs whose highest attempt is remembered, to refuse lower ones.
inline constexpr size_t kMaxRememberedJobs = 1024;
/// Bytes of a handshake payload.
inline constexpr size_t kMaxHandshakeBytes = 4096;

/// Received frames whose payload is smaller than this part of a segment are copied on arrival:
/// else a few bytes would pin the whole block that the socket was read into.
inline constexpr size_t kSmallFrameDivisor = 8;

static_assert(kFrameHeaderBytes + kElementHeaderBytes + kMaxControlBytes < kMinSegmentBytes);
static_assert(kMaxSegmentBytes < kMaxMessageBytes);
static_assert(2 * kFullMessageBytes <= kMaxBytesPerSender);
static_assert(kFullMessageBytes + kMaxCreditEntries * 16 + kFrameHeaderBytes < kMaxMessageBytes);
static_assert(kDefaultOverdraftLimitBytes >= kDefaultRecordLimitBytes + kMaxSegmentBytes);

}  // namespace weir
