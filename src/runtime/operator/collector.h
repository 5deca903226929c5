#pragma once

#include <utility>

#include "base/timestamp.h"
#include "runtime/element/batch.h"
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
    if (batch_.full()) Flush();
    return batch_.Append(t);
  }

  void Flush() {
    if (batch_.empty()) return;
    output_->Emit(batch_);
    batch_.Clear();
  }

 private:
  Output* output_ = nullptr;
  Timestamp timestamp_ = kNoTimestamp;
  RecordBatch<T> batch_;
};

}  // namespace weir
