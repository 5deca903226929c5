#pragma once

#include "base/timestamp.h"
#include "runtime/element/batch.h"

namespace weir {

/// Where an operator emits: the next operator of its chain, an edge, or several of these.
/// Slot thread only. Emitting never blocks and never refuses; an operator that can emit much asks
/// OperatorContext::ShouldYield between records.
class Output {
 public:
  virtual ~Output() = default;
  /// Takes the rows in view; may change them, narrow the selection, swap rows out.
  virtual void Emit(Batch& batch) = 0;
  virtual void EmitWatermark(Timestamp watermark) = 0;
  /// Nothing may come for long. Ended by the next row or watermark.
  virtual void EmitIdle() = 0;
};

/// Drops everything: the output of an operator that nobody listens to.
class DiscardOutput final : public Output {
 public:
  void Emit(Batch&) override {}
  void EmitWatermark(Timestamp) override {}
  void EmitIdle() override {}
};

}  // namespace weir
