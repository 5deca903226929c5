#pragma once

#include <cstdint>

#include "runtime/operator/operator.h"
#include "runtime/source/source.h"

namespace weir {

/// The head of a source vertex: polls the reader, stamps event times, keeps watermarks by split.
/// The subtask feeds what Poll gives to the rest of the chain in views of its own choosing.
class SourceOperator : public Operator {
 public:
  /// The next rows, timestamps assigned; `batch` stays valid until the next Poll. May be empty.
  virtual PollResult Poll(Batch*& batch) = 0;

  /// The watermark over all splits after the rows given so far were processed.
  virtual Timestamp CurrentWatermark() = 0;
  /// True when no split holds the watermark back or advances it (no splits, or all are idle).
  virtual bool Idle() const = 0;

  // A source has no input.
  void ProcessBatch(uint32_t, Batch&) final {}
  void ProcessWatermark(Timestamp) final {}
  void ProcessIdle() final {}
};

}  // namespace weir
