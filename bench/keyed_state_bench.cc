// Keyed read-modify-write over the whole operator path: rows from a source
// through a hash edge into a keyed operator (count and sum per key, a result
// behind every row) and a counting sink, in one slot, with a checkpoint each 10
// s made durable in a directory. u64 key, 16-byte value. Against what a careful
// program would do by hand in the same run: a loop of RocksDB Get and Put
// without write-ahead log, or of a flat_hash_map. The two take turns, a window
// each.
//
//   keyed_state_bench [--case NAME] [--windows N] [--seconds S]

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "bench/keyed_job.h"
#include "bench/local_job.h"
#include "bench/report.h"

namespace weir::bench {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kRocksDbBytes = uint64_t{256} << 20;
constexpr double kCheckpointSeconds = 10;
/// Longer than this the first pass over all keys may not take.
constexpr double kFillSeconds = 60;
constexpr size_t kDrawn = size_t{1} << 23;
constexpr size_t kEntryBytes = sizeof(uint64_t) + sizeof(CountAndSum);

struct Case {
  const char* name;
  const char* keys_are;
  uint32_t keys;
  double zipf;         // 0: uniform
  double cache_share;  // of the live bytes; 0: memory backend
  double must;
};

constexpr Case kCases[] = {
    {"rocksdb, cache 25 %, zipf", "1 M keys, zipf 0.99", 1'000'000, 0.99, 0.25, 5},
    {"rocksdb, cache 25 %, uniform", "10 M keys, uniform", 10'000'000, 0, 0.25, 2},
    {"rocksdb, all in cache, zipf", "1 M keys, zipf 0.99", 1'000'000, 0.99, 100, 50},
    {"memory, zipf", "1 M keys, zipf 0.99", 1'000'000, 0.99, 0, 0.3},
    {"memory, uniform", "10 M keys, uniform", 10'000'000, 0, 0, 0.3},
};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}
void Check(const rocksdb::Status& status) {
  if (!status.ok()) Die(status.ToString());
}

double ProcessCpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

/// What the job is compared with. Runs on the calling thread; one window is
/// some seconds of it.
class ByHand {
 public:
  virtual ~ByHand() = default;
  /// Read, modify, write for each of `keys`.
  virtual void Update(const uint32_t* keys, size_t count) = 0;
};

class FlatHashMap final : public ByHand {
 public:
  explicit FlatHashMap(uint32_t keys) {
    for (uint32_t i = 0; i < keys; ++i) map_[Scatter(i)] = {1, 1};
  }
  void Update(const uint32_t* keys, size_t count) override {
    for (size_t i = 0; i < count; ++i) {
      CountAndSum& value = map_[Scatter(keys[i])];
      ++value.count;
      value.sum += static_cast<int64_t>(i);
    }
  }

 private:
  absl::flat_hash_map<uint64_t, CountAndSum> map_;
};

/// The same table and memtable options, the same size of block cache and of a compaction's reads
/// as RocksDbStore has.
class RocksDbLoop final : public ByHand {
 public:
  RocksDbLoop(const std::string& directory, uint32_t keys)
      : resources_({.memory_bytes = kRocksDbBytes}) {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = resources_.cache();
    table.block_size = 4096;
    table.cache_index_and_filter_blocks = true;
    table.cache_index_and_filter_blocks_with_high_priority = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    table.format_version = 5;
    rocksdb::Options options;
    options.create_if_missing = true;
    options.env = resources_.env();
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options.compression = rocksdb::kNoCompression;
    options.write_buffer_size = size_t{32} << 20;
    options.max_write_buffer_number = 4;
    options.level_compaction_dynamic_level_bytes = true;
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = 0.05;
    options.max_open_files = -1;
    options.compaction_readahead_size = size_t{512} << 10;
    options.max_background_jobs = 2;
    options.write_buffer_manager = resources_.write_buffers();
    rocksdb::DB* db = nullptr;
    Check(rocksdb::DB::Open(options, directory, &db));
    db_.reset(db);
    write_.disableWAL = true;
    Load(options, directory + "/load.sst", keys);
  }

