// What both window operators do, sliced and general: Flink's rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/windowed_stream.h"
#include "testing/operator_harness.h"

namespace weir {
namespace {

using ::testing::ElementsAre;
using testing::HarnessOptions;
using testing::HarnessSnapshot;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::OperatorHarness;
using ::testing::SizeIs;
using testing::Stamped;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

struct Bid {
  std::string auction;
  int64_t price = 0;
  friend bool operator==(const Bid&, const Bid&) = default;
};

// "auction [start,end) sum"
std::string Result(const std::string& auction, const TimeWindow& window, int64_t sum) {
  return auction + " [" + std::to_string(window.start.ms) + "," + std::to_string(window.end.ms) +
         ") " + std::to_string(sum);
}

class SumOfRows : public ProcessWindowFunction<std::string, Bid, std::string> {
 public:
  void Process(const std::string& key, Context& context, const std::vector<Bid>& rows,
               Collector<std::string>& out) override {
    int64_t sum = 0;
    for (const Bid& bid : rows) sum += bid.price;
    out.Collect(Result(key, context.window(), sum));
  }
};

using Windowed = WindowedStream<std::string, Bid, std::string Bid::*>;
using Harness = OperatorHarness<Bid, std::string>;

const OutputTag<Bid> kLate{"late"};

enum class Kind { kSliced, kGeneral };

class WindowTest : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Harness> Make(TimeWindows windows, std::chrono::milliseconds lateness = 0ms,
                                bool side_output = false, HarnessOptions options = {}) {
    return std::make_unique<Harness>(
        [=](DataStream<Bid> bids) {
          Windowed windowed = bids.KeyBy(&Bid::auction).Window(windows).AllowedLateness(lateness);
          if (side_output) windowed = windowed.SideOutputLate(kLate);
          if (GetParam() == Kind::kGeneral) return windowed.Process(SumOfRows());
          return windowed.Aggregate(Sum(&Bid::price), Result);
        },
        options);
  }
};

INSTANTIATE_TEST_SUITE_P(Operators, WindowTest, ::testing::Values(Kind::kSliced, Kind::kGeneral),
                         [](const auto& info) {
                           return info.param == Kind::kSliced ? "Sliced" : "General";
                         });

TEST_P(WindowTest, FiresWhenTheWatermarkReachesTheLastMillisecond) {
  auto harness = Make(Tumbling(10ms));
  harness->Push({"a", 1}, Timestamp{0});
  harness->Push({"a", 2}, Timestamp{9});
  harness->Push({"a", 4}, Timestamp{10});
  harness->Watermark(Timestamp{8});
  EXPECT_THAT(harness->Take(), IsEmpty());
  harness->Watermark(Timestamp{9});
  EXPECT_THAT(harness->Take(), ElementsAre(Stamped<std::string>{"a [0,10) 3", Timestamp{9}}));
  harness->Watermark(Timestamp{19});
  EXPECT_THAT(harness->Take(), ElementsAre(Stamped<std::string>{"a [10,20) 4", Timestamp{19}}));
  EXPECT_THAT(harness->watermarks(), ElementsAre(Timestamp{8}, Timestamp{9}, Timestamp{19}));
}

TEST_P(WindowTest, OneResultPerKeyAndNoneForEmptyWindows) {
  auto harness = Make(Tumbling(10ms));
  harness->PushBatch({{{"a", 1}, Timestamp{1}},
                      {{"b", 2}, Timestamp{55}},
                      {{"a", 3}, Timestamp{2}},
                      {{"c", 4}, Timestamp{3}}});
  harness->Watermark(Timestamp{49});
  EXPECT_THAT(harness->TakeRows(), UnorderedElementsAre("a [0,10) 4", "c [0,10) 4"));
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), ElementsAre("b [50,60) 2"));
  EXPECT_EQ(harness->state_entries(), 0u) << "nothing is left of final windows";
}

TEST_P(WindowTest, OneWatermarkMayFireSeveralWindowsInOrder) {
  auto harness = Make(Tumbling(10ms));
  for (int64_t t : {25, 5, 45, 15}) harness->Push({"a", t}, Timestamp{t});
  harness->Watermark(Timestamp{40});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 5", "a [10,20) 15", "a [20,30) 25"));
}

