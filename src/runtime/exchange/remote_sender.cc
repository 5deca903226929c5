#include "runtime/exchange/remote_sender.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"

namespace weir {
namespace {

// A buffer with less room than this counts as full: HasRoom() then asks for the next.
constexpr size_t kLeastRoom = 256;

absl::Status TooLargeControl(size_t bytes) {
  return absl::InvalidArgumentError(absl::StrCat(
      "a control element of ", bytes, " bytes is above the limit of ", kMaxControlBytes));
}

}  // namespace

RemoteSender::RemoteSender(const ExchangeOptions& options, std::shared_ptr<OutboundStream> stream,
                           std::shared_ptr<OutboundChannel> channel,
                           std::shared_ptr<BufferAccount> account, size_t segment_bytes)
    : options_(options),
      stream_(std::move(stream)),
      channel_(std::move(channel)),
      account_(std::move(account)),
      payload_capacity_(segment_bytes - kFrameHeaderBytes) {}

RemoteSender::~RemoteSender() { channel_->waker->Detach(); }

bool RemoteSender::HasRoom(bool for_barrier) {
  if (stream_->failed()) return false;
  if (account_->overdraft_bytes() > 0) {
    // There is no room until the overdraft has left, so it does not wait to be full or flushed.
    if (open_ && open_.overdraft() && used_ > 0) Seal();
    account_->WakeOnReturn();
    if (account_->overdraft_bytes() > 0) return false;
  }
  if (!for_barrier && channel_->held.load(std::memory_order_acquire)) return false;
  if (open_) {
    if (payload_capacity_ - used_ >= kLeastRoom) return true;
    Seal();
  }
  open_ = account_->AcquireOrWait();
  return static_cast<bool>(open_);
}

absl::Status RemoteSender::CheckOverdraft(size_t more) const {
  if (account_->overdraft_bytes() + more <= options_.overdraft_limit_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("channel ", ToString(channel_->id), ": one step emitted more than ",
                   options_.overdraft_limit_bytes,
                   " bytes beyond the channel's room; emit less per record or fired key"));
}

absl::Status RemoteSender::NewBuffer() {
  open_ = account_->Acquire();
  if (open_) return absl::OkStatus();
  const size_t bytes = payload_capacity_ + kFrameHeaderBytes;
  if (absl::Status s = CheckOverdraft(bytes); !s.ok()) return s;
  open_ = account_->AcquireOverdraft(bytes);
  channel_->metrics.overdraft_frames.Add(1);
  return absl::OkStatus();
}

absl::StatusOr<std::span<char>> RemoteSender::Room(size_t at_least, uint8_t tag) {
  if (at_least > max_row_bytes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a row of ", at_least, " bytes does not fit a buffer: use LargeRoom"));
  }
  if (open_ && used_ > 0) {
    ElementHeader last;
    ReadElementHeader({OpenPayload() + last_element_, used_ - last_element_}, &last);
    extend_ = last.kind == ElementKind::kRows && last.tag == tag;
    if (used_ + (extend_ ? 0 : kElementHeaderBytes) + at_least > payload_capacity_) Seal();
  }
  if (!open_) {
    if (absl::Status s = NewBuffer(); !s.ok()) return s;
  }
  if (used_ == 0) extend_ = false;
  room_tag_ = tag;
  room_at_ = used_ + (extend_ ? 0 : kElementHeaderBytes);
  return std::span<char>(OpenPayload() + room_at_, payload_capacity_ - room_at_);
}

void RemoteSender::Commit(size_t bytes, uint32_t rows) {
  if (WEIR_PLANTED_BUG("lose_buffer")) return;
  ElementHeader element{.tag = room_tag_};
  if (extend_) {
    ReadElementHeader({OpenPayload() + last_element_, used_ - last_element_}, &element);
  } else {
    last_element_ = used_;
  }
  element.bytes += static_cast<uint32_t>(bytes);
  element.rows += rows;
  WriteElementHeader(element, OpenPayload() + last_element_);
  used_ = room_at_ + bytes;
  channel_->metrics.records.Add(rows);
}

void RemoteSender::Seal(uint16_t flags) {
  OutFrame frame;
  frame.header = {.kind = FrameKind::kData,
                  .flags = flags,
                  .channel = channel_->id,
                  .payload_bytes = static_cast<uint32_t>(used_),
                  .sequence = next_sequence_++};
  if (options_.payload_checksums) {
    frame.header.flags |= kHasChecksum;
    frame.header.payload_checksum = Checksum(OpenPayload(), used_);
  }
  open_.SetUsed(kFrameHeaderBytes + used_);
  frame.buffer = std::move(open_);
  channel_->metrics.buffers.Add(1);
  channel_->metrics.bytes.Add(used_);
  channel_->metrics.buffers_in_use.Set(account_->in_use());
  used_ = last_element_ = 0;
  stream_->Enqueue(*channel_, std::move(frame));
}

absl::StatusOr<char*> RemoteSender::LargeRoom(size_t bytes) {
  if (bytes > options_.record_limit_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "channel ", ToString(channel_->id), ": a record of ", bytes,
        " bytes is above the limit of ", options_.record_limit_bytes, "; send smaller records"));
  }
  const size_t whole = kElementHeaderBytes + bytes;
  if (absl::Status s = CheckOverdraft(whole); !s.ok()) return s;
  if (open_ && used_ > 0) Seal();
  large_ = account_->AcquireOverdraft(whole);
  return large_.data() + kElementHeaderBytes;
}

