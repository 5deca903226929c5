// Kafka to Kafka, exactly once: every record {key, seq} of `in` becomes {key, seq, count} in `out`,
// where count is the key's running count in state. Whatever is lost or repeated on the way in or
// in state makes count differ from seq.
#include <weir/weir.h>

#include <chrono>
#include <string>

namespace {

struct In {
  std::string key;
  int64_t seq = 0;
};
struct Out {
  std::string key;
  int64_t seq = 0;
  int64_t count = 0;
};

class Number final : public weir::KeyedProcessFunction<std::string, In, Out> {
 public:
  void Open(weir::KeyedContext& context) override {
    count_ = context.GetValueState<int64_t>("count");
  }
  void ProcessElement(const In& row, Context&, weir::Collector<Out>& out) override {
    out.Collect({row.key, row.seq, ++count_.Mutable()});
  }

 private:
  weir::ValueState<int64_t> count_;
};

}  // namespace

WEIR_JOB(env, args) {
  env.settings().checkpoints.interval = std::chrono::milliseconds(args.GetInt("interval", 500));
  // Kills come on purpose and often: no waiting longer and longer.
  env.settings().restart.kind = weir::RestartSettings::Kind::kFixedDelay;
  env.settings().restart.attempts = 1'000'000;
  env.settings().restart.delay = std::chrono::milliseconds(100);
  const std::string brokers = args["brokers"];
  env.From(weir::kafka::Source<In>({.brokers = brokers, .topic = args.Get("in", "in")}))
      .Uid("in")
      .KeyBy(&In::key)
      .Process(Number())
      .Uid("number")
      .To(weir::kafka::Sink<Out>(
          {.brokers = brokers, .topic = args.Get("out", "out"), .key = &Out::key}))
      .Uid("out");
}
