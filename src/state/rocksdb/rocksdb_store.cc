#include "state/rocksdb/rocksdb_store.h"

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failpoint.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_status.h"

namespace weir {
namespace {

namespace fs = std::filesystem;

// What a base's directory says about the keys inside, apart from RocksDB's own files.
constexpr char kFormatFile[] = "WEIR-BASE";
constexpr char kFormat[] = "WEIRBASE 1 rocksdb key=(key_group:u16be,key)\n";

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

std::string KeyGroupBound(uint32_t key_group) {
  std::string bound;
  AppendKeyGroup(std::min(key_group, uint32_t{0xffff}), bound);
  return bound;
}

bool HasKeys(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* state, const std::string& begin,
             const std::string& end) {
  const rocksdb::Slice bound = end;
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &bound;
  const std::unique_ptr<rocksdb::Iterator> iterator(db->NewIterator(options, state));
  iterator->Seek(begin);
  return iterator->Valid() || !iterator->status().ok();
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

RocksDbStore::RocksDbStore(RocksDbResources* resources, RocksDbStoreOptions options)
    : resources_(resources),
      options_(std::move(options)),
      database_path_(options_.directory + "/db"),
      ingest_path_(options_.directory + "/ingest") {}

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
  if (absl::Status s = store->OpenDatabase(/*create=*/true); !s.ok()) return s;
  return store;
}

RocksDbStore::~RocksDbStore() {
  CloseDatabase();
  std::error_code ignored;
  fs::remove_all(options_.directory, ignored);
}

rocksdb::ColumnFamilyOptions RocksDbStore::StateOptions() const {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = resources_->cache();
  table.block_size = options_.block_bytes;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(options_.bloom_bits_per_key));
  table.whole_key_filtering = true;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  table.data_block_hash_table_util_ratio = 0.75;
  table.format_version = 5;

