#pragma once

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "state/state_cache.h"
#include "state/state_key.h"
#include "state/table_base.h"
#include "state/value_type.h"

namespace weir {

/// Entries of one state and key group (or of one slice, one map, one list): open addressing, key
/// and value in place. See TableBase for threads, life of an entry, and what a reference survives.
template <class K, class Values>
class Table final : public TableBase {
 public:
  using Codec = StateKeyCodec<K>;

  Table(const TableContext* context, uint16_t key_group, std::string prefix, Values values)
      : TableBase(context, key_group, std::move(prefix), SlotBytes(values)), values_(values) {}
  ~Table() override { DestroyAll(); }

  // The common case is inline: the key is in its first group and has been changed (or read) since
  // the barrier. The rest is out of line, which keeps the caller's loop in registers.

  /// Null when the key is absent. `hash` is Codec::Hash(key).
  void* Find(const K& key, uint64_t hash) {
    const size_t group = GroupIndex(hash);
    const uint32_t mask = groups_[group].Match(SlotGroup::TagOf(hash));
    if (mask != 0) [[likely]] {
      const int i = std::countr_zero(mask);
      char* const slot = SlotAt(group * SlotGroup::kSlots + i);
      constexpr uint8_t kCare = kTombstone | kReferenced;
      if (StateKeysEqual(*reinterpret_cast<const K*>(slot), key) &&
          (groups_[group].flags[i] & kCare) == kReferenced) [[likely]] {
        return slot + ValueOffset(values_);
      }
    }
    return FindSlowly(key, hash);
  }

  /// As Find, for a caller that will change the value: marks the entry changed.
  void* FindForUpdate(const K& key, uint64_t hash) {
    size_t slot = FindSlot(key, hash);
    if (slot == kNoSlot) {
      if (!HasBelow() || Load(key, hash) == nullptr) return nullptr;
      slot = FindSlot(key, hash);
    }
    if (NeedsBeforeWrite(Flags(slot))) [[unlikely]] {
      if (Flags(slot) & kTombstone) return nullptr;
      BeforeWrite(slot);
    }
    return ValueAt(slot);
  }

  /// The value, made by its default constructor when the key is absent; marks the entry changed.
  void* FindOrInsert(const K& key, uint64_t hash) {
    const size_t group = GroupIndex(hash);
    const uint32_t mask = groups_[group].Match(SlotGroup::TagOf(hash));
    if (mask != 0) [[likely]] {
      const int i = std::countr_zero(mask);
      char* const slot = SlotAt(group * SlotGroup::kSlots + i);
      if (StateKeysEqual(*reinterpret_cast<const K*>(slot), key) &&
          !NeedsBeforeWrite(groups_[group].flags[i])) [[likely]] {
        return slot + ValueOffset(values_);
      }
    }
    return FindOrInsertSlowly(key, hash);
  }

  /// The value, made by its default constructor when the key is absent. No change, nothing that a
  /// snapshot has to visit: for a value that is not persisted and only keeps what lies below.
  void* FindOrCache(const K& key, uint64_t hash) {
    assert(!values_.IsPersisted());
    size_t slot = FindSlot(key, hash);
    if (slot == kNoSlot) {
      slot = NewSlot(key, hash);
      values_.Construct(ValueAt(slot));
    }
    Flags(slot) |= kReferenced;
    return ValueAt(slot);
  }

  /// The value of a key that the caller knows to be absent below: no read.
  void* InsertNew(const K& key, uint64_t hash) {
    const size_t slot = NewSlot(key, hash);
    values_.Construct(ValueAt(slot));
    BeforeWrite(slot);
    Flags(slot) |= kNeverWritten;
    return ValueAt(slot);
  }

  /// False when the key was absent.
  bool Erase(const K& key, uint64_t hash) {
    size_t slot = FindSlot(key, hash);
    if (slot == kNoSlot) {
      if (!HasBelow() || Load(key, hash) == nullptr) return false;
      slot = FindSlot(key, hash);
    }
    if (Flags(slot) & kTombstone) return false;
    EraseSlot(slot);
    return true;
  }

  void EraseSlot(size_t slot) {
    if (!values_.IsPersisted()) return ForgetSlot(slot);
    if (ForgetIfNeverWritten(slot)) return;
    BeforeWrite(slot);
    values_.Destroy(ValueAt(slot));
    MarkTombstone(slot);
  }

