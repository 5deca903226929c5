#include "state/rocksdb/rocksdb_store.h"

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "state/rocksdb/local_file_system.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_status.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMinFilter = 16 << 10, kMaxFilter = 400 << 10;
constexpr uint64_t kMinArenaBlock = 32 << 10, kMaxArenaBlock = 512 << 10;

rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }
std::string_view ToView(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

void AppendKeyGroup(uint32_t key_group, std::string& out) {
  out += static_cast<char>(key_group >> 8);
  out += static_cast<char>(key_group);
}

void EncodeKey(uint16_t key_group, std::string_view key, std::string& out) {
  out.clear();
  AppendKeyGroup(key_group, out);
  out.append(key);
}

// The smallest string above all that begin with `prefix`. Key groups stay below 0xffff, so there
// is always one.
std::string EndOfPrefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

// The first bytes as a number.
uint64_t Head(const rocksdb::Slice& key) {
  uint64_t head = 0;
  std::memcpy(&head, key.data(), std::min<size_t>(key.size(), sizeof head));
  return __builtin_bswap64(head);
}

absl::Status FileSystemError(const std::error_code& error, const std::string& doing) {
  const std::string message = absl::StrCat(doing, ": ", error.message());
  if (error == std::errc::no_space_on_device) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

class RocksDbScan final : public StoreScan {
 public:
  RocksDbScan(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* state, uint16_t key_group,
              std::string_view prefix, std::string_view from) {
    std::string begin;
    EncodeKey(key_group, prefix, begin);
    end_ = EndOfPrefix(begin);
    end_slice_ = end_;
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &end_slice_;
    if (from > prefix) EncodeKey(key_group, from, begin);
    iterator_.reset(db->NewIterator(options, state));
    iterator_->Seek(begin);
  }
  bool Valid() const override { return iterator_->Valid(); }
  std::string_view key() const override { return ToView(iterator_->key()).substr(2); }
  std::string_view value() const override { return ToView(iterator_->value()); }
  void Next() override { iterator_->Next(); }
  absl::Status status() const override {
    return FromRocksDb(iterator_->status(), "scanning the state store");
  }

 private:
  std::string end_;
  rocksdb::Slice end_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

class FailedScan final : public StoreScan {
 public:
  explicit FailedScan(absl::Status status) : status_(std::move(status)) {}
  bool Valid() const override { return false; }
  std::string_view key() const override { return {}; }
  std::string_view value() const override { return {}; }
  void Next() override {}
  absl::Status status() const override { return status_; }

 private:
  const absl::Status status_;
};

}  // namespace

struct RocksDbStore::ReadBuffers {
  struct Place {
    uint64_t head;
    rocksdb::Slice key;
    uint32_t index;
  };
  std::vector<Place> order;
  std::vector<uint32_t> places;  // in the order
  std::vector<rocksdb::Slice> keys;
  std::vector<rocksdb::PinnableSlice> values;
  std::vector<rocksdb::Status> statuses;
};

RocksDbStore::RocksDbStore(RocksDbResources* resources, RocksDbStoreOptions options)
    : resources_(resources),
      options_(std::move(options)),
      database_path_(options_.directory + "/db"),
      ingest_path_(options_.directory + "/ingest"),
      read_(std::make_unique<ReadBuffers>()) {}

absl::StatusOr<std::unique_ptr<RocksDbStore>> RocksDbStore::Open(RocksDbResources* resources,
                                                                 RocksDbStoreOptions options) {
  std::error_code error;
  const std::string directory = options.directory;
  if (fs::exists(directory, error) && !fs::is_empty(directory, error)) {
    return absl::FailedPreconditionError(absl::StrCat("the directory for local state ", directory,
                                                      " is not empty; it must be a fresh one"));
  }
  fs::create_directories(directory + "/ingest", error);
  if (error) return FileSystemError(error, "cannot create " + directory + "/ingest");
  std::unique_ptr<RocksDbStore> store(new RocksDbStore(resources, std::move(options)));
  if (absl::Status s = store->OpenDatabase(); !s.ok()) return s;
  return store;
}

RocksDbStore::~RocksDbStore() {
  CloseDatabase();
  ForgetWriteFailure(database_path_);
  ForgetWriteFailure(ingest_path_);
  if (options_.owner_removes) return;
  std::error_code ignored;
  fs::remove_all(options_.directory, ignored);
}

rocksdb::ColumnFamilyOptions RocksDbStore::StateOptions() const {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = resources_->cache();
  table.block_size = options_.tuning.block_bytes;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  if (options_.tuning.bloom_bits_per_key > 0) {
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(options_.tuning.bloom_bits_per_key));
  }
  table.whole_key_filtering = true;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  table.data_block_hash_table_util_ratio = 0.75;
  table.format_version = 5;

  rocksdb::ColumnFamilyOptions state;
  state.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  state.compression = rocksdb::kNoCompression;
  state.write_buffer_size = options_.tuning.write_buffer_bytes;
  state.max_write_buffer_number = options_.write_buffers;
  state.level_compaction_dynamic_level_bytes = true;
  state.target_file_size_base = options_.target_file_bytes;
  state.memtable_whole_key_filtering = true;
  // What an empty memtable costs, its filter and a first block of memory, is paid by each state of
  // each subtask, out of what all of them share: above that they would be flushed all the time, and
  // leave no cache for blocks. A filter of 400 KiB has 10 bits for each of 330,000 records, which
  // fill 32 MiB.
  const uint64_t shared = resources_->write_buffers()->buffer_size();
  const uint64_t filter = std::clamp<uint64_t>(shared / 64, kMinFilter, kMaxFilter);
  state.memtable_prefix_bloom_size_ratio =
      std::min(0.25, static_cast<double>(filter) / static_cast<double>(state.write_buffer_size));
  state.arena_block_size = std::clamp<uint64_t>(shared / 128, kMinArenaBlock, kMaxArenaBlock);
  return state;
}

rocksdb::Options RocksDbStore::DatabaseOptions() const {
  rocksdb::Options options(rocksdb::DBOptions(), StateOptions());
  options.env = resources_->env();
  options.write_buffer_manager = resources_->write_buffers();
  options.statistics = resources_->statistics();
  options.max_background_jobs = resources_->background_threads();
  options.max_open_files = -1;
  // Else a compaction reads block by block, which cost a tenth of the rows beside it.
  options.compaction_readahead_size = size_t{512} << 10;
  options.avoid_flush_during_shutdown = true;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = size_t{1} << 20;
  options.keep_log_file_num = 2;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

absl::Status RocksDbStore::OpenDatabase() {
  rocksdb::Options options = DatabaseOptions();
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(options, database_path_, &db);
  db_.reset(db);
  return Outcome(opened, "opening the state store in " + database_path_);
}

// A write that failed counts, and says more than what RocksDB makes of it later.
absl::Status RocksDbStore::Outcome(const rocksdb::Status& status, const std::string& doing) const {
  for (const std::string& directory : {database_path_, ingest_path_}) {
    const absl::Status failed = WriteFailureIn(directory);
    if (!failed.ok()) {
      return absl::Status(failed.code(), absl::StrCat(doing, ": ", failed.message()));
    }
  }
  return FromRocksDb(status, doing);
}

void RocksDbStore::CloseDatabase() {
  if (db_ == nullptr) return;
  rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/true);
  for (const auto& [name, handle] : by_name_) db_->DestroyColumnFamilyHandle(handle);
  by_name_.clear();
  for (auto& [name, handle] : by_id_) handle = nullptr;
  db_.reset();
}

absl::StatusOr<RocksDbStore::Handle*> RocksDbStore::HandleFor(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) return found->second;
  Handle* handle = nullptr;
  const rocksdb::Status created = db_->CreateColumnFamily(StateOptions(), name, &handle);
  const absl::Status outcome = Outcome(created, "creating state " + name + " in the store");
  if (!outcome.ok()) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
    return outcome;
  }
  by_name_[name] = handle;
  return handle;
}

