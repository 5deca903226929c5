// A random history against a model: values, maps, lists, slices and timers are changed, snapshots
// begin, run in slices, are aborted, lose their file, restored at parallelism 1 -> 3 -> 2, with a
// cache above a store and without. What a restored backend holds is what the model held at the
// barrier.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "state/keyed_state.h"
#include "state/list_state.h"
#include "state/map_state.h"
#include "state/sliced_table.h"
#include "state/store_writer.h"
#include "state/timer_service.h"
#include "state/value_state.h"
#include "state/value_table.h"
#include "tests/state/memory_store.h"
#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::Chain;
using test::MemoryStore;
using test::RangeOf;
using test::SnapshotCollector;

constexpr uint32_t kMax = 16;
using Key = std::string;

/// Everything that the operator's states hold, as plain containers.
struct Model {
  std::map<Key, std::string> values;
  std::map<Key, int64_t> counts;
  std::map<std::pair<Key, int64_t>, int64_t> windowed;
  std::map<Key, std::map<uint32_t, std::string>> maps;
  std::map<Key, std::vector<int64_t>> lists;
  std::map<int64_t, std::map<Key, int64_t>> slices;
  std::map<std::tuple<int64_t, Key, int64_t>, bool> timers;
  friend bool operator==(const Model&, const Model&) = default;
};

Key KeyNamed(uint64_t i) { return "key-" + std::string(i % 7, 'x') + std::to_string(i); }

