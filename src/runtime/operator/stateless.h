#pragma once

#include <algorithm>
#include <functional>
#include <type_traits>
#include <utility>

#include "runtime/operator/collector.h"
#include "runtime/operator/operator.h"
#include "runtime/operator/user_function.h"

namespace weir {

/// out = f(in), or f(in, out) which assigns into a reused record and so allocates nothing.
template <class In, class Out, class F>
class MapOperator final : public StatelessOperator {
 public:
  explicit MapOperator(F f) : f_(std::move(f)) {}

  void Open(OperatorContext& context) override {
    StatelessOperator::Open(context);
    OpenFunction(f_, context.runtime);
  }
  void ProcessBatch(uint32_t, Batch& batch) override {
    auto& in = static_cast<RecordBatch<In>&>(batch);
    const uint32_t n = in.size();
    out_.Clear();
    const auto out = out_.Extend(n);
    if (in.dense()) {
      const In* const rows = in.rows() + in.first_row();
      for (uint32_t i = 0; i < n; ++i) Apply(rows[i], out.rows[i]);
      std::copy_n(in.timestamps() + in.first_row(), n, out.timestamps);
    } else {
      const uint16_t* const selected = in.selection();
      for (uint32_t i = 0; i < n; ++i) {
        Apply(in.Row(selected[i]), out.rows[i]);
        out.timestamps[i] = in.TimestampOf(selected[i]);
      }
    }
    output_->Emit(out_);
  }
  void Close() override { CloseFunction(f_); }

 private:
  void Apply(const In& in, Out& out) {
    if constexpr (std::is_invocable_v<F&, const In&, Out&>) {
      f_(in, out);
    } else {
      out = std::invoke(f_, in);
    }
  }

  F f_;
  RecordBatch<Out> out_;
};

/// Keeps the rows for which f is true; narrows the selection and copies nothing.
template <class T, class F>
class FilterOperator final : public StatelessOperator {
 public:
  explicit FilterOperator(F f) : f_(std::move(f)) {}

  void Open(OperatorContext& context) override {
    StatelessOperator::Open(context);
    OpenFunction(f_, context.runtime);
  }
  void ProcessBatch(uint32_t, Batch& batch) override {
    auto& in = static_cast<RecordBatch<T>&>(batch);
    in.Select([&](uint32_t row) {
      return static_cast<bool>(std::invoke(f_, std::as_const(in.Row(row))));
    });
    if (!in.empty()) output_->Emit(in);
  }
  void Close() override { CloseFunction(f_); }

 private:
  F f_;
};

/// Any number of rows for each: f(in, collector).
template <class In, class Out, class F>
class FlatMapOperator final : public StatelessOperator {
 public:
  explicit FlatMapOperator(F f) : f_(std::move(f)) {}

  void Open(OperatorContext& context) override {
    StatelessOperator::Open(context);
    collector_.Open(context.output);
    OpenFunction(f_, context.runtime);
  }
  void ProcessBatch(uint32_t, Batch& batch) override {
    static_cast<RecordBatch<In>&>(batch).ForEach([&](In& row, Timestamp t) {
      collector_.SetTimestamp(t);
      f_(std::as_const(row), collector_);
    });
    collector_.Flush();
  }
  void Close() override { CloseFunction(f_); }

 private:
  F f_;
  Collector<Out> collector_;
};

}  // namespace weir
