// How fast Nexmark events are made: by one thread, into the rows of a batch that is reused. This is
// the ceiling of every benchmark that reads the nexmark source, so it is measured alone.

#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "bench/medians.h"
#include "connectors/nexmark/generator.h"
#include "tests/connectors/nexmark/oracle.h"

namespace weir::nexmark {
namespace {

constexpr uint64_t kRows = 1024;

void PerEvent(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRows));
  state.counters["per_event"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kRows),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

GeneratorOptions OneSplit() {
  GeneratorOptions options;
  options.events_per_second = 100'000;
  options.splits = 1;
  return options;
}

// Persons, auctions and bids in their proportions: what q0 to q22 read.
void MakeEvents(benchmark::State& state) {
  const Generator generator(OneSplit());
  std::vector<Event> rows(kRows);
  uint64_t position = 10'000'000;
  for (auto _ : state) {
    for (Event& row : rows) generator.Make(generator.At(0, position++), row);
    benchmark::ClobberMemory();
  }
  PerEvent(state);
}

void MakeBids(benchmark::State& state) {
  const Generator generator(OneSplit());
  std::vector<Bid> rows(kRows);
  uint64_t position = 10'000'000;
  for (auto _ : state) {
    for (Bid& row : rows) {
      while (Generator::KindOf(position) != EventKind::kBid) ++position;
      generator.MakeBid(generator.At(0, position++), row);
    }
    benchmark::ClobberMemory();
  }
  PerEvent(state);
}

// The same, and each event into its bytes: what a sink with a digest costs.
void MakeAndDigest(benchmark::State& state) {
  const Generator generator(OneSplit());
  Event event;
  Digest digest;
  uint64_t position = 10'000'000;
  for (auto _ : state) {
    for (uint64_t i = 0; i < kRows; ++i) {
      generator.Make(generator.At(0, position++), event);
      digest.Add(event);
    }
  }
  benchmark::DoNotOptimize(digest);
  PerEvent(state);
}

BENCHMARK(MakeEvents);
BENCHMARK(MakeBids);
BENCHMARK(MakeAndDigest);

}  // namespace
}  // namespace weir::nexmark

int main(int argc, char** argv) { return weir::bench::RunAndPrintMedians(argc, argv); }
