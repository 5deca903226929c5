// The operator that runs a source's reader, on a clock that the test moves.

#include "runtime/source/reader_operator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "api/watermarks.h"
#include "base/serde/serde.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

/// What the test lets a reader say next.
struct Script {
  struct Rows {
    SplitIndex split = 0;
    std::vector<int64_t> times;
  };
  std::deque<Rows> rows;
  SplitObserver* splits = nullptr;
  bool endless = false;  ///< as many rows as there is room for, at every poll
  bool greedy = false;   ///< ... and all that a batch can hold, whatever the room
  bool ends = false;     ///< there are no more than these rows
  std::optional<double> share;
  SplitSilence silence = SplitSilence::kReal;
  int looks = 0;
};

/// Rows are their own event times.
class ScriptedReader final : public SourceReader<int64_t> {
 public:
  explicit ScriptedReader(Script* script) : script_(script) {}
  void Open(const RuntimeContext&, SplitObserver& splits) override { script_->splits = &splits; }
  PollResult Poll(RecordBatch<int64_t>& batch, SplitIndex& split) override {
    if (script_->endless) {
      const uint32_t room = script_->greedy ? Batch::kCapacity : batch.room();
      for (uint32_t i = 0; i < room; ++i) batch.Append(0, Timestamp{0});
      return PollResult::kMore;
    }
    if (script_->rows.empty()) return script_->ends ? PollResult::kEnd : PollResult::kNothing;
    split = script_->rows.front().split;
    for (int64_t time : script_->rows.front().times) batch.Append(time, Timestamp{time});
    script_->rows.pop_front();
    return PollResult::kMore;
  }
  std::optional<double> ShareOfRate() const override { return script_->share; }
  SplitSilence LookInto(SplitIndex) override {
    ++script_->looks;
    return script_->silence;
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    state.values["position"] = "7";
  }

 private:
  Script* const script_;
};

class ReaderOperatorTest : public ::testing::Test {
 protected:
  void Open(WatermarkStrategy<int64_t> strategy = {}, uint32_t parallelism = 1) {
    op_.emplace(std::make_unique<ScriptedReader>(&script_), std::move(strategy));
    if (rate_) op_->SetRate(rate_);
    context_.runtime.clock = &clock_;
    context_.runtime.parallelism = parallelism;
    op_->Open(context_);
  }
  /// What a checkpoint holds of it now.
  RestoredOperatorState Stored() {
    OperatorStateSnapshot snapshot;
    op_->Snapshot(CheckpointId(1), snapshot);
    return {.values = snapshot.values, .files = {}};
  }
  /// One of the source's new subtasks.
  void OpenRestored(std::vector<RestoredOperatorState> formers,
                    WatermarkStrategy<int64_t> strategy) {
    context_.runtime.restored_state = std::move(formers);
    Open(std::move(strategy));
    for (const RestoredOperatorState& former : context_.runtime.restored_state) {
      EXPECT_THAT(former.values, SizeIs(1)) << "the reader sees what it has put there";
    }
  }
  uint32_t Poll() {
    Batch* batch = nullptr;
    result_ = op_->Poll(batch);
    return batch->size();
  }
  /// Rows within the time, polled at every millisecond.
  uint32_t RowsWithin(std::chrono::milliseconds time) {
    uint32_t rows = 0;
    for (auto t = 0ms; t < time; t += 1ms) {
      clock_.Advance(1ms);
      while (const uint32_t n = Poll()) rows += n;
    }
    return rows;
  }
  /// As the subtask does: it polls until nothing is left.
  void Give(SplitIndex split, std::vector<int64_t> times) {
    script_.rows.push_back({split, std::move(times)});
    while (Poll() > 0) {
    }
  }
  int64_t Watermark() { return op_->CurrentWatermark().ms; }
  /// A source that finds nothing is polled all the time.
  void FindNothingFor(std::chrono::milliseconds time) {
    for (auto t = 0ms; t < time; t += 100ms) {
      clock_.Advance(100ms);
      Watermark();
      Poll();
    }
  }

