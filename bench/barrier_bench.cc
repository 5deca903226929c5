// What a barrier costs those who process records: the longest time between two batches that reach
// the sink within a second behind a barrier, at half of the load that the job could take; and the
// rows that it processes while a checkpoint is being made, at full load (where each cycle that the
// checkpoint takes from the slot shows) and at half. The keyed job of keyed_job.h: u64 key, 16-byte
// value, 10 MB and 1 GB of it, of which 100,000 keys change between two barriers. Checkpoints are
// made durable in a directory. Beside the gaps stands what the machine alone did to threads that
// share nothing with the job (machine_noise.h); --explain tells for each gap from so many
// milliseconds on what the slot thread did in it (gap_log.h).
//
//   barrier_bench [--checkpoints N] [--full-load N] [--state small|large]
//                 [--backend memory|rocksdb] [--cache MB] [--explain MS]

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/gap_log.h"
#include "bench/keyed_job.h"
#include "bench/local_job.h"
#include "bench/machine_noise.h"
#include "bench/report.h"

namespace weir::bench {
namespace {

using std::chrono::milliseconds;

// Of 24 bytes: key and value.
constexpr uint32_t kSmall = 10'000'000 / 24;
constexpr uint32_t kLarge = 1'000'000'000 / 24;
constexpr uint32_t kDirtyKeys = 100'000;
// What they take in the tables, with tags, flags and room to grow.
constexpr size_t kTableBytesPerKey = 34;
constexpr int64_t kWindowNs = 1'000'000'000;
// From barrier to barrier, if the checkpoint is durable by then. Less than the window, so that 200
// of them take little more than two minutes.
constexpr int64_t kPeriodNs = 650'000'000;
// Seconds in which the machine held up its own threads by no more than this tell what the barrier
// does; the others tell what the machine does.
constexpr double kUndisturbedMs = 2;
// The machine's memory is looked at every 10 ms: what it felt of a gap may end so much later.
constexpr int64_t kNoiseLateNs = 12'000'000;
constexpr uint64_t kRocksDbBytes = uint64_t{256} << 20;

double Seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(p * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

struct Options {
  int checkpoints = 200;
  int at_full_load = 30;
  std::string_view state;  // small, large, or empty for both
  bool rocksdb = false;
  // More than all the state: what is measured is the barrier, not reading what is cold.
  size_t cache_bytes = size_t{8} << 30;
  // Gaps from this length on are told one by one; 0: none. Costs a few system calls per batch.
  double explain_ms = 0;
};

struct Result {
  std::vector<double> gaps_ms;  // the longest behind each barrier
  // MachineNoise in the same time: the longest that a core was away, and that a batch's worth of
  // changes in memory took.
  std::vector<double> away_ms;
  std::vector<double> memory_ms;
  std::vector<double> undisturbed_gaps_ms;  // of gaps_ms: where the machine left its own alone
  std::vector<double> quiet_gaps_ms;        // the longest of as long a time without a barrier
  // Rows per second from a barrier until its checkpoint is durable, against those right before.
  std::vector<double> at_full_load;
  std::vector<double> at_half_load;
  std::vector<double> durable_ms;  // barrier to durable, at half load
};

class Run {
 public:
  Run(uint32_t keys, const Options& options)
      : keys_(keys), options_(options), noise_(size_t{keys} * kTableBytesPerKey) {}

  Result Measure() {
    std::unique_ptr<GapLog> log;
    if (options_.explain_ms > 0) {
      log = std::make_unique<GapLog>(static_cast<int64_t>(options_.explain_ms * 1e6));
      controls_.on_gap = [&log](int64_t from, int64_t to) { log->Note(from, to); };
    }
    BuildKeyedJob(env_, &controls_, [this](KeyedRow* rows, uint32_t count) { Fill(rows, count); });
    LocalJob::Options local{.directory = directory_.path(), .cache_bytes = options_.cache_bytes};
    if (options_.rocksdb) {
      resources_ = std::make_unique<RocksDbResources>(
          RocksDbResources::Options{.memory_bytes = kRocksDbBytes});
      local.rocksdb = resources_.get();
    }
    job_ = std::make_unique<LocalJob>(env_, local);
    controls_.rate = Controls::kUnlimited;
    int64_t start = NowNs();
    WaitFor([&] { return controls_.rows >= keys_; });
    const double filled = Seconds(NowNs() - start);
    start = NowNs();
    Checkpoint();  // everything, once
    std::printf("  %u keys in %.1f s, all of them durable in %.1f s\n", keys_, filled,
                Seconds(NowNs() - start));
    const double full_rate = Rate(kWindowNs);
    std::printf("  full load %.1f M/s\n", full_rate / 1e6);
    Result result;
    MeasureAtFullLoad(result);
    controls_.rate = full_rate / 2;
    Sleep(kWindowNs);
    MeasureAtHalfLoad(result);
    controls_.rate = 0;
    job_.reset();
    if (log) Explain(*log, result);
    if (!noise_.real_time()) {
      std::printf(
          "  the machine's figures waited for other threads: no real-time threads allowed\n");
    }
    return result;
  }

 private:
  static void Sleep(int64_t ns) { std::this_thread::sleep_for(std::chrono::nanoseconds(ns)); }
  template <class F>
  static void WaitFor(F&& done) {
    while (!done()) std::this_thread::sleep_for(milliseconds(1));
  }

  // Slot thread. Every key once; then those of a part that moves on, so that about as many keys are
  // dirty at each barrier, all over the state.
  void Fill(KeyedRow* rows, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i, ++row_) {
      const uint64_t n = row_ < keys_ ? row_ : Dirty();
      rows[i].key = Scatter(n * 7'368'787 % keys_);
      rows[i].value = 1;
    }
  }
  uint64_t Dirty() {
    const uint64_t part = part_.load(std::memory_order_relaxed);
    return (part * kDirtyKeys + row_ % kDirtyKeys) % keys_;
  }

  void Checkpoint() {
    job_->Begin(CheckpointId(++checkpoint_));
    job_->Wait(CheckpointId(checkpoint_));
  }
  // Other keys from here on.
  void MoveOn() { part_.fetch_add(1, std::memory_order_relaxed); }

  double Rate(int64_t ns) {
    const uint64_t before = controls_.rows;
    const int64_t start = NowNs();
    Sleep(ns);
    return static_cast<double>(controls_.rows - before) / Seconds(NowNs() - start);
  }
  /// Rows per second during a checkpoint; how long that took.
  double RateOfCheckpoint(int64_t* taken) {
    const uint64_t rows = controls_.rows;
    const int64_t start = NowNs();
    Checkpoint();
    *taken = NowNs() - start;
    return static_cast<double>(controls_.rows - rows) / Seconds(*taken);
  }

  // The time before a checkpoint is as long as one, and the keys that will be dirty are known.
  void MeasureAtFullLoad(Result& result) {
    constexpr int64_t kAtLeastNs = 100'000'000;
    int64_t taken = 0;
    for (int i = 0; i < options_.at_full_load; ++i) {
      MoveOn();
      Sleep(kWindowNs / 10);
      const double before = Rate(std::max<int64_t>(taken, kAtLeastNs));
      result.at_full_load.push_back(RateOfCheckpoint(&taken) / before);
    }
  }

  void MeasureAtHalfLoad(Result& result) {
    for (int i = 0; i < 10; ++i) {
      const int64_t start = NowNs();
      Sleep(kWindowNs);
      result.quiet_gaps_ms.push_back(LongestGapMs(start));
    }
    for (int i = 0; i < options_.checkpoints; ++i) {
      const int64_t start = NowNs();
      barriers_.push_back(start);
      const uint64_t rows = controls_.rows;
      job_->Begin(CheckpointId(++checkpoint_));
      MoveOn();
      job_->Wait(CheckpointId(checkpoint_));
      const int64_t taken = NowNs() - start;
      result.durable_ms.push_back(Seconds(taken) * 1e3);
      result.at_half_load.push_back(static_cast<double>(controls_.rows - rows) / Seconds(taken) /
                                    controls_.rate);
      if (barriers_.size() > 1) NoteBarrier(result, barriers_[barriers_.size() - 2]);
      Sleep(std::max<int64_t>(start + kPeriodNs - NowNs(), 0));
    }
    Sleep(kWindowNs);
    NoteBarrier(result, barriers_.back());
    half_load_ended_ = NowNs();
  }
  void Explain(const GapLog& log, const Result& result) const {
    const auto ms = [](int64_t ns) { return Seconds(ns) * 1e3; };
    for (const GapLog::Gap& gap : log.gaps()) {
      const auto next = std::upper_bound(barriers_.begin(), barriers_.end(), gap.from_ns);
      if (next == barriers_.begin() || gap.from_ns > half_load_ended_) continue;
      const auto i = static_cast<size_t>(next - barriers_.begin() - 1);
      std::printf(
          "  gap of %.1f ms, %.1f behind barrier %zu (durable after %.1f): on a core %.1f, waiting "
          "for one %.1f, slept %ld times, switched away %ld, page faults %ld; the machine alone: "
          "a core away %.1f, changes in memory %.1f\n",
          ms(gap.to_ns - gap.from_ns), ms(gap.from_ns - barriers_[i]), i + 1, result.durable_ms[i],
          ms(gap.on_cpu_ns), ms(gap.waited_for_cpu_ns), gap.slept, gap.switched_away,
          gap.page_faults, ms(noise_.Away(gap.from_ns, gap.to_ns)),
          ms(noise_.LongestBatch(gap.from_ns, gap.to_ns + kNoiseLateNs)));
    }
  }
  // The next one came meanwhile, and its window begins in this one's.
  void NoteBarrier(Result& result, int64_t at) {
    Sleep(std::max<int64_t>(at + kWindowNs - NowNs(), 0));
    const double gap = LongestGapMs(at);
    const double away = static_cast<double>(noise_.LongestAway(at, at + kWindowNs)) / 1e6;
    const double memory = static_cast<double>(noise_.LongestBatch(at, at + kWindowNs)) / 1e6;
    result.gaps_ms.push_back(gap);
    result.away_ms.push_back(away);
    result.memory_ms.push_back(memory);
    if (std::max(away, memory) <= kUndisturbedMs) result.undisturbed_gaps_ms.push_back(gap);
  }
  double LongestGapMs(int64_t from) const {
    return static_cast<double>(controls_.gaps.Longest(from, from + kWindowNs)) / 1e6;
  }

  const uint32_t keys_;
  const Options& options_;
  MachineNoise noise_;
  std::vector<int64_t> barriers_;  // at half load
  int64_t half_load_ended_ = 0;
  ScratchDirectory directory_;
  std::unique_ptr<RocksDbResources> resources_;
  Environment env_;
  Controls controls_;
  std::unique_ptr<LocalJob> job_;
  uint64_t checkpoint_ = 0;
  std::atomic<uint64_t> part_{0};
  uint64_t row_ = 0;  // slot thread
};

void Show(const char* what, const std::vector<double>& values, const char* unit) {
  std::printf("  %-44s least %6.2f  median %6.2f  p99 %6.2f  most %6.2f %s (%zu)\n", what,
              Percentile(values, 0), Percentile(values, 0.5), Percentile(values, 0.99),
              Percentile(values, 1), unit, values.size());
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  LocalJob::PrepareProcess();
  const Report report(argc, argv);
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--checkpoints") options.checkpoints = std::atoi(argv[i + 1]);
    if (name == "--full-load") options.at_full_load = std::atoi(argv[i + 1]);
    if (name == "--state") options.state = argv[i + 1];
    if (name == "--backend") options.rocksdb = std::string_view(argv[i + 1]) == "rocksdb";
    if (name == "--explain") options.explain_ms = std::atof(argv[i + 1]);
    if (name == "--cache") options.cache_bytes = std::strtoull(argv[i + 1], nullptr, 10) << 20;
  }
  constexpr double kMustMs = 10;
  constexpr double kMustRows = 0.8;
  double small_p99 = 0;
  for (const bool large : {false, true}) {
    if (!options.state.empty() && (options.state == "large") != large) continue;
    const std::string name =
        std::string(options.rocksdb ? "rocksdb, " : "memory, ") + (large ? "1 GB" : "10 MB");
    std::printf("\n%s of state, %u dirty keys at each barrier\n", name.c_str(), kDirtyKeys);
    const Result result = Run(large ? kLarge : kSmall, options).Measure();
    Show("longest gap behind a barrier, half load", result.gaps_ms, "ms");
    Show("the same, of undisturbed seconds", result.undisturbed_gaps_ms, "ms");
    Show("machine alone: a core away in that second", result.away_ms, "ms");
    Show("machine alone: changes in as much memory", result.memory_ms, "ms");
    Show("longest gap of a second without a barrier", result.quiet_gaps_ms, "ms");
    Show("barrier to durable, half load", result.durable_ms, "ms");
    Show("rows during a checkpoint / before, full load", result.at_full_load, "x");
    Show("rows during a checkpoint / load, half load", result.at_half_load, "x");
    const double p99 = Percentile(result.gaps_ms, 0.99);
    report.Add({.name = name + ": p99 of the longest gap behind a barrier",
                .unit = "ms",
                .values = {p99},
                .must = kMustMs});
    if (!result.undisturbed_gaps_ms.empty()) {
      report.Add({.name = name + ": p99 of the same in " +
                          std::to_string(result.undisturbed_gaps_ms.size()) +
                          " undisturbed seconds",
                  .unit = "ms",
                  .values = {Percentile(result.undisturbed_gaps_ms, 0.99)},
                  .must = kMustMs});
    }
    report.Add(
        {.name = name + ": longest gap behind a barrier", .unit = "ms", .values = result.gaps_ms});
    report.Add({.name = name + ": machine alone, a core away in that second",
                .unit = "ms",
                .values = result.away_ms});
    report.Add({.name = name + ": machine alone, changes in as much memory",
                .unit = "ms",
                .values = result.memory_ms});
    report.Add({.name = name + ": rows during a checkpoint / before, full load",
                .unit = "x",
                .values = result.at_full_load,
                .better = Better::kHigher,
                .must = kMustRows});
    report.Add({.name = name + ": rows during a checkpoint / before, half load",
                .unit = "x",
                .values = result.at_half_load,
                .better = Better::kHigher,
                .must = kMustRows});
    if (!large) small_p99 = p99;
    if (large && small_p99 > 0) {
      report.Add({.name = name + ": p99 above twice that of 10 MB",
                  .unit = "ms",
                  .values = {p99 - 2 * small_p99},
                  .must = 2});
    }
  }
}