absl::Status RocksDbStore::OpenState(uint16_t state, const std::string& name) {
  if (name.empty() || name == rocksdb::kDefaultColumnFamilyName) {
    return absl::InvalidArgumentError(
        absl::StrCat("a state cannot be called \"", name, "\"; choose another name"));
  }
  if (state < by_id_.size() && !by_id_[state].first.empty() && by_id_[state].first != name) {
    return absl::InternalError(
        absl::StrCat("state id ", state, " means ", by_id_[state].first, " already, not ", name));
  }
  const absl::StatusOr<Handle*> handle = HandleFor(name);
  if (!handle.ok()) return handle.status();
  if (state >= by_id_.size()) by_id_.resize(state + 1);
  by_id_[state] = {name, *handle};
  return absl::OkStatus();
}

absl::StatusOr<bool> RocksDbStore::Get(const StoreKey& key, std::string* value) {
  EncodeKey(key.key_group, key.key, key_buffer_);
  const rocksdb::Status status =
      db_->Get(rocksdb::ReadOptions(), HandleOf(key.state), key_buffer_, value);
  if (status.ok()) return true;
  if (status.IsNotFound()) return false;
  return Outcome(status, "reading the state store in " + database_path_);
}

// In the order of the keys, which RocksDB needs: sorting numbers costs less than its own sort,
// which compares bytes.
absl::Status RocksDbStore::MultiGet(std::span<const StoreKey> keys, const StoreFound& found) {
  if (keys.empty()) return absl::OkStatus();
  const size_t n = keys.size();
  key_buffer_.clear();
  for (const StoreKey& key : keys) {
    AppendKeyGroup(key.key_group, key_buffer_);
    key_buffer_.append(key.key);
  }
  std::vector<ReadBuffers::Place>& order = read_->order;
  order.resize(n);
  const char* key_at = key_buffer_.data();
  for (size_t i = 0; i < n; ++i) {
    order[i].key = rocksdb::Slice(key_at, keys[i].key.size() + 2);
    order[i].head = Head(order[i].key);
    order[i].index = static_cast<uint32_t>(i);
    key_at += order[i].key.size();
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.head != b.head ? a.head < b.head : a.key.compare(b.key) < 0;
  });
  read_->keys.resize(n);
  read_->values.resize(std::max(n, read_->values.size()));
  read_->statuses.resize(std::max(n, read_->statuses.size()));
  for (size_t i = 0; i < n; ++i) read_->keys[i] = order[i].key;
  db_->MultiGet(rocksdb::ReadOptions(), HandleOf(keys[0].state), n, read_->keys.data(),
                read_->values.data(), read_->statuses.data(), /*sorted_input=*/true);
  read_->places.resize(n);
  for (size_t i = 0; i < n; ++i) read_->places[order[i].index] = static_cast<uint32_t>(i);
  rocksdb::Status failed;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t at = read_->places[i];
    const rocksdb::Status& status = read_->statuses[at];
    if (status.ok()) {
      found(i, ToView(read_->values[at]));
    } else if (status.IsNotFound()) {
      found(i, std::nullopt);
    } else {
      failed = status;
    }
    read_->values[at].Reset();
  }
  if (failed.ok()) return absl::OkStatus();
  return Outcome(failed, "reading the state store in " + database_path_);
}

