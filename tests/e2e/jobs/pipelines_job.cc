// Two pipelines that nothing connects, "orders" and "clicks", each in slots of its own: a count per
// key behind every row. Lines: "PIPELINE KEY COUNT", in --out.PIPELINE. The orders throw each time
// that they find the file --throw, which they delete.
#include <weir/weir.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "append_lines.h"

namespace {

struct Row {
  std::string key;
};

void AddPipeline(weir::Environment& env, const std::string& name, const weir::Args& args,
                 const std::string& throw_at) {
  weir::GenerateOptions options;
  options.count = static_cast<uint64_t>(args.GetInt("count", 1000));
  options.rate_per_second = args.GetDouble("rate", 1000);
  env.From(
         weir::Generate<Row>([](uint64_t i) { return Row{"k" + std::to_string(i % 10)}; }, options))
      .Uid(name)
      .SlotSharingGroup(name)
      .Map([throw_at](const Row& row) {
        if (!throw_at.empty() && std::remove(throw_at.c_str()) == 0) {
          throw std::runtime_error("told to");
        }
        return row;
      })
      .Uid(name + "-map")
      .KeyBy(&Row::key)
      .Aggregate(weir::Count(),
                 [name](const std::string& key, uint64_t count) {
                   return name + " " + key + " " + std::to_string(count);
                 })
      .Uid(name + "-counts")
      .To(AppendLines(args["out"] + "." + name))
      .Uid(name + "-out");
}

}  // namespace

WEIR_JOB(env, args) {
  env.settings().checkpoints.interval = std::chrono::milliseconds(200);
  AddPipeline(env, "orders", args, args["throw"]);
  AddPipeline(env, "clicks", args, "");
}
