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
  std::optional<double> share;
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
    if (script_->rows.empty()) return PollResult::kNothing;
    split = script_->rows.front().split;
    for (int64_t time : script_->rows.front().times) batch.Append(time, Timestamp{time});
    script_->rows.pop_front();
    return PollResult::kMore;
  }
  std::optional<double> ShareOfRate() const override { return script_->share; }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  Script* const script_;
};

class ReaderOperatorTest : public ::testing::Test {
 protected:
  void Open(WatermarkStrategy<int64_t> strategy = {}, uint32_t parallelism = 1) {
    op_.emplace(std::make_unique<ScriptedReader>(&script_), std::move(strategy));
    if (rate_) op_->SetRate(rate_);
    OperatorContext context;
    context.runtime.clock = &clock_;
    context.runtime.parallelism = parallelism;
    op_->Open(context);
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
  void Give(SplitIndex split, std::vector<int64_t> times) {
    script_.rows.push_back({split, std::move(times)});
    Poll();
  }

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

}  // namespace
}  // namespace weir
