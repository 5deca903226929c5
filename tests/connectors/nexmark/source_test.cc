#include "connectors/nexmark/source.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "connectors/nexmark/generator.h"
#include "tests/connectors/nexmark/oracle.h"

namespace weir::nexmark {
namespace {

class Splits final : public SplitObserver {
 public:
  void SplitAdded(SplitIndex split, const std::string&) override { added.insert(split); }
  void SplitFinished(SplitIndex split) override { finished.insert(split); }
  void EmitWatermark(SplitIndex, Timestamp) override {}
  std::set<SplitIndex> added;
  std::set<SplitIndex> finished;
};

/// One subtask's reader, driven by hand.
class Subtask {
 public:
  Subtask(const SourceOptions& options, uint32_t index, uint32_t parallelism,
          std::vector<RestoredOperatorState> restored = {})
      : reader_(Source(options).make_reader()) {
    context_.subtask_index = index;
    context_.parallelism = parallelism;
    context_.restored = !restored.empty();
    context_.restored_state = std::move(restored);
    context_.clock = &clock;
    reader_->Open(context_, splits);
  }
  ~Subtask() { reader_->Close(); }

  /// Polls at most `batches` times, or to the end.
  PollResult Drain(size_t batches = SIZE_MAX) {
    for (; batches > 0; --batches) {
      RecordBatch<Event> batch;
      SplitIndex split = 0;
      const PollResult result = reader_->Poll(batch, split);
      batch.ForEach([&](Event& event, Timestamp t) {
        EXPECT_EQ(event.date_time(), t);
        all.Add(event);
        ++rows_of[split];
      });
      if (result != PollResult::kMore) return result;
    }
    return PollResult::kMore;
  }

  std::optional<double> ShareOfRate() const { return reader_->ShareOfRate(); }

  RestoredOperatorState Snapshot() {
    OperatorStateSnapshot snapshot;
    reader_->Snapshot(CheckpointId(1), snapshot);
    RestoredOperatorState state;
    state.values = snapshot.values;
    return state;
  }

  ManualClock clock;
  Splits splits;
  Digest all;
  std::map<SplitIndex, uint64_t> rows_of;

 private:
  RuntimeContext context_;
  std::unique_ptr<SourceReader<Event>> reader_;
};

SourceOptions Options(uint64_t events, uint32_t splits) {
  SourceOptions options;
  options.generator.events = events;
  options.generator.splits = splits;
  return options;
}

Digest Expected(const GeneratorOptions& options) {
  const Generator generator(options);
  Digest digest;
  Event event;
  for (uint32_t split = 0; split < options.splits; ++split) {
    for (uint64_t i = 0; i < generator.SplitSize(split); ++i) {
      generator.Make(generator.At(split, i), event);
      digest.Add(event);
    }
  }
  return digest;
}

TEST(NexmarkSource, SubtasksShareTheSplits) {
  const SourceOptions options = Options(50'000, 5);
  EXPECT_TRUE(Source(options).bounded);
  Digest all;
  for (uint32_t index = 0; index < 2; ++index) {
    Subtask subtask(options, index, 2);
    EXPECT_EQ(subtask.splits.added,
              index == 0 ? (std::set<SplitIndex>{0, 2, 4}) : (std::set<SplitIndex>{1, 3}));
    EXPECT_EQ(subtask.Drain(), PollResult::kEnd);
    EXPECT_EQ(subtask.splits.finished, subtask.splits.added);
    for (const auto& [split, rows] : subtask.rows_of) EXPECT_EQ(rows, 10'000u);
    EXPECT_EQ(subtask.Drain(), PollResult::kEnd) << "said again";
    all.Add(subtask.all);
  }
  EXPECT_EQ(all, Expected(options.generator));
}

TEST(NexmarkSource, ASubtaskWithoutSplitsHasNone) {
  Subtask subtask(Options(100, 2), 2, 3);
  EXPECT_TRUE(subtask.splits.added.empty());
  EXPECT_EQ(subtask.Drain(), PollResult::kEnd);
  EXPECT_NE(Source(Options(100, 2)).validate(3), "");
  EXPECT_EQ(Source(Options(100, 2)).validate(2), "");
}

TEST(NexmarkSource, SplitsAdvanceTogether) {
  Subtask subtask(Options(1'000'000, 4), 0, 1);
  ASSERT_EQ(subtask.Drain(10), PollResult::kMore);
  for (const auto& [split, rows] : subtask.rows_of) {
    EXPECT_GE(rows, 2u * Batch::kCapacity);
    EXPECT_LE(rows, 3u * Batch::kCapacity);
  }
  EXPECT_EQ(subtask.rows_of.size(), 4u);
}

TEST(NexmarkSource, ResumesAtAnyParallelismWithoutLossOrRepetition) {
  const SourceOptions options = Options(100'000, 7);
  std::vector<RestoredOperatorState> states;
  Digest all;
  for (uint32_t index = 0; index < 2; ++index) {
    Subtask subtask(options, index, 2);
    ASSERT_EQ(subtask.Drain(10 + 20 * index), PollResult::kMore);
    all.Add(subtask.all);
    states.push_back(subtask.Snapshot());
  }
  for (uint32_t index = 0; index < 3; ++index) {
    Subtask subtask(options, index, 3, states);
    ASSERT_EQ(subtask.Drain(), PollResult::kEnd);
    all.Add(subtask.all);
  }
  EXPECT_EQ(all, Expected(options.generator));
}

TEST(NexmarkSource, AtTheEndARestoredSourceSaysSoAgain) {
  const SourceOptions options = Options(1'000, 2);
  Subtask first(options, 0, 1);
  ASSERT_EQ(first.Drain(), PollResult::kEnd);
  Subtask second(options, 0, 1, {first.Snapshot()});
  EXPECT_EQ(second.Drain(), PollResult::kEnd);
  EXPECT_EQ(second.all.rows, 0u);
  EXPECT_EQ(second.splits.finished, (std::set<SplitIndex>{0, 1}));
}

TEST(NexmarkSource, OtherOptionsThanTheCheckpointsAreRefused) {
  Subtask first(Options(1'000, 2), 0, 1);
  SourceOptions other = Options(1'000, 2);
  other.generator.seed = 9;
  try {
    Subtask second(other, 0, 1, {first.Snapshot()});
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUser);
    EXPECT_NE(std::string(error.what()).find("seed=1"), std::string::npos) << error.what();
  }
  RestoredOperatorState damaged;
  damaged.values["split-0"] = "x";
  EXPECT_THROW(Subtask(Options(1'000, 2), 0, 1, {damaged}), Error);
}

TEST(NexmarkSource, SharesItsRateOutBySplits) {
  SourceOptions options = Options(0, 4);
  options.emit_per_second = 1'000;
  EXPECT_FALSE(Source(options).bounded);
  EXPECT_EQ(Source(options).rate_per_second, 1'000);
  EXPECT_EQ(Subtask(options, 0, 3).ShareOfRate(), 0.5) << "two of the four splits";
  EXPECT_EQ(Subtask(options, 1, 3).ShareOfRate(), 0.25);
}

TEST(NexmarkSource, AnEndlessSourceWithoutSplitsHasNothing) {
  Subtask subtask(Options(0, 2), 2, 3);
  EXPECT_EQ(subtask.Drain(), PollResult::kNothing);
}

}  // namespace
}  // namespace weir::nexmark
