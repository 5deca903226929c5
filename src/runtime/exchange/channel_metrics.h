#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

/// Counters of one channel, read by whoever exports them. Each is written by one thread (or under
/// one lock), hence plain loads and stores without order.
class MetricCell {
 public:
  void Add(uint64_t n) { Set(Get() + n); }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct SenderMetrics {
  MetricCell credits;           ///< credits at hand
  MetricCell queued_buffers;    ///< sealed, waiting for credit or for the stream
  MetricCell buffers_in_use;    ///< open, queued, and with gRPC until the socket has taken them
  MetricCell buffers;           ///< frames sealed so far
  MetricCell bytes;             ///< payload bytes sealed so far
  MetricCell records;           ///< rows committed so far
  MetricCell overdraft_frames;  ///< frames that went beyond the channel's room
};

struct ReceiverMetrics {
  MetricCell window;          ///< credits given to the channel (gate_credits.h)
  MetricCell queued_buffers;  ///< received, not consumed
  MetricCell backlog;         ///< what waits at the sender, as last announced
  MetricCell buffers;         ///< frames consumed
  MetricCell bytes;           ///< payload bytes consumed
  MetricCell records;         ///< rows consumed
  MetricCell gathered;        ///< frames that arrived in pieces and were copied
};

}  // namespace weir
