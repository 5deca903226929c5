#include "state/timer_service.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/state/memory_store.h"
#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::MemoryStore;
using test::RangeOf;
using test::Restorable;
using test::SnapshotCollector;
using test::Subtask;
using Timers = TimerService<std::string>;

bool Register(Timers& timers, int64_t time, const std::string& key, int64_t name_space = 0) {
  return timers.Register(Timestamp{time}, key, KeyHash(key), name_space);
}

std::vector<std::string> FireAll(Timers& timers, int64_t now) {
  std::vector<std::string> fired;
  EXPECT_TRUE(timers.Fire(Timestamp{now}, [&](const TimerKey<std::string>& t, uint64_t hash) {
    EXPECT_EQ(hash, KeyHash(t.key));
    fired.push_back(t.key + "@" + std::to_string(t.time_ms));
    return true;
  }));
  return fired;
}

TEST(TimerServiceTest, FiresInOrderOfTimeUpToNow) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  EXPECT_EQ(timers.Next(), Timestamp::Max());
  Register(timers, 30, "c");
  Register(timers, -10, "a");
  Register(timers, 20, "b");
  EXPECT_EQ(timers.Next(), Timestamp{-10});
  EXPECT_EQ(FireAll(timers, 20), (std::vector<std::string>{"a@-10", "b@20"}));
  EXPECT_EQ(timers.size(), 1u);
}

TEST(TimerServiceTest, ATimerIsItsTimeKeyAndNamespace) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  EXPECT_TRUE(Register(timers, 10, "a"));
  EXPECT_FALSE(Register(timers, 10, "a"));
  EXPECT_TRUE(Register(timers, 10, "a", 1));
  EXPECT_TRUE(Register(timers, 11, "a"));
  EXPECT_TRUE(timers.Delete(Timestamp{10}, "a", KeyHash(std::string("a")), 1));
  EXPECT_FALSE(timers.Delete(Timestamp{10}, "a", KeyHash(std::string("a")), 1));
  EXPECT_EQ(FireAll(timers, 100), (std::vector<std::string>{"a@10", "a@11"}));
}

TEST(TimerServiceTest, WhatIsRegisteredWhileFiringFiresIfDue) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  Register(timers, 1, "a");
  int fired = 0;
  timers.Fire(Timestamp{5}, [&](const TimerKey<std::string>& t, uint64_t) {
    ++fired;
    Register(timers, t.time_ms + 1, "a");
    return true;
  });
  EXPECT_EQ(fired, 5);
  EXPECT_EQ(timers.Next(), Timestamp{6});
}

// ---------------------------------------------------------------- keys at several times

/// Timers of keys of which some are ahead of the others, in calls that are ended as soon as may be.
class UnevenTimers : public ::testing::Test {
 protected:
  /// What fires until nothing is left for this time of the keys that are behind.
  std::vector<std::string> FireUpTo(int64_t least) {
    std::vector<std::string> fired;
    const auto time_of = [&](uint64_t hash) {
      ++looks_;
      return Timestamp{hash == KeyHash(std::string("ahead")) ? kAhead : least};
    };
    const auto fire = [&](const TimerKey<std::string>& t, uint64_t) {
      fired.push_back(t.key + "@" + std::to_string(t.time_ms));
      return false;
    };
    const auto yield = [] { return true; };
    size_t done = looks_ + fired.size();
    for (calls_ = 1; !timers_.FireEach(Timestamp{least}, Timestamp{kAhead}, time_of, fire, yield);
         ++calls_) {
      EXPECT_GT(looks_ + fired.size(), done) << "no progress";
      EXPECT_LE(looks_ + fired.size(), done + 2) << "more than one timer in a step";
      done = looks_ + fired.size();
      if (calls_ > 10'000) {
        ADD_FAILURE() << "no end";
        break;
      }
    }
    return fired;
  }

  static constexpr int64_t kAhead = 100;
  Subtask<std::string> task_;
  Timers timers_ = Timers::Open(task_.state, "t");
  size_t looks_ = 0;  // at timers that might have been due
  int calls_ = 0;     // of the last FireUpTo
};

TEST_F(UnevenTimers, OneThatIsNotDueIsLookedAtOnce) {
  constexpr int kBehind = 1000;
  for (int i = 0; i < kBehind; ++i) Register(timers_, 90, "key" + std::to_string(i));
  Register(timers_, 95, "ahead");
  Register(timers_, kAhead + 1, "ahead");
  EXPECT_EQ(FireUpTo(50), std::vector<std::string>{"ahead@95"});
  EXPECT_EQ(calls_, kBehind + 2) << "each ends behind one timer";
  EXPECT_EQ(looks_, size_t{kBehind + 1});
  EXPECT_EQ(FireUpTo(60), std::vector<std::string>{});
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(looks_, size_t{kBehind + 1}) << "none is looked at again";
  EXPECT_EQ(timers_.Next(), Timestamp{90});
  EXPECT_EQ(timers_.size(), size_t{kBehind + 1});
  EXPECT_EQ(FireUpTo(90).size(), size_t{kBehind});
  EXPECT_EQ(timers_.Next(), Timestamp{kAhead + 1});
}

