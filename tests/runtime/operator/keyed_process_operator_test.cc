#include "runtime/operator/keyed_process_operator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "testing/operator_harness.h"

namespace weir {
namespace {

using ::testing::ElementsAre;
using testing::HarnessSnapshot;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::OperatorHarness;
using ::testing::SizeIs;
using testing::Stamped;
using ::testing::UnorderedElementsAre;

struct Event {
  std::string key;
  std::string command;
  int64_t argument = 0;
};

const OutputTag<std::string> kSide{"side"};

std::string ErrorOf(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// Does what the events say.
class Scripted : public KeyedProcessFunction<std::string, Event, std::string> {
 public:
  void Open(KeyedContext& context) override {
    count_ = context.GetValueState<int64_t>("count");
    list_ = context.GetListState<std::string>("list");
    map_ = context.GetMapState<std::string, int64_t>("map");
  }
  void ProcessElement(const Event& event, Context& context, Collector<std::string>& out) override {
    const Timestamp at{event.argument};
    if (event.command == "count") {
      ++count_.Mutable();
      out.Collect(context.key() + " " + std::to_string(count_.GetOr(0)));
    } else if (event.command == "append") {
      list_.Add(std::to_string(event.argument));
      std::string all = context.key();
      list_.ForEach([&](const std::string& e) { all += " " + e; });
      out.Collect(all);
    } else if (event.command == "put") {
      map_.Put("entry", event.argument);
    } else if (event.command == "get") {
      const int64_t* value = map_.Get("entry");
      out.Collect(value == nullptr ? "none" : std::to_string(*value));
    } else if (event.command == "timer") {
      context.RegisterEventTimeTimer(at);
    } else if (event.command == "delete timer") {
      context.DeleteEventTimeTimer(at);
    } else if (event.command == "clock timer") {
      context.RegisterProcessingTimeTimer(at);
    } else if (event.command == "delete clock timer") {
      context.DeleteProcessingTimeTimer(at);
    } else if (event.command == "side") {
      context.Output(kSide, context.key());
    } else if (event.command == "times") {
      out.Collect(std::to_string(context.timestamp().ms) + " " +
                  std::to_string(context.watermark().ms) + " " +
                  std::to_string(context.processing_time().ms));
    }
  }
  void OnTimer(Timestamp time, TimeDomain domain, Context& context,
               Collector<std::string>& out) override {
    out.Collect(context.key() + (domain == TimeDomain::kEventTime ? "@" : "#") +
                std::to_string(time.ms));
    if (context.key() == "again")
      context.RegisterEventTimeTimer(time + std::chrono::milliseconds(10));
  }

 private:
  ValueState<int64_t> count_;
  ListState<std::string> list_;
  MapState<std::string, int64_t> map_;
};

class KeyedProcessTest : public ::testing::TestWithParam<bool> {
 protected:
  using Harness = OperatorHarness<Event, std::string>;

  static std::unique_ptr<Harness> Make(testing::HarnessOptions options = {}) {
    options.backend = {.rocksdb = GetParam(), .cache_bytes = 1024};
    return std::make_unique<Harness>(
        [](DataStream<Event> events) { return events.KeyBy(&Event::key).Process(Scripted()); },
        options);
  }

  std::unique_ptr<Harness> harness_ = Make();
};

INSTANTIATE_TEST_SUITE_P(Backends, KeyedProcessTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "RocksDb" : "Memory"; });

TEST_P(KeyedProcessTest, StateIsPerKey) {
  harness_->PushBatch({{{"a", "count"}}, {{"b", "count"}}, {{"a", "count"}}});
  harness_->Push({"a", "append", 1});
  harness_->Push({"a", "append", 2});
  harness_->Push({"b", "append", 3});
  harness_->Push({"a", "put", 9});
  harness_->Push({"a", "get"});
  harness_->Push({"b", "get"});
  EXPECT_THAT(harness_->TakeRows(),
              ElementsAre("a 1", "b 1", "a 2", "a 1", "a 1 2", "b 3", "9", "none"));
}

TEST_P(KeyedProcessTest, KnowsItsTimes) {
  harness_->Watermark(Timestamp{50});
  harness_->ProcessingTime(Timestamp{700});
  harness_->Push({"a", "times"}, Timestamp{60});
  EXPECT_THAT(harness_->Take(), ElementsAre(Stamped<std::string>{"60 50 700", Timestamp{60}}));
}

// Functions that keep windows by hand look at the watermark to see what is late.
TEST_P(KeyedProcessTest, AKeyKeepsItsTimeWhenItsSubtaskWasAheadOfOthers) {
  std::string ahead;
  std::string behind;
  for (int i = 0; ahead.empty() || behind.empty(); ++i) {
    const std::string key = std::to_string(i);
    (SubtaskOfKeyGroup(KeyGroupOf(KeyHash(key), 128), 128, 2) == 0 ? ahead : behind) = key;
  }
  harness_ = Make({.parallelism = 2});
  for (const std::string& key : {ahead, behind}) harness_->Push({key, "timer", 90});
  harness_->Watermark(Timestamp{100}, 0);
  harness_->Watermark(Timestamp{80}, 1);
  EXPECT_THAT(harness_->TakeRows(), ElementsAre(ahead + "@90"));
  const HarnessSnapshot snapshot = harness_->Snapshot();
  for (const uint32_t parallelism : {2u, 1u}) {
    auto restored = Make({.parallelism = parallelism, .restore = &snapshot});
    restored->Push({ahead, "times"});
    restored->Push({ahead, "timer", 95});
    EXPECT_THAT(restored->TakeRows(), ElementsAre(HasSubstr(" 100 ")));
    restored->Push({behind, "times"});
    restored->Push({behind, "timer", 95});
    EXPECT_THAT(restored->TakeRows(), ElementsAre(HasSubstr(" 80 ")));
    // And so do the times that a checkpoint before all have caught up knows.
    const HarnessSnapshot second = restored->Snapshot();
    restored = Make({.parallelism = 1, .restore = &second});
    EXPECT_THAT(restored->watermarks(), IsEmpty());
    restored->Push({ahead, "times"});
    EXPECT_THAT(restored->watermarks(), ElementsAre(Timestamp{80}));
    EXPECT_THAT(restored->TakeRows(), ElementsAre(ahead + "@95", HasSubstr(" 100 ")));
    restored->Watermark(Timestamp{100});
    EXPECT_THAT(restored->TakeRows(), ElementsAre(behind + "@90", behind + "@95"));
  }
}

// Timers of the keys that are behind, up to the time of those that are ahead, are looked at before
// it is known that they are not due.
TEST_P(KeyedProcessTest, TimersThatAreNotDueYetTakeASlotAsLittleAsThoseThatFire) {
  constexpr int kKeys = 1000;
  harness_ = Make({.parallelism = 2});
  int behind = 0;
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = std::to_string(i);
    behind += static_cast<int>(SubtaskOfKeyGroup(KeyGroupOf(KeyHash(key), 128), 128, 2));
    harness_->Push({key, "timer", 90});
  }
  harness_->Watermark(Timestamp{100}, 0);
  harness_->Watermark(Timestamp{50}, 1);
  EXPECT_THAT(harness_->TakeRows(), SizeIs(kKeys - behind));
  const HarnessSnapshot snapshot = harness_->Snapshot();