  void Update(const uint32_t* keys, size_t count) override {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t key = __builtin_bswap64(Scatter(keys[i]));
      const rocksdb::Slice slice(reinterpret_cast<const char*>(&key), sizeof key);
      CountAndSum value;
      read_.Reset();
      Check(db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), slice, &read_));
      std::memcpy(&value, read_.data(), sizeof value);
      ++value.count;
      value.sum += static_cast<int64_t>(i);
      Check(db_->Put(write_, slice, {reinterpret_cast<const char*>(&value), sizeof value}));
    }
  }

 private:
  // Sorted and in one level: the best case for what follows. In files as a compaction makes them:
  // the filter of a file must fit into a shard of the block cache.
  void Load(const rocksdb::Options& options, const std::string& path, uint32_t keys) {
    constexpr size_t kKeysPerFile = 1'000'000;
    std::vector<uint64_t> sorted(keys);
    for (uint32_t i = 0; i < keys; ++i) sorted[i] = Scatter(i);
    std::sort(sorted.begin(), sorted.end());
    const CountAndSum value{1, 1};
    std::vector<std::string> files;
    for (size_t at = 0; at < sorted.size();) {
      files.push_back(path + std::to_string(files.size()));
      rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options, nullptr, false);
      Check(writer.Open(files.back()));
      for (const size_t end = std::min(at + kKeysPerFile, sorted.size()); at < end; ++at) {
        const uint64_t key = __builtin_bswap64(sorted[at]);
        Check(writer.Put({reinterpret_cast<const char*>(&key), sizeof key},
                         {reinterpret_cast<const char*>(&value), sizeof value}));
      }
      Check(writer.Finish());
    }
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    Check(db_->IngestExternalFile(files, ingest));
  }

  RocksDbResources resources_;
  rocksdb::WriteOptions write_;
  rocksdb::PinnableSlice read_;
  std::unique_ptr<rocksdb::DB> db_;
};

struct Options {
  std::string only;
  int windows = 5;
  double seconds = 10;
  double by_hand_seconds = 2;
};

class Run {
 public:
  Run(const Case& c, const Options& options) : case_(c), options_(options) {
    drawn_ = c.zipf > 0 ? ZipfKeys(c.keys, c.zipf, kDrawn, 1) : UniformKeys(c.keys, kDrawn, 1);
  }

  void Measure(const Report& report) {
    std::printf("\n%s: %s, u64 key, 16-byte value\n", case_.name, case_.keys_are);
    std::printf("  cache %zu MB, live %zu MB, RocksDB memory %zu MB both sides (%s)\n",
                CacheBytes() >> 20, Live() >> 20, size_t{kRocksDbBytes} >> 20,
                case_.cache_share == 0 ? "not used" : "block cache, memtables a quarter of it");
    StartJob();
    StartByHand();
    std::vector<double> job;
    std::vector<double> by_hand;
    for (int i = 0; i < options_.windows; ++i) {
      by_hand.push_back(ByHandWindow());
      job.push_back(JobWindow());
      std::printf(
          "  Weir %8.0f k/s %6.3f us CPU   by hand %8.0f k/s %6.3f us "
          "CPU   %6.2f x\n",
          job.back() / 1e3, job_cpu_us_, by_hand.back() / 1e3, by_hand_cpu_us_,
          job.back() / by_hand.back());
      std::fflush(stdout);
    }
    std::printf("  checkpoints in Weir's windows: %llu\n",
                static_cast<unsigned long long>(checkpoint_ - checkpoints_before_));
    report.Add({.name = std::string(case_.name) + ": keys a second",
                .unit = "1/s",
                .values = job,
                .better = Better::kHigher});
    report.Add({.name = std::string(case_.name) + ": against a loop by hand",
                .unit = "x",
                .values = Quotients(job, by_hand),
                .better = Better::kHigher,
                .must = case_.must});
    std::vector<double> ratios = Quotients(job, by_hand);
    std::sort(ratios.begin(), ratios.end());
    std::printf("  ratio %.2f (%.2f..%.2f), must reach %.2f\n", ratios[ratios.size() / 2],
                ratios.front(), ratios.back(), case_.must);
    job_.reset();
  }

 private:
  size_t Live() const { return case_.keys * kEntryBytes; }
  size_t CacheBytes() const {
    if (case_.cache_share == 0) return 0;
    return static_cast<size_t>(static_cast<double>(Live()) * case_.cache_share);
  }

