#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/timestamp.h"
#include "state/key_group_tables.h"
#include "state/keyed_state_backend.h"

namespace weir {

/// Timers of one kind (event time or processing time) of a keyed operator. A timer is a time, a key
/// and a namespace; registering it twice is registering it once. Part of the operator's snapshots.
///
/// Stored as (key group, time, key, namespace). In memory a table per key group, which knows the
/// timers, and a heap, which knows their order (a second one while keys stand at several times); a
/// deleted timer stays in its heap until its time or until the heap is rebuilt.
template <class K>
class TimerService {
 public:
  TimerService() = default;

  static TimerService Open(KeyedStateBackend& backend, const std::string& name) {
    StateSchema schema{.name = name,
                       .kind = StateKind::kTimers,
                       .key_hash = Codec::SchemaHash(),
                       .value_hash = 0,
                       .key_schema = Codec::SchemaName(),
                       .value_schema = "none"};
    auto tables =
        std::make_unique<Tables>(std::move(schema), backend.key_groups(), TypedValues<NoValue>());
    TimerService service;
    service.tables_ = tables.get();
    service.backend_ = &backend;
    tables->set_pinned();
    backend.Add(std::move(tables));
    service.Rebuild();
    return service;
  }

  /// `hash` is KeyHash(key). False when the timer was there already.
  bool Register(Timestamp time, const K& key, uint64_t hash, int64_t name_space = 0) {
    auto& table = tables_->Of(backend_->KeyGroupFor(hash));
    const uint64_t table_hash = Codec::Hash(hash, time.ms, name_space);
    if (table.Find({time.ms, key, name_space}, table_hash) != nullptr) return false;
    table.FindOrInsert({time.ms, key, name_space}, table_hash);
    ++count_;
    Push(heap_, {{time.ms, key, name_space}, hash});
    return true;
  }

  /// False when there was no such timer.
  bool Delete(Timestamp time, const K& key, uint64_t hash, int64_t name_space = 0) {
    auto& table = tables_->Of(backend_->KeyGroupFor(hash));
    if (!table.Erase({time.ms, key, name_space}, Codec::Hash(hash, time.ms, name_space))) {
      return false;
    }
    --count_;
    // Deleted timers may take half of the heaps, not more.
    if (heap_.size() + aside_.size() > 2 * count_ + kSlack) Rebuild();
    return true;
  }

  /// f(const TimerKey<K>&, hash) for each timer up to and including `now`, in order of time; the
  /// timer is gone when f is called, which may register and delete others. Stops behind the one for
  /// which f returns false. True when none is left: to go on, call it again (a checkpoint may fall
  /// in between).
  template <class F>
  bool Fire(Timestamp now, F&& f) {
    while (Heap* heap = Earliest()) {
      if (TimeOf(*heap) > now) break;
      const Entry due = Pop(*heap);
      Take(due);
      if (!f(due.timer, due.hash)) {
        heap = Earliest();
        return heap == nullptr || TimeOf(*heap) > now;
      }
    }
    if (aside_.empty() && aside_.capacity() > 0) {
      aside_ = Heap();
      CountBytes();
    }
    return true;
  }

  /// As Fire, where it is not the same time for all keys: time_of(hash) gives each one's. That is
  /// `least` or, for keys that are ahead and stand still until `least` has come to them, up to
  /// `latest`.
  ///
  /// Whether a timer up to `latest` is due is seen only when it is looked at. That happens once:
  /// one that is not due is then set aside until `least` has come to it. At first there may be as
  /// many of them as keys, so should_yield() is asked behind each, and true ends the call as f
  /// does.
  template <class EachTime, class F, class Yield>
  bool FireEach(Timestamp least, Timestamp latest, EachTime&& time_of, F&& f,
                Yield&& should_yield) {
    for (;;) {
      DropDeleted(heap_);
      DropDeleted(aside_);
      const bool set_aside = !aside_.empty() && TimeOf(aside_) <= least &&
                             (heap_.empty() || Later(heap_.front(), aside_.front()));
      Heap& heap = set_aside ? aside_ : heap_;
      if (heap.empty() || TimeOf(heap) > latest) return true;
      Entry timer = Pop(heap);
      if (!set_aside && timer.timer.time_ms > time_of(timer.hash).ms) {
        Push(aside_, std::move(timer));
        if (should_yield()) return false;
        continue;
      }
      Take(timer);
      if (!f(timer.timer, timer.hash)) return false;
    }
  }

