#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/report.h"

namespace weir::bench {

/// A quotient of the times of two Google Benchmarks, which is what a benchmark is judged by.
struct TimeRatio {
  std::string name;
  std::string of;    // as Google Benchmark names it: "FlatHashMap<uint64_t>/10000"
  std::string over;  // the same
  Better better = Better::kHigher;
  double must = kNoLimit;
  double goal = kNoLimit;
};

/// Shows the medians, and keeps the time of every repetition.
class MediansReporter final : public benchmark::ConsoleReporter {
 public:
  MediansReporter() : ConsoleReporter(OO_Tabular) {}
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Aggregate) {
        shown.push_back(run);
        continue;
      }
      // Per item where the benchmark says how many it has done, else per iteration; nanoseconds.
      const auto items = run.counters.find("items_per_second");
      const double seconds = items != run.counters.end() && items->second.value > 0
                                 ? 1 / items->second.value
                                 : run.cpu_accumulated_time / static_cast<double>(run.iterations);
      std::string name = run.run_name.function_name;
      if (!run.run_name.args.empty()) name += "/" + run.run_name.args;
      times[name].push_back(seconds * 1e9);
    }
    if (!shown.empty()) ConsoleReporter::ReportRuns(shown);
  }
  std::map<std::string, std::vector<double>> times;
};

/// main() of a microbenchmark: seven repetitions, of which median and spread are printed. Flags of
/// Google Benchmark on the command line come last and win.
inline int RunAndPrintMedians(int argc, char** argv, const std::vector<TimeRatio>& ratios = {}) {
  const Report report(argc, argv);
  std::string repetitions = "--benchmark_repetitions=7";
  std::string interleaved = "--benchmark_enable_random_interleaving=true";
  std::string time = "--benchmark_min_time=0.1";
  std::vector<char*> args = {argv[0], repetitions.data(), interleaved.data(), time.data()};
  args.insert(args.end(), argv + 1, argv + argc);
  int count = static_cast<int>(args.size());
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 1;
  MediansReporter console;
  benchmark::RunSpecifiedBenchmarks(&console);
  for (const auto& [name, times] : console.times) report.Add({name, "ns", times});
  for (const TimeRatio& r : ratios) {
    report.Add({r.name, "x", Quotients(console.times[r.of], console.times[r.over]), r.better,
                r.must, r.goal});
  }
  return 0;
}

}  // namespace weir::bench
