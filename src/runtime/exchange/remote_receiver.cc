#include "runtime/exchange/remote_receiver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/exchange/inbound_stream.h"

namespace weir {
namespace {

// A gathered large element gives its memory back if it took more than this.
constexpr size_t kKeptLargeBytes = size_t{1} << 20;

}  // namespace

RemoteReceiver::RemoteReceiver(RemoteGate* gate, uint32_t index,
                               std::shared_ptr<InboundChannel> channel)
    : gate_(gate), index_(index), channel_(std::move(channel)) {}

const Element* RemoteReceiver::Front() {
  if (has_front_) return &front_;
  if (failed_) return nullptr;
  while (rest_.empty()) {
    if (!NextFrame()) return nullptr;
  }
  if (absl::Status s = ParseElement(); !s.ok()) {
    Fail(std::move(s));
    return nullptr;
  }
  has_front_ = true;
  return &front_;
}

// Leaves the payload of the next frame (or a whole large element) in rest_.
bool RemoteReceiver::NextFrame() {
  InFrame* frame = channel_->frames.Front();
  if (frame == nullptr) return false;
  frame_open_ = true;
  front_.sequence = frame->header.sequence;
  if (absl::Status s = OpenFrame(*frame); !s.ok()) {
    Fail(std::move(s));
    return false;
  }
  if (rest_.empty()) ReleaseFrame();  // a part of more, or nothing at all
  return true;
}

absl::Status RemoteReceiver::OpenFrame(InFrame& frame) {
  rest_ = frame.Contiguous(&scratch_);
  if (frame.parts.size() > 1) channel_->metrics.gathered.Add(1);
  if ((frame.header.flags & kHasChecksum) != 0 &&
      Checksum(rest_.data(), rest_.size()) != frame.header.payload_checksum) {
    return absl::DataLossError(absl::StrCat("frame ", frame.header.sequence,
                                            " arrived damaged (its checksum does not match)"));
  }
  const bool part = (frame.header.flags & kPart) != 0;
  if (!part && large_expected_ == 0) return absl::OkStatus();
  if (!part) return absl::DataLossError("a large element was not continued");
  return AddPart(frame);
}

absl::Status RemoteReceiver::AddPart(const InFrame& frame) {
  const std::string_view payload = std::exchange(rest_, {});
  if ((frame.header.flags & kFirstPart) != 0) {
    ElementHeader element;
    if (large_expected_ != 0 || !ReadElementHeader(payload, &element)) {
      return absl::DataLossError("a large element begins wrongly");
    }
    if (element.bytes > gate_->wiring_.record_limit_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("a record of ", element.bytes,
                                                       " bytes is above the limit of ",
                                                       gate_->wiring_.record_limit_bytes));
    }
    large_expected_ = kElementHeaderBytes + element.bytes;
    large_.reserve(large_expected_);
  }
  if (large_expected_ == 0 || large_.size() + payload.size() > large_expected_) {
    return absl::DataLossError("a large element has too many parts");
  }
  large_.append(payload);
  if ((frame.header.flags & kLastPart) != 0) {
    if (large_.size() != large_expected_) {
      return absl::DataLossError("a large element ends before its time");
    }
    large_expected_ = 0;
    front_is_large_ = true;
    rest_ = large_;
  }
  return absl::OkStatus();
}

absl::Status RemoteReceiver::ParseElement() {
  ElementHeader element;
  if (!ReadElementHeader(rest_, &element) || element.bytes > rest_.size() - kElementHeaderBytes) {
    return absl::DataLossError(
        absl::StrCat("frame ", front_.sequence, " holds an element that cannot be read"));
  }
  front_.kind = element.kind;
  front_.tag = element.tag;
  front_.rows = element.rows;
  front_.bytes = rest_.substr(kElementHeaderBytes, element.bytes);
  rest_.remove_prefix(kElementHeaderBytes + element.bytes);
  return absl::OkStatus();
}

void RemoteReceiver::Pop() {
  has_front_ = false;
  channel_->metrics.records.Add(front_.rows);
  if (!rest_.empty()) return;
  ReleaseFrame();
  if (front_is_large_) {
    front_is_large_ = false;
    large_.clear();
    if (large_.capacity() > kKeptLargeBytes) large_.shrink_to_fit();
  }
}

void RemoteReceiver::Hold(bool held) { channel_->stream->Hold(*channel_, held); }

void RemoteReceiver::ReleaseFrame() {
  InFrame* frame = channel_->frames.Front();
  const bool free = (frame->header.flags & kFree) != 0;
  channel_->metrics.buffers.Add(1);
  channel_->metrics.bytes.Add(frame->header.payload_bytes);
  frame->parts.clear();  // gRPC's memory goes now, not when the ring comes round
  channel_->frames.Pop();
  channel_->metrics.queued_buffers.Set(channel_->frames.size());
  frame_open_ = false;
  if (free) {
    channel_->free_frames_read.fetch_add(1, std::memory_order_release);
  } else {
    gate_->Consumed(*this);
  }
}

void RemoteReceiver::Fail(absl::Status why) {
  failed_ = true;
  rest_ = {};
  channel_->stream->Break(absl::Status(why.code(), absl::StrCat("channel ", ToString(channel_->id),
                                                                ": ", std::string(why.message()))));
}

RemoteGate::RemoteGate(Wiring wiring)
    : wiring_(std::move(wiring)),
      credits_(
          wiring_.credit,
          [this] {
            NetworkBuffer charge = wiring_.account->AcquireCharge();
            if (!charge) return false;
            charges_.push_back(std::move(charge));
            return true;
          },
          [this] { charges_.pop_back(); }) {}

absl::StatusOr<std::unique_ptr<RemoteGate>> RemoteGate::Open(
    Wiring wiring, const std::vector<ChannelId>& channels) {
  std::unique_ptr<RemoteGate> gate(new RemoteGate(std::move(wiring)));
  const Wiring& w = gate->wiring_;
  const uint32_t exclusive = w.credit.exclusive_per_channel;
  const uint32_t most = std::min(w.credit.max_per_channel, exclusive + w.credit.floating_per_gate);
  for (size_t i = 0; i < channels.size() * exclusive; ++i) {
    gate->charges_.push_back(w.account->AcquireCharge());
  }
  for (const ChannelId& id : channels) {
    auto channel = std::make_shared<InboundChannel>(id, w.waker, most);
    channel->metrics.window.Set(exclusive);
    gate->receivers_.push_back(
        std::make_unique<RemoteReceiver>(gate.get(), gate->credits_.AddChannel(), channel));
    // Last: from here on the network thread may fill it.
    if (absl::Status s = w.registry->Register(w.attempt, channel, exclusive); !s.ok()) return s;
  }
  return gate;
}

RemoteGate::~RemoteGate() {
  wiring_.waker->Detach();
  for (const auto& receiver : receivers_) {
    InboundChannel& channel = *receiver->channel_;
    channel.closed.store(true, std::memory_order_release);
    wiring_.registry->Unregister(wiring_.attempt, receiver->channel_);
    while (InFrame* frame = channel.frames.Front()) {
      frame->parts.clear();
      channel.frames.Pop();
    }
  }
}

void RemoteGate::Consumed(RemoteReceiver& receiver) {
  InboundChannel& channel = *receiver.channel_;
  const uint32_t credits =
      credits_.OnConsumed(receiver.index_, static_cast<uint32_t>(channel.metrics.backlog.Get()));
  channel.metrics.window.Set(credits_.window(receiver.index_));
  if (credits > 0) channel.stream->GiveCredit(channel, credits);
}

}  // namespace weir