  /// Puts in what a snapshot held: clean.
  void* Restore(const K& key) {
    const uint64_t hash = Codec::Hash(key);
    const size_t found = FindSlot(key, hash);
    if (found != kNoSlot) return ValueAt(found);
    set_has_history();
    const size_t slot = NewSlot(key, hash);
    values_.Construct(ValueAt(slot));
    Flags(slot) = kReferenced;
    return ValueAt(slot);
  }

  // For loops over a batch: first PrefetchGroup of all, then PrefetchSlot of all, then use.
  void PrefetchGroup(uint64_t hash) const { __builtin_prefetch(&groups_[GroupIndex(hash)], 1); }
  void PrefetchSlot(uint64_t hash) const {
    const size_t group = GroupIndex(hash);
    const uint32_t mask = groups_[group].Match(SlotGroup::TagOf(hash));
    if (mask != 0) {
      const int i = std::countr_zero(mask);
      __builtin_prefetch(SlotAt(group * SlotGroup::kSlots + i), 1);
      if (NeedsBeforeWrite(groups_[group].flags[i])) [[unlikely]]
        PrefetchMark(group);
    }
  }

  const K& KeyAt(size_t slot) const { return *reinterpret_cast<const K*>(SlotAt(slot)); }
  void* ValueAt(size_t slot) const { return SlotAt(slot) + value_offset_(); }
  uint64_t HashAt(size_t slot) const { return Codec::Hash(KeyAt(slot)); }
  size_t FindSlot(const K& key, uint64_t hash) const {
    const uint8_t tag = SlotGroup::TagOf(hash);
    size_t group = GroupIndex(hash);
    for (size_t step = 1;; ++step) {
      const SlotGroup& g = groups_[group];
      for (uint32_t mask = g.Match(tag); mask != 0; mask &= mask - 1) {
        const size_t slot = group * SlotGroup::kSlots + std::countr_zero(mask);
        if (StateKeysEqual(KeyAt(slot), key)) [[likely]]
          return slot;
      }
      if (g.MatchEmpty() != 0) [[likely]]
        return kNoSlot;
      group = (group + step) & group_mask_;
    }
  }
  bool IsCached(const K& key, uint64_t hash) const { return FindSlot(key, hash) != kNoSlot; }
  /// True when the slot is cached as absent.
  bool IsTombstone(size_t slot) const { return Flags(slot) & kTombstone; }

  size_t EncodedKeySize(const K& key) const { return prefix().size() + Codec::Size(key); }
  char* WriteKey(const K& key, char* out) const {
    std::memcpy(out, prefix().data(), prefix().size());
    return Codec::Write(key, out + prefix().size());
  }

  /// Puts what the store below answered into the cache: the entry, or that there is none.
  void* Fill(const K& key, uint64_t hash, bool present, std::string_view bytes) {
    const size_t slot = NewSlot(key, hash);
    if (!present) {
      MarkTombstone(slot);
      Flags(slot) |= kReferenced;
      return nullptr;
    }
    values_.Construct(ValueAt(slot));
    Flags(slot) = kReferenced;
    if (kHasHeap) context_->SawHeapBytes(bytes.size() + Codec::Size(key));
    ByteReader in(bytes);
    if (!values_.Read(in, ValueAt(slot)) || in.remaining() != 0) {
      ForgetSlot(slot);
      StateCache::ThrowUndecodable(*context_);
    }
    return ValueAt(slot);
  }

 private:
  /// An erased value may have memory of its own; counting it when it has none errs to the safe
  /// side.
  static constexpr bool kHasHeap = !(std::is_trivially_copyable_v<K> && Values::kTrivial);

  static size_t RoundUp(size_t n, size_t align) { return (n + align - 1) / align * align; }
  static size_t Align(const Values& values) { return std::max(alignof(K), values.Align()); }
  static size_t ValueOffset(const Values& values) { return RoundUp(sizeof(K), values.Align()); }
  static size_t SlotBytes(const Values& values) {
    return RoundUp(ValueOffset(values) + values.Size(), Align(values));
  }
  size_t value_offset_() const { return ValueOffset(values_); }
  char* SlotAt(size_t slot) const { return slots_ + slot * SlotBytes(values_); }

