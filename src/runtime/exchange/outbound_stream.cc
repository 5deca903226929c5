#include "runtime/exchange/outbound_stream.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "runtime/exchange/method.h"

namespace weir {

OutboundStream::OutboundStream(Peer peer, Handshake handshake, NetworkQueue* queue,
                               std::shared_ptr<LiveCount> live, FailureCallback on_failure)
    : Stream(queue, std::move(live)),
      peer_(std::move(peer)),
      handshake_(std::move(handshake)),
      on_failure_(std::move(on_failure)),
      stub_(peer_.channel),
      peer_name_(peer_.address),
      start_op_(this, &OutboundStream::OnStarted),
      writes_done_op_(this, &OutboundStream::OnWritesDone),
      finish_op_(this, &OutboundStream::OnFinished),
      handshake_alarm_op_(this, &OutboundStream::OnHandshakeAlarm),
      close_alarm_op_(this, &OutboundStream::OnCloseAlarm) {}

void OutboundStream::Start(std::chrono::milliseconds timeout) {
  // A peer that is about to listen is waited for; the handshake's alarm bounds it.
  context_.set_wait_for_ready(true);
  const std::lock_guard lock(mutex_);
  HoldSelf();
  call_ = stub_.PrepareCall(&context_, kExchangeMethod, queue_->cq());
  urgent_.push_back(SmallFrame({.kind = FrameKind::kHello}, EncodeHandshake(handshake_)));
  SetAlarm(&handshake_alarm_, timeout, &handshake_alarm_op_);
  BeginOp();
  call_->StartCall(start_op_.Tag());
}

void OutboundStream::OnStarted(bool ok) {
  if (ok) {
    std::unique_lock lock(mutex_);
    if (phase_ == Phase::kStarting) phase_ = Phase::kOpen;
    lock.unlock();
    ReadNext();
    Pump();
  } else {
    OnReadsEnded();
  }
  EndOp();
}

absl::Status OutboundStream::Open(std::shared_ptr<OutboundChannel> channel) {
  std::unique_lock lock(mutex_);
  if (!reason_.ok()) return reason_;
  if (closing_ != Closing::kNo || phase_ > Phase::kOpen) {
    return absl::FailedPreconditionError(absl::StrCat("the stream to ", peer_.address, " for ",
                                                      ToString(handshake_.attempt), " is closing"));
  }
  if (channels_.size() == kMaxChannelsPerStream) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxChannelsPerStream,
                                                     " channels to ", peer_.address,
                                                     "; lower the parallelism"));
  }
  const ChannelId id = channel->id;
  if (!channels_.emplace(id, std::move(channel)).second) {
    return absl::AlreadyExistsError(absl::StrCat("channel ", ToString(id), " is open already"));
  }
  urgent_.push_back(SmallFrame({.kind = FrameKind::kOpen, .channel = id}, {}));
  Pump(std::move(lock));
  return absl::OkStatus();
}

void OutboundStream::Enqueue(OutboundChannel& channel, OutFrame frame) {
  std::unique_lock lock(mutex_);
  if (phase_ > Phase::kOpen || closing_ > Closing::kWanted) return;  // it ends: nobody will read it
  channel.queue.push_back(std::move(frame));
  channel.metrics.queued_buffers.Set(channel.queue.size());
  const bool may_leave = channel.credits > 0 || (channel.queue.front().header.flags & kFree) != 0;
  if (!channel.ready && may_leave) {
    channel.ready = true;
    ready_.push_back(&channel);
  }
  if (may_leave) Pump(std::move(lock));
}

bool OutboundStream::NextFrame(OutFrame* frame) {
  if (closing_ > Closing::kWanted) return false;
  while (!ready_.empty()) {
    OutboundChannel& channel = *ready_.front();
    ready_.pop_front();
    channel.ready = false;
    if (channel.queue.empty()) continue;
    const bool free = (channel.queue.front().header.flags & kFree) != 0;
    if (!free && channel.credits == 0) continue;
    *frame = std::move(channel.queue.front());
    channel.queue.pop_front();
    if (!free) --channel.credits;
    frame->header.backlog = static_cast<uint32_t>(channel.queue.size());
    channel.metrics.credits.Set(channel.credits);
    channel.metrics.queued_buffers.Set(channel.queue.size());
    if (!channel.queue.empty() &&
        (channel.credits > 0 || (channel.queue.front().header.flags & kFree) != 0)) {
      channel.ready = true;
      ready_.push_back(&channel);
    }
    return true;
  }
  return false;
}

