#include "state/table_base.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "state/state_cache.h"

namespace weir {

namespace {

// What an empty table probes. Never written: it has no room.
SlotGroup g_empty_group{};

// A large table begins a page of this size, so that the kernel can map what is large in few entries
// of the page table: the look-up of an address costs as much as the access once a state is large.
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

// What has been written is settled in portions of this part of the cache: before the dropping hand
// comes by.
constexpr size_t kSettlesPerTurnover = 6;

// A turn of the writing hand has so many sectors; of the last ones it is known when their last
// entry was written. The dropping hand is so far behind. (In tables of a few groups less, of one
// nothing.)
constexpr size_t kSectors = 8;
constexpr size_t kSectorsBehind = 6;
static_assert(kSectorsBehind < kWrittenSectors, "it would meet numbers that are in use again");

// How full a table is, in 32nds of its slots, of which seven eighths can be used, erased ones among
// them. When none is left it grows from here; below, it is enough to clean up the erased ones.
constexpr size_t kGrowFrom = 25;
// Of one that the cache's bound forbids to grow: where entries begin to be written ahead, where
// they are dropped, where both go twice as fast, where that is urgent, and where it grows all the
// same.
constexpr size_t kWriteFrom = 16;
constexpr size_t kDropFrom = 22;
constexpr size_t kHurryFrom = 24;
constexpr size_t kUrgentFrom = 26;
constexpr size_t kGrowAnywayFrom = 27;
// It is urgent, too, once the cache is above its bound by this part of it.
constexpr size_t kUrgentOverdraft = 16;

char* Allocate(size_t bytes) {
  const bool large = bytes >= kHugePage;
  const size_t align = large ? kHugePage : kCacheLine;
  void* const memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (memory == nullptr) throw std::bad_alloc();
  // Whole ones only: no memory for a tail that is not used.
  if (large) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return static_cast<char*>(memory);
}

}  // namespace

TableBase::TableBase(const TableContext* context, uint16_t key_group, std::string prefix,
                     size_t slot_bytes)
    : groups_(&g_empty_group),
      epoch_(&context->directory->epoch),
      context_(context),
      slot_bytes_(static_cast<uint32_t>(slot_bytes)),
      key_group_(key_group),
      full_dumps_seen_(context->directory->epoch.full_dumps),
      prefix_(std::move(prefix)) {}

TableBase::~TableBase() {
  for (int i : {0, 1}) {
    if (listed_[i] != 0) context_->directory->changed[i][listed_[i] - 1] = nullptr;
  }
  SetOvergrownBy(0);
  FreeMemory();
}

size_t TableBase::MemoryBytes(size_t group_count) const {
  return group_count * (sizeof(SlotGroup) + SlotGroup::kSlots * slot_bytes_);
}

void TableBase::FreeMemory() {
  if (slots_ == nullptr) return;
  context_->bytes -= MemoryBytes(group_count());
  context_->directory->bytes -= MemoryBytes(group_count());
  std::free(groups_);
  slots_ = nullptr;
}

void TableBase::DestroyAll() {
  for (size_t slot = NextUsed(0); slot != kNoSlot; slot = NextUsed(slot + 1)) DestroySlot(slot);
}

size_t TableBase::NextUsed(size_t slot) const {
  if (slots_ == nullptr) return kNoSlot;
  size_t group = slot / SlotGroup::kSlots;
  if (group >= group_count()) return kNoSlot;
  uint32_t mask = groups_[group].MatchUsed() & (~0u << (slot % SlotGroup::kSlots));
  while (mask == 0) {
    if (++group == group_count()) return kNoSlot;
    mask = groups_[group].MatchUsed();
  }
  return group * SlotGroup::kSlots + std::countr_zero(mask);
}

size_t TableBase::ClaimSlot(uint64_t hash) {
  assert(growth_left_ > 0);
  if (++claims_ % kMakeRoomEvery == 0) {
    if (looks_to_skip_ > 0) {
      --looks_to_skip_;
      ++looks_skipped_;
    } else if (const size_t some = NextUsed(((hash >> 8) & group_mask_) * SlotGroup::kSlots);
               some != kNoSlot) {
      const size_t bytes = NoteHeapOf(some, size_t{1} + std::exchange(looks_skipped_, 0));
      looks_to_skip_ =
          static_cast<uint16_t>(std::min<size_t>(bytes / kHeapBytesForALook, UINT16_MAX));
    }
    if (context_->has_store()) MakeRoom();
  }
  // The new key must not be taken for one of those that the running full dump has to write.
  if (full_dumps_seen_ != epoch_->full_dumps) FreezeAll();
  size_t group = (hash >> 8) & group_mask_;
  for (size_t step = 1;; ++step) {
    const uint32_t free = groups_[group].MatchFree();
    if (free != 0) {
      const int i = std::countr_zero(free);
      // A slot that was used before did not give back its share of growth_left_.
      if (groups_[group].tags[i] == SlotGroup::kEmpty) --growth_left_;
      groups_[group].tags[i] = SlotGroup::TagOf(hash);
      groups_[group].flags[i] = 0;
      ++used_;
      ++context_->entries;
      ++version_;
      return group * SlotGroup::kSlots + i;
    }
    group = (group + step) & group_mask_;
  }
}

void TableBase::ForgetSlot(size_t slot) {
  DestroySlot(slot);
  SlotGroup& group = GroupOf(slot);
  const size_t i = slot % SlotGroup::kSlots;
  const uint8_t flags = group.flags[i];
  if (flags & kTombstone) --tombstones_;
  if (flags & kEpochA) --changed_[0];
  if (flags & kEpochB) --changed_[1];
  group.flags[i] = 0;
  // Probing stops at a group with an empty slot: if there is one, no probe went past this group.
  if (group.MatchEmpty() != 0) {
    group.tags[i] = SlotGroup::kEmpty;
    ++growth_left_;
  } else {
    group.tags[i] = SlotGroup::kErased;
  }
  --used_;
  --context_->entries;
  ++version_;
}

void TableBase::Grow() {
  if (slots_ == nullptr) return Rehash(1);
  const TableDirectory& directory = *context_->directory;
  const size_t limit = context_->has_store() ? directory.cache->limit_bytes() : SIZE_MAX;
  const size_t grown = directory.TotalBytes() + MemoryBytes(group_count());
  const bool bound = grown > limit;
  // A table inside a value is one of many: the outermost asks for all of them at once.
  const bool inner = !prefix_.empty();
  const size_t grow_from = bound && !inner ? kGrowAnywayFrom : kGrowFrom;
  if (bound && UsedAbove(grow_from)) {
    Sweep({.groups = 2 * group_count(), .drops = used_ / 4, .urgent = !inner});
  }
  const bool crowded = UsedAbove(grow_from);
  if (bound && crowded && !inner) {
    SetOvergrownBy(overgrown_bytes_ + std::min(MemoryBytes(group_count()), grown - limit));
  }
  Rehash(crowded ? group_count() * 2 : group_count());
}

void TableBase::SetOvergrownBy(size_t bytes) {
  context_->directory->overgrown_bytes += bytes - overgrown_bytes_;
  overgrown_bytes_ = bytes;
}

// A little at each claim, and well before there is none left: what is dirty has to go down, settle
// and be met again before it can be dropped.
void TableBase::MakeRoom() {
  const TableDirectory& directory = *context_->directory;
  const size_t limit = directory.cache->limit_bytes();
  const size_t total = directory.TotalBytes();
  // Those that grew beyond the bound make up for that themselves: were it all, they would all fall
  // to where they can be halved before the first is.
  if (overgrown_bytes_ > 0 && total <= limit) SetOvergrownBy(0);
  const size_t allowed = limit + (overgrown_bytes_ > 0 ? 0 : directory.overgrown_bytes);
  const bool over = total > allowed;
  if (!over && (!UsedAbove(kWriteFrom) || total + MemoryBytes(group_count()) <= limit)) return;
  const size_t some = over || UsedAbove(kHurryFrom) ? 2 * kMakeRoomEvery : kMakeRoomEvery;
  Sweep({.groups = std::min(some, group_count()),
         .drops = over || UsedAbove(kDropFrom) ? some : 0,
         .writes = 2 * some,
         // A table inside a value is one of many: when it is nearly full, it grows.
         .urgent = total > allowed + limit / kUrgentOverdraft ||
                   (prefix_.empty() && UsedAbove(kUrgentFrom))});
  directory.stream->SettleEvery(limit / kSettlesPerTurnover);
  ShrinkIfSparse();
}

void TableBase::ShrinkIfSparse() {
  size_t groups = group_count();
  while (groups > 1 && used_ * size_t{3} < groups * SlotGroup::kSlots) groups /= 2;
  if (groups == group_count()) return;
  SetOvergrownBy(0);
  Rehash(groups);
}

void TableBase::Relieve() {
  if (!context_->has_store() || slots_ == nullptr) return;
  Sweep({.groups = 2 * group_count(), .drops = used_, .urgent = true});
  ShrinkIfSparse();
}

size_t TableDirectory::TotalBytes() const {
  size_t total = 0;
  for (const TableContext* state : states) total += state->TotalBytes();
  return total;
}

void TableBase::Rehash(size_t new_group_count) {
  const size_t new_slots = new_group_count * SlotGroup::kSlots;
  char* const memory = Allocate(MemoryBytes(new_group_count));
  auto* groups = reinterpret_cast<SlotGroup*>(memory);
  char* const slots = memory + new_group_count * sizeof(SlotGroup);
  std::memset(static_cast<void*>(groups), 0, new_group_count * sizeof(SlotGroup));
  const size_t mask = new_group_count - 1;

  const size_t words = SummaryWords(new_group_count);
  summary_.reset();
  if (new_group_count > kGroupsWithoutSummary) summary_ = std::make_unique<uint64_t[]>(2 * words);

  for (size_t slot = NextUsed(0); slot != kNoSlot; slot = NextUsed(slot + 1)) {
    const uint8_t flags = Flags(slot);
    const uint64_t hash = HashSlot(slot);
    size_t group = (hash >> 8) & mask;
    uint32_t free;
    for (size_t step = 1; (free = groups[group].MatchEmpty()) == 0; ++step) {
      group = (group + step) & mask;
    }
    const int i = std::countr_zero(free);
    groups[group].tags[i] = SlotGroup::TagOf(hash);
    groups[group].flags[i] = flags;
    RelocateSlot(slot, slots + (group * SlotGroup::kSlots + i) * slot_bytes_);
    if (summary_ && (flags & (kEpochA | kEpochB))) {
      for (int e : {0, 1}) {
        if (flags & (kEpochA << e)) summary_[e * words + group / 64] |= uint64_t{1} << (group % 64);
      }
    }
  }
  FreeMemory();
  groups_ = groups;
  slots_ = slots;
  group_mask_ = static_cast<uint32_t>(mask);
  growth_left_ = static_cast<uint32_t>(new_slots / 8 * 7 - used_);
  cursor_group_ = 0;
  writing_hand_ &= group_mask_;
  ++version_;
  context_->bytes += MemoryBytes(new_group_count);
  context_->directory->bytes += MemoryBytes(new_group_count);
}

void TableBase::ListAsChanged(int index) {
  if (listed_[index] != 0) return;
  auto& list = context_->directory->changed[index];
  list.push_back(this);
  listed_[index] = static_cast<uint32_t>(list.size());
}

void TableBase::MarkGroup(size_t group, int index) {
  if (summary_) *MarkOf(group, index) |= uint64_t{1} << (group % 64);
}

void TableBase::MarkDirty(size_t slot) {
  uint8_t& flags = Flags(slot);
  flags |= kReferenced;
  if (flags & epoch_->dirty) return;
  flags |= epoch_->dirty;
  const int index = TableDirectory::Index(epoch_->dirty);
  ++changed_[index];
  MarkGroup(slot / SlotGroup::kSlots, index);
  ListAsChanged(index);
}

bool TableBase::ForgetIfNeverWritten(size_t slot) {
  if (full_dumps_seen_ != epoch_->full_dumps) FreezeAll();
  const uint8_t flags = Flags(slot);
  if (!(flags & kNeverWritten) || (flags & epoch_->frozen)) return false;
  ForgetSlot(slot);
  return true;
}

void TableBase::BeforeWrite(size_t slot) {
  if (full_dumps_seen_ != epoch_->full_dumps) FreezeAll();
  if (Flags(slot) & epoch_->frozen) WriteOut(slot, epoch_->segment - 1);
  MarkDirty(slot);
}

void TableBase::FreezeAll() {
  full_dumps_seen_ = epoch_->full_dumps;
  if (!epoch_->full_dump_running) return;
  const int index = TableDirectory::Index(epoch_->frozen);
  for (size_t slot = NextUsed(0); slot != kNoSlot; slot = NextUsed(slot + 1)) {
    uint8_t& flags = Flags(slot);
    // Clean tombstones only say that the store has no such key. An entry that is dirty already
    // came after the barrier.
    if ((flags & kTombstone) || (flags & (epoch_->frozen | epoch_->dirty))) continue;
    flags |= epoch_->frozen;
    ++changed_[index];
    MarkGroup(slot / SlotGroup::kSlots, index);
  }
  if (changed_[index] != 0) ListAsChanged(index);
}

void TableBase::WriteOut(size_t slot, uint64_t segment) {
  const int index =
      TableDirectory::Index(segment == epoch_->segment ? epoch_->dirty : epoch_->frozen);
  const auto bit = static_cast<uint8_t>(1 << index);
  if (TableBase* nested = NestedTable(slot);
      nested != nullptr && nested->full_dumps_seen_ != epoch_->full_dumps) {
    nested->FreezeAll();
  }
  AppendSlot(slot, segment);
  has_history_ = true;
  uint8_t& flags = Flags(slot);
  flags &= static_cast<uint8_t>(~(bit | kNeverWritten));
  --changed_[index];
  if (context_->has_store()) {
    flags = static_cast<uint8_t>((flags & ~kWritten) | (sector_ + 1) << kWrittenShift);
    last_written_[sector_] = context_->directory->stream->last_sequence();
  }
}

void TableBase::ListForSnapshot() { ListAsChanged(TableDirectory::Index(epoch_->frozen)); }

void TableBase::Thaw() {
  const int frozen = TableDirectory::Index(epoch_->frozen);
  const int dirty = TableDirectory::Index(epoch_->dirty);
  for (size_t g = 0; changed_[frozen] != 0; ++g) {
    g = NextChangedGroup(g, frozen);
    assert(g < group_count());
    SlotGroup& group = groups_[g];
    for (uint32_t mask = group.MatchFlags(epoch_->frozen); mask != 0; mask &= mask - 1) {
      const int i = std::countr_zero(mask);
      --changed_[frozen];
      group.flags[i] &= static_cast<uint8_t>(~epoch_->frozen);
      if (group.flags[i] & epoch_->dirty) continue;
      group.flags[i] |= epoch_->dirty;
      ++changed_[dirty];
      MarkGroup(g, dirty);
    }
  }
  ClearSummary(frozen);
  cursor_group_ = 0;
  listed_[frozen] = 0;
  if (changed_[dirty] != 0) ListAsChanged(dirty);
}

void TableBase::ClearSummary(int index) {
  const size_t words = SummaryWords(group_count());
  if (summary_) std::fill_n(summary_.get() + index * words, words, 0);
}

void TableDirectory::Drop(std::unique_ptr<TableBase> table) {
  if (table == nullptr) return;
  const TableContext& context = table->context();
  const bool pending = table->SnapshotPending();
  if (pending || table->has_history() || context.has_store()) {
    const std::string& prefix = table->prefix();
    char* key = stream->Record(context.state_id, context.level(), table->key_group(),
                               EntryKind::kPrefixTombstone, epoch.segment, prefix.size(), 0);
    std::memcpy(key, prefix.data(), prefix.size());
  }
  if (!pending) return;
  table->ListForSnapshot();  // a table inside a value may not have been reached yet
  dropped.push_back(std::move(table));
}

bool TableBase::SnapshotPending() const {
  return (epoch_->full_dump_running && full_dumps_seen_ != epoch_->full_dumps) ||
         changed_[TableDirectory::Index(epoch_->frozen)] != 0;
}

size_t TableBase::NextChangedGroup(size_t group, int index) const {
  if (!summary_ || group >= group_count()) return group;
  const size_t words = SummaryWords(group_count());
  const uint64_t* bits = summary_.get() + index * words;
  size_t word = group / 64;
  uint64_t rest = bits[word] & (~uint64_t{0} << (group % 64));
  while (rest == 0) {
    if (++word == words) return group_count();
    rest = bits[word];
  }
  return word * 64 + static_cast<size_t>(std::countr_zero(rest));
}

bool TableBase::SnapshotSome(uint64_t stop_at_bytes) {
  if (full_dumps_seen_ != epoch_->full_dumps) FreezeAll();
  const int index = TableDirectory::Index(epoch_->frozen);
  SnapshotStream& stream = *context_->directory->stream;
  const bool keep_tombstones = context_->has_store();  // they answer for it
  while (changed_[index] != 0) {
    // What changed lies all over memory: first the flags of some groups, then their slots.
    size_t fetched[kFetchedAtOnce];
    size_t count = 0;
    for (size_t group = cursor_group_; count < kFetchedAtOnce; ++group) {
      group = NextChangedGroup(group, index);
      if (group >= group_count()) break;
      __builtin_prefetch(&groups_[group], 1);
      fetched[count++] = group;
    }
    assert(count > 0);
    for (size_t n = 0; n < count; ++n) {
      const size_t first = fetched[n] * SlotGroup::kSlots;
      for (uint32_t mask = groups_[fetched[n]].MatchFlags(epoch_->frozen); mask != 0;
           mask &= mask - 1) {
        __builtin_prefetch(slots_ + (first + std::countr_zero(mask)) * slot_bytes_);
      }
    }
    for (size_t n = 0; n < count; ++n) {
      const SlotGroup& group = groups_[fetched[n]];
      for (uint32_t mask = group.MatchFlags(epoch_->frozen); mask != 0; mask &= mask - 1) {
        const size_t slot = fetched[n] * SlotGroup::kSlots + std::countr_zero(mask);
        WriteOut(slot, epoch_->segment - 1);
        constexpr uint8_t kGone = kTombstone;
        if ((Flags(slot) & (kGone | epoch_->dirty)) == kGone && !keep_tombstones) ForgetSlot(slot);
      }
      cursor_group_ = static_cast<uint32_t>(fetched[n] + 1);
      if (stream.written_bytes() >= stop_at_bytes || !stream.HasRoom()) {
        if (changed_[index] != 0) return false;
        break;
      }
    }
  }
  ClearSummary(index);
  cursor_group_ = 0;
  return true;
}

size_t TableBase::Sweep(const SweepLimits& limits) {
  if (slots_ == nullptr || !context_->has_store()) return 0;
  if (full_dumps_seen_ != epoch_->full_dumps) FreezeAll();
  const uint64_t settled = context_->directory->stream->SettledThrough();
  const size_t sector_groups = std::max<size_t>(group_count() / kSectors, 1);
  const size_t behind = group_count() * kSectorsBehind / kSectors;
  size_t dropped = 0, written = 0;
  // For what was written to settle; of tables in values it is not known.
  bool waits = HasNested();
  for (size_t passed = 0; passed < limits.groups && written < limits.writes &&
                          (limits.drops == 0 || dropped < limits.drops);
       ++passed) {
    if (writing_hand_ % sector_groups == 0 && !BeginSector(settled)) {
      waits = true;
      break;
    }
    if (limits.drops > 0) {
      dropped += DropUnused((writing_hand_ - behind) & group_mask_, settled, &waits);
    }
    written += WriteUnused(writing_hand_);
    writing_hand_ = (writing_hand_ + 1) & group_mask_;
  }
  if (limits.urgent && dropped == 0 && waits) SettleOldest(settled);
  return dropped;
}

// False when entries that were written nearly a turn ago, in the sector whose number comes again,
// are not settled.
bool TableBase::BeginSector(uint64_t settled) {
  const auto next = static_cast<uint8_t>((sector_ + 1) % kWrittenSectors);
  if (last_written_[next] > settled) return false;
  sector_ = next;
  return true;
}

size_t TableBase::WriteUnused(size_t g) {
  const SlotGroup& group = groups_[g];
  size_t written = 0;
  for (uint32_t mask = group.MatchUsed(); mask != 0; mask &= mask - 1) {
    const size_t slot = g * SlotGroup::kSlots + std::countr_zero(mask);
    uint8_t& flags = Flags(slot);
    if (TableBase* nested = HasNested() ? NestedTable(slot) : nullptr;
        nested != nullptr && nested->used_ > 0) {
      continue;
    }
    if (flags & kReferenced) {
      flags &= static_cast<uint8_t>(~kReferenced);
    } else if (flags & (kEpochA | kEpochB)) {
      // A frozen entry is written before it changes: it has one of the bits, never both.
      WriteOut(slot, flags & epoch_->frozen ? epoch_->segment - 1 : epoch_->segment);
      ++written;
    }
  }
  return written;
}

size_t TableBase::DropUnused(size_t g, uint64_t settled, bool* waits) {
  const SlotGroup& group = groups_[g];
  size_t dropped = 0;
  for (uint32_t mask = group.MatchUsed(); mask != 0; mask &= mask - 1) {
    const size_t slot = g * SlotGroup::kSlots + std::countr_zero(mask);
    uint8_t& flags = Flags(slot);
    if (TableBase* nested = HasNested() ? NestedTable(slot) : nullptr) {
      dropped += nested->Sweep({.groups = nested->group_count(), .drops = nested->used_});
      if (nested->used_ > 0) continue;
    }
    const int written = flags >> kWrittenShift;
    if (written != 0 && last_written_[written - 1] <= settled) {
      flags &= static_cast<uint8_t>(~kWritten);
    }
    if (flags & (kReferenced | kEpochA | kEpochB)) continue;
    if (flags & kWritten) {
      *waits = true;
      continue;
    }
    ForgetSlot(slot);
    complete_ = false;
    ++dropped;
  }
  return dropped;
}

// Of tables in values it is not known which: then all that there is.
void TableBase::SettleOldest(uint64_t settled) const {
  SnapshotStream& stream = *context_->directory->stream;
  uint64_t oldest = UINT64_MAX;
  if (HasNested() && stream.last_sequence() > settled) oldest = stream.last_sequence();
  for (const uint64_t sequence : last_written_) {
    if (sequence > settled) oldest = std::min(oldest, sequence);
  }
  if (oldest != UINT64_MAX) stream.SettleSoon(oldest);
}

}  // namespace weir
