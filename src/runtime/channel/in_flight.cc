#include "runtime/channel/in_flight.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"

namespace weir {
namespace {

constexpr size_t kLargestGuess = size_t{1} << 20;

}  // namespace

InFlightRows EncodeInFlight(uint32_t edge, const RecordType& type, const Batch& batch) {
  std::vector<uint16_t> rows(batch.size());
  for (uint32_t i = 0; i < batch.size(); ++i) rows[i] = static_cast<uint16_t>(batch.RowAt(i));
  std::string bytes;
  size_t used = 0;
  for (uint32_t done = 0; done < rows.size();) {
    const auto left = static_cast<uint32_t>(rows.size()) - done;
    // By the size of the first row that is left, within reason, and at least doubled: few turns,
    // also when rows are of very different sizes.
    const size_t row = type.EncodedSize(batch, rows[done]);
    const size_t guess = std::max(row, std::min(row * left, kLargestGuess));
    bytes.resize(std::max(used + guess, 2 * used));
    const RecordType::Encoded encoded =
        type.Encode(batch, rows.data() + done, left, bytes.data() + used, bytes.size() - used);
    used += encoded.bytes;
    done += encoded.rows;
  }
  bytes.resize(used);
  return {.edge = edge,
          .type = &type,
          .rows = batch.size(),
          .bytes = std::make_shared<const std::string>(std::move(bytes))};
}

void DecodeInFlight(const InFlightRows& rows, Batch& batch) {
  const uint32_t before = batch.total();
  const int64_t used = rows.type->Decode(*rows.bytes, batch);
  if (used == static_cast<int64_t>(rows.bytes->size()) && batch.total() == before + rows.rows) {
    return;
  }
  ThrowError(ErrorKind::kInternal,
             "rows in flight cannot be decoded as " + rows.type->SchemaName());
}

void InFlightQueue::Add(InFlightRows rows) {
  bytes_ += rows.bytes->size();
  elements_.push_back({.rows = std::move(rows), .control = {}});
}

void InFlightQueue::Add(const ControlElement& element) {
  elements_.push_back({.rows = {}, .control = element});
}

void InFlightQueue::PutFront(InFlightRows rows) {
  decoded_ = false;
  bytes_ += rows.bytes->size();
  elements_.push_front({.rows = std::move(rows), .control = {}});
}

InputChannel::Next InFlightQueue::Peek(Batch*& batch, ControlElement& control) {
  if (elements_.empty()) return InputChannel::Next::kNothing;
  const Element& front = elements_.front();
  if (front.rows.bytes == nullptr) {
    control = front.control;
    return InputChannel::Next::kControl;
  }
  if (!decoded_) {
    if (batch_type_ != front.rows.type) {
      batch_type_ = front.rows.type;
      batch_ = batch_type_->NewBatch();
    }
    batch_->Clear();
    DecodeInFlight(front.rows, *batch_);
    decoded_ = true;
  }
  batch = batch_.get();
  return InputChannel::Next::kBatch;
}

void InFlightQueue::Pop() {
  if (elements_.front().rows.bytes != nullptr) bytes_ -= elements_.front().rows.bytes->size();
  elements_.pop_front();
  decoded_ = false;
}

}  // namespace weir
