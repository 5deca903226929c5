// What the size of RocksDB's blocks and write buffers does to a store as the state cache uses it:
// batches of 1024 uniform keys are read (MultiGet), and what changed is applied 16 MiB at a time.
// 8-byte keys, 16-byte values, 4 million of them; once with a memory for RocksDB that is smaller
// than the state, once with one that holds it. Variants take turns.
//
//   rocksdb_bench [--json] [--rounds N]

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/report.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"

namespace weir::bench {
namespace {

using std::chrono::steady_clock;

constexpr uint32_t kKeys = 4'000'000;
constexpr size_t kBatch = 1024;
constexpr size_t kApplied = (size_t{16} << 20) / 24;
constexpr auto kWindow = std::chrono::milliseconds(2500);

struct Variant {
  const char* name;
  uint64_t memory;
  RocksDbTuning tuning;
};

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr Variant kVariants[] = {
    {"64 MiB of memory, 4 KiB blocks, 32 MiB buffers", 64 * kMiB, {32 * kMiB, 4096, 10}},
    {"64 MiB of memory, 64 KiB blocks, 64 MiB buffers", 64 * kMiB, {64 * kMiB, 65536, 10}},
    {"256 MiB of memory, 4 KiB blocks, 32 MiB buffers", 256 * kMiB, {32 * kMiB, 4096, 10}},
    {"256 MiB of memory, 4 KiB blocks, 64 MiB buffers", 256 * kMiB, {64 * kMiB, 4096, 10}},
    {"256 MiB of memory, 64 KiB blocks, 64 MiB buffers", 256 * kMiB, {64 * kMiB, 65536, 10}},
};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

std::string KeyOf(uint32_t i) {
  const uint64_t scattered = __builtin_bswap64(i * uint64_t{0x9e3779b97f4a7c15});
  return {reinterpret_cast<const char*>(&scattered), sizeof scattered};
}

void Apply(RocksDbStore& store, std::vector<std::string> keys, uint64_t value) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::string bytes(16, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  std::vector<StoreEntry> entries;
  for (const std::string& key : keys) entries.push_back({.key = key, .value = bytes});
  Check(store.Apply(entries));
}

struct Figure {
  double rate;  // keys read and written a second
  double cpu;   // microseconds for each, RocksDB's own threads included
};

Figure Run(const Variant& variant) {
  char directory[] = "/tmp/weir_rocksdb_bench_XXXXXX";
  if (mkdtemp(directory) == nullptr) std::abort();
  Figure figure{};
  {
    RocksDbResources resources({.memory_bytes = variant.memory});
    auto store = RocksDbStore::Open(
        &resources, {.directory = std::string(directory) + "/store", .tuning = variant.tuning});
    Check(store.status());
    Check((*store)->OpenState(0, "counts"));
    std::vector<std::string> keys;
    for (uint32_t i = 0; i < kKeys; ++i) {
      keys.push_back(KeyOf(i));
      if (keys.size() == kApplied || i + 1 == kKeys) Apply(**store, std::exchange(keys, {}), i);
    }
    std::mt19937_64 random(7);
    std::vector<std::string> batch(kBatch), changed;
    const auto step = [&] {
      std::vector<StoreKey> wanted;
      for (std::string& key : batch) {
        key = KeyOf(static_cast<uint32_t>(random() % kKeys));
        wanted.push_back({0, 0, key});
      }
      Check((*store)->MultiGet(wanted, [](size_t, std::optional<std::string_view>) {}));
      changed.insert(changed.end(), batch.begin(), batch.end());
      if (changed.size() >= kApplied) Apply(**store, std::exchange(changed, {}), random());
    };
    for (int i = 0; i < 1000; ++i) step();  // the cache fills
    const auto begun = steady_clock::now();
    const double cpu = CpuSeconds();
    uint64_t done = 0;
    while (steady_clock::now() - begun < kWindow) {
      step();
      done += kBatch;
    }
    const std::chrono::duration<double> wall = steady_clock::now() - begun;
    figure = {static_cast<double>(done) / wall.count(),
              (CpuSeconds() - cpu) * 1e6 / static_cast<double>(done)};
  }
  std::filesystem::remove_all(directory);
  return figure;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  Report report(argc, argv);
  int rounds = 3;
  if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) rounds = std::atoi(argv[2]);
  std::vector<Figure> figures[std::size(kVariants)];
  for (int round = 0; round < rounds; ++round) {
    for (size_t v = 0; v < std::size(kVariants); ++v) {
      figures[v].push_back(Run(kVariants[v]));
      if (report.json()) continue;
      std::printf("%-50s %7.0f keys/s %6.2f us CPU a key\n", kVariants[v].name,
                  figures[v].back().rate, figures[v].back().cpu);
      std::fflush(stdout);
    }
  }
  for (size_t v = 0; v < std::size(kVariants); ++v) {
    std::vector<double> rates, cpus;
    for (const Figure& f : figures[v]) {
      rates.push_back(f.rate);
      cpus.push_back(f.cpu);
    }
    report.Add(
        {.name = kVariants[v].name, .unit = "keys/s", .values = rates, .better = Better::kHigher});
    report.Add(
        {.name = std::string(kVariants[v].name) + ", CPU", .unit = "us/key", .values = cpus});
  }
}
