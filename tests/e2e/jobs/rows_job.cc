// Prints "<row> <text>" for rows 0 .. count - 1; without --count it never ends, without
// --restart it is not restarted. --say: the job function prints that. --hang-at: the map prints
// "hangs" at that row, and does not return.
#include <unistd.h>
#include <weir/weir.h>

#include <iostream>
#include <string>

WEIR_JOB(env, args) {
  weir::GenerateOptions options;
  if (args.Has("count")) options.count = static_cast<uint64_t>(args.GetInt("count", 0));
  options.rate_per_second = args.GetDouble("rate", 10'000);
  const std::string text = args.Get("text", "row");
  const int64_t fail_at = args.GetInt("fail-at", -1);
  const int64_t hang_at = args.GetInt("hang-at", -1);
  if (args.Has("say")) std::cout << args.Get("say", "") << '\n';
  if (!args.Has("restart")) env.settings().restart.kind = weir::RestartSettings::Kind::kNone;
  env.From(weir::Generate<int64_t>([](uint64_t i) { return static_cast<int64_t>(i); }, options))
      .Uid("rows")
      .Map([text, fail_at, hang_at](const int64_t& row) {
        if (row == hang_at) {
          std::cout << "hangs" << std::endl;
          for (;;) pause();
        }
        if (row == fail_at) throw std::runtime_error("row " + std::to_string(row) + " is bad");
        return std::to_string(row) + " " + text;
      })
      .Name("label")
      .To(weir::Print<std::string>())
      .Uid("printed");
}
