#include "runtime/exchange/inbound_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "runtime/exchange/attempt_registry.h"
#include "runtime/exchange/element.h"
#include "runtime/exchange/method.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kBreakGrace{1000};

/// A frame with one number for each of the last channels, as many as fit; these leave the list.
template <class NumberOf>
OutFrame FrameOf(FrameKind kind, std::vector<std::shared_ptr<InboundChannel>>& channels,
                 NumberOf&& number_of) {
  ByteWriter payload;
  const size_t count = std::min(channels.size(), kMaxCreditEntries);
  for (size_t i = channels.size() - count; i < channels.size(); ++i) {
    InboundChannel& channel = *channels[i];
    payload.Put(channel.id.edge);
    payload.Put(channel.id.producer);
    payload.Put(channel.id.consumer);
    payload.Put(number_of(channel));
  }
  channels.resize(channels.size() - count);
  OutFrame frame;
  frame.small = SmallFrame({.kind = kind}, payload.bytes());
  return frame;
}

}  // namespace

InboundStream::InboundStream(std::string name, AttemptRegistry* registry, NetworkQueue* queue,
                             std::shared_ptr<LiveCount> live, FailureCallback on_failure)
    : Stream(queue, std::move(live)),
      name_(std::move(name)),
      registry_(registry),
      on_failure_(std::move(on_failure)),
      call_(&context_),
      finish_op_(this, &InboundStream::OnFinished),
      handshake_alarm_op_(this, &InboundStream::OnHandshakeAlarm),
      close_alarm_op_(this, &InboundStream::OnCloseAlarm) {}

void InboundStream::Start(std::chrono::milliseconds timeout) {
  peer_name_ = context_.peer();
  {
    const std::lock_guard lock(mutex_);
    HoldSelf();
    phase_ = Phase::kOpen;
    SetAlarm(&handshake_alarm_, timeout, &handshake_alarm_op_);
  }
  if (context_.method() != kExchangeMethod) {
    Break(absl::UnimplementedError(
        absl::StrCat("this port speaks ", kExchangeMethod, " only, not ", context_.method())));
    return;
  }
  ReadNext();
}

void InboundStream::GiveCredit(InboundChannel& channel, uint32_t credits) {
  channel.credits_given.fetch_add(credits);
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kOpen) return;
  if (channel.unsent_credits == 0) {
    // The stream keeps the channel until the credit is sent.
    owed_.push_back(channel.shared_from_this());
  }
  channel.unsent_credits += credits;
  Pump(std::move(lock));
}

void InboundStream::Hold(InboundChannel& channel, bool held) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kOpen) return;
  channel.held = held;
  if (!std::exchange(channel.hold_unsent, true)) unsaid_.push_back(channel.shared_from_this());
  Pump(std::move(lock));
}

bool InboundStream::NextFrame(OutFrame* frame) {
  if (finish_wanted_) return false;
  if (!unsaid_.empty()) {
    *frame = FrameOf(FrameKind::kHold, unsaid_, [](InboundChannel& channel) {
      channel.hold_unsent = false;
      return uint32_t{channel.held};
    });
    return true;
  }
  if (owed_.empty()) return false;
  *frame = FrameOf(FrameKind::kCredit, owed_, [](InboundChannel& channel) {
    return std::exchange(channel.unsent_credits, 0);
  });
  return true;
}

void InboundStream::OnIdle(std::unique_lock<std::mutex>& lock) {
  if (finish_wanted_) FinishWhenIdle(std::move(lock));
}

void InboundStream::OnWriteFailed(std::unique_lock<std::mutex>& lock) {
  if (finish_wanted_) FinishWhenIdle(std::move(lock));
}

