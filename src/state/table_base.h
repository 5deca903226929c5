#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "state/slot_group.h"
#include "state/snapshot_stream.h"

namespace weir {

class StateCache;
class TableBase;
struct TableContext;

/// Which flag bit means what. One per backend; a barrier swaps the bits.
struct SnapshotEpoch {
  uint8_t dirty = kEpochA;
  /// Of entries of the running snapshot. No entry has it when no snapshot runs.
  uint8_t frozen = kEpochB;
  /// Flags of an entry that may be written to without ado: dirty | kReferenced.
  uint8_t clear_to_write = kEpochA | kReferenced;
  /// Number of full dumps begun. A table that has seen fewer has not frozen its entries yet.
  uint64_t full_dumps = 0;
  bool full_dump_running = false;
  /// Number of the open segment; the running snapshot writes the one before.
  uint64_t segment = 1;
};

/// The tables that a backend has to visit for its next snapshot and for the running one.
struct TableDirectory {
  SnapshotEpoch epoch;
  SnapshotStream* stream = nullptr;
  /// Null on the memory backend: then a table is everything there is.
  StateCache* cache = nullptr;
  /// Tables with entries that have the epoch bit A (0) or B (1); null where one has gone.
  std::vector<TableBase*> changed[2];
  /// Tables dropped while the running snapshot still needs entries of theirs.
  std::vector<std::unique_ptr<TableBase>> dropped;
  /// Memory of all tables' slots.
  size_t bytes = 0;
  /// Bytes by which tables grew although the cache's bound forbade it.
  size_t overgrown_bytes = 0;
  std::vector<const TableContext*> states;

  /// Memory of all tables, with what entries have outside of their slots.
  size_t TotalBytes() const;

  static int Index(uint8_t epoch_bit) { return epoch_bit >> 1; }

  /// Drops a table with all its entries, for the open segment by one prefix tombstone. What the
  /// running snapshot still needs of it is kept until written.
  void Drop(std::unique_ptr<TableBase> table);
};

/// What the tables of one state have in common. Owned by the state.
struct TableContext {
  std::string name;
  uint16_t state_id = 0;
  uint32_t max_parallelism = 0;
  TableDirectory* directory = nullptr;
  /// All of it stays in memory although there is a store, which is given none of it.
  bool pinned = false;

  /// True when entries that are not in the tables may be in the store below.
  bool has_store() const { return directory->cache != nullptr && !pinned; }
  RecordLevel level() const {
    return has_store() ? RecordLevel::kCheckpointAndStore : RecordLevel::kCheckpoint;
  }

  mutable uint64_t store_reads = 0;  // keys of this state that were asked of the store below

  // What the entries have outside of their slots (strings, containers): their number, and a moving
  // average of the bytes of those read, written or looked at last.
  mutable size_t entries = 0;
  mutable size_t bytes = 0;          // of its tables' slots
  mutable size_t outside_bytes = 0;  // what its owner keeps beside the tables
  mutable double heap_bytes_per_entry = 0;
  /// `weight`: the looks that this one stands for.
  void SawHeapBytes(size_t seen, size_t weight = 1) const {
    const auto bytes_seen = static_cast<double>(seen);
    const double part = weight < 64 ? static_cast<double>(weight) / 64 : 1;
    heap_bytes_per_entry = heap_bytes_per_entry == 0
                               ? bytes_seen
                               : heap_bytes_per_entry + (bytes_seen - heap_bytes_per_entry) * part;
  }
  size_t TotalBytes() const {
    return bytes + outside_bytes +
           static_cast<size_t>(static_cast<double>(entries) * heap_bytes_per_entry);
  }
};

/// The untyped part of Table: slots' tags and flags, change tracking, snapshots, eviction.
///
/// Open addressing over groups of 16 slots. Owned by one slot thread. A reference to a value stays
/// valid until the next insertion into the same table, or the next call of the backend's
/// SnapshotSlice or Maintain.
///
/// Life of an entry: a change sets the dirty bit. At a barrier dirty becomes frozen without a visit
/// (SnapshotEpoch). A frozen entry is written to the running snapshot in the slot loop's time
/// slices, or at once when it is about to change. A deletion is a dirty tombstone, which leaves the
/// table when written. Rehashing moves the flags with the entries.
class alignas(64) TableBase {
 public:
  static constexpr size_t kNoSlot = SIZE_MAX;

  TableBase(const TableBase&) = delete;
  TableBase& operator=(const TableBase&) = delete;
  virtual ~TableBase();

