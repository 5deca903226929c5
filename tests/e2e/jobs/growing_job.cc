// Each row has a key that no row had before, and leaves a kilobyte behind: state that only grows.
// With --windows it is held by a window that ends after the last row. With --keys it has grown when
// there are so many, and the job goes on. Sends nothing on.
#include <weir/weir.h>

#include <string>

#include "append_lines.h"

namespace {

struct Row {
  std::string key;
  weir::Timestamp at;
};

class Remember final : public weir::KeyedProcessFunction<std::string, Row, std::string> {
 public:
  void Open(weir::KeyedContext& context) override {
    text_ = context.GetValueState<std::string>("text");
  }
  void ProcessElement(const Row& row, Context&, weir::Collector<std::string>&) override {
    text_.Mutable().assign(1000, row.key.back());
  }

 private:
  weir::ValueState<std::string> text_;
};

}  // namespace

WEIR_JOB(env, args) {
  using namespace std::chrono_literals;
  env.settings().checkpoints.interval = 1000ms;
  env.settings().restart.kind = weir::RestartSettings::Kind::kNone;
  weir::GenerateOptions options;
  const auto keys = static_cast<uint64_t>(args.GetInt("keys", 0));
  if (keys == 0) {
    options.count = static_cast<uint64_t>(args.GetInt("count", 1000));
  } else {
    options.rate_per_second = 20'000;
  }
  auto rows = env.From(weir::Generate<Row>(
                           [keys](uint64_t i) {
                             return Row{"key-" + std::to_string(keys == 0 ? i : i % keys),
                                        {static_cast<int64_t>(i)}};
                           },
                           options),
                       weir::BoundedOutOfOrderness(0ms, &Row::at))
                  .Uid("rows");
  const std::string path = args["out"];
  if (args.Has("windows")) {
    rows.KeyBy(&Row::key)
        .Window(weir::Tumbling(24h))
        .Aggregate(weir::Count(),
                   [](const std::string& key, const weir::TimeWindow&, uint64_t) { return key; })
        .Uid("counts")
        .To(AppendLines(path))
        .Uid("out");
    return;
  }
  rows.KeyBy(&Row::key).Process(Remember()).Uid("remember").To(AppendLines(path)).Uid("out");
}