absl::Status InboundStream::OnFrame(InFrame frame) {
  const FrameKind kind = frame.header.kind;
  if (!attempt_ && kind != FrameKind::kHello) {
    return absl::InvalidArgumentError("the peer spoke before its handshake");
  }
  if (kind == FrameKind::kData) return OnData(std::move(frame));

  if (frame.header.payload_bytes > kMaxHandshakeBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of kind ", static_cast<int>(kind),
                                                   " has ", frame.header.payload_bytes,
                                                   " bytes of payload"));
  }
  const std::string_view payload = frame.Contiguous(&scratch_);
  if (Checksum(payload.data(), payload.size()) != frame.header.payload_checksum) {
    return absl::DataLossError("a frame arrived damaged (its checksum does not match)");
  }
  switch (kind) {
    case FrameKind::kHello:
      return OnHello(payload);
    case FrameKind::kOpen:
      if (opened_.size() == kMaxChannelsPerStream) {
        return absl::ResourceExhaustedError("too many channels on one stream");
      }
      opened_.push_back(frame.header.channel);
      return registry_->Open(*attempt_, std::static_pointer_cast<InboundStream>(shared_from_this()),
                             frame.header.channel);
    case FrameKind::kGoodbye: {
      const std::lock_guard lock(mutex_);
      peer_left_ = true;
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("a sender does not send frames of kind ", static_cast<int>(kind)));
  }
}

absl::Status InboundStream::OnHello(std::string_view payload) {
  if (attempt_) return absl::InvalidArgumentError("a second handshake on one stream");
  absl::StatusOr<Handshake> hello = DecodeHandshake(payload);
  if (!hello.ok()) return hello.status();
  if (absl::Status s = registry_->Admit(hello->attempt); !s.ok()) return s;
  attempt_ = hello->attempt;
  peer_name_ = absl::StrCat(hello->name, " (", context_.peer(), ")");
  registry_->AddStream(*attempt_, std::static_pointer_cast<InboundStream>(shared_from_this()));
  std::unique_lock lock(mutex_);
  greeted_ = true;
  handshake_alarm_->Cancel();
  urgent_.push_back(SmallFrame({.kind = FrameKind::kWelcome},
                               EncodeHandshake({.attempt = *attempt_, .name = name_})));
  Pump(std::move(lock));
  return absl::OkStatus();
}

absl::StatusOr<InboundChannel*> InboundStream::ChannelOf(const ChannelId& id) {
  if (const auto found = channels_.find(id); found != channels_.end()) return found->second.get();
  std::shared_ptr<InboundChannel> channel = registry_->Find(*attempt_, id);
  if (channel == nullptr || channel->stream.get() != this) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame for channel ", ToString(id), ", which is not open on this stream"));
  }
  return channels_.emplace(id, std::move(channel)).first->second.get();
}

absl::Status InboundStream::OnData(InFrame frame) {
  const FrameHeader& header = frame.header;
  absl::StatusOr<InboundChannel*> found = ChannelOf(header.channel);
  if (!found.ok()) return found.status();
  InboundChannel& channel = **found;
  if (header.sequence != channel.next_sequence) {
    return absl::DataLossError(absl::StrCat("channel ", ToString(header.channel), ": frame ",
                                            header.sequence, " came where ", channel.next_sequence,
                                            " was due"));
  }
  ++channel.next_sequence;
  if ((header.flags & kFree) == 0 && ++channel.credits_used > channel.credits_given.load()) {
    return absl::ResourceExhaustedError(absl::StrCat("channel ", ToString(header.channel),
                                                     ": the sender sent more than its credit of ",
                                                     channel.credits_given.load(), " buffers"));
  }
  if (channel.closed.load(std::memory_order_acquire)) return absl::OkStatus();
  if ((header.flags & kFree) != 0) {
    absl::StatusOr<bool> room = RoomForFree(channel, frame);
    if (!room.ok() || !*room) return room.status();
    ++channel.free_frames;
  }
  if (frame.header.payload_bytes < kDefaultSegmentBytes / kSmallFrameDivisor) {
    const std::string_view payload = frame.Contiguous(&scratch_);
    const grpc::Slice copy(payload.data(), payload.size());
    frame.parts.assign(1, copy);
  }
  channel.metrics.backlog.Set(header.backlog);
  if (!channel.frames.TryPush(std::move(frame))) {
    return absl::InternalError(
        absl::StrCat("channel ", ToString(channel.id), ": more frames than its gate has room for"));
  }
  queue_->WakeSoon(channel.waker);
  return absl::OkStatus();
}