void RemoteSender::CommitLarge(uint32_t rows, uint8_t tag) {
  const size_t whole = large_.capacity();
  WriteElementHeader({.bytes = static_cast<uint32_t>(whole - kElementHeaderBytes),
                      .rows = rows,
                      .kind = ElementKind::kRows,
                      .tag = tag},
                     large_.data());
  const auto block = std::make_shared<NetworkBuffer>(std::move(large_));
  for (size_t at = 0; at < whole;) {
    const size_t bytes = std::min(payload_capacity_, whole - at);
    uint16_t flags = kPart;
    if (at == 0) flags |= kFirstPart;
    if (at + bytes == whole) flags |= kLastPart;
    OutFrame frame;
    frame.header = {.kind = FrameKind::kData,
                    .flags = flags,
                    .channel = channel_->id,
                    .payload_bytes = static_cast<uint32_t>(bytes),
                    .sequence = next_sequence_++};
    frame.block = block;
    frame.part = block->data() + at;
    at += bytes;
    channel_->metrics.buffers.Add(1);
    channel_->metrics.bytes.Add(bytes);
    stream_->Enqueue(*channel_, std::move(frame));
  }
  channel_->metrics.records.Add(rows);
  channel_->metrics.overdraft_frames.Add(1);
}

absl::Status RemoteSender::AppendControl(ElementKind kind, std::string_view bytes) {
  if (bytes.size() > kMaxControlBytes) return TooLargeControl(bytes.size());
  const size_t whole = kElementHeaderBytes + bytes.size();
  if (open_ && used_ + whole > payload_capacity_) Seal();
  if (!open_) {
    if (absl::Status s = NewBuffer(); !s.ok()) return s;
  }
  last_element_ = used_;
  WriteElementHeader({.bytes = static_cast<uint32_t>(bytes.size()), .rows = 0, .kind = kind},
                     OpenPayload() + used_);
  std::copy(bytes.begin(), bytes.end(), OpenPayload() + used_ + kElementHeaderBytes);
  used_ += whole;
  return absl::OkStatus();
}

absl::Status RemoteSender::SendControl(ElementKind kind, std::string_view bytes) {
  if (open_ && used_ > 0) {
    // Nothing lies between: the newer one says all that the older one said, or, of latency markers,
    // the older one tells of the longer wait. So a blocked channel collects neither.
    ElementHeader last;
    ReadElementHeader({OpenPayload() + last_element_, used_ - last_element_}, &last);
    if (last.kind == kind && kind == ElementKind::kLatencyMarker) return absl::OkStatus();
    if (last.kind == kind) used_ = last_element_;
  }
  return AppendControl(kind, bytes);
}

absl::Status RemoteSender::SendAtOnce(ElementKind kind, std::string_view bytes) {
  if (open_ && used_ > 0) {
    if (absl::Status s = AppendControl(kind, bytes); !s.ok()) return s;
    Seal();
    return absl::OkStatus();
  }
  if (bytes.size() > kMaxControlBytes) return TooLargeControl(bytes.size());
  std::string payload(kElementHeaderBytes, '\0');
  WriteElementHeader({.bytes = static_cast<uint32_t>(bytes.size()), .rows = 0, .kind = kind},
                     payload.data());
  payload += bytes;
  OutFrame frame;
  frame.header = {.kind = FrameKind::kData,
                  .flags = kFree,
                  .channel = channel_->id,
                  .sequence = next_sequence_++};
  frame.small = SmallFrame(frame.header, payload);
  stream_->Enqueue(*channel_, std::move(frame));
  return absl::OkStatus();
}

absl::Status RemoteSender::SendBarrier(std::string_view bytes) {
  return SendAtOnce(ElementKind::kBarrier, bytes);
}

absl::Status RemoteSender::SendEndOfInput() { return SendAtOnce(ElementKind::kEndOfInput, {}); }

bool RemoteSender::Flush() {
  if (!open_ || used_ == 0) return true;
  if (channel_->metrics.queued_buffers.Get() > 0 || channel_->metrics.credits.Get() == 0) {
    return false;
  }
  Seal();
  return true;
}

bool RemoteSender::Drained() const {
  return used_ == 0 && channel_->metrics.queued_buffers.Get() == 0;
}

}  // namespace weir
