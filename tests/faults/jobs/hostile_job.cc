// A graph that must be refused: --what says why.
#include <weir/weir.h>

#include <string>

WEIR_JOB(env, args) {
  const std::string what = args["what"];
  auto rows = env.From(weir::Generate<int64_t>([](uint64_t i) { return static_cast<int64_t>(i); },
                                               weir::GenerateOptions{.rate_per_second = 1}))
                  .Uid("rows");
  if (what == "many-vertices") {
    for (int i = 0; i < 10'000; ++i) {
      rows = rows.Rebalance().Map([](int64_t row) { return row; }).Uid("map-" + std::to_string(i));
    }
  }
  const std::string long_name(what == "long-name" ? 1 << 20 : 1, 'x');
  auto mapped = rows.Map([](int64_t row) { return row; }).Uid(what == "same-uid" ? "rows" : "map");
  if (what == "long-name") mapped.Name(long_name).Uid(long_name);
  if (what == "no-parallelism") mapped.Parallelism(0);
  if (what == "much-parallelism") mapped.Parallelism(1'000'000);
  weir::Print(mapped, "rows");
  if (what == "cycle") {
    env.node(1).inputs.push_back(env.node(1).inputs[0]);
    env.node(1).inputs.back().node = 1;
  }
}
