#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "base/spsc_ring.h"
#include "runtime/exchange/channel_metrics.h"
#include "runtime/exchange/stream.h"

namespace weir {

class InboundStream;

/// The receiving end of a channel, as its RemoteReceiver (slot thread) and its stream (network
/// thread) share it.
struct InboundChannel : std::enable_shared_from_this<InboundChannel> {
  /// `max_credits`: the most that the gate will ever have given and not got back.
  InboundChannel(ChannelId id, std::shared_ptr<Waker> waker, uint32_t max_credits)
      : id(id), waker(std::move(waker)), frames(max_credits + kMaxCreditFreeFrames) {}

  const ChannelId id;
  const std::shared_ptr<Waker> waker;
  SpscRing<InFrame> frames;  // network thread to slot thread

  // Network thread.
  uint64_t next_sequence = 0;
  uint64_t credits_used = 0;
  uint64_t free_frames = 0;  // pushed without credit

  std::atomic<uint64_t> free_frames_read{0};
  std::atomic<uint64_t> credits_given{0};
  std::atomic<bool> closed{false};  // the consumer has gone: frames are dropped

  // The stream's mutex_.
  uint32_t unsent_credits = 0;
  bool held = false;         // by the consumer
  bool hold_unsent = false;  // listed among those whose sender does not know yet

  /// Set once, by the registry, before the first credit is sent; so the slot may read it as soon
  /// as it has seen a frame.
  std::shared_ptr<InboundStream> stream;

  ReceiverMetrics metrics;
};

}  // namespace weir
