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
/// timers, and one heap, which knows their order; a deleted timer stays in the heap until its time
/// or until the heap is rebuilt.
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
    heap_.push_back({{time.ms, key, name_space}, hash});
    std::push_heap(heap_.begin(), heap_.end(), Later);
    tables_->context().outside_bytes = heap_.capacity() * sizeof(Entry);
    return true;
  }

  /// False when there was no such timer.
  bool Delete(Timestamp time, const K& key, uint64_t hash, int64_t name_space = 0) {
    auto& table = tables_->Of(backend_->KeyGroupFor(hash));
    if (!table.Erase({time.ms, key, name_space}, Codec::Hash(hash, time.ms, name_space))) {
      return false;
    }
    --count_;
    // Deleted timers may take half of the heap, not more.
    if (heap_.size() > 2 * count_ + kSlack) Rebuild();
    return true;
  }

  /// f(const TimerKey<K>&, hash) for each timer up to and including `now`, in order of time; the
  /// timer is gone when f is called, which may register and delete others. Stops behind the one for
  /// which f returns false. True when none is left: to go on, call it again (a checkpoint may fall
  /// in between).
  template <class F>
  bool Fire(Timestamp now, F&& f) {
    PutBack();
    while (const Entry* next = Peek()) {
      if (next->timer.time_ms > now.ms) return true;
      const Entry due = *next;
      Pop();
      Take(due);
      if (!f(due.timer, due.hash)) {
        next = Peek();
        return next == nullptr || next->timer.time_ms > now.ms;
      }
    }
    return true;
  }

  /// As Fire, where it is not the same time for all keys: time_of(hash) gives each one's, none is
  /// past `latest`. A pass looks at every timer up to there, due or not.
  template <class TimeOf, class F>
  bool FireEach(Timestamp latest, TimeOf&& time_of, F&& f) {
    const auto due = [&](const Entry& e) { return e.timer.time_ms <= time_of(e.hash).ms; };
    for (;;) {
      while (const Entry* next = Peek()) {
        if (next->timer.time_ms > latest.ms) break;
        const Entry timer = *next;
        Pop();
        if (!due(timer)) {
          not_due_.push_back(timer);
          continue;
        }
        Take(timer);
        if (!f(timer.timer, timer.hash)) return false;
      }
      // Time may have moved on since the pass began.
      const bool again = std::ranges::any_of(not_due_, due);
      PutBack();
      if (!again) return true;
    }
  }

  /// Timestamp::Max() when there is none.
  Timestamp Next() {
    const Entry* next = Peek();
    return next == nullptr ? Timestamp::Max() : Timestamp{next->timer.time_ms};
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

  static bool Later(const Entry& a, const Entry& b) {
    if (a.timer.time_ms != b.timer.time_ms) return a.timer.time_ms > b.timer.time_ms;
    if (a.hash != b.hash) return a.hash > b.hash;
    return a.timer.name_space > b.timer.name_space;
  }

  /// The earliest timer that was not deleted.
  const Entry* Peek() {
    while (!heap_.empty()) {
      const Entry& top = heap_.front();
      auto& table = tables_->Of(backend_->KeyGroupFor(top.hash));
      if (table.Find(top.timer, TableHash(top)) != nullptr) return &top;
      Pop();
    }
    return nullptr;
  }
  void Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
  }
  void PutBack() {
    for (; !not_due_.empty(); not_due_.pop_back()) {
      heap_.push_back(std::move(not_due_.back()));
      std::push_heap(heap_.begin(), heap_.end(), Later);
    }
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
    not_due_.clear();
    for (uint32_t g = backend_->key_groups().first; g < backend_->key_groups().end; ++g) {
      auto& table = tables_->Of(g);
      for (size_t s = table.NextLive(0); s != TableBase::kNoSlot; s = table.NextLive(s + 1)) {
        heap_.push_back({table.KeyAt(s), StateKeyCodec<K>::Hash(table.KeyAt(s).key)});
      }
    }
    std::make_heap(heap_.begin(), heap_.end(), Later);
    count_ = heap_.size();
    tables_->context().outside_bytes = heap_.capacity() * sizeof(Entry);
  }

  Tables* tables_ = nullptr;
  KeyedStateBackend* backend_ = nullptr;
  std::vector<Entry> heap_;
  std::vector<Entry> not_due_;  // not in the heap until the pass of FireEach is over
  size_t count_ = 0;
};

}  // namespace weir