  rocksdb::ColumnFamilyOptions state;
  state.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  state.compression = rocksdb::kNoCompression;
  state.write_buffer_size = options_.write_buffer_bytes;
  state.max_write_buffer_number = options_.write_buffers;
  state.level_compaction_dynamic_level_bytes = true;
  state.target_file_size_base = options_.target_file_bytes;
  state.memtable_whole_key_filtering = true;
  state.memtable_prefix_bloom_size_ratio = 0.05;
  return state;
}

rocksdb::Options RocksDbStore::DatabaseOptions() const {
  rocksdb::Options options(rocksdb::DBOptions(), StateOptions());
  options.env = resources_->env();
  options.write_buffer_manager = resources_->write_buffers();
  options.statistics = resources_->statistics();
  options.max_background_jobs = resources_->background_threads();
  options.max_open_files = -1;
  options.avoid_flush_during_shutdown = true;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = size_t{1} << 20;
  options.keep_log_file_num = 2;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

absl::Status RocksDbStore::OpenDatabase(bool create) {
  rocksdb::Options options = DatabaseOptions();
  options.create_if_missing = create;
  std::vector<std::string> names = {rocksdb::kDefaultColumnFamilyName};
  if (!create) {
    const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(options, database_path_, &names);
    if (!listed.ok()) return FromRocksDb(listed, "opening the state store in " + database_path_);
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, StateOptions());
  std::vector<Handle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(options, database_path_, families, &handles, &db);
  if (!opened.ok()) return FromRocksDb(opened, "opening the state store in " + database_path_);
  std::lock_guard lock(reopen_);
  db_.reset(db);
  for (Handle* handle : handles) by_name_[handle->GetName()] = handle;
  return absl::OkStatus();
}

void RocksDbStore::CloseDatabase() {
  std::lock_guard lock(reopen_);
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
  if (!created.ok()) return FromRocksDb(created, "creating state " + name + " in the store");
  std::lock_guard lock(reopen_);
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
  reads_.fetch_add(1, std::memory_order_relaxed);
  EncodeKey(key.key_group, key.key, key_buffer_);
  const rocksdb::Status status =
      db_->Get(rocksdb::ReadOptions(), HandleOf(key.state), key_buffer_, value);
  if (status.ok()) return true;
  if (status.IsNotFound()) return false;
  return FromRocksDb(status, "reading the state store in " + database_path_);
}

absl::Status RocksDbStore::MultiGet(std::span<const StoreKey> keys,
                                    std::span<std::optional<std::string>> values) {
  if (keys.empty()) return absl::OkStatus();
  reads_.fetch_add(keys.size(), std::memory_order_relaxed);
  key_buffer_.clear();
  for (const StoreKey& key : keys) {
    AppendKeyGroup(key.key_group, key_buffer_);
    key_buffer_.append(key.key);
  }
  std::vector<rocksdb::Slice> slices(keys.size());
  std::vector<rocksdb::PinnableSlice> found(keys.size());
  std::vector<rocksdb::Status> statuses(keys.size());
  const char* at = key_buffer_.data();
  for (size_t i = 0; i < keys.size(); ++i) {
    slices[i] = rocksdb::Slice(at, keys[i].key.size() + 2);
    at += slices[i].size();
  }
  db_->MultiGet(rocksdb::ReadOptions(), HandleOf(keys[0].state), keys.size(), slices.data(),
                found.data(), statuses.data());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].ok()) {
      values[i].emplace(found[i].data(), found[i].size());
    } else if (statuses[i].IsNotFound()) {
      values[i].reset();
    } else {
      return FromRocksDb(statuses[i], "reading the state store in " + database_path_);
    }
  }
  return absl::OkStatus();
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
  pristine_ = false;
  uint64_t bytes = 0;
  for (const StoreEntry& e : entries) bytes += e.key.size() + e.value.size();
  applied_entries_.fetch_add(entries.size(), std::memory_order_relaxed);
  applied_bytes_.fetch_add(bytes, std::memory_order_relaxed);
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
  return FromRocksDb(db_->Write(options, &batch), "writing the state store in " + database_path_);
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
    if (!status.ok()) return FromRocksDb(status, "writing " + path);
    rocksdb::IngestExternalFileArg& file = files.emplace_back();
    file.column_family = state;
    file.external_files = {path};
    file.options.move_files = true;
    file.options.failed_move_fall_back_to_copy = true;
    file.options.write_global_seqno = false;
    entries = entries.subspan(n);
  }
  return FromRocksDb(db_->IngestExternalFiles(files),
                     "adding files to the state store in " + database_path_);
}

absl::Status RocksDbStore::SnapshotBase(const std::string& directory) {
  if (WEIR_FAILPOINT("rocksdb.snapshot_base")) {
    return absl::UnavailableError("injected failure: snapshot of the state store");
  }
  std::error_code error;
  fs::remove(directory, error);  // RocksDB wants to create it
  if (error) return FileSystemError(error, directory + " is not an empty directory");
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(directory);
  if (!status.ok()) return FromRocksDb(status, "snapshot of the state store into " + directory);
  std::ofstream format(directory + "/" + kFormatFile, std::ios::binary);
  format << kFormat;
  format.close();
  if (format.fail()) {
    return absl::UnavailableError(absl::StrCat("cannot write ", directory, "/", kFormatFile));
  }
  return absl::OkStatus();
}

absl::Status RocksDbStore::RestoreBase(const std::string& directory, uint32_t first, uint32_t end) {
  if (WEIR_FAILPOINT("rocksdb.restore_base")) {
    return absl::UnavailableError("injected failure: restoring " + directory);
  }
  std::string format;
  std::getline(std::ifstream(directory + "/" + kFormatFile, std::ios::binary), format);
  if (format + "\n" != kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " holds no base that this Weir can read: ", kFormatFile, " says \"",
                     format, "\""));
  }
  if (!pristine_) return ScanBase(directory, first, end);
  pristine_ = false;
  if (absl::Status s = AdoptBase(directory); !s.ok()) return s;
  if (absl::Status s = DeleteKeyGroups(0, first); !s.ok()) return s;
  return DeleteKeyGroups(end, 0xffff);
}

