#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/ids.h"
#include "state/snapshot_stream.h"
#include "state/state_bound.h"
#include "state/state_cache.h"
#include "state/state_schema.h"
#include "state/table_base.h"
#include "state/value_type.h"

namespace weir {

class StateStore;

struct KeyedStateOptions {
  /// For messages, and part of every snapshot.
  std::string operator_uid;
  uint32_t max_parallelism = 128;
  KeyGroupRange key_groups{0, 128};
  /// Null: no snapshots are taken.
  SnapshotSink* sink = nullptr;
  /// Null: the memory backend, whose tables are everything. Otherwise tables are a cache of it.
  StateStore* store = nullptr;
  /// What the tables may take of memory when there is a store.
  size_t cache_bytes = size_t{64} << 20;
  /// Null: what stays in memory has no bound. Outlives the backend.
  StateBound* bound = nullptr;
  /// Null on a first run. Only used until FinishOpen.
  const RestoredState* restored = nullptr;
  /// Drop restored state that no state of this operator claims instead of refusing it.
  bool allow_unclaimed_state = false;
  /// Called again and again while state is restored, which may take minutes: what it throws ends
  /// the restore, and with it the backend's use. Null: nothing is called.
  std::function<void()> while_restoring;
};

struct KeyedStateMetrics {
  uint64_t entries = 0;
  uint64_t memory_bytes = 0;
  uint64_t snapshot_bytes = 0;  // written since the start, all snapshots
  uint64_t waiting_bytes = 0;   // written, not yet taken by the snapshot thread
  uint64_t store_reads = 0;
  uint64_t store_multi_gets = 0;
};

/// All tables of one named state.
class StateTables {
 public:
  virtual ~StateTables() = default;
  /// The context is complete; called once, before any other.
  virtual void MakeTables() = 0;
  virtual void Restore(const RestoredState::Entry& entry) = 0;
  /// True when all of it stays in memory although there is a store, which then is given nothing:
  /// windows and timers, whose next use is ordered by time.
  virtual bool IsPinned() const = 0;
  /// The top-level tables; nested ones are reached through them.
  virtual void ForEachTable(const std::function<void(TableBase&)>& visit) = 0;

  const StateSchema& schema() const { return schema_; }
  TableContext& context() { return context_; }

 protected:
  explicit StateTables(StateSchema schema) : schema_(std::move(schema)) {}
  [[noreturn]] void ThrowUndecodable() const { StateCache::ThrowUndecodable(context_); }

 private:
  const StateSchema schema_;
  TableContext context_;
};

/// A state as the handles of user functions see it: the table knows the type of the key, the handle
/// that of the value. All calls concern the backend's current key (and namespace).
class ErasedState {
 public:
  virtual ~ErasedState() = default;
  virtual void* Find() = 0;
  virtual void* FindForUpdate() = 0;
  virtual void* FindOrInsert() = 0;
  virtual void* FindOrCache() = 0;
  virtual void Erase() = 0;
  /// The current key's bytes: the prefix of its entries if the value is a table itself.
  virtual std::string Prefix() const = 0;
  virtual const TableContext* context() const = 0;
  virtual uint16_t key_group() const = 0;
};

/// The state of a handle that was not opened: every call throws and says so.
ErasedState* UnopenedState();

/// Keyed state of one operator of one subtask: its states, its snapshots. The part that does not
/// know the type of the key; KeyedState<K> is the rest.
///
/// One slot thread does everything. Order of calls: constructor; states are opened by name, which
/// also restores them; FinishOpen; then records and snapshots.
///
/// A snapshot: BeginSnapshot at the barrier visits no entry. The slot loop then calls SnapshotSlice
/// between batches until it returns true; what belongs to the snapshot goes to the sink. A snapshot
/// that was written in full stays valid as a link of the chain of deltas even when its checkpoint
/// is aborted; what an aborted one had not written yet belongs to the next.
class KeyedStateBackend {
 public:
  explicit KeyedStateBackend(KeyedStateOptions options);
  virtual ~KeyedStateBackend();
  KeyedStateBackend(const KeyedStateBackend&) = delete;
  KeyedStateBackend& operator=(const KeyedStateBackend&) = delete;

  /// All states are open. Refuses restored state that none of them claimed, by name.
  void FinishOpen();

  void BeginSnapshot(CheckpointId id, SnapshotKind kind = SnapshotKind::kDelta);
  /// Writes up to about `max_bytes`, less if the sink has no room. True when the sink has all of
  /// it.
  bool SnapshotSlice(size_t max_bytes = SnapshotStream::kChunkBytes);
  /// The checkpoint will not come to pass. Harmless for one that is finished or unknown.
  void AbortSnapshot(CheckpointId id);
  bool snapshot_running() const { return running_; }
  /// True when SnapshotSlice has something to write and room for it.
  bool SnapshotGoesOn() { return running_ && stream_.HasRoom(); }

  /// True while too much waits for the snapshot thread, or while the cache is above its limit and
  /// waits for the store: the subtask must not process records. Ask between batches; with a store
  /// this also moves on what makes room.
  bool Blocked();
  /// Throws, by name, when windows, timers and other state without a store take more than
  /// the process has left for them. Once per batch; a restore looks by itself.
  void CheckBound();
  /// The TaskManager's budget has been shared out anew.
  void SetCacheBytes(size_t bytes);

  uint32_t max_parallelism() const { return options_.max_parallelism; }
  KeyGroupRange key_groups() const { return options_.key_groups; }
  const std::string& operator_uid() const { return options_.operator_uid; }
  /// In the order of their ids; written into every segment.
  std::vector<StateSchema> Schemas() const;
  KeyedStateMetrics Metrics() const;

  /// Throws unless the key group is this subtask's: a record that came to the wrong subtask.
  uint32_t KeyGroupFor(uint64_t key_hash) const {
    const uint32_t key_group = KeyGroupOf(key_hash, options_.max_parallelism);
    if (!options_.key_groups.Contains(key_group)) [[unlikely]]
      ThrowForeignKeyGroup(key_group);
    return key_group;
  }

  /// Takes over the tables of a new state and restores them.
  void Add(std::unique_ptr<StateTables> tables);

  /// The state under this name, made by KeyedState<K> for its type of key.
  virtual ErasedState* OpenErased(const std::string& name, StateKind kind, const ValueType* type,
                                  uint64_t value_hash, const std::string& value_schema,
                                  bool namespaced) = 0;

  TableDirectory& directory() { return directory_; }

  /// State was used where no row or timer is at hand. `state` may be empty.
  [[noreturn]] static void ThrowNoKey(const std::string& state);

 private:
  [[noreturn]] void ThrowForeignKeyGroup(uint32_t key_group) const;
  void CheckBoundAs(ErrorKind kind);
  void RestoreInto(StateTables& tables);
  void Thaw();
  void RelieveSome(size_t tolerated);
  size_t PinnedBytes() const;

  const KeyedStateOptions options_;
  SnapshotStream stream_;
  std::unique_ptr<StateCache> cache_;
  TableDirectory directory_;
  std::vector<std::unique_ptr<StateTables>> states_;
  std::vector<StateSchema> unclaimed_;
  bool open_ = false;
  bool running_ = false;
  CheckpointId checkpoint_;
  SnapshotKind kind_ = SnapshotKind::kDelta;
  size_t next_table_ = 0;  // of the running snapshot's list
  uint64_t relieve_turn_ = 0;
  size_t claimed_bytes_ = 0;  // of the bound's account, ours
};

}  // namespace weir