TEST_P(WindowTest, ARowWithoutEventTimeIsToldWithWhatCountsAsNone) {
  auto harness = Make(Tumbling(10ms));
  try {
    harness->Push({"a", 1}, Timestamp{INT64_MIN});
    FAIL() << "taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUser);
    EXPECT_THAT(e.what(), HasSubstr("a time of INT64_MIN counts as none"));
    EXPECT_THAT(e.what(), HasSubstr("watermark strategy"));
  }
}

TEST_P(WindowTest, NegativeTimestamps) {
  auto harness = Make(Tumbling(10ms));
  for (int64_t t : {-11, -10, -1, 0}) harness->Push({"a", 1}, Timestamp{t});
  harness->Watermark(Timestamp{-11});
  EXPECT_THAT(harness->Take(), ElementsAre(Stamped<std::string>{"a [-20,-10) 1", Timestamp{-11}}));
  harness->Watermark(Timestamp{-1});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [-10,0) 2"));
}

TEST_P(WindowTest, Offsets) {
  auto harness = Make(Tumbling(10ms).Offset(3ms));
  for (int64_t t : {2, 3, 12, 13}) harness->Push({"a", 1}, Timestamp{t});
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [-7,3) 1", "a [3,13) 2", "a [13,23) 1"));
}

TEST_P(WindowTest, SlidingWindowsShareTheirRows) {
  auto harness = Make(Sliding(10ms, 5ms));
  harness->Push({"a", 1}, Timestamp{3});
  harness->Push({"a", 2}, Timestamp{7});
  harness->Watermark(Timestamp{4});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [-5,5) 1"));
  harness->Push({"a", 4}, Timestamp{12});
  harness->Watermark(Timestamp{14});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 3", "a [5,15) 6"));
  harness->Watermark(Timestamp{100});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [10,20) 4"));
  EXPECT_EQ(harness->state_entries(), 0u);
}

TEST_P(WindowTest, SlidesThatDoNotDivideTheSize) {
  auto harness = Make(Sliding(10ms, 4ms));
  harness->Push({"a", 1}, Timestamp{9});   // [0,10) [4,14) [8,18)
  harness->Push({"a", 2}, Timestamp{10});  // [4,14) [8,18)
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1", "a [4,14) 3", "a [8,18) 3"));
}

TEST_P(WindowTest, RowsBetweenWindowsBelongToNone) {
  auto harness = Make(Sliding(4ms, 10ms), 0ms, true);
  harness->Listen(kLate);
  for (int64_t t : {3, 4, 9, 10}) harness->Push({"a", t}, Timestamp{t});
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,4) 3", "a [10,14) 10"));
  EXPECT_THAT(harness->TakeSide(kLate), IsEmpty());
}

TEST_P(WindowTest, LateRowsAreDroppedAndCounted) {
  auto harness = Make(Tumbling(10ms));
  harness->Watermark(Timestamp{9});
  harness->PushBatch({{{"a", 1}, Timestamp{9}}, {{"a", 2}, Timestamp{10}}});
  harness->Push({"b", 3}, Timestamp{-100});
  harness->Watermark(Timestamp{19});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [10,20) 2"));
  EXPECT_EQ(harness->counter("late_records_dropped"), 2);
}

TEST_P(WindowTest, LateRowsGoToTheirSideOutputInstead) {
  auto harness = Make(Tumbling(10ms), 0ms, true);
  harness->Listen(kLate);
  harness->Watermark(Timestamp{9});
  harness->Push({"a", 1}, Timestamp{9});
  harness->Watermark(Timestamp{19});
  EXPECT_THAT(harness->TakeRows(), IsEmpty());
  EXPECT_THAT(harness->TakeSide(kLate), ElementsAre(Stamped<Bid>{{"a", 1}, Timestamp{9}}));
  EXPECT_EQ(harness->counter("late_records_dropped"), 0);
}

TEST_P(WindowTest, ARowBehindTheWatermarkIsNotLateWhileItsWindowIsOpen) {
  auto harness = Make(Tumbling(10ms));
  harness->Watermark(Timestamp{8});
  harness->Push({"a", 1}, Timestamp{0});
  harness->Watermark(Timestamp{9});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1"));
}