TEST_F(UnevenTimers, WhatComesWhileOthersAreSetAsideFiresInOrderOfTime) {
  for (const int64_t time : {60, 70, 80}) Register(timers_, time, "behind");
  Register(timers_, 95, "ahead");
  EXPECT_EQ(FireUpTo(50), std::vector<std::string>{"ahead@95"});
  Register(timers_, 65, "behind");
  Register(timers_, 97, "ahead");
  Register(timers_, 110, "behind");
  timers_.Delete(Timestamp{70}, "behind", KeyHash(std::string("behind")));
  EXPECT_EQ(FireUpTo(68), (std::vector<std::string>{"behind@60", "behind@65", "ahead@97"}));
  Register(timers_, 105, "ahead");
  Register(timers_, 75, "behind");
  EXPECT_EQ(FireAll(timers_, 105),
            (std::vector<std::string>{"behind@75", "behind@80", "ahead@105"}))
      << "all keys have come to one time";
  EXPECT_EQ(timers_.Next(), Timestamp{110});
}

TEST_F(UnevenTimers, OnesThatAreSetAsideCountAndAreDeletedAsOthers) {
  constexpr int kBehind = 10'000;
  for (int i = 0; i < kBehind; ++i) Register(timers_, 90, "key" + std::to_string(i));
  const auto bytes = [&] { return task_.state.Metrics().memory_bytes; };
  const size_t even = bytes();
  for (int i = 0; i < 5'000; ++i) {
    timers_.FireEach(
        Timestamp{50}, Timestamp{kAhead}, [](uint64_t) { return Timestamp{50}; },
        [](const auto&, uint64_t) { return true; }, [] { return true; });
  }
  constexpr size_t kAside = 5'000 * sizeof(TimerKey<std::string>);
  EXPECT_GT(bytes(), even + kAside);
  for (int i = 1; i < kBehind; ++i) {
    const std::string key = "key" + std::to_string(i);
    EXPECT_TRUE(timers_.Delete(Timestamp{90}, key, KeyHash(key)));
  }
  EXPECT_EQ(FireUpTo(60), std::vector<std::string>{});
  const size_t uneven = bytes();
  EXPECT_EQ(FireAll(timers_, 1000), std::vector<std::string>{"key0@90"});
  EXPECT_LT(bytes() + kAside, uneven) << "given back";
}

// ---------------------------------------------------------------- checkpoints and memory

TEST(TimerServiceTest, ACheckpointBetweenTwoTimersHoldsTheRest) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  for (int i = 0; i < 300; ++i) Register(timers, i, "key" + std::to_string(i));
  task.Snapshot(1);
  int fired = 0;
  EXPECT_FALSE(timers.Fire(Timestamp{1000}, [&](const auto&, uint64_t) { return ++fired < 100; }));
  Register(timers, 5000, "late");
  task.Snapshot(2);
  SegmentSet set = Restorable({&task.chain});
  size_t restored = 0;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> part(RangeOf(i, 2, 16), &set);
    Timers again = Timers::Open(part.state, "t");
    restored += again.size();
    EXPECT_GE(again.Next(), Timestamp{100});
    FireAll(again, 10'000);
    EXPECT_EQ(again.size(), 0u);
  }
  EXPECT_EQ(restored, 201u);
}

TEST(TimerServiceTest, ATimerThatComesAndGoesBetweenBarriersIsNotWritten) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  for (int i = 0; i < 1000; ++i) Register(timers, i, "a");
  FireAll(timers, 10'000);
  task.Snapshot(1);
  EXPECT_EQ(task.chain.segments().back()->entries(), 0u);
}

