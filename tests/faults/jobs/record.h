#pragma once

#include <weir/weir.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <tuple>

// What all jobs of the fault harness share; record.cc has what is compiled once for all of them.
// The judge (tests/faults/judge) reads the same fields by their names in JSON and shares none of
// this code.

/// A record of the input: the `seq`-th of its key, counted from 1.
struct In {
  std::string key;
  int64_t seq = 0;
  int64_t value = 0;
  int64_t at = 0;  ///< event time, milliseconds
  std::string pad;
  std::string hash;  ///< of the other fields, as the generator saw them
};

/// What is known of a key behind one of its records.
struct Total {
  std::string key;
  int64_t seq = 0;
  int64_t count = 0;
  int64_t sum = 0;
  int64_t min = 0;
  int64_t max = 0;
};

inline auto Folded() {
  return weir::Combine(weir::Count(), weir::Sum(&In::value), weir::Min(&In::value),
                       weir::Max(&In::value));
}
using Fold = std::tuple<uint64_t, int64_t, int64_t, int64_t>;

/// The running total of a key in state of its own, with the record's `seq` beside it.
class RunningTotal final : public weir::KeyedProcessFunction<std::string, In, Total> {
 public:
  void Open(weir::KeyedContext& context) override {
    total_ = context.GetValueState<Total>("total");
  }
  void ProcessElement(const In& row, Context&, weir::Collector<Total>& out) override {
    Total& total = total_.Mutable();
    total.key = row.key;
    total.seq = row.seq;
    total.min = total.count == 0 ? row.value : std::min(total.min, row.value);
    total.max = total.count == 0 ? row.value : std::max(total.max, row.value);
    total.sum += row.value;
    ++total.count;
    out.Collect(total);
  }

 private:
  weir::ValueState<Total> total_;
};

/// Faults come on purpose and often: no waiting longer and longer.
void Settle(weir::Environment& env, const weir::Args& args);

/// Rows of a topic are late by at most 200 ms. With idleness=N its partitions are idle after so
/// many milliseconds without rows.
weir::DataStream<In> Read(weir::Environment& env, const weir::Args& args, const std::string& topic);

/// The running totals of all keys, operator "total".
weir::DataStream<Total> Totals(const weir::DataStream<In>& rows);

template <class T>
void Write(weir::DataStream<T> rows, const weir::Args& args, const std::string& uid = "out") {
  typename weir::kafka::SinkOptions<T> options{
      .brokers = args["brokers"], .topic = "out", .key = &T::key};
  if (args.Get("delivery", "exactly-once") == "at-least-once") {
    options.delivery = weir::kafka::AtLeastOnce;
  } else {
    options.properties = {{"transaction.timeout.ms", args.Get("transaction-timeout", "60000")}};
  }
  rows.To(weir::kafka::Sink<T>(options)).Uid(uid);
}

extern template class weir::TypedRecordType<In>;
extern template class weir::TypedRecordType<Total>;
extern template void Write(weir::DataStream<In>, const weir::Args&, const std::string&);
extern template void Write(weir::DataStream<Total>, const weir::Args&, const std::string&);
