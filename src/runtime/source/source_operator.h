#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

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

  /// Rows per second of all the source's subtasks together; empty: no limit. Before Open or later.
  virtual void SetRate(std::optional<double> per_second) = 0;
  /// On Clock::Monotonic: when a Poll that the rate did not allow is allowed. Maximum: none waits.
  virtual std::chrono::nanoseconds NextAllowed() const = 0;

  /// Whether the subtask has room, when that changes; it polls only with room.
  virtual void SetRoom(bool room) = 0;

  // A source has no input.
  void ProcessBatch(uint32_t, Batch&) final {}
  void ProcessWatermark(Timestamp) final {}
  void ProcessIdle() final {}
};

}  // namespace weir
