// A load simulator: rows at a set rate, of a set size, with keys as uneven as wanted, counted per
// key and second behind a shuffle. Prints what each second of the stream held.
//
//   weir run libload.so -p 2 --name load -- --rate 50000 --skew 1.1 --size 200
//   weir rate load rows 100000            # faster, while it runs
//
//   --rate N    rows per second (10,000); a row's event time is its number by this
//   --keys N    different keys (1,000)
//   --skew S    how uneven they are: key k is drawn in proportion to 1 / k^S; 0 is even (0)
//   --size N    bytes of each row beside its key (100)
//   --count N   rows in all; none: without end

#include <weir/weir.h>

#include <algorithm>
#include <cmath>
#include <memory>

using namespace weir;
using namespace std::chrono_literals;

struct Row {
  uint64_t key = 0;
  std::string payload;
};

struct KeyLoad {
  uint64_t key = 0;
  uint64_t rows = 0;
  uint64_t bytes = 0;
};

struct Load {
  int64_t second = 0;
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t keys = 0;
  uint64_t rows_of_hottest = 0;
};

// Draws keys from 1 on, the lower the more often.
class Zipf {
 public:
  Zipf(uint64_t keys, double skew) : cumulative_(keys) {
    double sum = 0;
    for (uint64_t k = 0; k < keys; ++k) {
      sum += std::pow(static_cast<double>(k + 1), -skew);
      cumulative_[k] = sum;
    }
  }
  // The same for the same `row`: a source must give the same rows again after a restore.
  uint64_t operator()(uint64_t row) const {
    const double at = static_cast<double>(Scramble(row) >> 11) * 0x1p-53 * cumulative_.back();
    const auto found = std::ranges::upper_bound(cumulative_, at);
    return static_cast<uint64_t>(std::min(found, cumulative_.end() - 1) - cumulative_.begin()) + 1;
  }

 private:
  static uint64_t Scramble(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  std::vector<double> cumulative_;
};

struct Together {
  using Accumulator = Load;
  void Add(const KeyLoad& key, Load& into) const {
    into.rows += key.rows;
    into.bytes += key.bytes;
    into.keys += 1;
    into.rows_of_hottest = std::max(into.rows_of_hottest, key.rows);
  }
  Load GetResult(const Load& all) const { return all; }
};

static void Check(bool fits, const char* what) {
  if (!fits) ThrowError(ErrorKind::kUser, what);
}

WEIR_JOB(env, args) {
  env.settings().name = "load";
  const double rate = args.GetDouble("rate", 10'000);
  const int64_t keys = args.GetInt("keys", 1'000);
  const double skew = args.GetDouble("skew", 0);
  const int64_t size = args.GetInt("size", 100);
  Check(rate > 0 && rate <= 1e9, "--rate must be above 0 and at most a billion");
  Check(keys >= 1 && keys <= 10'000'000, "--keys must be 1 to 10,000,000");
  Check(skew >= 0 && skew <= 10, "--skew must be 0 to 10");
  Check(size >= 0 && size <= 1 << 20, "--size must be 0 to 1 MiB");

  GenerateOptions options{.rate_per_second = rate, .name = "rows"};
  if (args.Has("count")) options.count = static_cast<uint64_t>(args.GetInt("count", 0));
  const auto zipf = std::make_shared<const Zipf>(static_cast<uint64_t>(keys), skew);
  const auto make_row = [=](uint64_t i, Row& row) {
    row.key = (*zipf)(i);
    row.payload.assign(static_cast<size_t>(size), 'x');
    return Timestamp{static_cast<int64_t>(static_cast<double>(i) * 1000 / rate)};
  };
  env.From(Generate<Row>(make_row, options), MonotonousTimestamps<Row>())
      .Uid("rows")
      .KeyBy(&Row::key)
      .Window(Tumbling(1s))
      .Aggregate(Combine(Count(), Sum<Row>([](const Row& row) { return row.payload.size(); })),
                 [](uint64_t key, const TimeWindow&, const auto& sums) {
                   return KeyLoad{key, std::get<0>(sums), std::get<1>(sums)};
                 })
      .Uid("per-key")
      .WindowAll(Tumbling(1s))
      .Aggregate(Together(),
                 [](const TimeWindow& window, Load all) {
                   all.second = window.start.ms / 1000;
                   return all;
                 })
      .Uid("together")
      .To(Print<Load>("load"))
      .Parallelism(1)
      .Uid("printed");
}
