// A job with something wrong in how it is put together: --wrong says what. Without it, it counts.
#include <unistd.h>
#include <weir/weir.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

// A compiler that saw the null would do without the write.
volatile int* Nowhere() {
  static volatile int* volatile nowhere = nullptr;
  return nowhere;
}

/// The function 'mapped', and what is wrong with it: when it is opened, or at row 500.
class Mapping {
 public:
  explicit Mapping(std::string wrong) : wrong_(std::move(wrong)) {}
  void Open(const weir::RuntimeContext&) {
    if (wrong_ == "open") *Nowhere() = 1;
  }
  int64_t operator()(const int64_t& row) const {
    if (row == 500) GoWrong();
    return row;
  }

 private:
  void GoWrong() const {
    if (wrong_ == "exception") throw std::runtime_error("row 500");
    if (wrong_ == "silent exception") throw std::out_of_range("");
    if (wrong_ == "loud exception") throw std::runtime_error("row \x1b[31m500\nthe second line");
    if (wrong_ == "abort") std::abort();
    if (wrong_ == "segfault") raise(SIGSEGV);
    if (wrong_ == "null") *Nowhere() = 1;
    if (wrong_ == "exit") std::exit(0);
    if (wrong_ == "_exit") _exit(3);
    if (wrong_ == "thread") std::thread([] { throw std::runtime_error("row 500"); }).join();
    if (wrong_ == "hang") {
      for (;;) pause();
    }
  }

  std::string wrong_;
};

WEIR_JOB(env, args) {
  const std::string wrong = args.Get("wrong", "");
  if (wrong == "throws") throw std::runtime_error("no such luck");
  if (wrong == "throws lines") throw std::runtime_error("no such luck\nJob made up \xff");
  if (wrong == "throws a number") throw 42;
  if (wrong == "crashes") std::abort();
  if (wrong == "exits") std::exit(7);
  if (wrong == "empty") return;
  // A job function must not look at the process or the machine that it runs in.
  std::string name = "map";
  if (wrong == "graphs") name += " " + std::to_string(getpid());
  if (wrong == "environment" && std::getenv("SUBMITTED_HERE") != nullptr) name += " here";
  env.settings().checkpoints.interval = std::chrono::milliseconds(200);
  using Kind = weir::RestartSettings::Kind;
  const std::string restart = args.Get("restart", "fixed");
  env.settings().restart.kind = restart == "none"          ? Kind::kNone
                                : restart == "exponential" ? Kind::kExponentialDelay
                                                           : Kind::kFixedDelay;
  env.settings().restart.attempts = 1;
  env.settings().restart.delay = std::chrono::milliseconds(10);
  env.settings().checkpoints.retain_on_cancel = args.Has("retain");
  weir::GenerateOptions options;
  if (args.Has("count")) options.count = static_cast<uint64_t>(args.GetInt("count", 0));
  options.rate_per_second = 1000;
  auto rows =
      env.From(weir::Generate<int64_t>([](uint64_t i) { return static_cast<int64_t>(i); }, options))
          .Uid("rows");
  auto mapped = rows.Map(Mapping(wrong)).Name(name).Uid(wrong == "uids" ? "rows" : "mapped");
  if (wrong == "parallelism") mapped.Parallelism(0);
  if (wrong == "cycle") {
    // The API refers backwards only; whoever reaches below it can still make a loop.
    env.node(1).inputs.push_back(env.node(1).inputs[0]);
    env.node(1).inputs.back().node = 1;
  }
  mapped.KeyBy([](int64_t row) { return row % 7; })
      .Aggregate(weir::Count())
      .Uid(args.Get("count-uid", "count"))
      .To(weir::Print<weir::Keyed<int64_t, uint64_t>>())
      .Uid("printed");
}