/// One subtask: backend, all kinds of state, sink, chain, and a store if wanted.
class Task {
 public:
  Task(KeyGroupRange range, const RestoredState* restored, std::unique_ptr<MemoryStore> store,
       size_t cache_bytes)
      : range_(range),
        store_(std::move(store)),
        chain_(range, /*memory_limit=*/20'000),
        state_(KeyedStateOptions{.operator_uid = "op",
                                 .max_parallelism = kMax,
                                 .key_groups = range,
                                 .sink = &sink_,
                                 .store = store_.get(),
                                 .cache_bytes = cache_bytes,
                                 .restored = restored}),
        counts_(ValueTable<Key, int64_t>::Open(state_, "counts")),
        values_(ValueState<std::string>::Open(state_, "values")),
        windowed_(ValueState<int64_t>::Open(state_, "windowed", StateScope::kKeyAndNamespace)),
        maps_(MapState<uint32_t, std::string>::Open(state_, "maps")),
        lists_(ListState<int64_t>::Open(state_, "lists")),
        slices_(SlicedTable<Key, int64_t>::Open(state_, "slices")),
        timers_(TimerService<Key>::Open(state_, "timers")) {
    state_.FinishOpen();
  }

  /// Ids are given in the order of opening: slices and timers come last.
  static constexpr uint16_t kFirstPinned = 5;

  bool Owns(const Key& key) const { return range_.Contains(KeyGroupOf(KeyHash(key), kMax)); }
  KeyedState<Key>& state() { return state_; }
  const Chain& chain() const { return chain_; }

  /// One random change, here and in the model.
  void Change(std::mt19937_64& random, const Key& key, Model& model) {
    const uint64_t hash = KeyHash(key);
    state_.SetCurrentKey(key, hash);
    const auto n = static_cast<int64_t>(random() % 1000);
    if (random() % 4 == 0) state_.ReadValuesOf(&hash, 1, [&](size_t) -> const Key& { return key; });
    switch (random() % 16) {
      case 0:
      case 1:
        values_.Update(std::to_string(n));
        model.values[key] = std::to_string(n);
        break;
      case 2:
        values_.Mutable() += "+";
        model.values[key] += "+";
        break;
      case 3:
        values_.Clear();
        model.values.erase(key);
        break;
      case 4:
        counts_.FindOrInsert(key, hash) += n;
        model.counts[key] += n;
        break;
      case 5:
        EXPECT_EQ(counts_.Erase(key, hash), model.counts.erase(key) == 1);
        break;
      case 6:
        state_.SetCurrentNamespace(n % 5 - 2);
        windowed_.Mutable() += n;
        model.windowed[{key, n % 5 - 2}] += n;
        break;
      case 7:
        state_.SetCurrentNamespace(n % 5 - 2);
        windowed_.Clear();
        model.windowed.erase({key, n % 5 - 2});
        break;
      case 8:
      case 9:
        maps_.Put(n % 20, std::to_string(n));
        model.maps[key][n % 20] = std::to_string(n);
        break;
      case 10:
        maps_.Remove(n % 20);
        if (model.maps.contains(key)) {
          model.maps[key].erase(n % 20);
          if (model.maps[key].empty()) model.maps.erase(key);
        }
        break;
      case 11:
        if (n % 3 == 0) {
          maps_.Clear();
          model.maps.erase(key);
        }
        if (n % 3 == 1) {
          lists_.Clear();
          model.lists.erase(key);
        }
        break;
      case 12:
        lists_.Add(n);
        model.lists[key].push_back(n);
        break;
      case 13:
        slices_.FindOrInsert(n % 6 * 100, key, hash) += n;
        model.slices[n % 6 * 100][key] += n;
        break;
      case 14:
        if (n % 10 == 0) {
          slices_.Drop(n % 6 * 100);
          // The model is shared: other subtasks' keys of the slice stay.
          std::erase_if(model.slices[n % 6 * 100], [&](auto& e) { return Owns(e.first); });
          if (model.slices[n % 6 * 100].empty()) model.slices.erase(n % 6 * 100);
        }
        break;
      case 15:
        if (n % 2 == 0) {
          timers_.Register(Timestamp{n - 500}, key, hash, n % 3);
          model.timers[{n - 500, key, n % 3}] = true;
        } else if (n % 5 == 0) {
          int left = 3;
          timers_.Fire(Timestamp{n - 500}, [&](const TimerKey<Key>& t, uint64_t) {
            EXPECT_EQ(model.timers.erase({t.time_ms, t.key, t.name_space}), 1u);
            return --left > 0;
          });
        }
        break;
    }
  }

  /// Reads everything through the states' own interface.
  void ReadInto(const std::vector<Key>& keys, Model& out) {
    for (const Key& key : keys) {
      if (!Owns(key)) continue;
      const uint64_t hash = KeyHash(key);
      state_.SetCurrentKey(key, hash);
      if (values_.Get() != nullptr) out.values[key] = *values_.Get();
      if (counts_.Find(key, hash) != nullptr) out.counts[key] = *counts_.Find(key, hash);
      for (int64_t ns = -2; ns <= 2; ++ns) {
        state_.SetCurrentNamespace(ns);
        if (windowed_.Get() != nullptr) out.windowed[{key, ns}] = *windowed_.Get();
      }
      const bool empty = maps_.Empty();
      std::map<uint32_t, std::string> map;
      maps_.ForEach([&](uint32_t k, const std::string& v) {
        EXPECT_TRUE(map.emplace(k, v).second) << "visited twice";
      });
      EXPECT_EQ(empty, map.empty());
      if (!map.empty()) out.maps[key] = map;
      if (!lists_.Empty()) out.lists[key] = lists_.Get();
    }
    for (auto end = slices_.FirstSlice(); end; end = slices_.SliceFrom(*end + 1)) {
      HashRange range;
      const std::vector<int64_t> ends{*end};
      slices_.ForEach(
          ends, range, [](int64_t&, int64_t) {},
          [&](const Key& key, uint64_t, int64_t sum) {
            out.slices[*end][key] = sum;
            return true;
          });
    }
    timers_.Fire(Timestamp::Max(), [&](const TimerKey<Key>& t, uint64_t) {
      out.timers[{t.time_ms, t.key, t.name_space}] = true;
      return true;
    });
  }

  /// The snapshot thread takes up to `chunks` chunks.
  void Pump(size_t chunks) {
    std::vector<SnapshotChunk> taken;
    while (!sink_.chunks.empty() && taken.size() < chunks) {
      taken.push_back(std::move(sink_.chunks.front()));
      sink_.chunks.erase(sink_.chunks.begin());
    }
    if (taken.empty()) return;
    if (store_ != nullptr) {
      for (const SnapshotChunk& chunk : taken) {
        ASSERT_TRUE(writer_.Add(chunk).ok());
      }
      ASSERT_TRUE(writer_.Flush().ok());
      sink_.settled = writer_.settled_through();
    }
    std::swap(taken, sink_.chunks);
    chain_.Collect(sink_, state_);
    std::swap(taken, sink_.chunks);
  }
  void PumpAll() { Pump(SIZE_MAX); }
  void FailFiles(bool fail) { chain_.FailFiles(fail); }
  SnapshotCollector& sink() { return sink_; }
  MemoryStore* store() { return store_.get(); }
  KeyGroupRange range() const { return range_; }

 private:
  const KeyGroupRange range_;
  SnapshotCollector sink_;
  std::unique_ptr<MemoryStore> store_;
  StoreWriter writer_{store_.get()};
  Chain chain_;
  KeyedState<Key> state_;
  ValueTable<Key, int64_t> counts_;
  ValueState<std::string> values_;
  ValueState<int64_t> windowed_;
  MapState<uint32_t, std::string> maps_;
  ListState<int64_t> lists_;
  SlicedTable<Key, int64_t> slices_;
  TimerService<Key> timers_;
};

std::unique_ptr<MemoryStore> NewStore(bool with_store) {
  return with_store ? std::make_unique<MemoryStore>() : nullptr;
}

/// Restores at parallelism 3 and reads.
Model Read(const SegmentSet& set, bool with_store, const std::vector<Key>& keys) {
  Model read;
  for (uint32_t i = 0; i < 3; ++i) {
    Task reader(RangeOf(i, 3, kMax), &set, NewStore(with_store), 100'000);
    reader.ReadInto(keys, read);
  }
  return read;
}

void Compare(const Model& read, const Model& expected) {
  ASSERT_EQ(read.values, expected.values);
  ASSERT_EQ(read.counts, expected.counts);
  ASSERT_EQ(read.windowed, expected.windowed);
  ASSERT_EQ(read.maps, expected.maps);
  ASSERT_EQ(read.lists, expected.lists);
  ASSERT_EQ(read.slices, expected.slices);
  ASSERT_EQ(read.timers, expected.timers);
}

struct Parameters {
  uint64_t seed;
  bool with_store;
};

class StateModelTest : public ::testing::TestWithParam<Parameters> {};

TEST_P(StateModelTest, ARestoredBackendHoldsWhatTheModelHeldAtTheBarrier) {
  std::mt19937_64 random(GetParam().seed);
  const bool with_store = GetParam().with_store;
  std::vector<Key> keys;
  for (uint64_t i = 0; i < 200; ++i) keys.push_back(KeyNamed(i));
  Model model;
  uint64_t checkpoint = 0;
  uint64_t aborted = 0;
  uint64_t unfinished = 0;
  uint64_t lost = 0;
  uint64_t evicted_reads = 0;
  std::shared_ptr<SegmentSet> restored;

  // What the tasks' chains come to. With a store there are no full snapshots: the deltas since the
  // restore stand upon what was restored.
  const auto restorable = [&](const std::vector<std::unique_ptr<Task>>& tasks) {
    auto set = std::make_shared<SegmentSet>();
    if (with_store && restored != nullptr) {
      for (const SegmentLink& link : restored->links()) set->Add(link.reader, link.key_groups);
    }
    for (const auto& task : tasks) {
      for (const auto& reader : task->chain().segments()) set->Add(reader, task->chain().range());
    }
    return set;
  };

  for (const uint32_t parallelism : {1u, 3u, 2u, 1u}) {
    std::vector<std::unique_ptr<Task>> tasks;
    for (uint32_t i = 0; i < parallelism; ++i) {
      // A few kilobytes for seven states: far from enough for all keys.
      const size_t cache_bytes = random() % 2 == 0 ? 4'000 : 40'000;
      tasks.push_back(std::make_unique<Task>(RangeOf(i, parallelism, kMax), restored.get(),
                                             NewStore(with_store), cache_bytes));
    }
    for (int round = 0; round < 25; ++round) {
      const auto change = [&] {
        const Key& key = keys[random() % keys.size()];
        for (auto& task : tasks) {
          if (task->Owns(key)) task->Change(random, key, model);
          if (random() % 50 == 0) task->Pump(random() % 3);
          if (random() % 20 == 0) task->state().Blocked();
        }
      };
      for (int i = 0; i < 150; ++i) change();
      // A chain that begins with a restored backend begins with all that the backend has.
      const bool first = round == 0;
      const SnapshotKind kind = (first && !with_store) || (random() % 8 == 0 && !with_store)
                                    ? SnapshotKind::kFull
                                    : SnapshotKind::kDelta;
      ++checkpoint;
      const Model at_barrier = model;
      for (auto& task : tasks) task->state().BeginSnapshot(CheckpointId(checkpoint), kind);
      const bool abort = !first && random() % 3 == 0;
      bool done = false;
      while (!done) {
        done = true;
        for (auto& task : tasks) {
          task->sink().room = random() % 4 != 0;
          done &= task->state().SnapshotSlice(1 + random() % 2000);
        }
        for (int i = 0; i < 5; ++i) change();
        if (abort && random() % 3 == 0) break;
      }
      for (auto& task : tasks) task->sink().room = true;
      if (abort) {
        ++aborted;
        unfinished += done ? 0 : 1;
        for (auto& task : tasks) task->state().AbortSnapshot(CheckpointId(checkpoint));
        continue;
      }
      // The file of some checkpoints is lost once it has been written: the next one makes up for
      // it.
      const bool fail = !first && round % 5 != 4 && random() % 3 == 0;
      lost += fail ? 1 : 0;
      for (auto& task : tasks) {
        task->FailFiles(fail);
        task->PumpAll();
        task->FailFiles(false);
      }
      if (round % 5 == 4) {
        Compare(Read(*restorable(tasks), with_store, keys), at_barrier);
        if (HasFatalFailure()) return;
      }
    }
    // End on a checkpoint, and restore it.
    ++checkpoint;
    for (auto& task : tasks) {
      task->state().BeginSnapshot(CheckpointId(checkpoint));
      while (!task->state().SnapshotSlice()) {
      }
      task->PumpAll();
    }
    const std::shared_ptr<SegmentSet> now = restorable(tasks);
    Compare(Read(*now, with_store, keys), model);
    if (HasFatalFailure()) return;
    restored = now;
    for (auto& task : tasks) {
      if (task->store() == nullptr) continue;
      evicted_reads += task->store()->gets;
      for (const auto& [key, value] : task->store()->entries()) {
        ASSERT_LT(std::get<0>(key), Task::kFirstPinned) << "slices and timers stay in memory";
      }
    }
    // What is running agrees too.
    Model live;
    for (auto& task : tasks) task->ReadInto(keys, live);
    Compare(live, model);
    if (HasFatalFailure()) return;
  }
  // The rare paths were reached.
  EXPECT_GT(aborted, 5u);
  EXPECT_GT(unfinished, 0u);
  EXPECT_GT(lost, 5u);
  if (with_store) {
    EXPECT_GT(evicted_reads, 1000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, StateModelTest, ::testing::ValuesIn([] {
                           std::vector<Parameters> all;
                           for (uint64_t seed = 1; seed <= 3; ++seed) {
                             all.push_back({seed, false});
                             all.push_back({seed, true});
                           }
                           return all;
                         }()),
                         [](const auto& info) {
                           return (info.param.with_store ? "Store" : "Memory") +
                                  std::to_string(info.param.seed);
                         });

}  // namespace
}  // namespace weir
