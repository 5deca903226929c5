#include "runtime/exchange/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir {
namespace {

void DropBlock(void* block) {
  TakeOver(block);
  delete static_cast<std::shared_ptr<NetworkBuffer>*>(block);
}

/// Walks through the slices of a received message. The caller knows how many bytes are left.
class SliceCursor {
 public:
  explicit SliceCursor(const std::vector<grpc::Slice>* slices) : slices_(*slices) {}

  /// The next kFrameHeaderBytes (or what is left) in one piece, in `scratch` if need be.
  std::string_view Peek(char* scratch) const {
    const char* here = reinterpret_cast<const char*>(slices_[slice_].begin()) + offset_;
    if (slices_[slice_].size() - offset_ >= kFrameHeaderBytes) return {here, kFrameHeaderBytes};
    size_t have = 0;
    size_t offset = offset_;
    for (size_t i = slice_; i < slices_.size() && have < kFrameHeaderBytes; ++i, offset = 0) {
      const size_t n = std::min(slices_[i].size() - offset, kFrameHeaderBytes - have);
      std::memcpy(scratch + have, slices_[i].begin() + offset, n);
      have += n;
    }
    return {scratch, have};
  }
  void Skip(size_t bytes) {
    while (bytes > 0) bytes -= Advance(bytes);
  }
  /// References to the next `bytes` bytes.
  void Take(size_t bytes, std::vector<grpc::Slice>* parts) {
    while (bytes > 0) {
      const size_t slice = slice_;
      const size_t begin = offset_;
      const size_t n = Advance(bytes);
      if (n > 0) parts->push_back(slices_[slice].sub(begin, begin + n));
      bytes -= n;
    }
  }

 private:
  size_t Advance(size_t bytes) {
    const size_t n = std::min(bytes, slices_[slice_].size() - offset_);
    offset_ += n;
    if (offset_ == slices_[slice_].size()) {
      // Past the last slice nothing is left to walk; staying on it keeps Peek() in bounds.
      if (slice_ + 1 < slices_.size()) {
        ++slice_;
        offset_ = 0;
      }
    }
    return n;
  }

  const std::vector<grpc::Slice>& slices_;
  size_t slice_ = 0;
  size_t offset_ = 0;
};

}  // namespace

void OutFrame::AppendTo(std::vector<grpc::Slice>* message) && {
  if (!small.empty()) {
    message->emplace_back(small);
  } else if (block != nullptr) {
    header.flags |= kHasChecksum;
    header.payload_checksum = Checksum(part, header.payload_bytes);
    grpc::Slice head(kFrameHeaderBytes);
    WriteFrameHeader(header, reinterpret_cast<char*>(const_cast<uint8_t*>(head.begin())));
    message->push_back(std::move(head));
    auto* const owner = new std::shared_ptr<NetworkBuffer>(std::move(block));
    HandOver(owner);
    message->emplace_back(const_cast<char*>(part), header.payload_bytes, DropBlock, owner);
  } else {
    char* data = buffer.data();
    WriteFrameHeader(header, data);
    message->emplace_back(data, kFrameHeaderBytes + header.payload_bytes, NetworkBuffer::Return,
                          buffer.Release());
  }
}

std::string_view InFrame::Contiguous(std::string* scratch) const {
  if (parts.empty()) return {};
  if (parts.size() == 1) return {reinterpret_cast<const char*>(parts[0].begin()), parts[0].size()};
  if (scratch->size() < header.payload_bytes) scratch->resize(header.payload_bytes);
  size_t gathered = 0;
  for (const grpc::Slice& part : parts) {
    std::memcpy(scratch->data() + gathered, part.begin(), part.size());
    gathered += part.size();
  }
  return {scratch->data(), gathered};
}

Stream::Stream(NetworkQueue* queue, std::shared_ptr<LiveCount> live)
    : queue_(queue),
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
  for (size_t bytes = 0; bytes < kFullMessageBytes;) {
    OutFrame frame;
    if (!urgent_.empty()) {
      frame.small = std::move(urgent_.front());
      urgent_.pop_front();
    } else if (!NextFrame(&frame)) {
      break;
    }
    bytes += frame.size();
    batch_.push_back(std::move(frame));
  }
  if (batch_.empty()) {
    OnIdle(lock);
    return;
  }
  writing_ = true;
  BeginOp();
  lock.unlock();
  // Whoever set writing_ owns the write side; nobody else starts a write until it is cleared. Once
  // StartWrite is called another thread may be that one.
  for (OutFrame& frame : batch_) std::move(frame).AppendTo(&message_);
  batch_.clear();
  const grpc::ByteBuffer message(message_.data(), message_.size());
  message_.clear();
  StartWrite(message, write_op_.Tag());
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
  StartRead(&read_message_, read_op_.Tag());
}

void Stream::OnRead(bool ok) {
  if (!ok) {
    OnReadsEnded();
    EndOp();
    return;
  }
  absl::Status status = ReadMessage();
  read_message_.Clear();
  if (status.ok()) {
    ReadNext();
  } else {
    Break(std::move(status));
    OnReadsEnded();
  }
  EndOp();
}

absl::Status Stream::ReadMessage() {
  std::vector<grpc::Slice> slices;
  if (!read_message_.Dump(&slices).ok()) {
    return absl::InvalidArgumentError("a message arrived that cannot be read (compressed?)");
  }
  size_t left = read_message_.Length();
  if (left == 0) return absl::InvalidArgumentError("an empty message arrived");
  for (SliceCursor at(&slices); left > 0;) {
    char scratch[kFrameHeaderBytes];
    absl::StatusOr<FrameHeader> header = ReadFrameHeader(at.Peek(scratch), left);
    if (!header.ok()) return header.status();
    InFrame frame{.header = *header};
    at.Skip(kFrameHeaderBytes);
    at.Take(header->payload_bytes, &frame.parts);
    left -= kFrameHeaderBytes + header->payload_bytes;
    if (absl::Status s = OnFrame(std::move(frame)); !s.ok()) return s;
  }
  return absl::OkStatus();
}

void Stream::SetAlarm(std::optional<grpc::Alarm>* alarm, std::chrono::milliseconds after,
                      Operation* op) {
  BeginOp();
  alarm->emplace();
  (*alarm)->Set(queue_->cq(), std::chrono::system_clock::now() + after, op->Tag());
}

}  // namespace weir