TEST_P(WindowTest, ALateRowWithinLatenessFiresItsKeyAnew) {
  auto harness = Make(Tumbling(10ms), 5ms);
  harness->Push({"a", 1}, Timestamp{5});
  harness->Push({"b", 10}, Timestamp{5});
  harness->Watermark(Timestamp{9});
  EXPECT_THAT(harness->TakeRows(), UnorderedElementsAre("a [0,10) 1", "b [0,10) 10"));
  harness->PushBatch({{{"a", 2}, Timestamp{6}}, {{"a", 4}, Timestamp{7}}});
  EXPECT_THAT(harness->Take(), ElementsAre(Stamped<std::string>{"a [0,10) 3", Timestamp{9}},
                                           Stamped<std::string>{"a [0,10) 7", Timestamp{9}}));
  harness->Push({"new", 8}, Timestamp{0});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("new [0,10) 8"));
  harness->Watermark(Timestamp{13});
  harness->Push({"a", 1}, Timestamp{0});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 8")) << "still allowed";
  harness->Watermark(Timestamp{14});
  EXPECT_EQ(harness->state_entries(), 0u) << "final at end - 1 + lateness";
  harness->Push({"a", 1}, Timestamp{0});
  EXPECT_THAT(harness->TakeRows(), IsEmpty());
  EXPECT_EQ(harness->counter("late_records_dropped"), 1);
}

TEST_P(WindowTest, ALateRowOfSlidingWindowsCountsInThoseThatAreNotFinal) {
  auto harness = Make(Sliding(10ms, 5ms), 2ms);
  harness->Push({"a", 1}, Timestamp{6});  // [0,10) [5,15)
  harness->Watermark(Timestamp{10});      // [0,10) has fired and is not final
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1"));
  harness->Push({"a", 2}, Timestamp{7});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 3"));
  harness->Watermark(Timestamp{11});  // final
  harness->Push({"a", 4}, Timestamp{8});
  EXPECT_THAT(harness->TakeRows(), IsEmpty());
  EXPECT_EQ(harness->counter("late_records_dropped"), 0) << "it counts in [5,15)";
  harness->Watermark(Timestamp{14});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [5,15) 7"));
}

TEST_P(WindowTest, LatenessBeyondAllTimeKeepsWindowsForever) {
  auto harness = Make(Tumbling(10ms), std::chrono::milliseconds::max());
  harness->Push({"a", 1}, Timestamp{5});
  harness->Watermark(Timestamp{1'000'000});
  harness->Push({"a", 2}, Timestamp{5});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1", "a [0,10) 3"));
}

TEST_P(WindowTest, ARowWithoutTimestampIsRefused) {
  auto harness = Make(Tumbling(10ms));
  EXPECT_THROW(harness->Push({"a", 1}), Error);
}

TEST_P(WindowTest, ProcessingTimeWindowsGoByTheClock) {
  auto harness = Make(Tumbling(10ms).ProcessingTime());
  harness->ProcessingTime(Timestamp{3});
  harness->Push({"a", 1});
  harness->ProcessingTime(Timestamp{9});
  harness->Push({"a", 2}, Timestamp{1000});
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), IsEmpty());
  harness->ProcessingTime(Timestamp{10});
  EXPECT_THAT(harness->Take(), ElementsAre(Stamped<std::string>{"a [0,10) 3", Timestamp{9}}));
  harness->Push({"a", 4});
  harness->ProcessingTime(Timestamp{100});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [10,20) 4"));
  EXPECT_EQ(harness->state_entries(), 0u);
}

TEST_P(WindowTest, ProcessingTimeSlidingWindows) {
  auto harness = Make(Sliding(10ms, 5ms).ProcessingTime());
  harness->ProcessingTime(Timestamp{7});
  harness->Push({"a", 1});
  harness->ProcessingTime(Timestamp{10});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1"));
  harness->ProcessingTime(Timestamp{15});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [5,15) 1"));
}