  /// A key that is not here may be in the store.
  bool HasBelow() const { return context_->has_store() && values_.IsPersisted() && !complete(); }

  size_t NewSlot(const K& key, uint64_t hash) {
    ReserveOne();
    const size_t slot = ClaimSlot(hash);
    new (SlotAt(slot)) K(key);
    return slot;
  }

  size_t GroupIndex(uint64_t hash) const { return (hash >> 8) & group_mask_; }

  [[gnu::noinline]] void* FindSlowly(const K& key, uint64_t hash) {
    const size_t slot = FindSlot(key, hash);
    if (slot == kNoSlot) return HasBelow() ? Load(key, hash) : nullptr;
    Flags(slot) |= kReferenced;
    return Flags(slot) & kTombstone ? nullptr : ValueAt(slot);
  }

  [[gnu::noinline]] void* FindOrInsertSlowly(const K& key, uint64_t hash) {
    const size_t slot = FindSlot(key, hash);
    if (slot == kNoSlot) return Insert(key, hash);
    if (NeedsBeforeWrite(Flags(slot))) Touch(slot);
    return ValueAt(slot);
  }

  void* Insert(const K& key, uint64_t hash) {
    if (HasBelow()) {
      Load(key, hash);
      const size_t slot = FindSlot(key, hash);
      Touch(slot);
      return ValueAt(slot);
    }
    return InsertNew(key, hash);
  }

  void Touch(size_t slot) {
    BeforeWrite(slot);
    if (Flags(slot) & kTombstone) {
      UnmarkTombstone(slot);
      values_.Construct(ValueAt(slot));
    }
  }

  /// Reads a key that is not cached from the store below.
  [[gnu::noinline]] void* Load(const K& key, uint64_t hash) {
    StateCache& cache = *context_->directory->cache;
    std::string& bytes = cache.key_buffer();
    bytes.resize(EncodedKeySize(key));
    WriteKey(key, bytes.data());
    std::string& value = cache.value_buffer();
    const bool present = cache.Get(*context_, key_group(), bytes, value);
    return Fill(key, hash, present, value);
  }

  void AppendSlot(size_t slot, uint64_t segment) override {
    if (!values_.IsPersisted()) return;
    SnapshotStream& stream = *context_->directory->stream;
    const K& key = KeyAt(slot);
    const size_t key_size = EncodedKeySize(key);
    if (Flags(slot) & kTombstone) {
      WriteKey(key, stream.Record(context_->state_id, context_->level(), key_group(),
                                  EntryKind::kTombstone, segment, key_size, 0));
      return;
    }
    const void* value = ValueAt(slot);
    const size_t value_size = values_.EncodedSize(value);
    if (kHasHeap) context_->SawHeapBytes(key_size + value_size);
    char* out = stream.Record(context_->state_id, context_->level(), key_group(), EntryKind::kValue,
                              segment, key_size, value_size);
    values_.Write(value, WriteKey(key, out));
  }
  size_t NoteHeapOf(size_t slot, size_t weight) const override {
    if (!kHasHeap || !values_.IsPersisted() || IsTombstone(slot)) return 0;
    const size_t bytes = EncodedKeySize(KeyAt(slot)) + values_.EncodedSize(ValueAt(slot));
    context_->SawHeapBytes(bytes, weight);
    return bytes;
  }
  void DestroySlot(size_t slot) override {
    if (!(Flags(slot) & kTombstone)) values_.Destroy(ValueAt(slot));
    std::destroy_at(reinterpret_cast<K*>(SlotAt(slot)));
  }
  void RelocateSlot(size_t slot, char* to) override {
    if (!(Flags(slot) & kTombstone)) values_.Relocate(ValueAt(slot), to + value_offset_());
    K* key = reinterpret_cast<K*>(SlotAt(slot));
    new (to) K(std::move(*key));
    std::destroy_at(key);
  }
  uint64_t HashSlot(size_t slot) const override { return HashAt(slot); }
  bool HasNested() const override { return values_.HasNested(); }
  TableBase* NestedTable(size_t slot) override {
    if (!values_.HasNested() || (Flags(slot) & kTombstone)) return nullptr;
    return values_.Nested(ValueAt(slot));
  }

  [[no_unique_address]] const Values values_;
};

}  // namespace weir
