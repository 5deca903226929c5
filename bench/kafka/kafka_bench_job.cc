// The jobs of kafka_bench.py and kafka_kill_bench.py: records of 100 bytes, {u64 key, u64 number,
// filler}, from one topic into another, exactly once.
//
//   --job copy    as they are
//   --job keyed   behind each, {u64 key, u64 number, u64 count, u64 sum}: how many records of the
//                 key there were so far, and the sum of their numbers
//   --bounded     to the present end of the topic
#include <weir/weir.h>

#include <cstring>
#include <memory>
#include <string>
#include <tuple>

namespace {

struct Entry {
  uint64_t key = 0;
  uint64_t number = 0;
};
struct Total {
  uint64_t key = 0;
  uint64_t number = 0;
  uint64_t count = 0;
  uint64_t sum = 0;
};

/// A row is the first bytes of a record, as they lie in memory.
template <class T>
class Leading final : public weir::Format<T> {
 public:
  bool Decode(std::string_view bytes, T& out, std::string* error) const override {
    if (bytes.size() < sizeof(T)) {
      if (error != nullptr) *error = "it is shorter than " + std::to_string(sizeof(T)) + " bytes";
      return false;
    }
    std::memcpy(&out, bytes.data(), sizeof(T));
    return true;
  }
  void Encode(const T& value, std::string& out) const override {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  std::string_view name() const override { return "leading"; }
};

template <class T>
weir::kafka::SourceOptions<T> In(const weir::Args& args, weir::FormatPtr<T> format) {
  weir::kafka::SourceOptions<T> options;
  options.brokers = args["brokers"];
  options.topic = args["in"];
  options.format = std::move(format);
  if (args.GetBool("bounded", false)) options.bounded = weir::kafka::Latest();
  return options;
}

template <class T>
weir::kafka::SinkOptions<T> Out(const weir::Args& args, weir::FormatPtr<T> format) {
  return {.brokers = args["brokers"], .topic = args["out"], .format = std::move(format)};
}

class CountAndSum final : public weir::KeyedProcessFunction<uint64_t, Entry, Total> {
 public:
  void Open(weir::KeyedContext& context) override {
    state_ = context.GetValueState<std::pair<uint64_t, uint64_t>>("count and sum");
  }
  void ProcessElement(const Entry& row, Context&, weir::Collector<Total>& out) override {
    auto& [count, sum] = state_.Mutable();
    ++count;
    sum += row.number;
    out.Collect({row.key, row.number, count, sum});
  }

 private:
  weir::ValueState<std::pair<uint64_t, uint64_t>> state_;
};

}  // namespace

WEIR_JOB(env, args) {
  const std::string job = args["job"];
  env.settings().name = "kafka-" + job;
  if (job == "copy") {
    env.From(weir::kafka::Source<std::string>(In<std::string>(args, weir::Bytes())))
        .Uid("in")
        .To(weir::kafka::Sink<std::string>(Out<std::string>(args, weir::Bytes())))
        .Uid("out");
  } else {
    env.From(weir::kafka::Source<Entry>(In<Entry>(args, std::make_shared<const Leading<Entry>>())))
        .Uid("in")
        .KeyBy(&Entry::key)
        .Process(CountAndSum())
        .Uid("totals")
        .To(weir::kafka::Sink<Total>(Out<Total>(args, std::make_shared<const Leading<Total>>())))
        .Uid("out");
  }
}