  auto restored = Make({.parallelism = 1, .restore = &snapshot});
  restored->SetYielding(true);
  const auto steps_until_passed = [&](int64_t watermark) {
    restored->Watermark(Timestamp{watermark});
    int steps = 1;
    for (; restored->HasPendingWork() && steps < kKeys; ++steps) restored->Resume();
    return steps;
  };
  EXPECT_GT(steps_until_passed(60), behind / 2 / static_cast<int>(YieldCheck::kEvery));
  EXPECT_THAT(restored->watermarks(), ElementsAre(Timestamp{60}));
  EXPECT_EQ(steps_until_passed(70), 1) << "they are known";
  EXPECT_THAT(restored->TakeRows(), IsEmpty());
  EXPECT_GT(steps_until_passed(95), 1);
  EXPECT_THAT(restored->TakeRows(), SizeIs(behind));
  EXPECT_EQ(steps_until_passed(100), 1);
  EXPECT_EQ(restored->state_entries(), 0u);
}

TEST_P(KeyedProcessTest, EventTimersFireInOrderWhenTheWatermarkReachesThem) {
  harness_->Push({"a", "timer", 30});
  harness_->Push({"b", "timer", 10});
  harness_->Push({"a", "timer", 20});
  harness_->Watermark(Timestamp{9});
  EXPECT_THAT(harness_->Take(), IsEmpty());
  harness_->Watermark(Timestamp{20});
  EXPECT_THAT(harness_->Take(), ElementsAre(Stamped<std::string>{"b@10", Timestamp{10}},
                                            Stamped<std::string>{"a@20", Timestamp{20}}));
  harness_->Watermark(Timestamp::Max());
  EXPECT_THAT(harness_->TakeRows(), ElementsAre("a@30"));
  EXPECT_EQ(harness_->state_entries(), 0u);
}

TEST_P(KeyedProcessTest, ATimerRegisteredTwiceFiresOnceAndADeletedOneNever) {
  harness_->Push({"a", "timer", 10});
  harness_->Push({"a", "timer", 10});
  harness_->Push({"b", "timer", 10});
  harness_->Push({"b", "delete timer", 10});
  harness_->Push({"c", "delete timer", 10});
  harness_->Watermark(Timestamp{10});
  EXPECT_THAT(harness_->TakeRows(), ElementsAre("a@10"));
}

TEST_P(KeyedProcessTest, ATimerInThePastFiresAtTheNextWatermark) {
  harness_->Watermark(Timestamp{100});
  harness_->Push({"a", "timer", 10});
  EXPECT_THAT(harness_->TakeRows(), IsEmpty());
  harness_->Watermark(Timestamp{101});
  EXPECT_THAT(harness_->TakeRows(), ElementsAre("a@10"));
}

TEST_P(KeyedProcessTest, ATimerMayRegisterOthersThatAreDue) {
  harness_->Push({"again", "timer", 10});
  harness_->Watermark(Timestamp{35});
  EXPECT_THAT(harness_->TakeRows(), ElementsAre("again@10", "again@20", "again@30"));
}

TEST_P(KeyedProcessTest, ClockTimersFireByProcessingTimeWithoutTimestamp) {
  harness_->Push({"a", "clock timer", 30});
  harness_->Push({"b", "clock timer", 10});
  harness_->Push({"c", "clock timer", 10});
  harness_->Push({"c", "delete clock timer", 10});
  harness_->Watermark(Timestamp::Max());
  EXPECT_THAT(harness_->Take(), IsEmpty());
  harness_->ProcessingTime(Timestamp{29});
  EXPECT_THAT(harness_->Take(), ElementsAre(Stamped<std::string>{"b#10", kNoTimestamp}));
  harness_->ProcessingTime(Timestamp{30});
  EXPECT_THAT(harness_->TakeRows(), ElementsAre("a#30"));
}

TEST_P(KeyedProcessTest, SideOutputs) {
  harness_->Listen(kSide);
  harness_->Push({"a", "side"}, Timestamp{5});
  EXPECT_THAT(harness_->Take(), IsEmpty());
  EXPECT_THAT(harness_->TakeSide(kSide), ElementsAre(Stamped<std::string>{"a", Timestamp{5}}));
}

TEST_P(KeyedProcessTest, ATagHasOneRowType) {
  harness_->Listen(OutputTag<int64_t>{"side"});
  const std::string error = ErrorOf([&] { harness_->Push({"a", "side"}, Timestamp{5}); });
  EXPECT_THAT(error, HasSubstr("side output 'side'"));
  EXPECT_THAT(error, HasSubstr("string"));
  EXPECT_THAT(error, HasSubstr("long"));
}

TEST_P(KeyedProcessTest, StateAndTimersSurviveARestoreAtOtherParallelism) {
  for (int k = 0; k < 100; ++k) {
    const std::string key = "key " + std::to_string(k);
    harness_->Push({key, "count"});
    harness_->Push({key, "append", 1});
    harness_->Push({key, "put", k});
    harness_->Push({key, "timer", 10});
    harness_->Push({key, "clock timer", 20});
  }
  HarnessSnapshot snapshot = harness_->Snapshot();
  for (const uint32_t parallelism : {3u, 2u}) {
    auto restored = Make({.parallelism = parallelism, .restore = &snapshot});
    snapshot = restored->Snapshot();
    restored->Push({"key 7", "count"});
    restored->Push({"key 7", "append", 2});
    restored->Push({"key 7", "get"});
    EXPECT_THAT(restored->TakeRows(), ElementsAre("key 7 2", "key 7 1 2", "7"));
    restored->Watermark(Timestamp{10});
    EXPECT_THAT(restored->TakeRows(), SizeIs(100));
    restored->ProcessingTime(Timestamp{20});
    EXPECT_THAT(restored->TakeRows(), SizeIs(100));
  }
}

TEST_P(KeyedProcessTest, FiringYieldsAndTheWatermarkIsPassedOnBehindTheLastTimer) {
  for (int k = 0; k < 1000; ++k) harness_->Push({"key " + std::to_string(k), "timer", 10});
  harness_->SetYielding(true);
  harness_->Watermark(Timestamp{10});
  EXPECT_TRUE(harness_->HasPendingWork());
  EXPECT_THAT(harness_->TakeRows(), SizeIs(YieldCheck::kEvery));
  EXPECT_THAT(harness_->watermarks(), IsEmpty());
  harness_->SetYielding(false);
  EXPECT_THAT(harness_->TakeRows(), SizeIs(1000 - YieldCheck::kEvery));
  EXPECT_THAT(harness_->watermarks(), ElementsAre(Timestamp{10}));
}

TEST_P(KeyedProcessTest, ACheckpointMayFallBetweenTwoTimers) {
  for (int k = 0; k < 1000; ++k) harness_->Push({"key " + std::to_string(k), "timer", 10});
  harness_->SetYielding(true);
  harness_->Watermark(Timestamp{10});
  harness_->Resume();
  const HarnessSnapshot snapshot = harness_->Snapshot();
  std::vector<std::string> fired = harness_->TakeRows();
  ASSERT_THAT(fired, SizeIs(2 * YieldCheck::kEvery));

  auto restored = Make({.parallelism = 2, .restore = &snapshot});
  restored->Open();
  EXPECT_THAT(restored->watermarks(0), ElementsAre(Timestamp{10})) << "firing goes on by itself";
  for (std::string& row : restored->TakeRows()) fired.push_back(row);
  EXPECT_EQ(fired.size(), 1000u);
  EXPECT_EQ(std::set<std::string>(fired.begin(), fired.end()).size(), 1000u);
}

TEST_P(KeyedProcessTest, AStateHasOneName) {
  class Twice : public KeyedProcessFunction<std::string, Event, std::string> {
   public:
    void Open(KeyedContext& context) override {
      context.GetValueState<int>("state");
      context.GetValueState<int>("state");
    }
    void ProcessElement(const Event&, Context&, Collector<std::string>&) override {}
  };
  OperatorHarness<Event, std::string> harness(
      [](DataStream<Event> events) { return events.KeyBy(&Event::key).Process(Twice()); });
  EXPECT_THROW(harness.Open(), Error);
}

enum class Misuse { kValue, kList, kMap, kReducing, kUnopened, kAfterwards };

// Uses state where no row and no timer is at hand.
class Keyless : public KeyedProcessFunction<std::string, Event, std::string> {
 public:
  explicit Keyless(Misuse misuse) : misuse_(misuse) {}
  void Open(KeyedContext& context) override {
    value_ = context.GetValueState<int64_t>("value");
    auto list = context.GetListState<int64_t>("list");
    auto map = context.GetMapState<int64_t, int64_t>("map");
    auto sum = context.GetReducingState<int64_t>("sum", std::plus<>());
    if (misuse_ == Misuse::kValue) (void)value_.Get();
    if (misuse_ == Misuse::kList) list.Add(1);
    if (misuse_ == Misuse::kMap) map.Put(1, 1);
    if (misuse_ == Misuse::kReducing) sum.Add(1);
  }
  void ProcessElement(const Event&, Context& context, Collector<std::string>&) override {
    if (misuse_ == Misuse::kUnopened) unopened_.Update(1);
    context_ = &context;
  }
  void Close() override {
    if (misuse_ != Misuse::kAfterwards) return;
    error = ErrorOf([this] { (void)value_.Get(); }) +
            ErrorOf([this] { context_->RegisterEventTimeTimer(Timestamp{1}); });
  }
  static inline std::string error;