absl::Status RocksDbStore::AdoptBase(const std::string& directory) {
  CloseDatabase();
  std::error_code error;
  fs::remove_all(database_path_, error);
  if (!error) fs::create_directory(database_path_, error);
  for (auto it = fs::directory_iterator(directory, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const fs::path& from = it->path();
    const fs::path to = fs::path(database_path_) / from.filename();
    if (from.filename() == kFormatFile) continue;
    // Sorted files never change and can be shared; RocksDB appends to the others.
    if (from.extension() == ".sst") {
      fs::create_hard_link(from, to, error);
      if (!error) continue;
    }
    error.clear();
    fs::copy_file(from, to, error);
    if (error) break;
  }
  if (error) return FileSystemError(error, "taking " + directory + " into " + database_path_);
  if (absl::Status s = OpenDatabase(/*create=*/false); !s.ok()) {
    return absl::Status(s.code(), absl::StrCat("restoring ", directory, ": ", s.message()));
  }
  for (auto& [name, handle] : by_id_) {
    if (name.empty()) continue;
    const absl::StatusOr<Handle*> found = HandleFor(name);
    if (!found.ok()) return found.status();
    handle = *found;
  }
  return absl::OkStatus();
}

absl::Status RocksDbStore::ScanBase(const std::string& directory, uint32_t first, uint32_t end) {
  const rocksdb::Options options = DatabaseOptions();
  std::vector<std::string> names;
  rocksdb::Status status = rocksdb::DB::ListColumnFamilies(options, directory, &names);
  if (!status.ok()) return FromRocksDb(status, "restoring " + directory);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, StateOptions());
  std::vector<Handle*> handles;
  rocksdb::DB* opened = nullptr;
  status = rocksdb::DB::OpenForReadOnly(options, directory, families, &handles, &opened);
  if (!status.ok()) return FromRocksDb(status, "restoring " + directory);
  const std::unique_ptr<rocksdb::DB> base(opened);

  absl::Status copied;
  const std::string bound = KeyGroupBound(end);
  const rocksdb::Slice bound_slice = bound;
  rocksdb::ReadOptions read;
  read.iterate_upper_bound = &bound_slice;
  read.readahead_size = size_t{2} << 20;
  read.fill_cache = false;
  for (Handle* from : handles) {
    if (from->GetName() == rocksdb::kDefaultColumnFamilyName) continue;
    const absl::StatusOr<Handle*> to = HandleFor(from->GetName());
    copied = to.status();
    if (!copied.ok()) break;
    const std::unique_ptr<rocksdb::Iterator> entries(base->NewIterator(read, from));
    copied = CopyRange(*entries, *to, first, end);
    if (!copied.ok()) {
      copied = absl::Status(copied.code(),
                            absl::StrCat("restoring ", directory, ": ", copied.message()));
      break;
    }
  }
  for (Handle* handle : handles) base->DestroyColumnFamilyHandle(handle);
  return copied;
}

absl::Status RocksDbStore::CopyRange(rocksdb::Iterator& from, Handle* to, uint32_t first,
                                     uint32_t end) {
  if (first >= end) return absl::OkStatus();
  rocksdb::IngestExternalFileOptions ingest;
  ingest.move_files = true;
  ingest.failed_move_fall_back_to_copy = true;
  ingest.write_global_seqno = false;
  from.Seek(KeyGroupBound(first));
  while (from.Valid()) {
    const std::string path = NewIngestFile();
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), DatabaseOptions(), to,
                                  /*invalidate_page_cache=*/false);
    rocksdb::Status status = writer.Open(path);
    for (; status.ok() && from.Valid() && writer.FileSize() < options_.target_file_bytes;
         from.Next()) {
      status = writer.Put(from.key(), from.value());
    }
    if (status.ok()) status = writer.Finish();
    if (status.ok()) status = db_->IngestExternalFile(to, {path}, ingest);
    if (!status.ok()) return FromRocksDb(status, "writing " + path);
  }
  return FromRocksDb(from.status(), "reading the base");
}

