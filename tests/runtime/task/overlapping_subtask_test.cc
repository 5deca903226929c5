// Snapshots of several checkpoints in one subtask.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "runtime/task/subtask.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using test::ScriptedChannel;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;
using Values = std::vector<int>;

constexpr CheckpointId kFirst{1};
constexpr CheckpointId kSecond{2};

/// The way to the snapshot thread, which the test opens and shuts.
class Valve final : public SnapshotSink {
 public:
  bool TryPush(SnapshotChunk&&) override { return open; }
  uint64_t SettledThrough() const override { return 0; }
  void SettleSoon(uint64_t) override {}

  bool open = true;
};

/// What the sink has seen, and up to which checkpoint it would acknowledge.
struct Seen {
  Values rows;
  Timestamp timer = Timestamp::Max();
  CheckpointId ready{UINT64_MAX};
  bool room = true;
};

/// Remembers in its state what it has seen.
class RememberingWriter final : public SinkWriter<int> {
 public:
  explicit RememberingWriter(Seen* seen) : seen_(seen) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<int>& batch) override {
    batch.ForEach([this](int row, Timestamp) { seen_->rows.push_back(row); });
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    std::string& bytes = state.values["seen"];
    for (const int row : seen_->rows) bytes.push_back(static_cast<char>(row));
  }
  bool HasRoom() override { return seen_->room; }
  Timestamp NextProcessingTimer() const override { return seen_->timer; }
  void OnProcessingTime(Timestamp) override { seen_->timer = Timestamp::Max(); }
  bool ReadyToAcknowledge(CheckpointId id) override { return id <= seen_->ready; }

 private:
  Seen* const seen_;
};

/// A subtask with keyed state and a sink, in the test's own thread, behind two channels.
class KeyedSubtask final : public SubtaskListener {
 public:
  explicit KeyedSubtask(uint32_t max_concurrent = 3, InputGate::InFlightLimits limits = {}) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    Sink<int> sink;
    sink.name = "sink";
    sink.make_writer = [this] { return std::make_unique<RememberingWriter>(&seen); };
    env.From(source)
        .KeyBy([](int row) { return row; })
        .Reduce([](const int& a, const int&) { return a; })
        .Uid("first")
        .To(sink);
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[1];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock;
    options.listener = this;
    options.operator_uids = {"first", "sink"};
    options.max_concurrent_checkpoints = max_concurrent;
    options.context_of = [this](uint32_t index) {
      OperatorContext context;
      context.runtime.clock = &clock;
      if (index == 0) context.keyed_state = {.operator_uid = "first", .sink = &valve};
      return context;
    };
    const RecordType* const type = &RecordTypeOf<int>();
    auto gate =
        std::make_unique<InputGate>(std::vector<InputGate::Channel>{{.channel = &a, .type = type},
                                                                    {.channel = &b, .type = type}},
                                    limits, max_concurrent);
    subtask = std::make_unique<Subtask>(std::move(options), vertex, std::move(gate),
                                        std::vector<std::unique_ptr<EdgeOutput>>(),
                                        std::vector<OperatorChain::Edge>());
  }

  void RunWhileBusy() {
    for (int i = 0; i < 10'000; ++i) {
      if (subtask->Run(0ns) != SlotTask::Progress::kBusy) return;
    }
    ADD_FAILURE() << "it is busy for ever";
  }
  /// Rows, then the barriers of the checkpoint.
  void RowsAndBarriers(const Values& rows, uint64_t id) {
    a.Values(rows);
    a.BarrierOf(id);
    b.BarrierOf(id);
  }
  /// The keyed state of the first checkpoint is being written, and the next one's barriers are
  /// there, with a row behind them.
  void SecondComesWhileTheFirstIsWritten() {
    RunWhileBusy();
    valve.open = false;
    RowsAndBarriers({1, 2}, 1);
    RunWhileBusy();
    RowsAndBarriers({3}, 2);
    a.Values({4});
    RunWhileBusy();
  }
  std::vector<CheckpointId> Ids() const {
    std::vector<CheckpointId> ids;
    for (const SubtaskSnapshot& snapshot : snapshots) ids.push_back(snapshot.id);
    return ids;
  }
  /// What the sink had seen at a snapshot's cut, then what was in flight.
  static Values HeldBy(const SubtaskSnapshot& snapshot) {
    Values values;
    for (const char row : snapshot.operators[1].state.values.at("seen")) values.push_back(row);
    for (const InFlightRows& rows : snapshot.in_flight) {
      RecordBatch<int> batch;
      DecodeInFlight(rows, batch);
      batch.ForEach([&](int value, Timestamp) { values.push_back(value); });
    }
    return values;
  }

  ManualClock clock;
  Valve valve;
  ScriptedChannel a, b;
  Seen seen;
  std::vector<SubtaskSnapshot> snapshots;
  std::unique_ptr<Subtask> subtask;

 private:
  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& message) override {
    ADD_FAILURE() << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot snapshot) override {
    snapshots.push_back(std::move(snapshot));
  }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  JobGraph graph_;
};