  uint16_t key_group() const { return key_group_; }
  /// Present keys.
  size_t size() const { return used_ - tombstones_; }
  bool empty() const { return size() == 0; }
  size_t capacity() const { return slots_ == nullptr ? 0 : group_count() * SlotGroup::kSlots; }

  /// True when the running snapshot still needs entries of this table.
  bool SnapshotPending() const;
  /// Writes frozen entries until done (true) or until the stream has `stop_at` bytes written or no
  /// more room (false).
  bool SnapshotSome(uint64_t stop_at_bytes);

  /// Puts the table on the list of those that the running snapshot has to visit.
  void ListForSnapshot();
  /// Takes the table off the list of the running snapshot: it is done.
  void UnlistFrozen() { listed_[TableDirectory::Index(epoch_->frozen)] = 0; }
  /// The running snapshot was aborted: what it has not written counts as changed again.
  void Thaw();

  /// True when a snapshot or the store may know entries of this table, so that dropping it needs a
  /// trace.
  bool has_history() const { return has_history_; }
  void set_has_history() { has_history_ = true; }

  /// First used slot at or after `slot`, tombstones included; kNoSlot when there is none.
  size_t NextUsed(size_t slot) const;
  size_t NextLive(size_t slot) const {
    do {
      slot = NextUsed(slot);
    } while (slot != kNoSlot && (Flags(slot) & kTombstone) && ++slot);
    return slot;
  }

  /// With a store: true when every present entry is here, so that a miss needs no read. Ends with
  /// the first entry that is evicted.
  bool complete() const { return complete_; }
  void set_complete() { complete_ = true; }

  /// Grows whenever an entry comes, goes or moves.
  uint32_t version() const { return version_; }

  const std::string& prefix() const { return prefix_; }
  const TableContext& context() const { return *context_; }

  /// How far a sweep goes at most.
  struct SweepLimits {
    size_t groups = 0;  // of slots that a hand passes
    size_t drops = 0;   // 0: only writes
    size_t writes = SIZE_MAX;
    /// If nothing can be dropped before what was written has settled, the writer is to settle what
    /// it has: it may become a small file to look into and to compact.
    bool urgent = false;
  };
  /// Only with a store below: moves the clock's two hands. The first hands dirty entries that were
  /// not used lately to the writer; the other, three quarters of a turn behind, drops those that
  /// are clean and settled. So what is written has that long to settle, and writing goes on as
  /// evenly as dropping. Stops where what was written nearly a turn ago is not settled yet. Slots
  /// stay where they are. Returns how many entries were dropped.
  size_t Sweep(const SweepLimits& limits);
  /// The same for the whole table; then gives back memory that it does not need. Slots move.
  void Relieve();

 protected:
  TableBase(const TableContext* context, uint16_t key_group, std::string prefix, size_t slot_bytes);

  // The typed part.
  /// Writes entry or tombstone `slot` as a record of `segment`.
  virtual void AppendSlot(size_t slot, uint64_t segment) = 0;
  /// Destroys the key, and the value unless the slot is a tombstone.
  virtual void DestroySlot(size_t slot) = 0;
  /// Tells the context, and returns, what the entry has outside of its slot, if anything.
  virtual size_t NoteHeapOf(size_t slot, size_t weight) const = 0;
  /// Moves the key (and value) to uninitialised memory.
  virtual void RelocateSlot(size_t slot, char* to) = 0;
  virtual uint64_t HashSlot(size_t slot) const = 0;
  virtual bool HasNested() const = 0;
  /// The table inside the value, if any.
  virtual TableBase* NestedTable(size_t slot) = 0;

  SlotGroup& GroupOf(size_t slot) const { return groups_[slot / SlotGroup::kSlots]; }
  uint8_t& Flags(size_t slot) const { return GroupOf(slot).flags[slot % SlotGroup::kSlots]; }
  SnapshotEpoch& epoch() const { return *epoch_; }
  size_t group_count() const { return size_t{group_mask_} + 1; }

  /// The slot is about to change: what the running snapshot needs of it is written first.
  void BeforeWrite(size_t slot);
  /// True when the slot is a tombstone, or writing to it needs BeforeWrite.
  bool NeedsBeforeWrite(uint8_t flags) const {
    constexpr uint8_t kCare = kEpochA | kEpochB | kReferenced | kTombstone;
    return (flags & kCare) != epoch_->clear_to_write;
  }

