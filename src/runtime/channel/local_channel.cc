#include "runtime/channel/local_channel.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace weir {

LocalChannel::LocalChannel(const RecordType& type, Parker* producer, Parker* consumer)
    : type_(type),
      measures_(type.RowsVary()),
      producer_(producer),
      consumer_(consumer),
      ring_(kRingElements),
      returned_(2 * kRingElements) {}

Batch& LocalChannel::Open() {
  if (open_ == nullptr) {
    if (!returned_.TryPop(open_)) open_ = type_.NewBatch();
    open_->Clear();
  }
  return *open_;
}

void LocalChannel::Append(Batch& from, const uint16_t* rows, uint32_t count, bool take) {
  while (count > 0) {
    Batch& open = Open();
    const uint32_t first = open.total();
    const uint32_t n = std::min(count, Batch::kCapacity - first);
    if (take) {
      type_.TakeRows(from, rows, n, open);
    } else {
      type_.CopyRows(from, rows, n, open);
    }
    if (measures_) open_bytes_ += type_.BytesOf(open, first, n);
    rows += n;
    count -= n;
    if (open.full() || open_bytes_ >= kFullBatchBytes) Flush();
  }
}

bool LocalChannel::Flush() {
  if (open_ != nullptr && !open_->empty()) {
    Push({.batch = std::move(open_), .control = {}, .bytes = std::exchange(open_bytes_, 0)});
  }
  if (marker_) {
    Push({.batch = nullptr,
          .control = {.kind = ControlElement::Kind::kLatencyMarker, .marker = *marker_},
          .bytes = 0});
    marker_.reset();
  }
  return true;
}

void LocalChannel::EmitMarker(const LatencyMarker& marker) {
  if (!marker_) marker_ = marker;
}

void LocalChannel::EmitControl(const ControlElement& element) {
  Flush();
  Push({.batch = nullptr, .control = element, .bytes = 0});
}

void LocalChannel::Push(Element element) {
  if (element.bytes > 0 && bytes_.fetch_add(element.bytes, std::memory_order_relaxed) > kMaxBytes) {
    ThrowError(ErrorKind::kUser, "one step emitted more than " + std::to_string(kMaxBytes) +
                                     " bytes into one channel; emit less per record or fired "
                                     "timer, or smaller records");
  }
  if (DrainOverdraft() && ring_.TryPush(std::move(element))) {
    Pushed();
    return;
  }
  if (overdraft_.size() >= kMaxOverdraftElements) {
    ThrowError(ErrorKind::kUser,
               "one record (or one fired timer) emitted more than " +
                   std::to_string(uint64_t{kMaxOverdraftElements} * Batch::kCapacity) +
                   " records into one channel; emit less per record, for example by a timer");
  }
  // A ring without room has taken nothing out of it.
  overdraft_.push_back(std::move(element));  // NOLINT(bugprone-use-after-move)
}

bool LocalChannel::DrainOverdraft() {
  bool pushed = false;
  while (!overdraft_.empty() && ring_.TryPush(std::move(overdraft_.front()))) {
    overdraft_.pop_front();
    pushed = true;
  }
  // What waited for room may be the last for long: no Kick() need follow that of the step it is
  // from.
  if (pushed) consumer_->Wake();
  return overdraft_.empty();
}

void LocalChannel::Pushed() {
  kick_ = true;
  if (ring_.size() >= kWakeAt) Kick();
}

void LocalChannel::Kick() {
  if (std::exchange(kick_, false)) consumer_->Wake();
}

bool LocalChannel::HasRoom(bool for_barrier) {
  if (RoomInside(for_barrier)) return true;
  // Say that we wait, then look again: the consumer pops, then looks whether somebody waits.
  producer_waits_.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return RoomInside(for_barrier);
}

InputChannel::Next LocalChannel::Peek(Batch*& batch, ControlElement& control) {
  Element* front = ring_.Front();
  if (front == nullptr) return Next::kNothing;
  if (front->batch != nullptr) {
    batch = front->batch.get();
    return Next::kBatch;
  }
  control = front->control;
  return Next::kControl;
}

void LocalChannel::Pop() {
  Element* front = ring_.Front();
  // A batch that does not fit into the way back is simply freed, and so is a large one.
  if (front->batch != nullptr && front->bytes <= kLargestKeptBatchBytes) {
    returned_.TryPush(std::move(front->batch));
  }
  front->batch.reset();
  if (front->bytes > 0) bytes_.fetch_sub(front->bytes, std::memory_order_relaxed);
  ring_.Pop();
  WakeProducer();
}

void LocalChannel::Hold(bool held) {
  held_.store(held, std::memory_order_relaxed);
  if (!held) WakeProducer();
}

void LocalChannel::WakeProducer() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (producer_waits_.load(std::memory_order_relaxed) &&
      producer_waits_.exchange(false, std::memory_order_acq_rel)) {
    producer_->Wake();
  }
}

}  // namespace weir