  void StartJob() {
    BuildKeyedJob(env_, &controls_, [this](KeyedRow* rows, uint32_t count) { Fill(rows, count); });
    LocalJob::Options options;
    options.directory = directory_.path();
    options.cache_bytes = CacheBytes();
    if (case_.cache_share > 0) {
      resources_ = std::make_unique<RocksDbResources>(
          RocksDbResources::Options{.memory_bytes = kRocksDbBytes});
      options.rocksdb = resources_.get();
    }
    job_ = std::make_unique<LocalJob>(env_, options);
    last_checkpoint_ = NowNs();
    const int64_t start = NowNs();
    RunUntil([&] {  // every key once
      return controls_.rows >= case_.keys || NowNs() - start > Ns(kFillSeconds);
    });
    if (controls_.rows < case_.keys) {
      std::printf("  NOT FILLED in %.0f s: %llu of %u keys\n", kFillSeconds,
                  static_cast<unsigned long long>(controls_.rows), case_.keys);
    }
    RunUntil([&, end = NowNs() + Ns(options_.seconds)] { return NowNs() >= end; });  // warm
    checkpoints_before_ = checkpoint_;
  }
  void StartByHand() {
    if (case_.cache_share > 0) {
      by_hand_ = std::make_unique<RocksDbLoop>(directory_.path() + "/by-hand", case_.keys);
    } else {
      by_hand_ = std::make_unique<FlatHashMap>(case_.keys);
    }
    ByHandWindow();  // warm
  }

  static int64_t Ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

  // Slot thread.
  void Fill(KeyedRow* rows, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      if (filled_ < case_.keys) {
        // A stride that is prime to every number of keys here: all of them, in
        // no order.
        rows[i].key = Scatter(static_cast<uint32_t>(filled_++ * uint64_t{7'368'787} % case_.keys));
      } else {
        rows[i].key = Scatter(drawn_[next_]);
        next_ = (next_ + 1) % kDrawn;
      }
      rows[i].value = 1;
    }
  }

  template <class F>
  void RunUntil(F&& done) {
    controls_.rate = Controls::kUnlimited;
    while (!done()) {
      std::this_thread::sleep_for(milliseconds(5));
      CheckpointIfDue();
    }
    controls_.rate = 0;
    // Until the rows under way are through: this window must not cost the next
    // one.
    for (uint64_t seen = UINT64_MAX; seen != controls_.rows;) {
      seen = controls_.rows;
      std::this_thread::sleep_for(milliseconds(20));
    }
  }
  void CheckpointIfDue() {
    if (NowNs() - last_checkpoint_ < Ns(kCheckpointSeconds)) return;
    if (checkpoint_ > 0 && !job_->Done(CheckpointId(checkpoint_))) return;
    last_checkpoint_ = NowNs();
    job_->Begin(CheckpointId(++checkpoint_));
  }

  double JobWindow() {
    const uint64_t before = controls_.rows;
    const int64_t start = NowNs();
    const double cpu = ProcessCpuSeconds();
    RunUntil([&] { return NowNs() - start >= Ns(options_.seconds); });
    const auto rows = static_cast<double>(controls_.rows - before);
    job_cpu_us_ = (ProcessCpuSeconds() - cpu) * 1e6 / rows;
    return rows * 1e9 / static_cast<double>(NowNs() - start);
  }
  double ByHandWindow() {
    constexpr size_t kStep = 4096;
    const int64_t start = NowNs();
    const double cpu = ProcessCpuSeconds();
    uint64_t count = 0;
    size_t& at = by_hand_next_;
    while (NowNs() - start < Ns(options_.by_hand_seconds)) {
      by_hand_->Update(&drawn_[at], kStep);
      at = (at + kStep) % kDrawn;
      count += kStep;
    }
    by_hand_cpu_us_ = (ProcessCpuSeconds() - cpu) * 1e6 / static_cast<double>(count);
    return static_cast<double>(count) * 1e9 / static_cast<double>(NowNs() - start);
  }

  const Case& case_;
  const Options& options_;
  std::vector<uint32_t> drawn_;
  ScratchDirectory directory_;
  std::unique_ptr<RocksDbResources> resources_;
  Environment env_;
  Controls controls_;
  std::unique_ptr<LocalJob> job_;
  std::unique_ptr<ByHand> by_hand_;
  uint64_t checkpoint_ = 0;
  uint64_t checkpoints_before_ = 0;
  int64_t last_checkpoint_ = 0;
  size_t by_hand_next_ = 0;
  // Of the last window, all threads: what the other side's stores still do is
  // in it.
  double job_cpu_us_ = 0;
  double by_hand_cpu_us_ = 0;
  // Slot thread.
  uint64_t filled_ = 0;
  size_t next_ = 0;
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // each window shows as it comes, in a pipe too
  LocalJob::PrepareProcess();
  const Report report(argc, argv);
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--case") options.only = argv[i + 1];
    if (name == "--windows") options.windows = std::atoi(argv[i + 1]);
    if (name == "--seconds") options.seconds = std::atof(argv[i + 1]);
  }
  for (const Case& c : kCases) {
    if (std::string_view(c.name).find(options.only) == std::string_view::npos) continue;
    Run(c, options).Measure(report);
  }
}
