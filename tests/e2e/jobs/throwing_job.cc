// Counts rows by key and second; user code throws (or takes its process down) where --at says, with
// the text "<place> threw". Operators are named after their places.
#include <weir/weir.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

struct Row {
  int64_t number = 0;
  weir::Timestamp at;
};

class Thrower {
 public:
  Thrower(std::string place, std::string at) : place_(std::move(place)), at_(std::move(at)) {}
  void operator()(bool now = true) const {
    if (!now || place_ != at_) return;
    if (place_ == "abort") std::abort();
    if (place_ == "segfault") raise(SIGSEGV);
    if (place_ == "number") throw 42;
    if (place_ == "bytes") throw std::runtime_error("bad row \xe9\xff");
    if (place_ == "lines") throw std::runtime_error("bad row:\nJob  made up\n\x1b[2Jcolumn 3");
    throw std::runtime_error(place_ + " threw");
  }

 private:
  std::string place_, at_;
};

/// A rich function that can throw when it is opened and when it is closed.
class Rich {
 public:
  explicit Rich(const std::string& at) : open_("open", at), close_("close", at) {}
  void Open(const weir::RuntimeContext&) { open_(); }
  void Close() { close_(); }
  Row operator()(const Row& row) const { return row; }

 private:
  Thrower open_, close_;
};

class Timers final : public weir::KeyedProcessFunction<int64_t, Row, Row> {
 public:
  explicit Timers(const std::string& at) : timer_("timer", at), process_("process", at) {}
  void ProcessElement(const Row& row, Context& context, weir::Collector<Row>& out) override {
    process_(row.number == 500);
    context.RegisterEventTimeTimer({row.at.ms / 100 * 100 + 100});
    out.Collect(row);
  }
  void OnTimer(weir::Timestamp, weir::TimeDomain, Context&, weir::Collector<Row>&) override {
    timer_();
  }

 private:
  Thrower timer_, process_;
};

class Writer final : public weir::SinkWriter<int64_t> {
 public:
  explicit Writer(const std::string& at)
      : open_("sink-open", at), write_("sink-write", at), snapshot_("sink-snapshot", at) {}
  void Open(const weir::RuntimeContext&) override { open_(); }
  void Write(weir::RecordBatch<int64_t>&) override { write_(); }
  void Snapshot(weir::CheckpointId, weir::OperatorStateSnapshot&) override { snapshot_(); }

 private:
  Thrower open_, write_, snapshot_;
};

}  // namespace

WEIR_JOB(env, args) {
  using namespace std::chrono_literals;
  const std::string at = args.Get("at", "");
  env.settings().checkpoints.interval = 200ms;
  env.settings().restart.kind = weir::RestartSettings::Kind::kFixedDelay;
  env.settings().restart.attempts = 1;
  env.settings().restart.delay = 10ms;
  const auto throws = [&](const char* place) { return Thrower(place, at); };
  weir::GenerateOptions options;
  options.count = 2000;
  options.rate_per_second = 2000;
  weir::Source<Row> rows = weir::Generate<Row>(
      [source = throws("source")](uint64_t i) {
        source(i == 500);
        const auto number = static_cast<int64_t>(i);
        return Row{number, {number}};
      },
      options);
  rows.make_reader = [make = rows.make_reader, thrower = throws("source-make")] {
    thrower();
    return make();
  };
  env.From(rows, weir::MonotonousTimestamps(&Row::at))
      .Name("the source")
      .Map([map = throws("map"), abort = throws("abort"), segfault = throws("segfault"),
            number = throws("number"), bytes = throws("bytes"),
            lines = throws("lines")](const Row& row) {
        map(row.number == 500);
        number(row.number == 500);
        bytes(row.number == 500);
        lines(row.number == 500);
        abort(row.number == 500);
        segfault(row.number == 500);
        return row;
      })
      .Name("the map")
      .Filter([filter = throws("filter")](const Row& row) {
        filter(row.number == 500);
        return true;
      })
      .Name("the filter")
      .Map(Rich(at))
      .Name("the rich function")
      .KeyBy([key = throws("key")](const Row& row) {
        key(row.number == 500);
        return row.number % 3;
      })
      .Process(Timers(at))
      .Name("the timers")
      .KeyBy([](const Row& row) { return row.number % 3; })
      .Window(weir::Tumbling(1s))
      .Aggregate(weir::Count(),
                 [window = throws("window")](int64_t, const weir::TimeWindow&, uint64_t n) {
                   window();
                   return static_cast<int64_t>(n);
                 })
      .Name("the window")
      .To({.name = "the sink",
           .make_writer =
               [at, thrower = throws("sink-make")] {
                 thrower();
                 return std::make_unique<Writer>(at);
               },
           .validate = {}});
}
