#pragma once

#include <type_traits>
#include <utility>

#include "runtime/operator/collector.h"
#include "runtime/operator/operator.h"
#include "runtime/operator/side_outputs.h"

namespace weir {

/// A user's function over single rows, with side outputs. Derive from it, override ProcessElement.
template <class InT, class OutT>
class ProcessFunction {
 public:
  using InType = InT;
  using OutType = OutT;

  class Context {
   public:
    /// Event time of the row, or kNoTimestamp.
    Timestamp timestamp() const { return timestamp_; }
    Timestamp watermark() const { return watermark_; }
    template <class U>
    void Output(const OutputTag<U>& tag, std::type_identity_t<U> row) {
      sides_->Collect(tag, std::move(row), timestamp_);
    }

   private:
    template <class F>
    friend class ProcessOperator;
    Timestamp timestamp_ = kNoTimestamp;
    Timestamp watermark_ = Timestamp::Min();
    SideOutputs* sides_ = nullptr;
  };

  virtual ~ProcessFunction() = default;
  virtual void Open(const RuntimeContext&) {}
  virtual void ProcessElement(const InT& row, Context& context, Collector<OutT>& out) = 0;
  virtual void Close() {}
};

/// Runs a ProcessFunction.
template <class F>
class ProcessOperator final : public StatelessOperator {
  using In = typename F::InType;
  using Out = typename F::OutType;

 public:
  explicit ProcessOperator(F f) : f_(std::move(f)) {}

  void Open(OperatorContext& context) override {
    StatelessOperator::Open(context);
    out_.Open(context.output);
    sides_.Open(context.side_outputs, context.runtime.log_warning);
    context_.sides_ = &sides_;
    f_.Open(context.runtime);
  }
  void ProcessBatch(uint32_t, Batch& batch) override {
    static_cast<RecordBatch<In>&>(batch).ForEach([&](In& row, Timestamp t) {
      context_.timestamp_ = t;
      out_.SetTimestamp(t);
      f_.ProcessElement(row, context_, out_);
    });
    out_.Flush();
    sides_.Flush();
  }
  void ProcessWatermark(Timestamp watermark) override {
    context_.watermark_ = watermark;
    output_->EmitWatermark(watermark);
  }
  void Close() override { f_.Close(); }

 private:
  F f_;
  typename F::Context context_;
  Collector<Out> out_;
  SideOutputs sides_;
};

}  // namespace weir
