#include "state/keyed_state_backend.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/utf8.h"
#include "state/store.h"

namespace weir {
namespace {

/// Of a schema that TimerService made: time, key, namespace.
std::string KeyTypeOfTimers(const StateSchema& schema) {
  std::string_view key = schema.key_schema;
  constexpr std::string_view kBefore = "time+";
  constexpr std::string_view kBehind = "+namespace";
  if (key.starts_with(kBefore)) key.remove_prefix(kBefore.size());
  if (key.ends_with(kBehind)) key.remove_suffix(kBehind.size());
  return std::string(key);
}

}  // namespace

KeyedStateBackend::KeyedStateBackend(KeyedStateOptions options)
    : options_(std::move(options)), stream_(options_.sink) {
  directory_.stream = &stream_;
  if (options_.store != nullptr) {
    cache_ = std::make_unique<StateCache>(options_.store, options_.cache_bytes);
    directory_.cache = cache_.get();
  }
  if (options_.restored != nullptr) unclaimed_ = options_.restored->Schemas();
}

KeyedStateBackend::~KeyedStateBackend() {
  directory_.dropped.clear();  // tables refer to their states
  if (options_.bound != nullptr) options_.bound->GiveBack(claimed_bytes_);
}

void KeyedStateBackend::Add(std::unique_ptr<StateTables> tables) {
  const std::string& name = tables->schema().name;
  if (open_) {
    ThrowError(ErrorKind::kUser, "operator " + options_.operator_uid + ": state " + name +
                                     " was opened after the operator had been opened; open all "
                                     "states in Open");
  }
  for (const auto& other : states_) {
    if (other->schema().name == name) {
      ThrowError(ErrorKind::kUser, "operator " + options_.operator_uid + ": state " + name +
                                       " was opened twice; give each state its own name");
    }
  }
  if (name != ToUtf8(name)) {
    ThrowError(ErrorKind::kFatal, "operator " + options_.operator_uid + ": the name of state " +
                                      ToUtf8(name) + " is not UTF-8");
  }
  if (states_.size() == UINT16_MAX) {
    ThrowError(ErrorKind::kUser, "operator " + options_.operator_uid + ": more than 65535 states");
  }
  TableContext& context = tables->context();
  context.name = options_.operator_uid + "/" + name;
  context.state_id = static_cast<uint16_t>(states_.size());
  context.max_parallelism = options_.max_parallelism;
  context.directory = &directory_;
  context.pinned = tables->IsPinned();
  directory_.states.push_back(&context);
  if (context.has_store()) {
    const absl::Status status = options_.store->OpenState(context.state_id, name);
    if (!status.ok()) {
      ThrowError(ErrorKind::kExternal,
                 "state " + context.name +
                     ": opening it in the store failed: " + std::string(status.message()));
    }
  }
  tables->MakeTables();
  states_.push_back(std::move(tables));
  RestoreInto(*states_.back());
}

void KeyedStateBackend::RestoreInto(StateTables& tables) {
  const StateSchema& schema = tables.schema();
  const auto found = std::find_if(unclaimed_.begin(), unclaimed_.end(),
                                  [&](const StateSchema& s) { return s.name == schema.name; });
  if (found == unclaimed_.end()) return;
  if (!schema.Matches(*found)) {
    // Opened by the operator, and nothing of it is the user's but the key.
    if (schema.kind == StateKind::kTimers && found->kind == StateKind::kTimers) {
      ThrowError(ErrorKind::kFatal,
                 "operator " + options_.operator_uid + ": its keys were written as " +
                     KeyTypeOfTimers(*found) + " and are now " + KeyTypeOfTimers(schema) +
                     "; key its rows by the type that they were written with, or give the operator "
                     "another uid");
    }
    ThrowError(ErrorKind::kFatal, "operator " + options_.operator_uid + ": state " + schema.name +
                                      " was written as " + found->Describe() +
                                      " and is now declared as " + schema.Describe() +
                                      "; restore with the type that it was written with, or give "
                                      "the new state another name");
  }
  unclaimed_.erase(found);
  constexpr uint32_t kEntriesPerLook = 256;
  constexpr size_t kBytesPerLook = size_t{1} << 20;
  uint32_t entries = 0;
  size_t bytes = 0;
  const auto look = [&](const RestoredState::Entry& entry) {
    bytes += entry.key.size() + entry.value.size();
    if (++entries < kEntriesPerLook && bytes < kBytesPerLook) return;
    entries = 0;
    bytes = 0;
    if (options_.while_restoring) options_.while_restoring();
    // It need not be the job's fault: there may have been more processes when this was written.
    CheckBoundAs(ErrorKind::kExternal);
  };
  // One of sixteen: a single one is often set again by the replayed record that had set it.
  const bool forgetful = schema.kind == StateKind::kTimers && WEIR_PLANTED_BUG("drop_timer");
  uint64_t seen = 0;
  const auto forgets = [&] { return forgetful && seen++ % 16 == 0; };
  if (!tables.context().has_store()) {
    options_.restored->ForEach(schema.name, options_.key_groups, false,
                               [&](const RestoredState::Entry& entry) {
                                 look(entry);
                                 if (!forgets()) tables.Restore(entry);
                               });
    return;
  }
  // Below the cache: in batches that make good files, copied because what is visited lives only
  // during the visit.
  constexpr size_t kBatchBytes = size_t{16} << 20;
  struct Copied {
    uint16_t key_group;
    EntryKind kind;
    size_t key_end;
    size_t value_end;
  };
  std::string copies;
  std::vector<Copied> batch;
  std::vector<StoreEntry> changes;
  const auto apply = [&] {
    changes.clear();
    const std::string_view all = copies;
    size_t at = 0;
    for (const Copied& entry : batch) {
      changes.push_back({.state = tables.context().state_id,
                         .key_group = entry.key_group,
                         .kind = entry.kind,
                         .key = all.substr(at, entry.key_end - at),
                         .value = all.substr(entry.key_end, entry.value_end - entry.key_end)});
      at = entry.value_end;
    }
    const absl::Status status = options_.store->Apply(changes);
    if (!status.ok()) {
      ThrowError(ErrorKind::kExternal,
                 "state " + tables.context().name +
                     ": restoring into the store failed: " + std::string(status.message()));
    }
    batch.clear();
    copies.clear();
  };
  options_.restored->ForEach(
      schema.name, options_.key_groups, true, [&](const RestoredState::Entry& entry) {
        look(entry);
        if (forgets()) return;
        copies.append(entry.key);
        const size_t key_end = copies.size();
        copies.append(entry.value);
        batch.push_back({entry.key_group, entry.kind, key_end, copies.size()});
        if (copies.size() >= kBatchBytes) apply();
      });
  if (!batch.empty()) apply();
}

void KeyedStateBackend::FinishOpen() {
  open_ = true;
  if (unclaimed_.empty() || options_.allow_unclaimed_state) return;
  std::string names;
  for (const StateSchema& schema : unclaimed_) {
    names += (names.empty() ? "" : ", ") + schema.name + " (" + schema.Describe() + ")";
  }
  ThrowError(ErrorKind::kFatal, "operator " + options_.operator_uid +
                                    ": the checkpoint holds state that the operator does not "
                                    "declare: " +
                                    names +
                                    "; declare it under the name that it had, or drop it with "
                                    "--allow-non-restored-state");
}

void KeyedStateBackend::BeginSnapshot(CheckpointId id, SnapshotKind kind) {
  if (running_) Thaw();
  SnapshotEpoch& epoch = directory_.epoch;
  std::swap(epoch.dirty, epoch.frozen);
  epoch.clear_to_write = epoch.dirty | kReferenced;
  ++epoch.segment;
  running_ = true;
  checkpoint_ = id;
  kind_ = kind;
  next_table_ = 0;
  if (kind == SnapshotKind::kFull) {
    ++epoch.full_dumps;
    epoch.full_dump_running = true;
    for (const auto& state : states_) {
      state->ForEachTable([](TableBase& table) { table.ListForSnapshot(); });
    }
  }
}

bool KeyedStateBackend::SnapshotSlice(size_t max_bytes) {
  if (!stream_.HasRoom()) return false;
  if (!running_) return true;
  const uint64_t stop_at = stream_.written_bytes() + max_bytes;
  // Tables are added while the list is walked: those inside the values of others.
  auto& list = directory_.changed[TableDirectory::Index(directory_.epoch.frozen)];
  for (; next_table_ < list.size(); ++next_table_) {
    if (stream_.written_bytes() >= stop_at) return false;
    TableBase* const table = list[next_table_];
    if (table == nullptr) continue;
    if (!table->SnapshotSome(stop_at)) return false;
    table->UnlistFrozen();
  }
  list.clear();
  directory_.dropped.clear();
  directory_.epoch.full_dump_running = false;
  running_ = false;
  stream_.EndSegment(
      {.segment = directory_.epoch.segment - 1, .checkpoint = checkpoint_, .kind = kind_});
  return stream_.HasRoom();
}

void KeyedStateBackend::AbortSnapshot(CheckpointId id) {
  if (running_ && checkpoint_ == id) Thaw();
}

void KeyedStateBackend::Thaw() {
  SnapshotEpoch& epoch = directory_.epoch;
  auto& list = directory_.changed[TableDirectory::Index(epoch.frozen)];
  // Dropped tables owe the next snapshot nothing: it holds the mark that they are gone.
  directory_.dropped.clear();
  for (size_t i = next_table_; i < list.size(); ++i) {
    if (list[i] != nullptr) list[i]->Thaw();
  }
  list.clear();
  epoch.full_dump_running = false;
  running_ = false;
  stream_.EndSegment(
      {.segment = epoch.segment - 1, .checkpoint = checkpoint_, .kind = kind_, .aborted = true});
}

bool KeyedStateBackend::Blocked() {
  if (stream_.Blocked()) return true;
  if (cache_ == nullptr) return false;
  // Growing by doubling overshoots; beyond that the writer has to catch up.
  const size_t tolerated = cache_->limit_bytes() + cache_->limit_bytes() / 4;
  if (directory_.TotalBytes() <= tolerated) return false;
  stream_.Flush();
  RelieveSome(tolerated);
  if (directory_.TotalBytes() <= tolerated) return false;
  if (stream_.SettledThrough() + 1 >= stream_.sequence()) return false;  // nothing to wait for
  stream_.SettleSoon(stream_.sequence() - 1);
  return true;
}

size_t KeyedStateBackend::PinnedBytes() const {
  size_t total = 0;
  for (const TableContext* state : directory_.states) {
    if (!state->has_store()) total += state->TotalBytes();
  }
  return total;
}

void KeyedStateBackend::CheckBound() { CheckBoundAs(ErrorKind::kUser); }

void KeyedStateBackend::CheckBoundAs(ErrorKind kind) {
  if (options_.bound == nullptr) return;
  const size_t mine = PinnedBytes();
  if (options_.bound->Claim(mine, &claimed_bytes_)) return;
  const size_t all = options_.bound->account->load() - claimed_bytes_ + mine;
  const auto mib = [](size_t bytes) {
    return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
  };
  const std::string what = cache_ != nullptr ? "windows and timers" : "state in memory";
  ThrowError(kind,
             "operator " + options_.operator_uid + ": its " + what + " take " + mib(mine) +
                 ", with what other operators in this TaskManager had before it " + mib(all) +
                 ", and together they may take " + mib(options_.bound->limit) +
                 ", the state's share; raise taskmanager.memory, or the parallelism with more "
                 "TaskManagers, or have fewer keys or shorter windows" +
                 (cache_ != nullptr ? "" : ", or set state.backend to rocksdb"));
}

void KeyedStateBackend::SetCacheBytes(size_t bytes) {
  if (cache_ != nullptr) cache_->set_limit_bytes(bytes);
}

// Key groups in turn; a few, so that it is a short pause.
void KeyedStateBackend::RelieveSome(size_t tolerated) {
  constexpr int kKeyGroups = 8;
  for (int i = 0; i < kKeyGroups && directory_.TotalBytes() > tolerated; ++i, ++relieve_turn_) {
    const uint64_t turn = relieve_turn_ % options_.key_groups.size();
    for (const auto& state : states_) {
      if (state->IsPinned()) continue;
      uint64_t at = 0;
      state->ForEachTable([&](TableBase& table) {
        if (at++ == turn) table.Relieve();
      });
    }
  }
}

std::vector<StateSchema> KeyedStateBackend::Schemas() const {
  std::vector<StateSchema> schemas;
  for (const auto& state : states_) schemas.push_back(state->schema());
  return schemas;
}

KeyedStateMetrics KeyedStateBackend::Metrics() const {
  KeyedStateMetrics metrics;
  for (const auto& state : states_) {
    state->ForEachTable([&](TableBase& table) { metrics.entries += table.size(); });
  }
  metrics.memory_bytes = directory_.TotalBytes();
  metrics.snapshot_bytes = stream_.written_bytes();
  metrics.waiting_bytes = stream_.waiting_bytes();
  if (cache_ != nullptr) {
    metrics.store_reads = cache_->counters().reads;
    metrics.store_multi_gets = cache_->counters().multi_gets;
  }
  return metrics;
}

void KeyedStateBackend::ThrowNoKey(const std::string& state) {
  ThrowError(ErrorKind::kUser,
             "no key here" + (state.empty() ? "" : " for state '" + state + "'") +
                 ": state and timers belong to the key of the row or timer at hand. Use them in "
                 "ProcessElement, OnTimer or Process, not in Open or Close");
}

namespace {

class Unopened final : public ErasedState {
 public:
  void* Find() override { Throw(); }
  void* FindForUpdate() override { Throw(); }
  void* FindOrInsert() override { Throw(); }
  void* FindOrCache() override { Throw(); }
  void Erase() override { Throw(); }
  std::string Prefix() const override { Throw(); }
  const TableContext* context() const override { Throw(); }
  uint16_t key_group() const override { Throw(); }

 private:
  [[noreturn]] static void Throw() {
    ThrowError(ErrorKind::kUser,
               "a state was used that was not opened: assign it in the function's Open, for "
               "example `count_ = context.GetValueState<int64_t>(\"count\")`");
  }
};

}  // namespace

ErasedState* UnopenedState() {
  static Unopened state;
  return &state;
}

void KeyedStateBackend::ThrowForeignKeyGroup(uint32_t key_group) const {
  ThrowError(ErrorKind::kInternal,
             "operator " + options_.operator_uid + ": a record of key group " +
                 std::to_string(key_group) + " came to the subtask of key groups " +
                 std::to_string(options_.key_groups.first) + " to " +
                 std::to_string(options_.key_groups.end - 1) +
                 "; the key's hash must not change between partitioning and use");
}

}  // namespace weir
