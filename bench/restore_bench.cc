// One subtask's keyed state from a checkpoint file, as a restarted task reads it: half a gigabyte
// in entries of --value-bytes each (1000 unless given), one segment in extents of a megabyte, into
// the memory backend and into a store. CPU time beside wall time: the one of a busy machine still
// says what an idle one would take.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "bench/report.h"
#include "state/checkpoint/directory_storage.h"
#include "state/keyed_state.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"
#include "state/segment/segment_writer.h"
#include "state/value_table.h"
#include "taskmanager/keyed_chain.h"

namespace weir {
namespace {

constexpr uint32_t kKeyGroups = 64;
constexpr uint64_t kStateBytes = 500'000'000;
constexpr size_t kExtentBytes = size_t{1} << 20;
constexpr char kPath[] = "data/segment";
constexpr int kRuns = 5;

template <class T>
T OrDie(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::exit(1);
}
void OrDie(const absl::Status& status) {
  if (!status.ok()) OrDie(absl::StatusOr<int>(status));
}

double CpuSeconds() {
  timespec at;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}
double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Writes the state; returns where it lies.
proto::StateHandle WriteState(CheckpointStorage& storage, uint64_t keys, size_t value_bytes) {
  proto::StateHandle handle;
  handle.set_file(kPath);
  handle.mutable_key_groups()->set_end(kKeyGroups);
  auto file = OrDie(storage.Create(kPath));
  std::string extent;
  const auto flush = [&] {
    proto::Extent& written = *handle.add_extents();
    written.set_offset(handle.length());
    written.set_length(extent.size());
    written.set_checksum(StableHash(std::string_view(extent)));
    handle.set_length(handle.length() + extent.size());
    OrDie(file->Append(extent));
    extent.clear();
  };
  const StateSchema schema{.name = "profiles",
                           .kind = StateKind::kValue,
                           .key_hash = StateKeyCodec<uint64_t>::SchemaHash(),
                           .value_hash = Serde<std::string>::SchemaHash(),
                           .key_schema = StateKeyCodec<uint64_t>::SchemaName(),
                           .value_schema = Serde<std::string>::SchemaName()};
  SegmentWriter writer({.checkpoint = CheckpointId(1),
                        .kind = SnapshotKind::kFull,
                        .max_parallelism = kKeyGroups,
                        .key_groups = {0, kKeyGroups},
                        .operator_uid = "op",
                        .states = {schema}},
                       [&](std::string_view part) {
                         extent.append(part);
                         if (extent.size() >= kExtentBytes) flush();
                         return absl::OkStatus();
                       });
  std::vector<std::tuple<uint32_t, std::string>> order;
  order.reserve(keys);
  for (uint64_t key = 0; key < keys; ++key) {
    std::string bytes(StateKeyCodec<uint64_t>::Size(key), '\0');
    StateKeyCodec<uint64_t>::Write(key, bytes.data());
    order.emplace_back(KeyGroupOf(KeyHash(key), kKeyGroups), std::move(bytes));
  }
  std::sort(order.begin(), order.end());
  std::string value(value_bytes, 'x');
  std::string encoded(Serde<std::string>::Size(value), '\0');
  Serde<std::string>::Write(value, encoded.data());
  for (const auto& [key_group, key] : order) {
    OrDie(
        writer.Add({.key_group = static_cast<uint16_t>(key_group), .key = key, .value = encoded}));
  }
  OrDie(writer.Finish().status());
  if (!extent.empty()) flush();
  OrDie(file->Finish());
  return handle;
}

/// Wall and CPU seconds of one restore.
std::pair<double, double> Restore(CheckpointStorage& storage, const proto::StateHandle& handle,
                                  const std::string& directory, bool rocksdb) {
  RocksDbResources resources({.memory_bytes = uint64_t{256} << 20});
  std::unique_ptr<RocksDbStore> store;
  if (rocksdb) store = OrDie(RocksDbStore::Open(&resources, {.directory = directory}));
  const double wall = WallSeconds();
  const double cpu = CpuSeconds();
  SegmentSet set;
  for (SegmentLink& link : OrDie(OpenChain(storage, {handle}, {0, kKeyGroups}))) {
    set.Add(link.reader, link.key_groups);
  }
  KeyedState<uint64_t> state({.operator_uid = "op",
                              .max_parallelism = kKeyGroups,
                              .key_groups = {0, kKeyGroups},
                              .store = store.get(),
                              .cache_bytes = size_t{256} << 20,
                              .restored = &set});
  auto table = ValueTable<uint64_t, std::string>::Open(state, "profiles");
  state.FinishOpen();
  const std::pair<double, double> taken{WallSeconds() - wall, CpuSeconds() - cpu};
  if (table.Find(1, KeyHash(uint64_t{1})) == nullptr) {
    std::fprintf(stderr, "the state was not restored\n");
    std::exit(1);
  }
  return taken;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  using namespace weir;
  const bench::Report report(argc, argv);
  size_t value_bytes = 1000;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--value-bytes")
      value_bytes = std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::string directory = std::filesystem::temp_directory_path() / "weir-bench-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return 1;
  {
    const auto storage = OrDie(DirectoryStorage::Open(directory + "/storage"));
    const proto::StateHandle handle = WriteState(*storage, kStateBytes / value_bytes, value_bytes);
    for (const bool rocksdb : {false, true}) {
      std::vector<double> wall;
      std::vector<double> cpu;
      for (int run = 0; run < kRuns; ++run) {
        const auto [w, c] = Restore(*storage, handle, directory + "/store", rocksdb);
        wall.push_back(w);
        cpu.push_back(c);
      }
      const std::string name = std::string(rocksdb ? "rocksdb" : "memory") + ", 0.5 GB in " +
                               std::to_string(value_bytes) + " byte values, restored: ";
      std::sort(wall.begin(), wall.end());
      std::sort(cpu.begin(), cpu.end());
      std::printf("%s%.2f s (%.2f .. %.2f), CPU %.2f s (%.2f .. %.2f)\n", name.c_str(),
                  wall[kRuns / 2], wall.front(), wall.back(), cpu[kRuns / 2], cpu.front(),
                  cpu.back());
      report.Add({.name = name + "wall", .unit = "s", .values = wall});
      report.Add({.name = name + "CPU", .unit = "s", .values = cpu});
    }
  }
  std::filesystem::remove_all(directory);
}
