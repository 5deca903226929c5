#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/timestamp.h"
#include "runtime/element/batch.h"
#include "runtime/element/record_limit.h"
#include "runtime/operator/output.h"

namespace weir {

/// Where user code puts its results; fills a batch and emits it when full. Slot thread only.
template <class T>
class Collector {
 public:
  void Open(Output* output) { output_ = output; }

  /// The timestamp that following rows get; set by the operator to the current record's.
  void SetTimestamp(Timestamp t) { timestamp_ = t; }
  Timestamp timestamp() const { return timestamp_; }

  void Collect(T row) { Next() = std::move(row); }
  void Collect(T row, Timestamp t) { Next(t) = std::move(row); }

  /// The next record, still holding an older one's fields: assign all of them. Allocation-free.
  T& Next() { return Next(timestamp_); }
  T& Next(Timestamp t) {
    Measure();
    if (batch_.full() || bytes_ >= kFullBatchBytes) Flush();
    return batch_.Append(t);
  }

  void Flush() {
    if (batch_.empty()) return;
    Measure();
    output_->Emit(batch_);
    batch_.Clear();
    if (bytes_ > kLargestKeptBatchBytes) batch_.Release();
    measured_ = 0;
    bytes_ = 0;
  }

 private:
  // The last row: by now it has been filled.
  void Measure() {
    if constexpr (kRowsVary<T>) {
      if (measured_ == batch_.size()) return;
      bytes_ += RowBytes(std::as_const(batch_).Row(measured_++));
    }
  }

  Output* output_ = nullptr;
  Timestamp timestamp_ = kNoTimestamp;
  RecordBatch<T> batch_;
  uint32_t measured_ = 0;  // rows whose bytes are in bytes_
  size_t bytes_ = 0;
};

}  // namespace weir
