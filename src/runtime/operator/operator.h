#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/timestamp.h"
#include "runtime/element/batch.h"
#include "runtime/operator/operator_state.h"
#include "runtime/operator/output.h"
#include "runtime/operator/runtime_context.h"
#include "state/keyed_state_backend.h"

namespace weir {

/// What an operator is given at Open beyond what user code sees.
struct OperatorContext {
  RuntimeContext runtime;
  /// Never null. Side outputs by tag; a tag nobody consumes is absent.
  Output* output = nullptr;
  SidePorts side_outputs;
  /// For a keyed operator: how to build its backend, and what to restore it from.
  KeyedStateOptions keyed_state;
  /// True when the operator should return as soon as it stands between two records: output room or
  /// the subtask's time slice is used up.
  std::function<bool()> should_yield;
};

/// One operator of a chain. All calls come on the slot thread of its subtask, in this order:
/// Open, then any of the others, then Close. Exceptions fail the subtask under the operator's name.
///
/// Emission is by batch: an operator fills batches of its own and emits them before it returns, so
/// that nothing is buffered when a barrier passes.
class Operator {
 public:
  virtual ~Operator() = default;

  virtual void Open(OperatorContext& context) = 0;

  /// All selected rows in view. `input` tells the inputs of a two-input operator apart.
  virtual void ProcessBatch(uint32_t input, Batch& batch) = 0;

  /// Event time has reached `watermark`. The operator emits what became due, then passes the
  /// watermark on. If that is much, it keeps a cursor and returns when context.should_yield();
  /// HasPendingWork is then true and the watermark is passed on by the last Resume.
  virtual void ProcessWatermark(Timestamp watermark) = 0;
  virtual bool HasPendingWork() const { return false; }
  virtual void Resume() {}

  virtual void ProcessIdle() = 0;

  /// The earliest processing time at which OnProcessingTime wants to be called.
  virtual Timestamp NextProcessingTimer() const { return Timestamp::Max(); }
  virtual void OnProcessingTime(Timestamp) {}

  /// All inputs are at their end (the last watermark has been processed).
  virtual void EndOfInput() {}

  /// The barrier has reached the operator: everything that `state` is given, and the keyed state as
  /// it is now, belong to the checkpoint. The subtask begins the keyed snapshot itself.
  virtual void Snapshot(CheckpointId, OperatorStateSnapshot&) {}
  /// Null for an operator without keyed state.
  virtual KeyedStateBackend* keyed_state() { return nullptr; }

  // Sinks: see SinkWriter.
  virtual bool HasRoom() { return true; }
  virtual bool ReadyToAcknowledge(CheckpointId) { return true; }
  virtual bool PublishedUpTo(CheckpointId) { return true; }
  virtual void CheckFailure() {}

  virtual void NotifyCheckpointComplete(CheckpointId) {}
  virtual void NotifyCheckpointAborted(CheckpointId) {}

  virtual void Close() {}
};

/// An operator with one input that passes watermarks and idleness through.
class StatelessOperator : public Operator {
 public:
  void Open(OperatorContext& context) override { output_ = context.output; }
  void ProcessWatermark(Timestamp watermark) override { output_->EmitWatermark(watermark); }
  void ProcessIdle() override { output_->EmitIdle(); }

 protected:
  Output* output_ = nullptr;
};

}  // namespace weir