TEST_P(WindowTest, ProcessingTimeWindowsSurviveARestore) {
  auto harness = Make(Tumbling(10ms).ProcessingTime());
  harness->ProcessingTime(Timestamp{15});
  harness->Push({"a", 1});
  const HarnessSnapshot snapshot = harness->Snapshot();
  auto restored = Make(Tumbling(10ms).ProcessingTime(), 0ms, false,
                       {.parallelism = 2, .restore = &snapshot, .processing_time = Timestamp{50}});
  restored->ProcessingTime(Timestamp{50});
  EXPECT_THAT(restored->TakeRows(), ElementsAre("a [10,20) 1"));
}

TEST_P(WindowTest, OpenWindowsSurviveChangesOfParallelism) {
  for (const TimeWindows windows : {Tumbling(10ms), Sliding(10ms, 5ms), Sliding(10ms, 3ms)}) {
    auto straight = Make(windows);
    auto harness = Make(windows);
    HarnessSnapshot snapshot;
    std::vector<std::string> got;
    int64_t t = 0;
    for (const uint32_t parallelism : {1u, 2u, 3u, 2u, 1u}) {
      if (parallelism != 1 || t != 0) {
        harness = Make(windows, 0ms, false, {.parallelism = parallelism, .restore = &snapshot});
      }
      for (int i = 0; i < 40; ++i, ++t) {
        const Bid bid{"auction " + std::to_string(t % 11), t};
        straight->Push(bid, Timestamp{t});
        harness->Push(bid, Timestamp{t});
        if (t % 7 == 0) {
          straight->Watermark(Timestamp{t});
          harness->Watermark(Timestamp{t});
        }
      }
      snapshot = harness->Snapshot();
      for (std::string& row : harness->TakeRows()) got.push_back(row);
    }
    harness->Watermark(Timestamp::Max());
    straight->Watermark(Timestamp::Max());
    for (std::string& row : harness->TakeRows()) got.push_back(row);
    EXPECT_THAT(got, ::testing::UnorderedElementsAreArray(straight->TakeRows()));
    EXPECT_EQ(harness->state_entries(), 0u);
  }
}

TEST_P(WindowTest, WhatWasLateBeforeAFailureIsLateAfterIt) {
  auto harness = Make(Tumbling(10ms));
  harness->Push({"a", 1}, Timestamp{5});
  harness->Watermark(Timestamp{9});
  const HarnessSnapshot snapshot = harness->Snapshot();
  auto restored = Make(Tumbling(10ms), 0ms, false, {.restore = &snapshot});
  restored->Push({"a", 2}, Timestamp{6});
  restored->Watermark(Timestamp{30});
  EXPECT_THAT(restored->TakeRows(), IsEmpty());
  EXPECT_EQ(restored->counter("late_records_dropped"), 1);
}

TEST_P(WindowTest, AWindowThatHasFiredIsNotFiredAgainAfterARestoreButLateRowsFireIt) {
  auto harness = Make(Tumbling(10ms), 100ms);
  harness->Push({"a", 1}, Timestamp{5});
  harness->Watermark(Timestamp{9});
  EXPECT_THAT(harness->TakeRows(), ElementsAre("a [0,10) 1"));
  const HarnessSnapshot snapshot = harness->Snapshot();
  auto restored = Make(Tumbling(10ms), 100ms, false, {.parallelism = 2, .restore = &snapshot});
  restored->Watermark(Timestamp{50});
  EXPECT_THAT(restored->TakeRows(), IsEmpty());
  restored->Push({"a", 2}, Timestamp{6});
  EXPECT_THAT(restored->TakeRows(), ElementsAre("a [0,10) 3"));
}

// Two keys, of the first and of the second of two subtasks.
std::pair<std::string, std::string> KeysOfBothSubtasks() {
  std::pair<std::string, std::string> keys;
  for (int i = 0; keys.first.empty() || keys.second.empty(); ++i) {
    const std::string key = "auction " + std::to_string(i);
    (SubtaskOfKeyGroup(KeyGroupOf(KeyHash(key), 128), 128, 2) == 0 ? keys.first : keys.second) =
        key;
  }
  return keys;
}