// A consumer that stands still through so many checkpoints is not the sender's fault. It misses the
// barriers of the last of them, which end as those before: given up when their time is over. The
// last place is that of the end of input, of which there is one.
absl::StatusOr<bool> InboundStream::RoomForFree(InboundChannel& channel, const InFrame& frame) {
  const uint64_t unread =
      channel.free_frames - channel.free_frames_read.load(std::memory_order_acquire);
  if (unread + 1 < kMaxCreditFreeFrames) return true;
  ElementHeader element;
  const bool known = ReadElementHeader(frame.Contiguous(&scratch_), &element);
  if (known && element.kind == ElementKind::kBarrier) return false;
  if (unread < kMaxCreditFreeFrames) return true;
  return absl::ResourceExhaustedError(absl::StrCat("channel ", ToString(channel.id), ": more than ",
                                                   kMaxCreditFreeFrames,
                                                   " frames without credit wait for the consumer"));
}

void InboundStream::Break(absl::Status reason) {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kDone) return;
  if (reason_.ok()) reason_ = std::move(reason);
  // The status has to wait for a write under way, but not for one that the peer does not take.
  if (writing_ && !close_alarm_) SetAlarm(&close_alarm_, kBreakGrace, &close_alarm_op_);
  FinishWhenIdle(std::move(lock));
}

void InboundStream::Close(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (phase_ != Phase::kOpen || closing_) return;
  closing_ = true;
  if (!close_alarm_) SetAlarm(&close_alarm_, timeout, &close_alarm_op_);
  urgent_.push_back(SmallFrame({.kind = FrameKind::kGoodbye}, {}));
  finish_wanted_ = true;
  Pump(std::move(lock));
}

void InboundStream::OnReadsEnded() {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kDone) return;
  if (reason_.ok() && !peer_left_ && !closing_) {
    reason_ = absl::UnavailableError("the connection broke");
  }
  urgent_.clear();
  FinishWhenIdle(std::move(lock));
}

void InboundStream::FinishWhenIdle(std::unique_lock<std::mutex> lock) {
  finish_wanted_ = true;
  if (writing_ || finish_called_) return;
  finish_called_ = true;
  phase_ = Phase::kEnding;
  BeginOp();
  const grpc::Status status(static_cast<grpc::StatusCode>(reason_.code()),
                            std::string(reason_.message()));
  lock.unlock();
  call_.Finish(status, finish_op_.Tag());
}

void InboundStream::OnFinished(bool) {
  StreamFailure failure;
  bool report = false;
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kDone;
    if (handshake_alarm_) handshake_alarm_->Cancel();
    if (close_alarm_) close_alarm_->Cancel();
    report = !closing_;
    failure.orderly = peer_left_ && reason_.ok();
    failure.reason =
        failure.orderly ? absl::CancelledError("the peer closed the attempt") : reason_;
  }
  failure.reason = absl::Status(failure.reason.code(),
                                absl::StrCat("data stream from ", peer_name_,
                                             " ended: ", std::string(failure.reason.message())));
  if (attempt_) {
    registry_->RemoveStream(*attempt_, std::static_pointer_cast<InboundStream>(shared_from_this()));
    failure.attempt = *attempt_;
  }
  for (const auto& [id, channel] : channels_) channel->waker->Wake();
  if (report && attempt_) {
    failure.peer = peer_name_;
    failure.inbound = true;
    failure.channels = opened_;
    on_failure_(std::move(failure));
  }
  EndOp();
}

void InboundStream::OnDrained() {
  channels_.clear();
  const std::lock_guard lock(mutex_);
  owed_.clear();
  unsaid_.clear();
}

void InboundStream::OnHandshakeAlarm(bool ok) {
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    late = ok && !greeted_;
  }
  if (late) Break(absl::DeadlineExceededError("no handshake came in time"));
  EndOp();
}

void InboundStream::OnCloseAlarm(bool ok) {
  if (ok) context_.TryCancel();
  EndOp();
}

}  // namespace weir
