#pragma once

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace weir::bench {

/// main() of a microbenchmark: seven repetitions, of which median and spread are printed. Flags of
/// Google Benchmark on the command line come last and win.
inline int RunAndPrintMedians(int argc, char** argv) {
  std::string repetitions = "--benchmark_repetitions=7";
  std::string medians = "--benchmark_report_aggregates_only=true";
  std::string time = "--benchmark_min_time=0.1";
  std::vector<char*> args = {argv[0], repetitions.data(), medians.data(), time.data()};
  args.insert(args.end(), argv + 1, argv + argc);
  int count = static_cast<int>(args.size());
  benchmark::Initialize(&count, args.data());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace weir::bench
