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
    uint32_t made = 0;
    for (uint32_t left = in.size(); left > 0; left -= made) {
      const uint32_t begin = in.size() - left;
      out_.Clear();
      const auto out = out_.Extend(left);
      if (in.dense()) {
        const uint32_t first = in.first_row() + begin;
        const In* const rows = in.rows() + first;
        made = Fill(left, out.rows, [rows](uint32_t i) -> const In& { return rows[i]; });
        std::copy_n(in.timestamps() + first, made, out.timestamps);
      } else {
        const uint16_t* const selected = in.selection() + begin;
        made = Fill(left, out.rows,
                    [&](uint32_t i) -> const In& { return std::as_const(in).Row(selected[i]); });
        for (uint32_t i = 0; i < made; ++i) out.timestamps[i] = in.TimestampOf(selected[i]);
      }
      out_.DropLast(left - made);
      output_->Emit(out_);
      if (bytes_ > kLargestKeptBatchBytes) out_.Release();
    }
  }
  void Close() override { CloseFunction(f_); }

 private:
  // How many rows were made: all, unless they are so large that they fill a batch.
  template <class RowAt>
  uint32_t Fill(uint32_t count, Out* out, RowAt&& row_at) {
    bytes_ = 0;
    for (uint32_t i = 0; i < count; ++i) {
      Apply(row_at(i), out[i]);
      if constexpr (kRowsVary<Out>) {
        bytes_ += RowBytes(std::as_const(out[i]));
        if (bytes_ >= kFullBatchBytes) return i + 1;
      }
    }
    return count;
  }
  void Apply(const In& in, Out& out) {
    if constexpr (std::is_invocable_v<F&, const In&, Out&>) {
      f_(in, out);
    } else {
      out = std::invoke(f_, in);
    }
  }

  F f_;
  RecordBatch<Out> out_;
  size_t bytes_ = 0;  // of the rows made last
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