  /// Timestamp::Max() when there is none.
  Timestamp Next() {
    const Heap* heap = Earliest();
    return heap == nullptr ? Timestamp::Max() : TimeOf(*heap);
  }
  size_t size() const { return count_; }

 private:
  using Codec = StateKeyCodec<TimerKey<K>>;
  using Tables = KeyGroupTables<TimerKey<K>, TypedValues<NoValue>>;
  static constexpr size_t kSlack = 64;

  struct Entry {
    TimerKey<K> timer;
    uint64_t hash;  // of the key
  };
  using Heap = std::vector<Entry>;

  static bool Later(const Entry& a, const Entry& b) {
    if (a.timer.time_ms != b.timer.time_ms) return a.timer.time_ms > b.timer.time_ms;
    if (a.hash != b.hash) return a.hash > b.hash;
    return a.timer.name_space > b.timer.name_space;
  }

  static Timestamp TimeOf(const Heap& heap) { return Timestamp{heap.front().timer.time_ms}; }

  void DropDeleted(Heap& heap) {
    while (!heap.empty()) {
      const Entry& top = heap.front();
      auto& table = tables_->Of(backend_->KeyGroupFor(top.hash));
      if (table.Find(top.timer, TableHash(top)) != nullptr) return;
      Pop(heap);
    }
  }
  /// The one with the earliest timer that was not deleted; null when there is none.
  Heap* Earliest() {
    DropDeleted(heap_);
    DropDeleted(aside_);
    if (aside_.empty()) return heap_.empty() ? nullptr : &heap_;
    return heap_.empty() || Later(heap_.front(), aside_.front()) ? &aside_ : &heap_;
  }
  void Push(Heap& heap, Entry entry) {
    heap.push_back(std::move(entry));
    std::push_heap(heap.begin(), heap.end(), Later);
    CountBytes();
  }
  static Entry Pop(Heap& heap) {
    std::pop_heap(heap.begin(), heap.end(), Later);
    Entry entry = std::move(heap.back());
    heap.pop_back();
    return entry;
  }
  void CountBytes() {
    tables_->context().outside_bytes = (heap_.capacity() + aside_.capacity()) * sizeof(Entry);
  }
  void Take(const Entry& due) {
    tables_->Of(backend_->KeyGroupFor(due.hash)).Erase(due.timer, TableHash(due));
    --count_;
  }
  static uint64_t TableHash(const Entry& e) {
    return Codec::Hash(e.hash, e.timer.time_ms, e.timer.name_space);
  }

  void Rebuild() {
    heap_.clear();
    aside_.clear();
    for (uint32_t g = backend_->key_groups().first; g < backend_->key_groups().end; ++g) {
      auto& table = tables_->Of(g);
      for (size_t s = table.NextLive(0); s != TableBase::kNoSlot; s = table.NextLive(s + 1)) {
        heap_.push_back({table.KeyAt(s), StateKeyCodec<K>::Hash(table.KeyAt(s).key)});
      }
    }
    std::make_heap(heap_.begin(), heap_.end(), Later);
    count_ = heap_.size();
    CountBytes();
  }

  Tables* tables_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  Heap heap_;
  Heap aside_;  // FireEach has looked at them: due when the least time of all keys is theirs
  size_t count_ = 0;
};

}  // namespace weir
