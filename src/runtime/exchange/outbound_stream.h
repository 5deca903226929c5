#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "runtime/exchange/channel_metrics.h"
#include "runtime/exchange/stream.h"

namespace weir {

/// The sending end of a channel, as its RemoteSender (slot thread) and the stream share it.
/// Guarded by the stream's mutex_, but for the atomics.
struct OutboundChannel {
  explicit OutboundChannel(ChannelId id, std::shared_ptr<Waker> waker)
      : id(id), waker(std::move(waker)) {}

  const ChannelId id;
  const std::shared_ptr<Waker> waker;
  std::deque<OutFrame> queue;  // bounded by the sender: its buffers and its overdraft
  uint32_t credits = 0;
  std::atomic<bool> held{false};  // by the receiver: rows have no room
  bool ready = false;             // listed among the channels that have something to send
  SenderMetrics metrics;
};

/// Client end of a stream: from this process's sending channels of one attempt to one peer.
/// Frames of a channel leave in order; channels that have frames and credit take turns, a frame
/// each. Threads: see Stream.
class OutboundStream final : public Stream {
 public:
  struct Peer {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
  };
  OutboundStream(Peer peer, Handshake handshake, NetworkQueue* queue,
                 std::shared_ptr<LiveCount> live, FailureCallback on_failure);

  /// Once. The peer has `timeout` to answer the handshake.
  void Start(std::chrono::milliseconds timeout);

  /// Announces the channel to the peer. Fails when the stream has ended.
  absl::Status Open(std::shared_ptr<OutboundChannel> channel);
  /// Slot thread. The frame waits for its turn and its credit.
  void Enqueue(OutboundChannel& channel, OutFrame frame);

  /// Ends the stream in order: after what the channels have queued (`drain`), or dropping it.
  /// What has not ended after `timeout` is cancelled. Any thread.
  void Close(bool drain, std::chrono::milliseconds timeout);
  void Break(absl::Status reason) override;

  /// OK while the stream can carry frames.
  absl::Status status();
  bool failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  void StartRead(grpc::ByteBuffer* message, void* tag) override { call_->Read(message, tag); }
  void StartWrite(const grpc::ByteBuffer& message, void* tag) override {
    call_->Write(message, tag);
  }
  bool NextFrame(OutFrame* frame) override;
  void OnIdle(std::unique_lock<std::mutex>& lock) override;
  absl::Status OnFrame(InFrame frame) override;
  void OnReadsEnded() override;
  void OnDrained() override;

  void OnStarted(bool ok);
  void OnWritesDone(bool ok);
  void OnFinished(bool ok);
  void OnHandshakeAlarm(bool ok);
  void OnCloseAlarm(bool ok);
  absl::Status TakeCredits(const InFrame& frame);
  absl::Status TakeHolds(const InFrame& frame);
  absl::StatusOr<OutboundChannel*> ChannelIn(ByteReader& in);  // mutex_ held
  bool HasQueuedFrames() const;                                // mutex_ held

  const Peer peer_;
  const Handshake handshake_;
  const FailureCallback on_failure_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::Status finish_status_;
  std::string scratch_;    // network thread
  std::string peer_name_;  // network thread

  // mutex_
  absl::flat_hash_map<ChannelId, std::shared_ptr<OutboundChannel>> channels_;
  std::deque<OutboundChannel*> ready_;
  enum class Closing { kNo, kWanted, kGoodbyeSent, kWritesDone } closing_ = Closing::kNo;
  bool drain_ = false;
  bool welcomed_ = false;
  bool peer_left_ = false;
  bool finishing_ = false;
  absl::Status reason_;  // why the stream broke, once it has

  std::atomic<bool> failed_{false};
  MemberOperation<OutboundStream> start_op_;
  MemberOperation<OutboundStream> writes_done_op_;
  MemberOperation<OutboundStream> finish_op_;
  MemberOperation<OutboundStream> handshake_alarm_op_;
  MemberOperation<OutboundStream> close_alarm_op_;
};

}  // namespace weir
