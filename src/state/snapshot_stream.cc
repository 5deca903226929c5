#include "state/snapshot_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace weir {

char* SnapshotStream::Record(uint16_t state, RecordLevel level, uint16_t key_group, EntryKind kind,
                             uint64_t segment, size_t key_size, size_t value_size) {
  if (key_size >= UINT32_MAX || value_size >= UINT32_MAX) {
    ThrowError(ErrorKind::kUser, "a state entry of " + std::to_string(key_size + value_size) +
                                     " bytes exceeds the limit of 4 GiB; split the value");
  }
  const size_t need = sizeof(SnapshotRecordHeader) + key_size + value_size;
  if (size_ + need > buffer_.size()) {
    Flush();
    buffer_.resize(std::max(need, kChunkBytes));
  }
  char* out = buffer_.data() + size_;
  size_ += need;
  const SnapshotRecordHeader header{state,
                                    key_group,
                                    kind,
                                    static_cast<uint8_t>(segment),
                                    level,
                                    static_cast<uint32_t>(key_size),
                                    static_cast<uint32_t>(value_size)};
  std::memcpy(out, &header, sizeof header);
  return out + sizeof header;
}

SnapshotChunk SnapshotStream::Take() {
  SnapshotChunk chunk;
  chunk.sequence = sequence_++;
  if (size_ < buffer_.size() / 2) {
    // Whoever keeps the chunk counts its bytes: they are what it takes, and the buffer stays.
    chunk.bytes.assign(buffer_, 0, size_);
  } else {
    buffer_.resize(size_);
    chunk.bytes = std::move(buffer_);
    buffer_.clear();
  }
  written_bytes_ += size_;
  size_ = 0;
  return chunk;
}

void SnapshotStream::Flush() {
  if (size_ > 0) Queue(Take());
}

void SnapshotStream::EndSegment(const SegmentEnd& end) {
  SnapshotChunk chunk = Take();
  chunk.end = end;
  Queue(std::move(chunk));
}

void SnapshotStream::Queue(SnapshotChunk chunk) {
  if (sink_ == nullptr) return;  // no checkpoints: nobody will ask for the past
  waiting_bytes_ += chunk.bytes.size();
  waiting_.push_back(std::move(chunk));
  Drain();
}

void SnapshotStream::Drain() {
  while (!waiting_.empty()) {
    const size_t bytes = waiting_.front().bytes.size();
    if (!sink_->TryPush(std::move(waiting_.front()))) return;
    waiting_.pop_front();
    waiting_bytes_ -= bytes;
  }
}

void SnapshotStream::SettleSoon(uint64_t sequence) {
  if (sink_ == nullptr || sequence <= asked_for_) return;
  if (sequence == sequence_) Flush();
  written_when_asked_ = written_bytes();
  asked_for_ = sequence_ - 1;  // one answer serves all that ask meanwhile
  sink_->SettleSoon(asked_for_);
}

bool SnapshotStream::HasRoom() {
  Drain();
  return waiting_.empty();
}

bool SnapshotStream::Blocked() {
  Drain();
  return waiting_bytes_ > kOverdraftLimit;
}

}  // namespace weir
