// Two generators of values 2i and 2i + 1 at i ms, one rebalanced, in union; multiples of three
// leave by a side output, the rest is gathered by key and second with timers. Lines: "third VALUE",
// and "second KEY END SUM SUM", the sum kept once in a map and once as a list.
#include <weir/weir.h>

#include <string>

#include "append_lines.h"

namespace {

struct Row {
  int64_t value = 0;
  weir::Timestamp at;
};

const weir::OutputTag<int64_t> kThirds{"thirds"};

class Divide final : public weir::ProcessFunction<Row, Row> {
 public:
  void ProcessElement(const Row& row, Context& context, weir::Collector<Row>& out) override {
    if (row.value % 3 == 0) {
      context.Output(kThirds, row.value);
    } else {
      out.Collect(row);
    }
  }
};

/// Gives the sum of a key's rows of one second when the second is over.
class Gather final : public weir::KeyedProcessFunction<int64_t, Row, std::string> {
 public:
  void Open(weir::KeyedContext& context) override {
    rows_ = context.GetListState<int64_t>("rows");
    seconds_ = context.GetMapState<int64_t, int64_t>("seconds");
  }
  void ProcessElement(const Row& row, Context& context, weir::Collector<std::string>&) override {
    const int64_t end = (row.at.ms / 1000 + 1) * 1000;
    rows_.Add(row.value);
    seconds_.Mutable(end) += row.value;
    context.RegisterEventTimeTimer({end - 1});
  }
  void OnTimer(weir::Timestamp time, weir::TimeDomain, Context& context,
               weir::Collector<std::string>& out) override {
    const int64_t end = time.ms + 1;
    int64_t listed = 0;
    rows_.ForEach([&](int64_t value) {
      if (value / 2 / 1000 == time.ms / 1000) listed += value;
    });
    out.Collect("second " + std::to_string(context.key()) + " " + std::to_string(end) + " " +
                std::to_string(*seconds_.Get(end)) + " " + std::to_string(listed));
    seconds_.Remove(end);
  }

 private:
  weir::ListState<int64_t> rows_;
  weir::MapState<int64_t, int64_t> seconds_;
};

}  // namespace

WEIR_JOB(env, args) {
  using namespace std::chrono_literals;
  env.settings().checkpoints.interval = 200ms;
  weir::GenerateOptions options;
  options.count = static_cast<uint64_t>(args.GetInt("count", 1000));
  if (args.Has("rate")) options.rate_per_second = args.GetDouble("rate", 1000);
  auto rows = [&](int64_t offset) {
    return env.From(
        weir::Generate<Row>(
            [offset](uint64_t i) {
              return Row{2 * static_cast<int64_t>(i) + offset, {static_cast<int64_t>(i)}};
            },
            options),
        weir::MonotonousTimestamps(&Row::at));
  };
  auto even = rows(0).Uid("even");
  auto odd = rows(1).Uid("odd");
  const std::string path = args["out"];
  auto divided = even.Rebalance()
                     .Map([](const Row& row) { return row; })
                     .Uid("copy")
                     .Union(odd)
                     .Process(Divide())
                     .Uid("divide");
  divided.SideOutput(kThirds)
      .Map([](int64_t value) { return "third " + std::to_string(value); })
      .Uid("third")
      .To(AppendLines(path))
      .Uid("thirds-out");
  divided.KeyBy([](const Row& row) { return row.value % 11; })
      .Process(Gather())
      .Uid("gather")
      .To(AppendLines(path))
      .Uid("gathered-out");
}