  OperatorContext context_;
  ManualClock clock_;
  Script script_;
  std::optional<double> rate_;
  std::optional<ReaderOperator<int64_t>> op_;
  PollResult result_ = PollResult::kMore;
};

// ---------------------------------------------------------------- rate

TEST_F(ReaderOperatorTest, ASubtaskReadsItsPartOfTheRate) {
  script_.endless = true;
  rate_ = 1'000;
  Open({}, 4);
  EXPECT_EQ(Poll(), 0u);
  EXPECT_EQ(result_, PollResult::kNothing);
  EXPECT_EQ(op_->NextAllowed(), 8ms);  // two rows, of 250 a second
  EXPECT_EQ(RowsWithin(2000ms), 500u);
}

TEST_F(ReaderOperatorTest, AReaderMaySayWhichPartIsItsOwn) {
  script_.endless = true;
  script_.share = 0.5;
  rate_ = 1'000;
  Open({}, 4);
  EXPECT_EQ(RowsWithin(2000ms), 1'000u);
}

TEST_F(ReaderOperatorTest, WhichPartThatIsMayChange) {
  script_.endless = true;
  rate_ = 1'000;
  Open({}, 4);
  EXPECT_EQ(RowsWithin(2000ms), 500u);
  script_.share = 1;
  EXPECT_NEAR(RowsWithin(2000ms), 2'000, 10) << "of the larger portions one may be open";
}

TEST_F(ReaderOperatorTest, TheRateChangesWhileItRuns) {
  script_.endless = true;
  rate_ = 100;
  Open();
  EXPECT_EQ(RowsWithin(1000ms), 100u);
  op_->SetRate(1'000);
  EXPECT_EQ(RowsWithin(1000ms), 1'000u);
  op_->SetRate(0);
  EXPECT_EQ(RowsWithin(1000ms), 0u);
  EXPECT_EQ(op_->NextAllowed(), std::chrono::nanoseconds::max());
  op_->SetRate(std::nullopt);
  EXPECT_EQ(Poll(), Batch::kCapacity);
}

TEST_F(ReaderOperatorTest, AReaderThatGivesMoreWaitsForItLater) {
  script_.endless = script_.greedy = true;
  rate_ = 1'000;
  Open();
  const uint32_t rows = RowsWithin(10'240ms);
  EXPECT_GE(rows, 9'000u);
  EXPECT_LE(rows, 10'240u + Batch::kCapacity);
}

// ---------------------------------------------------------------- watermarks

/// Trails the newest row by a bound, or processing time, whichever is behind less.
class Alarm final : public WatermarkGenerator<int64_t> {
 public:
  void Open(const RuntimeContext& context) override { clock_ = context.clock; }
  void OnBatch(RecordBatch<int64_t>& batch) override {
    batch.ForEach([this](int64_t, Timestamp t) { newest_ = std::max(newest_, t); });
  }
  Timestamp Current() const override { return std::max(newest_, clock_->Now() - 1000ms); }

 private:
  const Clock* clock_ = nullptr;
  Timestamp newest_ = Timestamp::Min();
};

constexpr int64_t kNone = Timestamp::Min().ms;

TEST_F(ReaderOperatorTest, WithoutAStrategyThereAreNoWatermarks) {
  Open();
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  EXPECT_EQ(Watermark(), kNone);
  EXPECT_FALSE(op_->Idle());
}

TEST_F(ReaderOperatorTest, ASourceEmitsItsOwnWatermarks) {
  Open();
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  Give(0, {100});
  script_.splits->EmitWatermark(0, Timestamp{90});
  EXPECT_EQ(Watermark(), kNone) << "the other split has said nothing";
  script_.splits->EmitWatermark(1, Timestamp{50});
  EXPECT_EQ(Watermark(), 50);
  script_.splits->EmitWatermark(1, Timestamp{40});
  EXPECT_EQ(Watermark(), 50) << "a watermark never falls";
  script_.splits->SplitFinished(1);
  EXPECT_EQ(Watermark(), 90);
}

TEST_F(ReaderOperatorTest, ARestoredSourceBeginsWithTheLeastWatermarkOfItsFormerSubtasks) {
  std::vector<RestoredOperatorState> formers;
  for (const int64_t time : {200, 100}) {
    Open(MonotonousTimestamps<int64_t>());
    script_.splits->SplitAdded(0, "a");
    Give(0, {time});
    formers.push_back(Stored());
  }
  // A third had no splits.
  Open(MonotonousTimestamps<int64_t>());
  formers.push_back(Stored());
  OpenRestored(formers, MonotonousTimestamps<int64_t>());
  EXPECT_EQ(Watermark(), 99) << "before any row";
  script_.splits->SplitAdded(0, "a");
  Give(0, {50});
  EXPECT_EQ(Watermark(), 99);
  Give(0, {150});
  EXPECT_EQ(Watermark(), 149);
}

// It has a watermark all the same: the one with which it began, or with which it fell silent.
TEST_F(ReaderOperatorTest, AnIdleSubtaskDoesNotHoldARestoredSourceBack) {
  const auto strategy = [] { return MonotonousTimestamps<int64_t>().WithIdleness(1000ms); };
  Open(strategy());
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  const RestoredOperatorState first = Stored();

  OpenRestored({first}, strategy());
  const RestoredOperatorState without_splits = Stored();
  OpenRestored({first}, strategy());
  script_.splits->SplitAdded(0, "a");
  Give(0, {200});
  FindNothingFor(1200ms);
  ASSERT_TRUE(op_->Idle());
  const RestoredOperatorState silent = Stored();
  OpenRestored({first}, strategy());
  script_.splits->SplitAdded(0, "a");
  Give(0, {500});
  const RestoredOperatorState busy = Stored();

  OpenRestored({without_splits, busy, silent}, strategy());
  EXPECT_EQ(Watermark(), 499) << "as without a failure";
  OpenRestored({without_splits, silent}, strategy());
  EXPECT_EQ(Watermark(), 199) << "with nobody to hold event time back, it is where it has come";
}

// One whose split has had no row yet is not idle.
TEST_F(ReaderOperatorTest, ASubtaskThatWaitsForItsFirstRowHoldsARestoredSourceBack) {
  Open(MonotonousTimestamps<int64_t>());
  script_.splits->SplitAdded(0, "a");
  const RestoredOperatorState waiting = Stored();
  Give(0, {500});
  const RestoredOperatorState busy = Stored();
  OpenRestored({busy, waiting}, MonotonousTimestamps<int64_t>());
  EXPECT_EQ(Watermark(), kNone);
}

// Its splits need not be finished one by one.
TEST_F(ReaderOperatorTest, ASubtaskAtItsEndDoesNotHoldARestoredSourceBack) {
  Open(MonotonousTimestamps<int64_t>());
  script_.splits->SplitAdded(0, "a");
  Give(0, {500});
  const RestoredOperatorState busy = Stored();
  Open(MonotonousTimestamps<int64_t>());
  script_.splits->SplitAdded(0, "a");
  script_.ends = true;
  Give(0, {100});
  ASSERT_EQ(result_, PollResult::kEnd);
  const RestoredOperatorState ended = Stored();
  OpenRestored({busy, ended}, MonotonousTimestamps<int64_t>());
  EXPECT_EQ(Watermark(), 499);
}

// Builds that did not tell them apart have written both alike.
TEST_F(ReaderOperatorTest, AWatermarkThatDoesNotSayWhetherItIsIdleHoldsARestoredSourceBack) {
  std::vector<RestoredOperatorState> formers;
  for (const int64_t time : {499, 99}) {
    formers.push_back(
        {.values = {{"position", "7"}, {"weir.watermark", SerdeEncode(time)}}, .files = {}});
  }
  OpenRestored(formers, MonotonousTimestamps<int64_t>());
  EXPECT_EQ(Watermark(), 99);
}

TEST_F(ReaderOperatorTest, AStrategyTakesThePlaceOfTheSourcesOwnWatermarks) {
  Open(BoundedOutOfOrderness<int64_t>(10ms));
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  script_.splits->EmitWatermark(0, Timestamp{1000});
  EXPECT_EQ(Watermark(), 89);
}

TEST_F(ReaderOperatorTest, AFunctionOfTheRowGivesEventTime) {
  Open(MonotonousTimestamps<int64_t>([](const int64_t& row) { return Timestamp{2 * row}; }));
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  EXPECT_EQ(Watermark(), 199);
}

TEST_F(ReaderOperatorTest, ASilentSplitStopsHoldingTheOthersBackAndComesBack) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  Give(0, {100});
  Give(1, {200});
  EXPECT_EQ(Watermark(), 99);
  for (int64_t t = 300; t < 2000; t += 100) {
    clock_.Advance(100ms);
    Give(1, {t});
    EXPECT_EQ(Watermark(), t <= 1200 ? 99 : t - 1);
  }
  Give(0, {110});
  EXPECT_EQ(Watermark(), 1899) << "late as it is, it takes nothing back";
  Give(1, {2500});
  EXPECT_EQ(Watermark(), 1899) << "and holds the other one back again";
  Give(0, {2400});
  EXPECT_EQ(Watermark(), 2399);
}

TEST_F(ReaderOperatorTest, WhenAllSplitsAreSilentTheSourceIsIdleUntilOneIsNot) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  FindNothingFor(1000ms);
  EXPECT_FALSE(op_->Idle());
  FindNothingFor(200ms);
  EXPECT_TRUE(op_->Idle());
  EXPECT_EQ(Watermark(), 99);
  Give(0, {500});
  EXPECT_FALSE(op_->Idle());
  EXPECT_EQ(Watermark(), 499);
}

TEST_F(ReaderOperatorTest, ASourcesOwnWatermarkIsNoSilence) {
  Open(SourceWatermarks<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  FindNothingFor(5000ms);
  EXPECT_TRUE(op_->Idle());
  script_.splits->EmitWatermark(0, Timestamp{70});
  EXPECT_FALSE(op_->Idle());
  EXPECT_EQ(Watermark(), 70);
}

TEST_F(ReaderOperatorTest, ASourcesWatermarkThatAStrategyReplacesEndsNoSilence) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  FindNothingFor(5000ms);
  EXPECT_TRUE(op_->Idle());
  script_.splits->EmitWatermark(0, Timestamp{70});
  EXPECT_TRUE(op_->Idle());
  EXPECT_EQ(Watermark(), kNone);
}

TEST_F(ReaderOperatorTest, TimeWithoutRoomIsNoSilence) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  Give(0, {100});
  Give(1, {200});
  for (int64_t t = 300; t < 2'000; t += 100) {
    op_->SetRoom(false);
    clock_.Advance(60'000ms);
    EXPECT_EQ(Watermark(), 99);
    op_->SetRoom(true);
    Give(1, {t});
    EXPECT_EQ(Watermark(), 99) << "rows of the other split may be next";
  }
  FindNothingFor(1'200ms);
  EXPECT_TRUE(op_->Idle()) << "they were not";
}

// Four partitions, whose rows come in turn, and every batch of which takes long.
TEST_F(ReaderOperatorTest, SplitsThatWaitForTheirTurnAreNotSilent) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(10s));
  for (SplitIndex split = 0; split < 4; ++split) script_.splits->SplitAdded(split, "s");
  for (int round = 1; round <= 10; ++round) {
    for (SplitIndex split = 0; split < 4; ++split) script_.rows.push_back({split, {round * 100}});
  }
  for (int round = 1; round <= 10; ++round) {
    for (int split = 0; split < 4; ++split) {
      EXPECT_EQ(Poll(), 1u);
      clock_.Advance(4s);
      const int64_t behind = split < 3 ? round - 1 : round;
      EXPECT_EQ(Watermark(), behind == 0 ? kNone : behind * 100 - 1) << round << " " << split;
    }
  }
}

// A replay: all that the source has of one partition comes before the next one's first row.
TEST_F(ReaderOperatorTest, ASplitBehindALongRunOfAnotherIsNotSilentAtALowRate) {
  rate_ = 10;
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1s));
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  for (int64_t t = 1; t <= 100; ++t) script_.rows.push_back({0, {t}});
  script_.rows.push_back({1, {50}});
  uint32_t rows = 0;
  for (auto t = 0ms; t < 20s && rows < 100; t += 10ms) {
    clock_.Advance(10ms);
    while (const uint32_t n = Poll()) rows += n;
    EXPECT_EQ(Watermark(), kNone) << rows;
  }
  ASSERT_EQ(rows, 100u);
  EXPECT_GE(clock_.Monotonic(), 9s);
  clock_.Advance(100ms);
  EXPECT_EQ(Poll(), 1u);
  EXPECT_EQ(Watermark(), 49) << "the other one's row is in time";
}

// What the rate leaves over is time in which it is known what is there.
TEST_F(ReaderOperatorTest, ASilentSplitIsNoticedOnceTheOthersHaveLessThanTheRate) {
  rate_ = 10;
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1s));
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  clock_.Advance(1s);
  for (int64_t t = 0; t < 3'000; t += 200) {  // five a second
    Give(0, {t});
    clock_.Advance(200ms);
  }
  EXPECT_GT(Watermark(), 2'000);
}

TEST_F(ReaderOperatorTest, ASplitThatMayNotBeReadIsNotIdle) {
  rate_ = 0.1;
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  script_.splits->SplitAdded(0, "a");
  script_.rows.push_back({0, {100}});
  FindNothingFor(9'900ms);
  EXPECT_FALSE(op_->Idle());
  FindNothingFor(200ms);
  EXPECT_EQ(Watermark(), 99);
}

TEST_F(ReaderOperatorTest, ASplitIsIdleOnlyWhereItsReaderKnowsThatItIsSilent) {
  Open(MonotonousTimestamps<int64_t>().WithIdleness(1000ms));
  ASSERT_TRUE(script_.splits->LooksForIdleSplits());
  script_.splits->SplitAdded(0, "a");
  Give(0, {100});
  FindNothingFor(400ms);
  EXPECT_EQ(Watermark(), 99);
  EXPECT_EQ(script_.looks, 0) << "there is time";
  script_.silence = SplitSilence::kUnknown;
  FindNothingFor(5'000ms);
  EXPECT_EQ(Watermark(), 99);
  EXPECT_GT(script_.looks, 0);
  EXPECT_FALSE(op_->Idle());
  script_.silence = SplitSilence::kBroken;
  EXPECT_EQ(Watermark(), 99);
  script_.silence = SplitSilence::kReal;
  FindNothingFor(900ms);
  EXPECT_EQ(Watermark(), 99);
  EXPECT_FALSE(op_->Idle()) << "the time has begun anew";
  FindNothingFor(200ms);
  EXPECT_EQ(Watermark(), 99);
  EXPECT_TRUE(op_->Idle());
  const int looks = script_.looks;
  script_.silence = SplitSilence::kUnknown;
  FindNothingFor(2'000ms);
  EXPECT_EQ(Watermark(), 99);
  EXPECT_TRUE(op_->Idle()) << "until it has rows";
  EXPECT_EQ(script_.looks, looks);
}

TEST_F(ReaderOperatorTest, RowsMayCarryWatermarks) {
  Open(PunctuatedWatermarks<int64_t>([](int64_t row) {
    return row % 100 == 0 ? std::optional(Timestamp{row - 1}) : std::nullopt;
  }));
  script_.splits->SplitAdded(0, "a");
  Give(0, {110, 120});
  EXPECT_EQ(Watermark(), kNone);
  Give(0, {200, 130, 100});
  EXPECT_EQ(Watermark(), 199);
}

TEST_F(ReaderOperatorTest, AGeneratorOfOnesOwnIsCopiedForEachSplitAndMayWatchTheClock) {
  Open(Watermarks(Alarm(), [](int64_t row) { return row; }));
  script_.splits->SplitAdded(0, "a");
  script_.splits->SplitAdded(1, "b");
  Give(0, {400});
  Give(1, {700});
  EXPECT_EQ(Watermark(), 400);
  clock_.Advance(1500ms);
  EXPECT_EQ(Watermark(), 500) << "periodic: without a row";
}

}  // namespace
}  // namespace weir