// What a checkpoint that turned unaligned may hold: a subtask that has watermarks still before it.
TEST_P(WindowTest, ASubtaskThatWasAheadOfOthersFiresNothingTwiceAfterARestore) {
  const auto [ahead, behind] = KeysOfBothSubtasks();
  for (const TimeWindows windows : {Tumbling(10ms), Sliding(20ms, 5ms)}) {
    for (const std::chrono::milliseconds lateness : {0ms, 40ms}) {
      for (const int64_t lowest : {int64_t{80}, INT64_MIN}) {
        for (const uint32_t parallelism : {2u, 1u, 3u}) {
          SCOPED_TRACE(windows.Describe() + ", lateness " + std::to_string(lateness.count()) +
                       ", the other at " + std::to_string(lowest) + ", restored at parallelism " +
                       std::to_string(parallelism));
          auto harness = Make(windows, lateness, false, {.parallelism = 2});
          auto straight = Make(windows, lateness, false, {.parallelism = 2});
          for (const auto& one : {&harness, &straight}) {
            for (int64_t t = 50; t < 130; t += 3) {
              for (const std::string& key : {ahead, behind}) (*one)->Push({key, 1}, Timestamp{t});
            }
          }
          harness->Watermark(Timestamp{100}, 0);
          if (lowest != INT64_MIN) harness->Watermark(Timestamp{lowest}, 1);
          const HarnessSnapshot snapshot = harness->Snapshot();
          std::vector<std::string> got = harness->TakeRows();

          auto restored =
              Make(windows, lateness, false, {.parallelism = parallelism, .restore = &snapshot});
          restored->Watermark(Timestamp{90});
          restored->Watermark(Timestamp{200});
          straight->Watermark(Timestamp{200});
          for (std::string& row : restored->TakeRows()) got.push_back(row);
          EXPECT_THAT(got, ::testing::UnorderedElementsAreArray(straight->TakeRows()));
          EXPECT_EQ(restored->state_entries(), 0u);
        }
      }
    }
  }
}

TEST_P(WindowTest, ARowIsLateByTheTimeThatItsKeyHadBeforeARestore) {
  const auto [ahead, behind] = KeysOfBothSubtasks();
  auto harness = Make(Tumbling(10ms), 0ms, true, {.parallelism = 2});
  harness->Watermark(Timestamp{100}, 0);
  harness->Watermark(Timestamp{80}, 1);
  const HarnessSnapshot snapshot = harness->Snapshot();
  for (const uint32_t parallelism : {2u, 1u}) {
    auto restored =
        Make(Tumbling(10ms), 0ms, true, {.parallelism = parallelism, .restore = &snapshot});
    restored->Listen(kLate);
    restored->Push({ahead, 1}, Timestamp{95});
    restored->Push({behind, 2}, Timestamp{95});
    restored->Push({behind, 4}, Timestamp{75});
    EXPECT_THAT(restored->TakeSide(kLate),
                UnorderedElementsAre(Stamped<Bid>{{ahead, 1}, Timestamp{95}},
                                     Stamped<Bid>{{behind, 4}, Timestamp{75}}));
    EXPECT_EQ(restored->watermarks(parallelism - 1), std::vector{Timestamp{80}})
        << "what is passed on is the time of all keys";
    restored->Watermark(Timestamp{100});
    EXPECT_THAT(restored->TakeRows(), ElementsAre(behind + " [90,100) 2"));
  }
}

TEST(Windows, AClockThatIsBehindDoesNotReachIntoWindowsThatHaveFiredByAnother) {
  const auto [ahead, behind] = KeysOfBothSubtasks();
  const auto build = [](DataStream<Bid> bids) {
    return bids.KeyBy(&Bid::auction)
        .Window(Tumbling(10ms).ProcessingTime())
        .Aggregate(Sum(&Bid::price), Result);
  };
  // Two TaskManagers whose clocks differ, put together from two runs.
  const auto at = [&](int64_t clock) {
    Harness harness(build, {.parallelism = 2});
    harness.Push({ahead, 1});
    harness.Push({behind, 1});
    harness.ProcessingTime(Timestamp{clock});
    return harness.Snapshot();
  };
  HarnessSnapshot snapshot = at(100);
  snapshot.subtasks[1] = at(20).subtasks[1];
  Harness restored(build, {.restore = &snapshot, .processing_time = Timestamp{20}});
  restored.Push({ahead, 2});
  restored.ProcessingTime(Timestamp{200});
  EXPECT_THAT(restored.TakeRows(), SizeIs(1));
}

