// Counts generated rows by key: a job that needs no broker and no room, to see whether a fault that
// is another job's reaches it.
#include <weir/weir.h>

#include <string>

namespace {

struct Row {
  std::string key;
  int64_t number = 0;
};

class Count final : public weir::KeyedProcessFunction<std::string, Row, int64_t> {
 public:
  void Open(weir::KeyedContext& context) override {
    count_ = context.GetValueState<int64_t>("count");
  }
  void ProcessElement(const Row&, Context&, weir::Collector<int64_t>& out) override {
    if (++count_.Mutable() % 1000 == 0) out.Collect(*count_.Get());
  }

 private:
  weir::ValueState<int64_t> count_;
};

}  // namespace

WEIR_JOB(env, args) {
  env.settings().checkpoints.interval = std::chrono::milliseconds(args.GetInt("interval", 500));
  auto rows = env.From(weir::Generate<Row>(
      [](uint64_t i) {
        return Row{"k" + std::to_string(i % 100), static_cast<int64_t>(i)};
      },
      weir::GenerateOptions{.rate_per_second = 1000}));
  weir::Print(rows.KeyBy(&Row::key).Process(Count()).Uid("count"), "counts");
}
