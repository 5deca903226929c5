#include "runtime/exchange/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir {
namespace {

void DropBlock(void* block) { delete static_cast<std::shared_ptr<NetworkBuffer>*>(block); }

}  // namespace

grpc::ByteBuffer OutFrame::Build() && {
  if (!small.empty()) {
    const grpc::Slice whole(small);
    return {&whole, 1};
  }
  if (block != nullptr) {
    header.flags |= kHasChecksum;
    header.payload_checksum = Checksum(part, header.payload_bytes);
    grpc::Slice head(kFrameHeaderBytes);
    WriteFrameHeader(header, reinterpret_cast<char*>(const_cast<uint8_t*>(head.begin())));
    const grpc::Slice slices[] = {
        std::move(head), grpc::Slice(const_cast<char*>(part), header.payload_bytes, DropBlock,
                                     new std::shared_ptr<NetworkBuffer>(block))};
    return {slices, 2};
  }
  WriteFrameHeader(header, buffer.data());
  char* data = buffer.data();
  const grpc::Slice whole(data, kFrameHeaderBytes + header.payload_bytes, NetworkBuffer::Return,
                          buffer.Release());
  return {&whole, 1};
}

std::string_view InFrame::Contiguous(std::string* scratch) const {
  if (header.payload_bytes == 0) return {};
  size_t skip_now = skip;
  size_t gathered = 0;
  for (const grpc::Slice& part : parts) {
    if (part.size() <= skip_now) {
      skip_now -= part.size();
      continue;
    }
    const char* data = reinterpret_cast<const char*>(part.begin()) + skip_now;
    const size_t size = part.size() - skip_now;
    skip_now = 0;
    if (gathered == 0) {
      if (size == header.payload_bytes) return {data, size};
      if (scratch->size() < header.payload_bytes) scratch->resize(header.payload_bytes);
    }
    std::memcpy(scratch->data() + gathered, data, size);
    gathered += size;
  }
  return {scratch->data(), gathered};
}

Stream::Stream(grpc::CompletionQueue* cq, std::shared_ptr<LiveCount> live)
    : cq_(cq),
      live_(std::move(live)),
      read_op_(this, &Stream::OnRead),
      write_op_(this, &Stream::OnWritten) {}

void Stream::EndOp() {
  std::shared_ptr<Stream> self;
  {
    const std::lock_guard lock(mutex_);
    if (--ops_ > 0 || phase_ != Phase::kDone) return;
    self = std::move(self_);
  }
  OnDrained();
  live_->Remove();
}

void Stream::Pump(std::unique_lock<std::mutex> lock) {
  if (writing_ || phase_ != Phase::kOpen) return;
  OutFrame frame;
  if (!urgent_.empty()) {
    frame.small = std::move(urgent_.front());
    urgent_.pop_front();
  } else if (!NextFrame(&frame)) {
    OnIdle(lock);
    return;
  }
  writing_ = true;
  BeginOp();
  lock.unlock();
  // Whoever set writing_ owns the write side; nobody else starts a write until it is cleared.
  StartWrite(std::move(frame).Build(), &write_op_);
}

void Stream::OnWritten(bool ok) {
  {
    std::unique_lock lock(mutex_);
    writing_ = false;
    if (ok) {
      Pump(std::move(lock));
    } else if (phase_ == Phase::kOpen) {
      phase_ = Phase::kEnding;  // the reads end too and say why
      OnWriteFailed(lock);
    }
  }
  EndOp();
}

void Stream::ReadNext() {
  {
    const std::lock_guard lock(mutex_);
    BeginOp();
  }
  StartRead(&read_message_, &read_op_);
}

void Stream::OnRead(bool ok) {
  if (!ok) {
    OnReadsEnded();
    EndOp();
    return;
  }
  InFrame frame;
  const size_t bytes = read_message_.Length();
  absl::Status status;
  if (!read_message_.Dump(&frame.parts).ok()) {
    status = absl::InvalidArgumentError("a message arrived that cannot be read (compressed?)");
  }
  read_message_.Clear();
  if (status.ok()) {
    char gathered[kFrameHeaderBytes];
    std::string_view head;
    if (!frame.parts.empty() && frame.parts[0].size() >= kFrameHeaderBytes) {
      head = {reinterpret_cast<const char*>(frame.parts[0].begin()), kFrameHeaderBytes};
    } else {
      size_t have = 0;
      for (const grpc::Slice& part : frame.parts) {
        const size_t n = std::min(part.size(), kFrameHeaderBytes - have);
        std::memcpy(gathered + have, part.begin(), n);
        have += n;
      }
      head = {gathered, have};
    }
    absl::StatusOr<FrameHeader> header = ReadFrameHeader(head, bytes);
    if (header.ok()) {
      frame.header = *header;
      frame.skip = kFrameHeaderBytes;
      status = OnFrame(std::move(frame));
    } else {
      status = header.status();
    }
  }
  if (status.ok()) {
    ReadNext();
  } else {
    Break(std::move(status));
    OnReadsEnded();
  }
  EndOp();
}

void Stream::SetAlarm(std::optional<grpc::Alarm>* alarm, std::chrono::milliseconds after,
                      Operation* op) {
  BeginOp();
  alarm->emplace();
  (*alarm)->Set(cq_, std::chrono::system_clock::now() + after, op);
}

}  // namespace weir