TEST_P(WindowTest, StateOfOtherWindowsIsRefusedByName) {
  auto harness = Make(Tumbling(10ms), 0ms);
  harness->Push({"a", 1}, Timestamp{5});
  const HarnessSnapshot snapshot = harness->Snapshot();
  for (const TimeWindows& other : {Tumbling(14ms), Sliding(10ms, 2ms), Tumbling(10ms).Offset(3ms),
                                   Tumbling(10ms).ProcessingTime()}) {
    try {
      Make(other, 0ms, false, {.restore = &snapshot})->Open();
      FAIL() << "restored as " << other.Describe();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kFatal);
      EXPECT_THAT(e.what(), HasSubstr("10 ms every 10 ms by event time"));
      EXPECT_THAT(e.what(), HasSubstr(other.Describe()));
    }
  }
  auto same = Make(Tumbling(10ms), 0ms, false, {.restore = &snapshot});
  same->Watermark(Timestamp{9});
  EXPECT_THAT(same->TakeRows(), ElementsAre("a [0,10) 1"));
}

TEST_P(WindowTest, FiringYieldsBetweenKeysAndACheckpointMayFallThere) {
  for (const TimeWindows windows : {Tumbling(10ms), Sliding(10ms, 5ms)}) {
    auto harness = Make(windows, 3ms);
    constexpr int kKeys = 500;
    for (int k = 0; k < kKeys; ++k) {
      harness->Push({"auction " + std::to_string(k), 1}, Timestamp{3});
      harness->Push({"auction " + std::to_string(k), 2}, Timestamp{7});
    }
    harness->SetYielding(true);
    harness->Watermark(Timestamp{10});
    for (int i = 0; i < 2; ++i) harness->Resume();
    ASSERT_TRUE(harness->HasPendingWork());
    EXPECT_THAT(harness->watermarks(), IsEmpty()) << "not before the last key";
    HarnessSnapshot snapshot = harness->Snapshot();
    std::vector<std::string> before = harness->TakeRows();
    EXPECT_THAT(before, SizeIs(3 * YieldCheck::kEvery));

    harness->SetYielding(false);
    const std::vector<std::string> straight = harness->TakeRows();
    EXPECT_THAT(harness->watermarks(), ElementsAre(Timestamp{10}));

    // Interrupted again, at another parallelism, before all have caught up.
    auto second = Make(windows, 3ms, false, {.parallelism = 3, .restore = &snapshot});
    second->SetYielding(true);
    second->Open();
    second->Resume();
    snapshot = second->Snapshot();
    std::vector<std::string> rest = second->TakeRows();
    EXPECT_LT(rest.size(), straight.size());

    auto third = Make(windows, 3ms, false, {.parallelism = 2, .restore = &snapshot});
    third->Open();
    for (std::string& row : third->TakeRows()) rest.push_back(row);
    EXPECT_THAT(rest, ::testing::UnorderedElementsAreArray(straight));
    EXPECT_THAT(third->watermarks(0), ElementsAre(Timestamp{10}));
  }
}

TEST_P(WindowTest, ASnapshotHoldsNothingThatCameBehindItsBarrier) {
  auto harness = Make(Tumbling(10ms));
  harness->Push({"a", 1}, Timestamp{5});
  harness->BeginSnapshot();
  harness->Push({"a", 2}, Timestamp{5});
  harness->Push({"a", 4}, Timestamp{15});
  harness->Watermark(Timestamp{20});
  const HarnessSnapshot snapshot = harness->FinishSnapshot();
  auto restored = Make(Tumbling(10ms), 0ms, false, {.restore = &snapshot});
  restored->Watermark(Timestamp{20});
  EXPECT_THAT(restored->TakeRows(), ElementsAre("a [0,10) 1"));
}

TEST(Windows, ReduceEmitsARow) {
  OperatorHarness<Bid, Bid> harness([](DataStream<Bid> bids) {
    return bids.KeyBy(&Bid::auction).Window(Sliding(10ms, 5ms)).Reduce([](Bid& a, const Bid& b) {
      a.price += b.price;
    });
  });
  harness.Push({"a", 1}, Timestamp{2});
  harness.Push({"a", 2}, Timestamp{7});
  harness.Watermark(Timestamp{9});
  EXPECT_THAT(harness.Take(), ElementsAre(Stamped<Bid>{{"a", 1}, Timestamp{4}},
                                          Stamped<Bid>{{"a", 3}, Timestamp{9}}));
}

