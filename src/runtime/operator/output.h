#pragma once

#include <map>
#include <string>

#include "base/timestamp.h"
#include "runtime/element/batch.h"

namespace weir {

class RecordType;

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

/// A side output that somebody reads, and what the reader takes its rows for.
struct SidePort {
  Output* output = nullptr;
  const RecordType* type = nullptr;
};
/// By tag.
using SidePorts = std::map<std::string, SidePort>;

/// Drops everything: the output of an operator that nobody listens to.
class DiscardOutput final : public Output {
 public:
  void Emit(Batch&) override {}
  void EmitWatermark(Timestamp) override {}
  void EmitIdle() override {}
};

}  // namespace weir
