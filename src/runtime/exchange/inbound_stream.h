#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/exchange/inbound_channel.h"
#include "runtime/exchange/stream.h"

namespace weir {

class AttemptRegistry;

/// Server end of a stream: hands received frames to their channels, sends credit back (the
/// credits of all channels that wait while a write is under way leave in one frame).
/// Threads: see Stream.
class InboundStream final : public Stream {
 public:
  InboundStream(std::string name, AttemptRegistry* registry, NetworkQueue* queue,
                std::shared_ptr<LiveCount> live, FailureCallback on_failure);

  /// For RequestCall, before Start.
  grpc::GenericServerContext* context() { return &context_; }
  grpc::GenericServerAsyncReaderWriter* call() { return &call_; }

  /// Once, when a peer has called. It has `timeout` to say hello.
  void Start(std::chrono::milliseconds timeout);

  /// Slot thread (the first credits: whoever binds the channel).
  void GiveCredit(InboundChannel& channel, uint32_t credits);
  /// Slot thread. Tells the sender that its rows have no room, or have some again.
  void Hold(InboundChannel& channel, bool held);

  /// Ends the stream in order: the attempt is closed here. Any thread.
  void Close(std::chrono::milliseconds timeout);
  void Break(absl::Status reason) override;

 private:
  void StartRead(grpc::ByteBuffer* message, void* tag) override { call_.Read(message, tag); }
  void StartWrite(const grpc::ByteBuffer& message, void* tag) override {
    call_.Write(message, tag);
  }
  bool NextFrame(OutFrame* frame) override;
  void OnIdle(std::unique_lock<std::mutex>& lock) override;
  void OnWriteFailed(std::unique_lock<std::mutex>& lock) override;
  absl::Status OnFrame(InFrame frame) override;
  void OnReadsEnded() override;
  void OnDrained() override;

  absl::Status OnHello(std::string_view payload);
  absl::Status OnData(InFrame frame);
  /// False: a barrier that is to be dropped.
  absl::StatusOr<bool> RoomForFree(InboundChannel& channel, const InFrame& frame);
  absl::StatusOr<InboundChannel*> ChannelOf(const ChannelId& id);
  void FinishWhenIdle(std::unique_lock<std::mutex> lock);
  void OnFinished(bool ok);
  void OnHandshakeAlarm(bool ok);
  void OnCloseAlarm(bool ok);

  const std::string name_;
  AttemptRegistry* const registry_;
  const FailureCallback on_failure_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter call_;

  // Network thread.
  std::optional<JobAttempt> attempt_;
  std::string peer_name_;
  std::string scratch_;
  absl::flat_hash_map<ChannelId, std::shared_ptr<InboundChannel>> channels_;
  std::vector<ChannelId> opened_;

  // mutex_
  std::vector<std::shared_ptr<InboundChannel>> owed_;    // channels with unsent credits
  std::vector<std::shared_ptr<InboundChannel>> unsaid_;  // channels with an unsent hold
  bool greeted_ = false;
  bool peer_left_ = false;
  bool closing_ = false;  // closed on this side
  bool finish_wanted_ = false;
  bool finish_called_ = false;
  absl::Status reason_;

  MemberOperation<InboundStream> finish_op_;
  MemberOperation<InboundStream> handshake_alarm_op_;
  MemberOperation<InboundStream> close_alarm_op_;
};

}  // namespace weir