TEST(Windows, AggregateEmitsKeyAndValue) {
  OperatorHarness<Bid, Keyed<std::string, uint64_t>> harness([](DataStream<Bid> bids) {
    return bids.KeyBy(&Bid::auction).Window(Tumbling(10ms)).Aggregate(Count());
  });
  harness.Push({"a", 1}, Timestamp{2});
  harness.Push({"a", 1}, Timestamp{3});
  harness.Watermark(Timestamp{9});
  EXPECT_THAT(harness.TakeRows(), ElementsAre(Keyed<std::string, uint64_t>{"a", 2}));
}

TEST(Windows, EveryAggregateMergesOverSlices) {
  const auto aggregate = Combine(Count(), Sum(&Bid::price), Avg(&Bid::price), Min(&Bid::price),
                                 Max(&Bid::price), MaxBy(&Bid::price));
  using Result = AggregateResult<decltype(aggregate)>;
  OperatorHarness<Bid, Keyed<std::string, Result>> harness([&](DataStream<Bid> bids) {
    return bids.KeyBy(&Bid::auction).Window(Sliding(10ms, 1ms)).Aggregate(aggregate);
  });
  for (int64_t t : {0, 3, 9}) harness.Push({"a", t + 1}, Timestamp{t});
  harness.Watermark(Timestamp{9});
  const Result expected(3, 15, 5.0, 1, 10, Bid{"a", 10});
  EXPECT_EQ(harness.TakeRows().back().value, expected);
}

TEST(Windows, OverlappingWindowsNeedMerge) {
  struct Last {
    using Accumulator = int64_t;
    void Add(const Bid& bid, Accumulator& into) const { into = bid.price; }
    int64_t GetResult(const Accumulator& last) const { return last; }
  };
  const auto build = [](TimeWindows windows) {
    return [windows](DataStream<Bid> bids) {
      return bids.KeyBy(&Bid::auction).Window(windows).Aggregate(Last());
    };
  };
  using H = OperatorHarness<Bid, Keyed<std::string, int64_t>>;
  EXPECT_THROW(H(build(Sliding(10ms, 5ms))), Error);
  H tumbling(build(Tumbling(10ms)));
  tumbling.Push({"a", 7}, Timestamp{1});
  tumbling.Watermark(Timestamp{9});
  EXPECT_THAT(tumbling.TakeRows(), ElementsAre(Keyed<std::string, int64_t>{"a", 7}));
}

TEST_P(WindowTest, TheLongestWindowFiresAtTheEndOfTime) {
  auto harness = Make(Tumbling(std::chrono::milliseconds(TimeWindows::kLongest)));
  harness->Push({"a", 1}, Timestamp{1});
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), SizeIs(1));
}

TEST_P(WindowTest, RowsAtTheEndsOfTimeHaveAWindow) {
  auto harness = Make(Sliding(10ms, 5ms));
  harness->Push({"a", 1}, Timestamp{INT64_MIN + 5});
  harness->Push({"a", 2}, Timestamp{INT64_MAX - 5});
  harness->Watermark(Timestamp{INT64_MAX - 1});
  EXPECT_THAT(harness->TakeRows(), SizeIs(4));
  harness->Watermark(Timestamp::Max());
  EXPECT_THAT(harness->TakeRows(), IsEmpty());
  EXPECT_EQ(harness->state_entries(), 0u);
}

TEST(Windows, WindowAllTakesAllRowsInOneSubtask) {
  OperatorHarness<Bid, std::string> harness(
      [](DataStream<Bid> bids) {
        return bids.WindowAll(Tumbling(10ms))
            .Aggregate(Sum(&Bid::price), [](const TimeWindow& window, int64_t sum) {
              return Result("all", window, sum);
            });
      },
      {.parallelism = 4});
  harness.Push({"a", 1}, Timestamp{1});
  harness.Push({"b", 2}, Timestamp{2});
  harness.Watermark(Timestamp{9});
  EXPECT_THAT(harness.TakeRows(), ElementsAre("all [0,10) 3"));
}

}  // namespace
}  // namespace weir
