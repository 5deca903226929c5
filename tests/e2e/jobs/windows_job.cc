// Row i has event time i ms (give or take 20) and key i % keys. Lines:
// "tumbling KEY END COUNT SUM" (1 s), "sliding KEY END COUNT" (3 s every 500 ms), "all END COUNT".
#include <weir/weir.h>

#include <string>

#include "append_lines.h"

namespace {

struct Row {
  uint64_t key = 0;
  int64_t value = 0;
  weir::Timestamp at;
};

}  // namespace

WEIR_JOB(env, args) {
  using namespace std::chrono_literals;
  env.settings().checkpoints.interval = 200ms;
  const uint64_t keys = static_cast<uint64_t>(args.GetInt("keys", 50));
  weir::GenerateOptions options;
  options.count = static_cast<uint64_t>(args.GetInt("count", 1000));
  if (args.Has("rate")) options.rate_per_second = args.GetDouble("rate", 1000);
  auto rows = env.From(weir::Generate<Row>(
                           [keys](uint64_t i) {
                             const int64_t at = static_cast<int64_t>(i + i * 7919 % 41) - 20;
                             return Row{i % keys, static_cast<int64_t>(i), {at}};
                           },
                           options),
                       weir::BoundedOutOfOrderness(50ms, &Row::at))
                  .Uid("rows");
  const std::string path = args["out"];
  rows.KeyBy(&Row::key)
      .Window(weir::Tumbling(1s))
      .Aggregate(
          weir::Combine(weir::Count(), weir::Sum(&Row::value)),
          [](uint64_t key, const weir::TimeWindow& w, const std::tuple<uint64_t, int64_t>& total) {
            return "tumbling " + std::to_string(key) + " " + std::to_string(w.end.ms) + " " +
                   std::to_string(std::get<0>(total)) + " " + std::to_string(std::get<1>(total));
          })
      .Uid("tumbling")
      .To(AppendLines(path))
      .Uid("tumbling-out");
  rows.KeyBy(&Row::key)
      .Window(weir::Sliding(3s, 500ms))
      .Aggregate(weir::Count(),
                 [](uint64_t key, const weir::TimeWindow& w, uint64_t count) {
                   return "sliding " + std::to_string(key) + " " + std::to_string(w.end.ms) + " " +
                          std::to_string(count);
                 })
      .Uid("sliding")
      .To(AppendLines(path))
      .Uid("sliding-out");
  rows.WindowAll(weir::Tumbling(1s))
      .Aggregate(weir::Count(),
                 [](const weir::TimeWindow& w, uint64_t count) {
                   return "all " + std::to_string(w.end.ms) + " " + std::to_string(count);
                 })
      .Uid("all")
      .To(AppendLines(path))
      .Uid("all-out");
}
