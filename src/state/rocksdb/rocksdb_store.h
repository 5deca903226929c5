#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "state/rocksdb/rocksdb_tuning.h"
#include "state/store.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Iterator;
class Slice;
class Status;
struct ColumnFamilyOptions;
struct Options;
}  // namespace rocksdb

namespace weir {

class RocksDbResources;

struct RocksDbStoreOptions {
  /// Must not exist or be empty. Removed with the store, unless its owner does that: removing a
  /// gigabyte takes some 0.2 s.
  std::string directory;
  bool owner_removes = false;
  RocksDbTuning tuning;
  int write_buffers = 4;
  uint64_t target_file_bytes = uint64_t{64} << 20;
  /// An Apply of at least so many bytes becomes files that are ingested; a smaller one goes
  /// through the memtable, so that checkpoints of little change do not make many tiny files.
  uint64_t ingest_from_bytes = uint64_t{1} << 20;
};

/// The store on RocksDB; one per keyed operator and subtask. Threads as StateStore says; the owner
/// destroys it when no call is running.
class RocksDbStore final : public StateStore {
 public:
  /// `resources` must outlive the store.
  static absl::StatusOr<std::unique_ptr<RocksDbStore>> Open(RocksDbResources* resources,
                                                            RocksDbStoreOptions options);
  ~RocksDbStore() override;

  absl::Status OpenState(uint16_t state, const std::string& name) override;
  absl::StatusOr<bool> Get(const StoreKey& key, std::string* value) override;
  absl::Status MultiGet(std::span<const StoreKey> keys, const StoreFound& found) override;
  std::unique_ptr<StoreScan> Scan(uint16_t state, uint16_t key_group, std::string_view prefix,
                                  std::string_view from) override;
  absl::Status Apply(std::span<const StoreEntry> entries) override;

 private:
  using Handle = rocksdb::ColumnFamilyHandle;

  RocksDbStore(RocksDbResources* resources, RocksDbStoreOptions options);

  rocksdb::Options DatabaseOptions() const;
  rocksdb::ColumnFamilyOptions StateOptions() const;
  absl::Status OpenDatabase();
  absl::Status Outcome(const rocksdb::Status& status, const std::string& doing) const;
  void CloseDatabase();
  absl::StatusOr<Handle*> HandleFor(const std::string& name);
  Handle* HandleOf(uint16_t state) const { return by_id_[state].second; }

  absl::Status ApplyToMemtable(std::span<const StoreEntry> entries);
  absl::Status ApplyByIngesting(std::span<const StoreEntry> entries);
  std::string NewIngestFile();

  RocksDbResources* const resources_;
  const RocksDbStoreOptions options_;
  const std::string database_path_;
  const std::string ingest_path_;

  std::unique_ptr<rocksdb::DB> db_;
  std::map<std::string, Handle*> by_name_;              // owned, destroyed before db_
  std::vector<std::pair<std::string, Handle*>> by_id_;  // name and handle; set by OpenState
  uint64_t ingested_ = 0;

  // The slot thread's.
  struct ReadBuffers;
  std::unique_ptr<ReadBuffers> read_;
  std::string key_buffer_;
};

}  // namespace weir
