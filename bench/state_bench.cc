// Keyed read-modify-write of a 16-byte value on the memory backend, in batches of 1024 uniformly
// distributed keys, against a bare absl::flat_hash_map loop over the same keys in the same run.
// Weir's side includes hashing, key groups (128, as many tables), change tracking. Then what a
// snapshot costs the slot thread.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bench/medians.h"
#include "state/keyed_state.h"
#include "state/value_table.h"

namespace weir {
namespace {

constexpr size_t kBatch = 1024;
constexpr size_t kStream = size_t{1} << 20;

struct Sum {
  int64_t count = 0;
  int64_t total = 0;
};

template <class K>
K MakeKey(uint64_t i) {
  if constexpr (std::is_same_v<K, std::string>) {
    return "customer-" + std::to_string(100'000'000 + i);
  } else {
    return i;
  }
}

/// A stream of keys, the same for both sides.
template <class K>
const std::vector<K>& Stream(size_t keys) {
  static std::map<size_t, std::vector<K>> streams;
  std::vector<K>& stream = streams[keys];
  if (stream.empty()) {
    std::mt19937_64 random(7);
    stream.reserve(kStream);
    for (size_t i = 0; i < kStream; ++i) stream.push_back(MakeKey<K>(random() % keys));
  }
  return stream;
}

class DiscardingSink final : public SnapshotSink {
 public:
  bool TryPush(SnapshotChunk&& chunk) override {
    bytes += chunk.bytes.size();
    std::string().swap(chunk.bytes);
    return true;
  }
  uint64_t SettledThrough() const override { return 0; }
  void SettleSoon(uint64_t) override {}
  uint64_t bytes = 0;
};

template <class K>
struct Backend {
  explicit Backend(size_t keys) {
    table = ValueTable<K, Sum>::Open(state, "sums");
    for (size_t i = 0; i < keys; ++i) {
      const K key = MakeKey<K>(i);
      table.FindOrInsert(key, KeyHash(key)) = {1, 1};
    }
    state.BeginSnapshot(CheckpointId(1));
    while (!state.SnapshotSlice()) {
    }
  }
  DiscardingSink sink;
  KeyedState<K> state{KeyedStateOptions{.operator_uid = "bench", .sink = &sink}};
  ValueTable<K, Sum> table;
};

/// Kept for the repetitions: filling takes longer than measuring.
template <class K>
Backend<K>& BackendOf(size_t keys) {
  static std::map<size_t, std::unique_ptr<Backend<K>>> backends;
  auto& backend = backends[keys];
  if (backend == nullptr) backend = std::make_unique<Backend<K>>(keys);
  return *backend;
}

void PerKey(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBatch));
  state.counters["per_key"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kBatch),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <class K>
void FlatHashMap(benchmark::State& state) {
  const auto keys = static_cast<size_t>(state.range(0));
  const std::vector<K>& stream = Stream<K>(keys);
  static std::map<size_t, absl::flat_hash_map<K, Sum>> maps;
  absl::flat_hash_map<K, Sum>& map = maps[keys];
  if (map.empty()) {
    for (size_t i = 0; i < keys; ++i) map[MakeKey<K>(i)] = {1, 1};
  }
  size_t at = 0;
  for (auto _ : state) {
    for (size_t i = at; i < at + kBatch; ++i) {
      Sum& sum = map[stream[i]];
      ++sum.count;
      sum.total += static_cast<int64_t>(i);
    }
    at = (at + kBatch) % kStream;
  }
  PerKey(state);
}

template <class K>
void WeirBatch(benchmark::State& state) {
  const auto keys = static_cast<size_t>(state.range(0));
  const std::vector<K>& stream = Stream<K>(keys);
  Backend<K>& backend = BackendOf<K>(keys);
  std::vector<uint64_t> hashes(kBatch);
  size_t at = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kBatch; ++i) hashes[i] = KeyHash(stream[at + i]);
    backend.table.UpdateBatch(
        hashes.data(), kBatch, [&](size_t i) -> const K& { return stream[at + i]; },
        [&](size_t i, Sum& sum) {
          ++sum.count;
          sum.total += static_cast<int64_t>(i);
        });
    at = (at + kBatch) % kStream;
  }
  PerKey(state);
}

template <class K>
void WeirSingle(benchmark::State& state) {
  const auto keys = static_cast<size_t>(state.range(0));
  const std::vector<K>& stream = Stream<K>(keys);
  Backend<K>& backend = BackendOf<K>(keys);
  size_t at = 0;
  for (auto _ : state) {
    for (size_t i = at; i < at + kBatch; ++i) {
      Sum& sum = backend.table.FindOrInsert(stream[i], KeyHash(stream[i]));
      ++sum.count;
      sum.total += static_cast<int64_t>(i);
    }
    at = (at + kBatch) % kStream;
  }
  PerKey(state);
}

/// Barrier and slices of a delta of 100,000 keys out of `range(0)`; the time of the slot thread.
void SnapshotDelta(benchmark::State& state) {
  Backend<uint64_t>& backend = BackendOf<uint64_t>(static_cast<size_t>(state.range(0)));
  const std::vector<uint64_t>& stream = Stream<uint64_t>(static_cast<size_t>(state.range(0)));
  constexpr size_t kDirty = 100'000;
  size_t at = 0;
  uint64_t id = 2;
  for (auto _ : state) {
    state.PauseTiming();
    for (size_t i = 0; i < kDirty; ++i) {
      const uint64_t key = stream[(at + i) % kStream];
      ++backend.table.FindOrInsert(key, KeyHash(key)).count;
    }
    at += kDirty;
    state.ResumeTiming();
    backend.state.BeginSnapshot(CheckpointId(id++));
    while (!backend.state.SnapshotSlice()) {
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kDirty));
}

#define WEIR_STATE_SIZES Arg(10'000)->Arg(1'000'000)->Arg(10'000'000)->MinTime(0.2)
BENCHMARK(FlatHashMap<uint64_t>)->WEIR_STATE_SIZES;
BENCHMARK(WeirBatch<uint64_t>)->WEIR_STATE_SIZES;
BENCHMARK(WeirSingle<uint64_t>)->WEIR_STATE_SIZES;
BENCHMARK(FlatHashMap<std::string>)->WEIR_STATE_SIZES;
BENCHMARK(WeirBatch<std::string>)->WEIR_STATE_SIZES;
BENCHMARK(WeirSingle<std::string>)->WEIR_STATE_SIZES;
BENCHMARK(SnapshotDelta)->Arg(1'000'000)->Arg(10'000'000)->MinTime(0.2);

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  using weir::bench::TimeRatio;
  std::vector<TimeRatio> ratios;
  for (const std::string keys : {"10000", "1000000", "10000000"}) {
    ratios.push_back({.name = "flat_hash_map's time / Weir's, " + keys + " u64 keys in memory",
                      .of = "FlatHashMap<uint64_t>/" + keys,
                      .over = "WeirBatch<uint64_t>/" + keys,
                      .must = 0.3});
  }
  return weir::bench::RunAndPrintMedians(argc, argv, ratios);
}