bool OutboundStream::HasQueuedFrames() const {
  for (const auto& [id, channel] : channels_) {
    if (!channel->queue.empty()) return true;
  }
  return false;
}

void OutboundStream::OnIdle(std::unique_lock<std::mutex>& lock) {
  if (closing_ == Closing::kWanted && (!drain_ || !HasQueuedFrames())) {
    closing_ = Closing::kGoodbyeSent;
    urgent_.push_back(SmallFrame({.kind = FrameKind::kGoodbye}, {}));
    Pump(std::move(lock));
  } else if (closing_ == Closing::kGoodbyeSent) {
    closing_ = Closing::kWritesDone;
    writing_ = true;
    BeginOp();
    lock.unlock();
    call_->WritesDone(writes_done_op_.Tag());
  }
}

void OutboundStream::OnWritesDone(bool) { EndOp(); }  // the peer's status follows

void OutboundStream::Close(bool drain, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kDone) return;
  if (closing_ == Closing::kNo) {
    closing_ = Closing::kWanted;
    SetAlarm(&close_alarm_, timeout, &close_alarm_op_);
  } else if (closing_ != Closing::kWanted) {
    return;
  }
  drain_ = drain;
  if (!drain) {
    ready_.clear();
    std::vector<std::deque<OutFrame>> dropped;
    for (auto& [id, channel] : channels_) dropped.push_back(std::move(channel->queue));
    for (auto& [id, channel] : channels_) channel->queue.clear();
    if (phase_ == Phase::kStarting) context_.TryCancel();
    lock.unlock();
    dropped.clear();  // buffers wake their waiters: not under the lock
    lock.lock();
  }
  Pump(std::move(lock));
}

void OutboundStream::Break(absl::Status reason) {
  {
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::kDone) return;
    if (reason_.ok()) reason_ = std::move(reason);
    phase_ = Phase::kEnding;
  }
  context_.TryCancel();
}

absl::Status OutboundStream::status() {
  const std::lock_guard lock(mutex_);
  return reason_;
}

absl::Status OutboundStream::OnFrame(InFrame frame) {
  const std::string_view payload = frame.Contiguous(&scratch_);
  if (Checksum(payload.data(), payload.size()) != frame.header.payload_checksum) {
    return absl::DataLossError("a frame arrived damaged (its checksum does not match)");
  }
  switch (frame.header.kind) {
    case FrameKind::kWelcome: {
      absl::StatusOr<Handshake> peer = DecodeHandshake(payload);
      if (!peer.ok()) return peer.status();
      if (!(peer->attempt == handshake_.attempt)) {
        return absl::InternalError(absl::StrCat("the peer answered for ", ToString(peer->attempt),
                                                " instead of ", ToString(handshake_.attempt)));
      }
      peer_name_ = absl::StrCat(peer->name, " (", peer_.address, ")");
      const std::lock_guard lock(mutex_);
      welcomed_ = true;
      handshake_alarm_->Cancel();
      return absl::OkStatus();
    }
    case FrameKind::kCredit:
      return TakeCredits(frame);
    case FrameKind::kHold:
      return TakeHolds(frame);
    case FrameKind::kGoodbye: {
      const std::lock_guard lock(mutex_);
      peer_left_ = true;
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError(absl::StrCat("a receiver does not send frames of kind ",
                                                     static_cast<int>(frame.header.kind)));
  }
}

absl::StatusOr<OutboundChannel*> OutboundStream::ChannelIn(ByteReader& in) {
  ChannelId id;
  id.edge = in.Get<uint32_t>();
  id.producer = in.Get<uint32_t>();
  id.consumer = in.Get<uint32_t>();
  const auto found = channels_.find(id);
  if (!in.ok() || found == channels_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("word of channel ", ToString(id), ", which this process did not open"));
  }
  return found->second.get();
}

