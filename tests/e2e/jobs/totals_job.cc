// Per key: count and sum of a generator's rows, behind every row, and once more kept by hand in
// value, list and map state. Lines: "agg KEY COUNT SUM" and "own KEY COUNT SUM ENTRIES LISTED".
#include <weir/weir.h>

#include <string>

#include "append_lines.h"

namespace {

struct Row {
  std::string key;
  int64_t value = 0;
};

class OwnState final : public weir::KeyedProcessFunction<std::string, Row, std::string> {
 public:
  void Open(weir::KeyedContext& context) override {
    sum_ = context.GetValueState<int64_t>("sum");
    buckets_ = context.GetMapState<uint32_t, int64_t>("buckets");
    listed_ = context.GetListState<int64_t>("listed");
  }
  void ProcessElement(const Row& row, Context& context,
                      weir::Collector<std::string>& out) override {
    sum_.Mutable() += row.value;
    const auto bucket = static_cast<uint32_t>(row.value / 7 % 5);
    ++buckets_.Mutable(bucket);
    if (row.value / 7 % 4 == 0) listed_.Add(row.value);
    int64_t count = 0, entries = 0, listed = 0;
    buckets_.ForEach([&](uint32_t, int64_t n) {
      count += n;
      ++entries;
    });
    listed_.ForEach([&](int64_t) { ++listed; });
    out.Collect("own " + context.key() + " " + std::to_string(count) + " " +
                std::to_string(*sum_.Get()) + " " + std::to_string(entries) + " " +
                std::to_string(listed));
  }

 private:
  weir::ValueState<int64_t> sum_;
  weir::MapState<uint32_t, int64_t> buckets_;
  weir::ListState<int64_t> listed_;
};

}  // namespace

WEIR_JOB(env, args) {
  env.settings().checkpoints.interval = std::chrono::milliseconds(200);
  env.settings().checkpoints.retain_on_cancel = args.Has("retain");
  env.settings().checkpoints.retained = static_cast<uint32_t>(args.GetInt("retained", 1));
  const int64_t keys = args.GetInt("keys", 100);
  weir::GenerateOptions options;
  options.count = static_cast<uint64_t>(args.GetInt("count", 1000));
  if (args.Has("rate")) options.rate_per_second = args.GetDouble("rate", 1000);
  auto rows = env.From(weir::Generate<Row>(
                           [keys](uint64_t i) {
                             return Row{"k" + std::to_string(i % keys), static_cast<int64_t>(i)};
                           },
                           options))
                  .Uid("rows");
  if (args.Has("limit")) rows.RateLimit(args.GetDouble("limit", 0));  // `weir rate` lifts it
  const std::string path = args["out"];
  rows.KeyBy(&Row::key)
      .Aggregate(weir::Combine(weir::Count(), weir::Sum(&Row::value)),
                 [](const std::string& key, const std::tuple<uint64_t, int64_t>& total) {
                   return "agg " + key + " " + std::to_string(std::get<0>(total)) + " " +
                          std::to_string(std::get<1>(total));
                 })
      .Uid("totals")
      .To(AppendLines(path))
      .Uid("totals-out");
  rows.KeyBy(&Row::key).Process(OwnState()).Uid("own").To(AppendLines(path)).Uid("own-out");
}