absl::Status RocksDbStore::DeleteKeyGroups(uint32_t first, uint32_t end) {
  if (first >= end) return absl::OkStatus();
  pristine_ = false;
  const std::string begin = KeyGroupBound(first), bound = KeyGroupBound(end);
  const rocksdb::Slice begin_slice = begin, bound_slice = bound;
  const rocksdb::RangePtr range(&begin_slice, &bound_slice);
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  for (const auto& [name, state] : by_name_) {
    if (name == rocksdb::kDefaultColumnFamilyName) continue;
    if (!HasKeys(db_.get(), state, begin, bound)) continue;
    // Whole files go at once, the rest when their files are compacted.
    rocksdb::Status status =
        rocksdb::DeleteFilesInRanges(db_.get(), state, &range, 1, /*include_end=*/false);
    if (status.ok()) status = db_->DeleteRange(write, state, begin, bound);
    if (!status.ok()) {
      return FromRocksDb(
          status, absl::StrCat("deleting key groups ", first, " to ", end - 1, " of state ", name));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> RocksDbStore::StateNames() const {
  std::lock_guard lock(reopen_);
  std::vector<std::string> names;
  for (const auto& [name, handle] : by_name_) {
    if (name != rocksdb::kDefaultColumnFamilyName) names.push_back(name);
  }
  return names;
}

absl::Status RocksDbStore::DropState(const std::string& name) {
  for (const auto& [opened, handle] : by_id_) {
    if (opened == name) {
      return absl::FailedPreconditionError(absl::StrCat("state ", name, " is in use"));
    }
  }
  std::lock_guard lock(reopen_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return absl::OkStatus();
  const rocksdb::Status dropped = db_->DropColumnFamily(found->second);
  db_->DestroyColumnFamilyHandle(found->second);
  by_name_.erase(found);
  return FromRocksDb(dropped, "dropping state " + name);
}

std::vector<std::pair<std::string, double>> RocksDbStore::Metrics() const {
  std::lock_guard lock(reopen_);
  uint64_t files = 0, live = 0, memtables = 0, keys = 0, pending = 0;
  if (db_ != nullptr) {
    for (const auto& [name, handle] : by_name_) {
      const auto add = [&](const std::string& property, uint64_t& sum) {
        uint64_t value = 0;
        if (db_->GetIntProperty(handle, property, &value)) sum += value;
      };
      add(rocksdb::DB::Properties::kTotalSstFilesSize, files);
      add(rocksdb::DB::Properties::kEstimateLiveDataSize, live);
      add(rocksdb::DB::Properties::kCurSizeAllMemTables, memtables);
      add(rocksdb::DB::Properties::kEstimateNumKeys, keys);
      add(rocksdb::DB::Properties::kEstimatePendingCompactionBytes, pending);
    }
  }
  return {
      {"store_disk_bytes", static_cast<double>(files)},
      {"store_live_bytes", static_cast<double>(live)},
      {"store_memtable_bytes", static_cast<double>(memtables)},
      {"store_entries", static_cast<double>(keys)},
      {"store_compaction_pending_bytes", static_cast<double>(pending)},
      {"store_applied_entries_total",
       static_cast<double>(applied_entries_.load(std::memory_order_relaxed))},
      {"store_applied_bytes_total",
       static_cast<double>(applied_bytes_.load(std::memory_order_relaxed))},
      {"store_reads_total", static_cast<double>(reads_.load(std::memory_order_relaxed))},
  };
}

}  // namespace weir