TEST(OverlappingSubtask, TheNextSnapshotWaitsForTheKeyedStateOfTheOneBefore) {
  KeyedSubtask subtask;
  subtask.SecondComesWhileTheFirstIsWritten();
  EXPECT_THAT(subtask.snapshots, IsEmpty());
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3)) << "the row behind its barriers waits";
  EXPECT_LT(subtask.subtask->NextWakeup(), 1s) << "nobody tells when there is room";
  subtask.valve.open = true;
  subtask.RunWhileBusy();
  ASSERT_THAT(subtask.Ids(), ElementsAre(kFirst, kSecond));
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[0]), ElementsAre(1, 2));
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[1]), ElementsAre(1, 2, 3));
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3, 4));
}

TEST(OverlappingSubtask, ATimerThatIsDueWaitsForTheHeldSnapshotWithoutTurningTheSlot) {
  KeyedSubtask subtask;
  subtask.SecondComesWhileTheFirstIsWritten();
  subtask.seen.timer = subtask.clock.Now();
  subtask.RunWhileBusy();
  EXPECT_EQ(subtask.seen.timer, subtask.clock.Now()) << "what it emits comes after the barrier";
  EXPECT_GT(subtask.subtask->NextWakeup(), subtask.clock.Monotonic());
  subtask.valve.open = true;
  subtask.RunWhileBusy();
  EXPECT_EQ(subtask.seen.timer, Timestamp::Max());
}

TEST(OverlappingSubtask, WhereThereIsOneAtATimeTheOneBeforeGivesWay) {
  KeyedSubtask subtask(/*max_concurrent=*/1);
  subtask.SecondComesWhileTheFirstIsWritten();
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3, 4));
  subtask.valve.open = true;
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kSecond));
}

TEST(OverlappingSubtask, AnAbortOfTheOneBeforeLetsItThrough) {
  KeyedSubtask subtask;
  subtask.SecondComesWhileTheFirstIsWritten();
  subtask.subtask->NotifyCheckpointAborted(kFirst);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3, 4));
  subtask.valve.open = true;
  subtask.RunWhileBusy();
  ASSERT_THAT(subtask.Ids(), ElementsAre(kSecond));
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[0]), ElementsAre(1, 2, 3));
}

TEST(OverlappingSubtask, AnAbortOfTheOneThatWaitsLetsTheRowsGoOn) {
  KeyedSubtask subtask;
  subtask.SecondComesWhileTheFirstIsWritten();
  subtask.subtask->NotifyCheckpointAborted(kSecond);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3, 4));
  subtask.valve.open = true;
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kFirst));
}

TEST(OverlappingSubtask, OneThatIsToTurnUnalignedWaitsWhileRowsGoOn) {
  KeyedSubtask subtask;
  subtask.RunWhileBusy();
  subtask.valve.open = false;
  subtask.RowsAndBarriers({1}, 1);
  subtask.RunWhileBusy();
  subtask.subtask->TurnUnaligned(kSecond);
  subtask.a.Values({2});
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2));
  subtask.valve.open = true;
  subtask.RunWhileBusy();  // cuts here
  subtask.RowsAndBarriers({3}, 2);
  subtask.a.Values({4});
  subtask.RunWhileBusy();
  ASSERT_THAT(subtask.Ids(), ElementsAre(kFirst, kSecond));
  EXPECT_TRUE(subtask.snapshots[1].unaligned);
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[1]), ElementsAre(1, 2, 3));
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2, 3, 4));
}

TEST(OverlappingSubtask, WhatIsInFlightForTwoIsHandedOverWithEach) {
  KeyedSubtask subtask;
  subtask.RunWhileBusy();
  subtask.subtask->TurnUnaligned(kFirst);
  subtask.RunWhileBusy();
  subtask.subtask->TurnUnaligned(kSecond);
  subtask.RunWhileBusy();
  subtask.a.Values({1});
  subtask.a.BarrierOf(1);
  subtask.b.BarrierOf(1);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kFirst)) << "at once, though the second goes on";
  subtask.RowsAndBarriers({2}, 2);
  subtask.RunWhileBusy();
  ASSERT_THAT(subtask.Ids(), ElementsAre(kFirst, kSecond));
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[0]), ElementsAre(1));
  EXPECT_THAT(KeyedSubtask::HeldBy(subtask.snapshots[1]), ElementsAre(1, 2));
}

