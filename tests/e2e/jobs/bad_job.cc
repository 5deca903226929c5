// A job with something wrong in it: --wrong says what.
#include <unistd.h>
#include <weir/weir.h>

#include <csignal>
#include <cstdlib>
#include <string>

// A compiler that saw the null would do without the write.
volatile int* Nowhere() {
  static volatile int* volatile nowhere = nullptr;
  return nowhere;
}

WEIR_JOB(env, args) {
  const std::string wrong = args.Get("wrong", "");
  if (wrong == "throws") throw std::runtime_error("no such luck");
  // A job function must not look at the process that it runs in.
  const std::string name = wrong == "graphs" ? "map " + std::to_string(getpid()) : "map";
  env.settings().checkpoints.interval = std::chrono::milliseconds(200);
  using Kind = weir::RestartSettings::Kind;
  const std::string restart = args.Get("restart", "fixed");
  env.settings().restart.kind = restart == "none"          ? Kind::kNone
                                : restart == "exponential" ? Kind::kExponentialDelay
                                                           : Kind::kFixedDelay;
  env.settings().restart.attempts = 1;
  env.settings().restart.delay = std::chrono::milliseconds(10);
  auto rows = env.From(weir::Generate<int64_t>([](uint64_t i) { return static_cast<int64_t>(i); },
                                               {.rate_per_second = 1000}))
                  .Uid("rows");
  auto mapped = rows.Map([wrong](const int64_t& row) {
                      if (row == 500 && wrong == "exception") throw std::runtime_error("row 500");
                      if (row == 500 && wrong == "abort") std::abort();
                      if (row == 500 && wrong == "segfault") raise(SIGSEGV);
                      if (row == 500 && wrong == "null") *Nowhere() = 1;
                      if (row == 500 && wrong == "hang") {
                        for (;;) pause();
                      }
                      return row;
                    })
                    .Name(name)
                    .Uid(wrong == "uids" ? "rows" : "mapped");
  mapped.KeyBy([](int64_t row) { return row % 7; })
      .Aggregate(weir::Count())
      .Uid(args.Get("count-uid", "count"))
      .To(weir::Print<weir::Keyed<int64_t, uint64_t>>())
      .Uid("printed");
}
