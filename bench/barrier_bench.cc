// What a barrier costs those who process records: the longest time between two batches that reach
// the sink within a second after a barrier, at half of the load that the job could take, and what
// the job processes while a checkpoint is being made. The keyed job of keyed_job.h on the memory
// backend, where all state is in tables: u64 key, 16-byte value, 10 MB and 1 GB of it, of which
// 100,000 keys change between two barriers. Checkpoints are made durable in a directory.
//
//   barrier_bench [--checkpoints N] [--state small|large]

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/keyed_job.h"
#include "bench/local_job.h"
#include "bench/report.h"

namespace weir::bench {
namespace {

using std::chrono::milliseconds;

// Of 24 bytes: key and value.
constexpr uint32_t kSmall = 10'000'000 / 24;
constexpr uint32_t kLarge = 1'000'000'000 / 24;
constexpr uint32_t kDirtyKeys = 100'000;
constexpr int64_t kWindowNs = 1'000'000'000;

double Seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }

double Percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(p * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

struct Result {
  std::vector<double> gaps_ms;        // the longest behind each barrier
  std::vector<double> quiet_gaps_ms;  // the longest of as long a time without a barrier
  std::vector<double> throughput;     // during a checkpoint against before
};

class Run {
 public:
  Run(uint32_t keys, int checkpoints) : keys_(keys), checkpoints_(checkpoints) {}

  Result Measure() {
    BuildKeyedJob(env_, &controls_, [this](KeyedRow* rows, uint32_t count) { Fill(rows, count); });
    job_ = std::make_unique<LocalJob>(env_, LocalJob::Options{.directory = directory_.path()});
    controls_.rate = Controls::kUnlimited;
    WaitFor([&] { return controls_.rows >= keys_; });
    Checkpoint();  // everything, once
    const double full_rate = Rate(kWindowNs);
    std::printf("  %u keys, full load %.1f M/s\n", keys_, full_rate / 1e6);
    Result result;
    MeasureThroughput(result);
    controls_.rate = full_rate / 2;
    Sleep(kWindowNs);
    for (int i = 0; i < checkpoints_; ++i) {
      // Within a second behind the barrier; what the next one finds dirty comes in that time, too.
      result.gaps_ms.push_back(LongestGap([&] { job_->Begin(CheckpointId(++checkpoint_)); }));
      job_->Wait(CheckpointId(checkpoint_));
      if (i % 10 == 0) result.quiet_gaps_ms.push_back(LongestGap([] {}));
    }
    controls_.rate = 0;
    job_.reset();
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

  template <class F>
  double LongestGap(F&& begin) {
    controls_.longest_gap_ns = 0;
    begin();
    part_.fetch_add(1, std::memory_order_relaxed);  // other keys from here on
    Sleep(kWindowNs);
    return static_cast<double>(controls_.longest_gap_ns) / 1e6;
  }

  double Rate(int64_t ns) {
    const uint64_t before = controls_.rows;
    const int64_t start = NowNs();
    Sleep(ns);
    return static_cast<double>(controls_.rows - before) / Seconds(NowNs() - start);
  }

  // At full load: rows per second from a barrier until its checkpoint is durable, against those of
  // as long a time right before.
  void MeasureThroughput(Result& result) {
    constexpr int kRepetitions = 10;
    int64_t taken = 100'000'000;
    for (int i = 0; i < kRepetitions; ++i) {
      part_.fetch_add(1, std::memory_order_relaxed);
      Sleep(kWindowNs / 5);
      const double before = Rate(std::max<int64_t>(taken, 50'000'000));
      const uint64_t rows = controls_.rows;
      const int64_t start = NowNs();
      Checkpoint();
      taken = NowNs() - start;
      result.throughput.push_back(static_cast<double>(controls_.rows - rows) / Seconds(taken) /
                                  before);
    }
  }

  const uint32_t keys_;
  const int checkpoints_;
  ScratchDirectory directory_;
  Environment env_;
  Controls controls_;
  std::unique_ptr<LocalJob> job_;
  uint64_t checkpoint_ = 0;
  std::atomic<uint64_t> part_{0};
  uint64_t row_ = 0;  // slot thread
};

void Show(const char* what, const std::vector<double>& values, const char* unit) {
  std::printf("  %-44s median %6.2f  p99 %6.2f  worst %6.2f %s (%zu)\n", what,
              Percentile(values, 0.5), Percentile(values, 0.99), Percentile(values, 1), unit,
              values.size());
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const Report report(argc, argv);
  int checkpoints = 200;
  std::string_view only;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--checkpoints") checkpoints = std::atoi(argv[i + 1]);
    if (name == "--state") only = argv[i + 1];
  }
  constexpr double kMustMs = 10;
  double small_p99 = 0;
  for (const bool large : {false, true}) {
    const std::string name = large ? "1 GB" : "10 MB";
    if (!only.empty() && (only == "large") != large) continue;
    std::printf("\n%s of state, %u dirty keys at each barrier, half of full load\n", name.c_str(),
                kDirtyKeys);
    const Result result = Run(large ? kLarge : kSmall, checkpoints).Measure();
    Show("longest gap behind a barrier", result.gaps_ms, "ms");
    Show("longest gap of a second without a barrier", result.quiet_gaps_ms, "ms");
    Show("rows during a checkpoint / before", result.throughput, "");
    const double p99 = Percentile(result.gaps_ms, 0.99);
    report.Add({.name = name + ": p99 of the longest gap behind a barrier",
                .unit = "ms",
                .values = {p99},
                .must = kMustMs});
    report.Add(
        {.name = name + ": longest gap behind a barrier", .unit = "ms", .values = result.gaps_ms});
    report.Add({.name = name + ": rows during a checkpoint / before",
                .unit = "x",
                .values = result.throughput,
                .better = Better::kHigher,
                .must = 0.8});
    if (!large) small_p99 = p99;
    if (large && small_p99 > 0) {
      report.Add({.name = "1 GB: p99 above twice that of 10 MB",
                  .unit = "ms",
                  .values = {p99 - 2 * small_p99},
                  .must = 2});
    }
  }
}