  /// Where BeforeWrite will note that an entry of the group changed: after a barrier the first
  /// write to each entry goes there, all over a large table.
  void PrefetchMark(size_t group) const {
    if (summary_) __builtin_prefetch(MarkOf(group, TableDirectory::Index(epoch_->dirty)), 1);
  }

  /// Claims a free slot for a key that is not there; the caller constructs key and value and has
  /// called ReserveOne before. Flags are 0.
  size_t ClaimSlot(uint64_t hash);
  /// Makes sure that one more slot can be claimed; may rehash.
  void ReserveOne() {
    if (growth_left_ == 0) [[unlikely]]
      Grow();
  }
  /// An entry that came and goes between two barriers leaves no trace.
  bool ForgetIfNeverWritten(size_t slot);
  /// Destroys the slot's content and frees the slot, leaving no trace.
  void ForgetSlot(size_t slot);
  void MarkTombstone(size_t slot) {
    Flags(slot) |= kTombstone;
    ++tombstones_;
    ++version_;
  }
  void UnmarkTombstone(size_t slot) {
    Flags(slot) &= static_cast<uint8_t>(~kTombstone);
    --tombstones_;
    ++version_;
  }
  void DestroyAll();

  SlotGroup* groups_;
  char* slots_ = nullptr;
  uint32_t group_mask_ = 0;
  uint32_t growth_left_ = 0;
  SnapshotEpoch* const epoch_;
  const TableContext* const context_;

 private:
  void Grow();
  void MakeRoom();
  bool UsedAbove(size_t of_32) const { return used_ * size_t{32} > capacity() * of_32; }
  void SetOvergrownBy(size_t bytes);
  bool BeginSector(uint64_t settled);
  size_t WriteUnused(size_t group);
  /// Sets `waits` if nothing but that it is not settled yet keeps an entry.
  size_t DropUnused(size_t group, uint64_t settled, bool* waits);
  void SettleOldest(uint64_t settled) const;
  void ShrinkIfSparse();
  void Rehash(size_t new_group_count);
  void MarkDirty(size_t slot);
  void ListAsChanged(int index);
  void WriteOut(size_t slot, uint64_t segment);
  void FreezeAll();
  void MarkGroup(size_t group, int index);
  void ClearSummary(int index);
  /// The first at or after `group` that may have changed entries; group_count() if there is none.
  size_t NextChangedGroup(size_t group, int index) const;
  void FreeMemory();
  size_t MemoryBytes(size_t group_count) const;

  /// Tables of more groups than these have a summary of what changed, a bit per group: a snapshot
  /// of the few entries that changed must not read the flags of all. A 256th of a small entry's
  /// memory.
  static constexpr size_t kGroupsWithoutSummary = 16;
  /// Groups that a snapshot fetches from memory at once.
  static constexpr size_t kFetchedAtOnce = 16;
  /// A table looks at the size of one of its entries, and makes room if it may not grow, once in so
  /// many claims.
  static constexpr size_t kMakeRoomEvery = 32;
  /// To look at a value takes time by its length: for so many bytes of it one look is left out.
  static constexpr size_t kHeapBytesForALook = 4096;
  static size_t SummaryWords(size_t groups) { return (groups + 63) / 64; }
  /// The word with the group's bit. There is a summary.
  uint64_t* MarkOf(size_t group, int index) const {
    return &summary_[index * SummaryWords(group_count()) + group / 64];
  }

  const uint32_t slot_bytes_;
  const uint16_t key_group_;
  bool has_history_ = false;
  bool complete_ = false;
  uint32_t version_ = 0;
  uint32_t used_ = 0;
  uint32_t tombstones_ = 0;
  /// Slots with epoch bit A, B.
  uint32_t changed_[2] = {0, 0};
  /// Index + 1 in the directory's list.
  uint32_t listed_[2] = {0, 0};
  uint32_t cursor_group_ = 0;
  uint32_t writing_hand_ = 0;   // a group
  size_t overgrown_bytes_ = 0;  // of the directory's
  uint64_t full_dumps_seen_;
  /// Of the writing hand, modulo 7; see kWritten.
  uint8_t sector_ = 0;
  uint8_t claims_ = 0;
  /// Looks at an entry's size: still to be left out, and left out since the last.
  uint16_t looks_to_skip_ = 0;
  uint16_t looks_skipped_ = 0;
  /// Sequence of the last chunk with an entry of this table, by the sector that the writing hand
  /// was in.
  uint64_t last_written_[kWrittenSectors] = {};
  /// For each epoch bit a bit per group; null in a small table.
  std::unique_ptr<uint64_t[]> summary_;
  const std::string prefix_;
};

}  // namespace weir
