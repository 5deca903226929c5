#pragma once

#include <cstdint>
#include <utility>

#include "runtime/operator/aggregation.h"
#include "runtime/operator/collector.h"
#include "runtime/operator/keyed_operator.h"
#include "runtime/operator/keyed_rows.h"
#include "state/value_table.h"

namespace weir {

/// Aggregates the rows of each key from the first on, and emits the result so far behind every row:
/// emit(key, result, Out& row) assigns it.
template <class T, class KeySelector, class A, class Out, class Emit>
class RollingOperator final : public KeyedOperator<typename KeyedRows<T, KeySelector>::K> {
  using K = typename KeyedRows<T, KeySelector>::K;
  using Stored = typename Aggregation<A>::Stored;

 public:
  RollingOperator(KeySelector key, A aggregate, Emit emit)
      : rows_(std::move(key)), aggregate_(std::move(aggregate)), emit_(std::move(emit)) {}

  void ProcessBatch(uint32_t, Batch& batch) override {
    rows_.Load(static_cast<RecordBatch<T>&>(batch));
    table_.UpdateBatch(
        rows_.hashes(), rows_.size(),
        [this](size_t i) -> const K& { return rows_.key(static_cast<uint32_t>(i)); },
        [this](size_t index, Stored& stored) {
          const auto i = static_cast<uint32_t>(index);
          aggregate_.Add(std::as_const(rows_.row(i)), stored);
          emit_(rows_.key(i), aggregate_.GetResult(stored), out_.Next(rows_.timestamp(i)));
        });
    out_.Flush();
  }

 private:
  void OpenKeyed(OperatorContext&) override {
    table_ = ValueTable<K, Stored>::Open(this->state(), "accumulator");
    out_.Open(this->output_);
  }

  KeyedRows<T, KeySelector> rows_;
  const Aggregation<A> aggregate_;
  Emit emit_;
  ValueTable<K, Stored> table_;
  Collector<Out> out_;
};

}  // namespace weir