absl::Status OutboundStream::TakeHolds(const InFrame& frame) {
  ByteReader in(frame.Contiguous(&scratch_));
  std::vector<std::shared_ptr<Waker>> wake;
  {
    const std::lock_guard lock(mutex_);
    while (in.remaining() > 0) {
      absl::StatusOr<OutboundChannel*> channel = ChannelIn(in);
      if (!channel.ok()) return channel.status();
      const auto held = in.Get<uint32_t>();
      if (!in.ok()) return absl::InvalidArgumentError("a frame of holds ends too early");
      (*channel)->held.store(held != 0, std::memory_order_release);
      if (held == 0) wake.push_back((*channel)->waker);
    }
  }
  for (const auto& waker : wake) waker->Wake();
  return absl::OkStatus();
}

absl::Status OutboundStream::TakeCredits(const InFrame& frame) {
  ByteReader in(frame.Contiguous(&scratch_));
  std::unique_lock lock(mutex_);
  while (in.remaining() > 0) {
    absl::StatusOr<OutboundChannel*> found = ChannelIn(in);
    if (!found.ok()) return found.status();
    OutboundChannel& channel = **found;
    const auto credits = in.Get<uint32_t>();
    if (!in.ok()) return absl::InvalidArgumentError("a frame of credits ends too early");
    if (credits > kMaxCreditsPerChannel - channel.credits) {
      return absl::InvalidArgumentError(absl::StrCat("channel ", ToString(channel.id),
                                                     " was given more than ", kMaxCreditsPerChannel,
                                                     " credits"));
    }
    channel.credits += credits;
    channel.metrics.credits.Set(channel.credits);
    if (!channel.queue.empty() && !channel.ready) {
      channel.ready = true;
      ready_.push_back(&channel);
    }
  }
  Pump(std::move(lock));
  return absl::OkStatus();
}

void OutboundStream::OnReadsEnded() {
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kEnding;
    if (finishing_) return;
    finishing_ = true;
    BeginOp();
  }
  call_->Finish(&finish_status_, finish_op_.Tag());
}

void OutboundStream::OnFinished(bool) {
  StreamFailure failure;
  bool report = false;
  std::vector<std::shared_ptr<Waker>> wake;
  std::vector<std::deque<OutFrame>> dropped;
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kDone;
    if (handshake_alarm_) handshake_alarm_->Cancel();
    if (close_alarm_) close_alarm_->Cancel();
    report = closing_ == Closing::kNo;
    failure.orderly = peer_left_ && reason_.ok();
    if (reason_.ok()) {
      reason_ = peer_left_ ? absl::CancelledError("the peer closed the attempt")
                : finish_status_.ok()
                    ? absl::UnavailableError("the peer ended the stream")
                    : absl::Status(static_cast<absl::StatusCode>(finish_status_.error_code()),
                                   finish_status_.error_message());
    }
    reason_ = absl::Status(
        reason_.code(),
        absl::StrCat("data stream to ", peer_name_, " ended: ", std::string(reason_.message())));
    failure.reason = reason_;
    for (auto& [id, channel] : channels_) {
      failure.channels.push_back(id);
      wake.push_back(channel->waker);
      dropped.push_back(std::move(channel->queue));
      channel->queue.clear();
    }
    failed_.store(true, std::memory_order_release);
  }
  dropped.clear();
  for (const auto& waker : wake) waker->Wake();
  if (report) {
    failure.peer = peer_name_;
    failure.attempt = handshake_.attempt;
    on_failure_(std::move(failure));
  }
  EndOp();
}

void OutboundStream::OnDrained() {
  const std::lock_guard lock(mutex_);
  channels_.clear();
  ready_.clear();
}

void OutboundStream::OnHandshakeAlarm(bool ok) {
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    late = ok && !welcomed_;
  }
  if (late) Break(absl::DeadlineExceededError("no answer to the handshake in time"));
  EndOp();
}

void OutboundStream::OnCloseAlarm(bool ok) {
  if (ok) Break(absl::DeadlineExceededError("it did not end in time and was cancelled"));
  EndOp();
}

}  // namespace weir
