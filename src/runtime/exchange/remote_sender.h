#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/exchange/element.h"
#include "runtime/exchange/network_buffer_pool.h"
#include "runtime/exchange/options.h"
#include "runtime/exchange/outbound_stream.h"

namespace weir {

/// The producing end of one channel to another process. Owned by one subtask, used on its slot
/// thread only; it never blocks.
///
/// Rows are serialised straight into the open buffer:
///
///   if (!sender.HasRoom()) return kBlocked;          // the Parker is woken when that changes
///   auto room = sender.Room(size of the first row);  // then as many rows as fit
///   sender.Commit(bytes, rows);
///
/// What is emitted although HasRoom() is false (the rest of one record or fired key) goes into the
/// overdraft, memory beyond the pool; past overdraft_limit_bytes the call fails and so must the
/// job. Elements leave in the order of the calls. Data waits for the receiver's credit; a barrier
/// that finds nothing before it does not.
///
/// After the stream has ended HasRoom() is false for good, and status() says why.
class RemoteSender {
 public:
  RemoteSender(const ExchangeOptions& options, std::shared_ptr<OutboundStream> stream,
               std::shared_ptr<OutboundChannel> channel, std::shared_ptr<BufferAccount> account,
               size_t segment_bytes);
  /// Queued frames still leave; an open buffer that was not flushed is dropped.
  ~RemoteSender();
  RemoteSender(const RemoteSender&) = delete;
  RemoteSender& operator=(const RemoteSender&) = delete;

  /// False, too, while the receiver holds the channel; not if it is `for_barrier`, for what has to
  /// leave before a barrier can.
  bool HasRoom(bool for_barrier = false);

  /// The rest of the open buffer, at least `at_least` bytes; takes a fresh buffer if need be.
  /// Precondition: at_least <= max_row_bytes(). Rows of one `tag` run on in one element.
  absl::StatusOr<std::span<char>> Room(size_t at_least, uint8_t tag = 0);
  /// The first `bytes` of what Room() gave hold `rows` rows.
  void Commit(size_t bytes, uint32_t rows);
  /// Largest row that fits a buffer; a larger one goes through LargeRoom().
  size_t max_row_bytes() const { return payload_capacity_ - kElementHeaderBytes; }

  /// Memory for one row (or element) above max_row_bytes(); it travels in parts. Refused above the
  /// record limit. Written by the caller, then CommitLarge().
  absl::StatusOr<char*> LargeRoom(size_t bytes);
  void CommitLarge(uint32_t rows, uint8_t tag = 0);

  /// A watermark or status in band. A watermark (status) right behind another replaces it.
  absl::Status SendControl(ElementKind kind, std::string_view bytes);
  /// A barrier in band; leaves at once.
  absl::Status SendBarrier(std::string_view bytes);
  absl::Status SendEndOfInput();

  /// Sends a part-filled buffer if the receiver has credit for it and nothing waits before it.
  /// False when there is something that could not be sent yet. Nobody says when it can: ask again
  /// after a while. It leaves without being asked for when the buffer is full.
  bool Flush();

  /// True when everything was handed to the transport.
  bool Drained() const;
  absl::Status status() const { return stream_->status(); }
  const ChannelId& id() const { return channel_->id; }
  /// Stays readable after the sender has gone.
  std::shared_ptr<const SenderMetrics> metrics() const { return {channel_, &channel_->metrics}; }

 private:
  absl::Status NewBuffer();
  void Seal(uint16_t flags = 0);
  char* OpenPayload() const { return open_.data() + kFrameHeaderBytes; }
  absl::Status AppendControl(ElementKind kind, std::string_view bytes);
  absl::Status SendAtOnce(ElementKind kind, std::string_view bytes);
  absl::Status CheckOverdraft(size_t more) const;

  const ExchangeOptions options_;
  const std::shared_ptr<OutboundStream> stream_;
  const std::shared_ptr<OutboundChannel> channel_;
  const std::shared_ptr<BufferAccount> account_;
  const size_t payload_capacity_;

  NetworkBuffer open_;
  size_t used_ = 0;          // of the open buffer's payload
  size_t last_element_ = 0;  // where its last element begins, if used_ > 0
  size_t room_at_ = 0;       // where the room last given begins
  bool extend_ = false;      // the room extends the last element
  uint8_t room_tag_ = 0;
  NetworkBuffer large_;
  uint64_t next_sequence_ = 0;
};

}  // namespace weir