TEST(TimerServiceTest, DeletedTimersDoNotPileUp) {
  Subtask<std::string> task;
  Timers timers = Timers::Open(task.state, "t");
  Register(timers, 500'000, "a");
  for (int i = 0; i < 100'000; ++i) {
    Register(timers, 1000 + i, "a");
    timers.Delete(Timestamp{1000 + i}, "a", KeyHash(std::string("a")));
  }
  EXPECT_EQ(timers.Next(), Timestamp{500'000});
  EXPECT_LT(task.state.Metrics().memory_bytes, 100'000u);
}

// Pinned in front of a store: nobody looks a timer up there, so its deletion is done with when it
// has been written.
TEST(TimerServiceTest, FiredTimersDoNotPileUpAboveAStoreEither) {
  MemoryStore store;
  SnapshotCollector sink;
  KeyedState<std::string> state(KeyedStateOptions{.operator_uid = "op",
                                                  .max_parallelism = 16,
                                                  .key_groups = {0, 16},
                                                  .sink = &sink,
                                                  .store = &store});
  Timers timers = Timers::Open(state, "t");
  for (uint64_t id = 1; id <= 200; ++id) {
    const auto now = static_cast<int64_t>(id * 1000);
    FireAll(timers, now);
    for (int i = 0; i < 100; ++i) Register(timers, now + 1 + i, "key" + std::to_string(i));
    state.BeginSnapshot(CheckpointId(id));
    while (!state.SnapshotSlice()) {
    }
    sink.chunks.clear();
  }
  EXPECT_EQ(timers.size(), 100u);
  EXPECT_LT(state.Metrics().memory_bytes, 100'000u);
}

// What has to stay in memory counts against the attempt's bound, a store below or not.
TEST(TimerServiceTest, TimersThatTakeMoreThanTheBoundAreRefusedByName) {
  for (const bool above_a_store : {true, false}) {
    MemoryStore store;
    SnapshotCollector sink;
    std::atomic<size_t> account{0};
    StateBound bound(1 << 20, &account);
    {
      KeyedState<std::string> state(KeyedStateOptions{.operator_uid = "alarms",
                                                      .max_parallelism = 16,
                                                      .key_groups = {0, 16},
                                                      .sink = &sink,
                                                      .store = above_a_store ? &store : nullptr,
                                                      .bound = &bound});
      Timers timers = Timers::Open(state, "t");
      state.CheckBound();
      EXPECT_LT(account.load(), 1u << 20);
      for (int i = 0; i < 100'000; ++i) Register(timers, i, "key" + std::to_string(i));
      try {
        state.CheckBound();
        ADD_FAILURE() << "100'000 timers within 1 MiB";
      } catch (const Error& e) {
        const std::string what = e.what();
        for (const char* part : {"operator alarms", "may take 1 MiB", "taskmanager.memory"}) {
          EXPECT_NE(what.find(part), std::string::npos) << what;
        }
      }
    }
    EXPECT_EQ(account.load(), 0u) << "given back";
  }
}

// On fewer TaskManagers than it was written by: before the process is out of memory, and not as a
// fault of the job's.
TEST(TimerServiceTest, ARestoreOfMoreThanTheBoundEndsAsSoonAsThatIsKnown) {
  Subtask<std::string> before;
  Timers timers = Timers::Open(before.state, "t");
  for (int i = 0; i < 100'000; ++i) Register(timers, i, "key" + std::to_string(i));
  before.Snapshot(1);
  const SegmentSet restored = Restorable({&before.chain});

  std::atomic<size_t> account{0};
  StateBound bound(1 << 20, &account);
  size_t looks = 0;
  KeyedState<std::string> state(KeyedStateOptions{.operator_uid = "alarms",
                                                  .max_parallelism = 16,
                                                  .key_groups = {0, 16},
                                                  .bound = &bound,
                                                  .restored = &restored,
                                                  .while_restoring = [&] { ++looks; }});
  try {
    Timers::Open(state, "t");
    ADD_FAILURE() << "100'000 timers within 1 MiB";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kExternal);
    EXPECT_NE(std::string(e.what()).find("operator alarms"), std::string::npos) << e.what();
  }
  EXPECT_LT(looks, 100'000u / 256 / 2) << "not when all of it has been read";
}

// Two attempts of one TaskManager.
TEST(TimerServiceTest, ANewcomerTakesNothingFromAnAttemptThatRunsAndGetsWhatIsFree) {
  constexpr size_t kLimit = size_t{16} << 20;
  std::atomic<size_t> account{0};
  StateBound first_bound(kLimit, &account);
  StateBound second_bound(kLimit, &account);
  const auto options = [](StateBound& bound) {
    return KeyedStateOptions{
        .operator_uid = "alarms", .max_parallelism = 16, .key_groups = {0, 16}, .bound = &bound};
  };
  auto first = std::make_unique<KeyedState<std::string>>(options(first_bound));
  Timers timers = Timers::Open(*first, "t");
  const auto grow = [](auto& state, Timers& timers, size_t bytes) {
    for (int i = 0; state.Metrics().memory_bytes < bytes; ++i) {
      Register(timers, i, "key" + std::to_string(i));
    }
  };
  grow(*first, timers, kLimit * 5 / 8);  // more than half
  first->CheckBound();
  const size_t room = first_bound.Free();
  EXPECT_LT(account.load() + room, kLimit + 1);
  EXPECT_GT(account.load(), kLimit * 5 / 8) << "room to grow";

  auto second = std::make_unique<KeyedState<std::string>>(options(second_bound));
  Timers others = Timers::Open(*second, "t");
  grow(*second, others, room / 2);
  EXPECT_NO_THROW(second->CheckBound());
  EXPECT_NO_THROW(first->CheckBound());
  grow(*second, others, kLimit / 2);
  EXPECT_THROW(second->CheckBound(), Error) << "the newcomer";
  EXPECT_NO_THROW(first->CheckBound());

  // The first starts again while the second runs with what it was given.
  first.reset();
  EXPECT_NO_THROW(second->CheckBound());
  EXPECT_EQ(first_bound.claimed.load(), 0u);
  EXPECT_EQ(second_bound.claimed.load(), account.load());
  second.reset();
  EXPECT_EQ(account.load(), 0u);
}

}  // namespace
}  // namespace weir