 private:
  const Misuse misuse_;
  ValueState<int64_t> value_;
  ValueState<int64_t> unopened_;
  Context* context_ = nullptr;
};

TEST(KeyedState, IsRefusedByNameWhereThereIsNoKey) {
  for (const bool rocksdb : {false, true}) {
    const auto use = [&](Misuse misuse) {
      return ErrorOf([&] {
        OperatorHarness<Event, std::string> harness(
            [&](DataStream<Event> events) {
              return events.KeyBy(&Event::key).Process(Keyless(misuse));
            },
            {.backend = {.rocksdb = rocksdb}});
        harness.Push({"a", "any"});
      });
    };
    EXPECT_THAT(use(Misuse::kValue), HasSubstr("no key here for state 'value'"));
    EXPECT_THAT(use(Misuse::kList), HasSubstr("no key here for state 'list'"));
    EXPECT_THAT(use(Misuse::kMap), HasSubstr("no key here for state 'map'"));
    EXPECT_THAT(use(Misuse::kReducing), HasSubstr("no key here for state 'sum'"));
    EXPECT_THAT(use(Misuse::kUnopened), HasSubstr("not opened"));
    EXPECT_EQ(use(Misuse::kAfterwards), "no error");
    EXPECT_THAT(Keyless::error, HasSubstr("no key here for state 'value'"));
    EXPECT_THAT(Keyless::error, HasSubstr("no key here: state and timers"));
  }
}

}  // namespace
}  // namespace weir