// Its last barrier is found by a look for barriers alone: no more is pulled ahead, and there is no
// room for rows.
TEST(OverlappingSubtask, WhatIsInFlightIsHandedOverThoughNothingElseMoves) {
  KeyedSubtask subtask(3, {.pulled_bytes = 1});
  subtask.RunWhileBusy();
  for (const CheckpointId id : {kFirst, kSecond}) {
    subtask.subtask->TurnUnaligned(id);
    subtask.RunWhileBusy();
  }
  subtask.seen.room = false;
  subtask.b.BarrierOf(1);
  subtask.b.Values({1});
  subtask.RunWhileBusy();
  subtask.a.BarrierOf(1);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kFirst));
}

TEST(OverlappingSubtask, TheNextIsHandedOverBehindTheOneThatItsSinkIsNotReadyFor) {
  KeyedSubtask subtask;
  subtask.seen.ready = CheckpointId(0);
  subtask.RowsAndBarriers({1}, 1);
  subtask.RowsAndBarriers({2}, 2);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.seen.rows, ElementsAre(1, 2)) << "no row waits for that";
  EXPECT_THAT(subtask.snapshots, IsEmpty());
  subtask.seen.ready = kFirst;
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kFirst));
  subtask.seen.ready = kSecond;
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.Ids(), ElementsAre(kFirst, kSecond));
}

/// Rows without end, each poll one.
class Numbers final : public SourceReader<int> {
 public:
  void Open(const RuntimeContext&, SplitObserver& splits) override { splits.SplitAdded(0, "all"); }
  PollResult Poll(RecordBatch<int>& batch, SplitIndex& split) override {
    split = 0;
    batch.Append(next_++, Timestamp{0});
    return PollResult::kMore;
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  int next_ = 0;
};

class NumbersSubtask final : public SubtaskListener {
 public:
  explicit NumbersSubtask(uint32_t max_concurrent, bool stands_still = false) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    source.make_reader = [] { return std::make_unique<Numbers>(); };
    Sink<int> sink;
    sink.name = "sink";
    sink.make_writer = [this] { return std::make_unique<RememberingWriter>(&seen_); };
    env.From(source).To(sink);
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[0];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock_;
    options.listener = this;
    options.operator_uids = {"numbers", "sink"};
    options.stands_still = stands_still;
    options.max_concurrent_checkpoints = max_concurrent;
    options.context_of = [this](uint32_t) {
      OperatorContext context;
      context.runtime.clock = &clock_;
      return context;
    };
    subtask = std::make_unique<Subtask>(std::move(options), vertex, nullptr,
                                        std::vector<std::unique_ptr<EdgeOutput>>(),
                                        std::vector<OperatorChain::Edge>());
    RunSome();
  }
  void RunSome() {
    for (int i = 0; i < 10; ++i) subtask->Run(0ns);
  }

  size_t rows() const { return seen_.rows.size(); }

  std::vector<CheckpointId> ids;
  std::unique_ptr<Subtask> subtask;

 private:
  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& message) override {
    ADD_FAILURE() << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot snapshot) override { ids.push_back(snapshot.id); }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  ManualClock clock_;
  Seen seen_;
  JobGraph graph_;
};

TEST(OverlappingSubtask, ASourceBeginsAllThatItWasToldToBeginInOrder) {
  NumbersSubtask source(3);
  for (const uint64_t id : {1, 2, 3}) source.subtask->Trigger({.id = CheckpointId(id)}, false);
  source.subtask->NotifyCheckpointAborted(kSecond);
  source.RunSome();
  EXPECT_THAT(source.ids, ElementsAre(kFirst, CheckpointId(3)));
}

TEST(OverlappingSubtask, ASourceThatStandsStillEmitsNothingAndBeginsNoCheckpoint) {
  EXPECT_GT(NumbersSubtask(1).rows(), 0u);
  NumbersSubtask source(1, /*stands_still=*/true);
  source.subtask->Trigger({.id = kFirst}, false);
  source.RunSome();
  EXPECT_EQ(source.rows(), 0u);
  EXPECT_THAT(source.ids, IsEmpty());
}

TEST(OverlappingSubtask, WhereThereIsOneAtATimeASourceBeginsTheNewest) {
  NumbersSubtask source(1);
  for (const uint64_t id : {1, 2}) source.subtask->Trigger({.id = CheckpointId(id)}, false);
  source.RunSome();
  EXPECT_THAT(source.ids, ElementsAre(kSecond));
}

}  // namespace
}  // namespace weir
