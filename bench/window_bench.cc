// What a row costs in keyed operators, from ProcessBatch to the emitted row, one subtask, memory
// backend: rolling count, tumbling and sliding counts. Rows {key, value}; keys live for a while as
// auctions do (a row's key is one of the newest 1000 of a steadily growing range, 15 rows each) or
// are uniform over 100,000. Event time moves 1 ms per 600 rows; a watermark each 100 ms of it.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "api/environment.h"
#include "api/windowed_stream.h"
#include "bench/medians.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

struct Row {
  uint64_t key = 0;
  int64_t value = 0;
};

constexpr size_t kRows = 12'000'000;  // 20 s of event time
constexpr int64_t kRowsPerMs = 600;

enum Keys { kShortLived, kUniform };

std::vector<uint64_t> MakeKeys(Keys keys) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> made(kRows);
  for (size_t i = 0; i < kRows; ++i) {
    made[i] = keys == kUniform ? random() % 100'000 : i / 15 + random() % 1000;
  }
  return made;
}

struct CountingOutput final : Output {
  void Emit(Batch& batch) override { rows += batch.size(); }
  void EmitWatermark(Timestamp) override {}
  void EmitIdle() override {}
  uint64_t rows = 0;
};

template <class Out>
void Run(benchmark::State& state, Keys which,
         const std::function<DataStream<Out>(DataStream<Row>)>& build) {
  const std::vector<uint64_t> keys = MakeKeys(which);
  Environment env;
  const DataStream<Out> stream = build(env.From(Source<Row>()));
  uint64_t emitted = 0;
  for (auto _ : state) {
    const std::unique_ptr<Operator> op = env.node(stream.node()).make_operator();
    CountingOutput output;
    OperatorContext context;
    context.runtime.clock = &Clock::System();
    context.runtime.add_to_counter = [](const std::string&, int64_t) {};
    context.output = &output;
    context.should_yield = [] { return false; };
    op->Open(context);
    RecordBatch<Row> batch;
    int64_t watermark = 0;
    for (size_t i = 0; i < kRows;) {
      batch.Clear();
      for (; i < kRows && !batch.full(); ++i) {
        batch.Append(Timestamp{static_cast<int64_t>(i) / kRowsPerMs}) = {keys[i], 1};
      }
      op->ProcessBatch(0, batch);
      const int64_t now = static_cast<int64_t>(i) / kRowsPerMs;
      if (now >= watermark + 100) op->ProcessWatermark(Timestamp{watermark = now});
    }
    op->ProcessWatermark(Timestamp::Max());
    emitted = output.rows;
    op->Close();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRows));
  state.counters["emitted"] = static_cast<double>(emitted);
}

void RollingCount(benchmark::State& state, Keys keys) {
  Run<Keyed<uint64_t, uint64_t>>(
      state, keys, [](DataStream<Row> rows) { return rows.KeyBy(&Row::key).Aggregate(Count()); });
}
void WindowCount(benchmark::State& state, Keys keys, TimeWindows windows) {
  Run<Keyed<uint64_t, uint64_t>>(state, keys, [windows](DataStream<Row> rows) {
    return rows.KeyBy(&Row::key).Window(windows).Aggregate(Count());
  });
}

BENCHMARK_CAPTURE(RollingCount, short_lived, kShortLived)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(RollingCount, uniform, kUniform)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(WindowCount, tumbling_2s_short_lived, kShortLived, Tumbling(2s))
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(WindowCount, tumbling_2s_uniform, kUniform, Tumbling(2s))
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(WindowCount, sliding_10s_2s_short_lived, kShortLived, Sliding(10s, 2s))
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(WindowCount, sliding_10s_2s_uniform, kUniform, Sliding(10s, 2s))
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weir

int main(int argc, char** argv) { return weir::bench::RunAndPrintMedians(argc, argv); }