std::unique_ptr<StoreScan> RocksDbStore::Scan(uint16_t state, uint16_t key_group,
                                              std::string_view prefix, std::string_view from) {
  if (state >= by_id_.size() || HandleOf(state) == nullptr) {
    return std::make_unique<FailedScan>(
        absl::InternalError(absl::StrCat("state id ", state, " was not opened")));
  }
  return std::make_unique<RocksDbScan>(db_.get(), HandleOf(state), key_group, prefix, from);
}

absl::Status RocksDbStore::Apply(std::span<const StoreEntry> entries) {
  if (WEIR_FAILPOINT("rocksdb.apply")) {
    return absl::UnavailableError("injected failure: applying changes to the state store");
  }
  if (entries.empty()) return absl::OkStatus();
  uint64_t bytes = 0;
  for (const StoreEntry& e : entries) bytes += e.key.size() + e.value.size();
  return bytes >= options_.ingest_from_bytes ? ApplyByIngesting(entries) : ApplyToMemtable(entries);
}

absl::Status RocksDbStore::ApplyToMemtable(std::span<const StoreEntry> entries) {
  rocksdb::WriteBatch batch;
  std::string key;
  rocksdb::Status status;
  for (const StoreEntry& e : entries) {
    Handle* const state = HandleOf(e.state);
    EncodeKey(e.key_group, e.key, key);
    switch (e.kind) {
      case EntryKind::kValue:
        status = batch.Put(state, key, ToSlice(e.value));
        break;
      case EntryKind::kTombstone:
        status = batch.Delete(state, key);
        break;
      case EntryKind::kPrefixTombstone:
        // Stands before the values of its prefix, so it deletes only what is older.
        status = batch.DeleteRange(state, key, EndOfPrefix(key));
        break;
    }
    if (!status.ok()) return FromRocksDb(status, "preparing changes of the state store");
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  return Outcome(db_->Write(options, &batch), "writing the state store in " + database_path_);
}

std::string RocksDbStore::NewIngestFile() {
  return absl::StrCat(ingest_path_, "/", ++ingested_, ".sst");
}

absl::Status RocksDbStore::ApplyByIngesting(std::span<const StoreEntry> entries) {
  std::vector<rocksdb::IngestExternalFileArg> files;
  std::string key;
  while (!entries.empty()) {
    Handle* const state = HandleOf(entries.front().state);
    const std::string path = NewIngestFile();
    // The files stay in the page cache: they are about to be read.
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), DatabaseOptions(), state,
                                  /*invalidate_page_cache=*/false);
    rocksdb::Status status = writer.Open(path);
    size_t n = 0;
    for (; status.ok() && n < entries.size() && entries[n].state == entries[0].state; ++n) {
      const StoreEntry& e = entries[n];
      EncodeKey(e.key_group, e.key, key);
      switch (e.kind) {
        case EntryKind::kValue:
          status = writer.Put(key, ToSlice(e.value));
          break;
        case EntryKind::kTombstone:
          status = writer.Delete(key);
          break;
        case EntryKind::kPrefixTombstone:
          // All of a file gets one sequence number, and a range deletes only what is below its
          // own: the values of the same call stay.
          status = writer.DeleteRange(key, EndOfPrefix(key));
          break;
      }
    }
    if (status.ok()) status = writer.Finish();
    if (!status.ok()) return Outcome(status, "writing " + path);
    rocksdb::IngestExternalFileArg& file = files.emplace_back();
    file.column_family = state;
    file.external_files = {path};
    file.options.move_files = true;
    file.options.failed_move_fall_back_to_copy = true;
    file.options.write_global_seqno = false;
    entries = entries.subspan(n);
  }
  return Outcome(db_->IngestExternalFiles(files),
                 "adding files to the state store in " + database_path_);
}

}  // namespace weir
