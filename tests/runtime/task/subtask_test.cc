#include "runtime/task/subtask.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "api/windowed_stream.h"
#include "testing/harness_state.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using test::ScriptedChannel;
using testing::KeyedSnapshots;
using ::testing::SizeIs;
using namespace std::chrono_literals;

constexpr uint32_t kMaxParallelism = 128;

/// What a sink's writer has been given, and how much it takes.
struct Written {
  std::vector<int> keys;
  size_t limit = SIZE_MAX;
  bool out_of_disk = false;
  Timestamp timer = Timestamp::Max();
};

class BoundedWriter final : public SinkWriter<int> {
 public:
  explicit BoundedWriter(Written* written) : written_(written) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<int>& batch) override {
    batch.ForEach([this](int key, Timestamp) { written_->keys.push_back(key); });
  }
  bool HasRoom() override {
    if (written_->out_of_disk) ThrowError(ErrorKind::kExternal, "the backlog is too long");
    return written_->keys.size() < written_->limit;
  }
  Timestamp NextProcessingTimer() const override { return written_->timer; }
  void OnProcessingTime(Timestamp) override { written_->timer = Timestamp::Max(); }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  Written* const written_;
};

/// State whose restore is cancelled at its first entry.
class InterruptedState final : public RestoredState {
 public:
  InterruptedState(const RestoredState* state, std::atomic<bool>* cancelled, size_t* visited)
      : state_(state), cancelled_(cancelled), visited_(visited) {}
  std::vector<StateSchema> Schemas() const override { return state_->Schemas(); }
  void ForEach(const std::string& state, KeyGroupRange range, bool changes,
               const std::function<void(const Entry&)>& visit) const override {
    state_->ForEach(state, range, changes, [&](const Entry& entry) {
      *cancelled_ = true;
      ++*visited_;
      visit(entry);
    });
  }

 private:
  const RestoredState* const state_;
  std::atomic<bool>* const cancelled_;
  size_t* const visited_;
};

/// One subtask, a window operator and a sink, in the test's own thread: two input channels that the
/// test fills, a sink that is full when the test says so. Every Run does one step.
class WindowSubtask final : public SubtaskListener {
 public:
  /// Its restore is cancelled when that has just begun, if so wished.
  explicit WindowSubtask(const testing::HarnessSnapshot* restore = nullptr,
                         bool cancel_restore = false)
      : keyed_("windows", kMaxParallelism, {0, kMaxParallelism}, restore, {}) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    Sink<int> sink;
    sink.name = "sink";
    sink.make_writer = [this] { return std::make_unique<BoundedWriter>(&written); };
    env.From(source)
        .KeyBy([](int key) { return key; })
        .Window(Tumbling(10s))
        .Aggregate(Count(), [](int key, const TimeWindow&, uint64_t) { return key; })
        .Uid("windows")
        .To(sink);
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[1];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock;
    options.listener = this;
    options.operator_uids = {"windows", "sink"};
    options.cancelled = cancelled_;
    options.note_progress = [this] { ++progress; };
    options.context_of = [this, restore, cancel_restore](uint32_t index) {
      OperatorContext context;
      context.runtime.clock = &clock;
      if (index > 0) return context;
      context.keyed_state = keyed_.Options();
      if (restore == nullptr) return context;
      if (cancel_restore) {
        interrupted_.emplace(context.keyed_state.restored, cancelled_.get(), &visited);
        context.keyed_state.restored = &*interrupted_;
      }
      context.runtime.restored = true;
      context.runtime.restored_state = {
          {.former_parallelism = 1, .values = restore->subtasks[0].values, .files = {}}};
      return context;
    };
    auto gate = std::make_unique<InputGate>(
        std::vector<InputGate::Channel>{{.channel = &a}, {.channel = &b}});
    subtask = std::make_unique<Subtask>(std::move(options), vertex, std::move(gate),
                                        std::vector<std::unique_ptr<EdgeOutput>>(),
                                        std::vector<OperatorChain::Edge>());
  }

  SlotTask::Progress Run() { return subtask->Run(0ns); }
  void RunWhileBusy() {
    while (Run() == SlotTask::Progress::kBusy) {
    }
  }
  /// Until the sink is full or all is done.
  std::vector<int> Take() {
    RunWhileBusy();
    return std::exchange(written.keys, {});
  }
  /// What another subtask may be restored from.
  testing::HarnessSnapshot State() {
    const SubtaskSnapshot& snapshot = snapshots.back();
    keyed_.Collect(snapshot.operators[0].schemas);
    return {.max_parallelism = kMaxParallelism,
            .subtasks = {{.key_groups = {0, kMaxParallelism},
                          .values = snapshot.operators[0].state.values,
                          .segments = keyed_.segments()}}};
  }

  ManualClock clock;
  ScriptedChannel a, b;
  Written written;
  std::vector<SubtaskSnapshot> snapshots;
  std::vector<std::pair<uint32_t, std::string>> failures;  // operator, message
  int running = 0;                                         // how often it was reported
  int progress = 0;                                        // likewise, during the restore
  size_t visited = 0;                                      // entries of the restored state
  std::unique_ptr<Subtask> subtask;

 private:
  void OnRunning(SubtaskId) override { ++running; }
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace op, ErrorKind, const std::string& message) override {
    failures.emplace_back(op.index, message);
    EXPECT_TRUE(written.out_of_disk) << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot snapshot) override {
    snapshots.push_back(std::move(snapshot));
  }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  JobGraph graph_;
  KeyedSnapshots keyed_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::optional<InterruptedState> interrupted_;
};

std::vector<int> Sorted(std::vector<int> numbers) {
  std::ranges::sort(numbers);
  return numbers;
}

constexpr int kKeys = 1000;

std::vector<int> AllKeys() {
  std::vector<int> keys(kKeys);
  std::iota(keys.begin(), keys.end(), 0);
  return keys;
}

/// A subtask whose sink got full in the middle of a firing of all keys.
std::unique_ptr<WindowSubtask> InTheMiddleOfAFiring() {
  auto subtask = std::make_unique<WindowSubtask>();
  subtask->a.Rows(kKeys);
  subtask->written.limit = 300;
  for (ScriptedChannel* channel : {&subtask->a, &subtask->b}) channel->Watermark(10'000);
  subtask->RunWhileBusy();
  EXPECT_EQ(subtask->Run(), SlotTask::Progress::kBlocked);
  EXPECT_GE(subtask->written.keys.size(), 300u);
  EXPECT_LT(subtask->written.keys.size(), 500u);
  return subtask;
}

TEST(Subtask, TakesABarrierInTheMiddleOfAFiringWithoutRoom) {
  auto subtask = InTheMiddleOfAFiring();
  subtask->a.BarrierOf(1);
  subtask->b.BarrierOf(1);
  subtask->RunWhileBusy();
  ASSERT_THAT(subtask->snapshots, SizeIs(1));
  EXPECT_EQ(subtask->snapshots[0].id, CheckpointId(1));
}

TEST(Subtask, RestoredInTheMiddleOfAFiringEmitsTheRestOnce) {
  auto first = InTheMiddleOfAFiring();
  first->a.BarrierOf(1);
  first->b.BarrierOf(1);
  first->RunWhileBusy();
  ASSERT_THAT(first->snapshots, SizeIs(1));
  const testing::HarnessSnapshot snapshot = first->State();
  const std::vector<int> before = std::exchange(first->written.keys, {});

  // The one that goes on is not disturbed by the snapshot.
  std::vector<int> all = before;
  first->written.limit = SIZE_MAX;
  for (int key : first->Take()) all.push_back(key);
  EXPECT_EQ(Sorted(all), AllKeys());

  // Its successor is stopped once more before it is through.
  WindowSubtask second(&snapshot);
  second.written.limit = 200;
  std::vector<int> rest = second.Take();
  EXPECT_LT(before.size() + rest.size(), size_t{kKeys});
  second.a.BarrierOf(2);
  second.b.BarrierOf(2);
  second.written.limit = 0;
  second.RunWhileBusy();
  ASSERT_THAT(second.snapshots, SizeIs(1));
  const testing::HarnessSnapshot later = second.State();

  WindowSubtask third(&later);
  all = before;
  all.insert(all.end(), rest.begin(), rest.end());
  for (int key : third.Take()) all.push_back(key);
  EXPECT_EQ(Sorted(all), AllKeys());
}

TEST(Subtask, RowsBehindTheWatermarkKeepTheirPlaceAgainstABarrierInAFiring) {
  auto subtask = InTheMiddleOfAFiring();
  subtask->a.Rows(1);
  subtask->a.BarrierOf(1);
  subtask->b.BarrierOf(1);
  subtask->RunWhileBusy();
  EXPECT_THAT(subtask->snapshots, SizeIs(0)) << "a row stands before the barrier";
  subtask->written.limit = SIZE_MAX;
  subtask->RunWhileBusy();
  ASSERT_THAT(subtask->snapshots, SizeIs(1));
  EXPECT_EQ(Sorted(subtask->written.keys), AllKeys());
}

TEST(Subtask, TheBarrierOfAStopWaitsForWhatIsDue) {
  auto subtask = InTheMiddleOfAFiring();
  subtask->a.BarrierOf(1, true, CheckpointKind::kStop);
  subtask->b.BarrierOf(1, true, CheckpointKind::kStop);
  subtask->RunWhileBusy();
  EXPECT_THAT(subtask->snapshots, SizeIs(0));
  subtask->written.limit = SIZE_MAX;
  subtask->RunWhileBusy();
  EXPECT_THAT(subtask->snapshots, SizeIs(1));
  EXPECT_EQ(Sorted(subtask->written.keys), AllKeys());
}

// The snapshot is written in small pieces.
TEST(Subtask, RowsBehindABarrierAreProcessedWhileItsSnapshotIsWritten) {
  WindowSubtask subtask;
  subtask.a.Rows(kKeys);
  subtask.a.BarrierOf(1);
  subtask.b.BarrierOf(1);
  for (int i = 0; i < 3; ++i) subtask.b.Rows(1);
  const auto processed = [&] { return subtask.subtask->counters()->records_in.load(); };
  uint64_t when_done = 0;
  while (subtask.Run() == SlotTask::Progress::kBusy) {
    if (when_done == 0 && !subtask.snapshots.empty()) when_done = processed();
  }
  ASSERT_THAT(subtask.snapshots, SizeIs(1));
  EXPECT_GT(when_done, uint64_t{kKeys});
  EXPECT_EQ(processed(), uint64_t{kKeys + 3});
}

// It does not sleep between the pieces.
TEST(Subtask, IsBusyWithItsSnapshotWhenThereIsNothingElseToDo) {
  WindowSubtask subtask;
  subtask.a.Rows(kKeys);
  subtask.a.BarrierOf(1);
  subtask.b.BarrierOf(1);
  subtask.RunWhileBusy();
  EXPECT_THAT(subtask.snapshots, SizeIs(1));
  EXPECT_EQ(subtask.Run(), SlotTask::Progress::kIdle);
}

TEST(Subtask, NotesProgressWhileItRestores) {
  auto first = InTheMiddleOfAFiring();
  first->a.BarrierOf(1);
  first->b.BarrierOf(1);
  first->RunWhileBusy();
  const auto state = first->State();
  WindowSubtask second(&state);
  second.RunWhileBusy();
  EXPECT_EQ(second.running, 1);
  EXPECT_GT(second.progress, 0);
}

TEST(Subtask, ACancelEndsTheRestoreAndIsNoFailure) {
  auto first = InTheMiddleOfAFiring();
  first->a.BarrierOf(1);
  first->b.BarrierOf(1);
  first->RunWhileBusy();
  const auto state = first->State();
  WindowSubtask second(&state, /*cancel_restore=*/true);
  EXPECT_EQ(second.Run(), SlotTask::Progress::kIdle);
  EXPECT_GT(second.visited, 0u);
  EXPECT_LE(second.visited, 256u) << "of more than a thousand";
  EXPECT_EQ(second.Run(), SlotTask::Progress::kIdle);
  EXPECT_EQ(second.running, 0);
  EXPECT_TRUE(second.failures.empty());
}

TEST(Subtask, WhatASinkThrowsWhenAskedForRoomIsReportedInItsName) {
  WindowSubtask subtask;
  subtask.a.Rows(kKeys);
  subtask.RunWhileBusy();
  subtask.written.out_of_disk = true;
  subtask.RunWhileBusy();
  ASSERT_THAT(subtask.failures, SizeIs(1));
  EXPECT_EQ(subtask.subtask->chain().operator_name(subtask.failures[0].first), "sink");
  EXPECT_EQ(subtask.failures[0].second, "the backlog is too long");
}

// The slot would not sleep, and run it again and again for nothing.
TEST(Subtask, ATimerThatIsDueWakesNobodyWithoutRoom) {
  auto subtask = InTheMiddleOfAFiring();
  subtask->written.timer = Timestamp{5};
  EXPECT_EQ(subtask->Run(), SlotTask::Progress::kBlocked);
  subtask->clock.Advance(1000ms);
  EXPECT_EQ(subtask->Run(), SlotTask::Progress::kBlocked);
  EXPECT_EQ(subtask->subtask->NextWakeup(), std::chrono::nanoseconds::max());
  EXPECT_EQ(subtask->written.timer, Timestamp{5});
  subtask->written.limit = SIZE_MAX;
  subtask->RunWhileBusy();
  EXPECT_EQ(subtask->written.timer, Timestamp::Max()) << "with room it is called";
}

// ---------------------------------------------------------------- a source

/// Rows of four splits, in turn, without end. Rows are their own event times.
class InTurn final : public SourceReader<int> {
 public:
  void Open(const RuntimeContext&, SplitObserver& splits) override {
    for (SplitIndex split = 0; split < 4; ++split) splits.SplitAdded(split, "split");
  }
  PollResult Poll(RecordBatch<int>& batch, SplitIndex& split) override {
    split = static_cast<SplitIndex>(next_ % 4);
    batch.Append(next_, Timestamp{next_});
    ++next_;
    return PollResult::kMore;
  }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  int next_ = 0;
};

/// One subtask of that source with a sink behind it, in the test's own thread.
class SourceSubtask final : public SubtaskListener {
 public:
  /// Restored from what the source has put into that snapshot, if one is given.
  explicit SourceSubtask(const SubtaskSnapshot* restore = nullptr) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    source.make_reader = [] { return std::make_unique<InTurn>(); };
    Sink<int> sink;
    sink.name = "sink";
    sink.make_writer = [this] { return std::make_unique<BoundedWriter>(&written); };
    env.From(source, MonotonousTimestamps<int>().WithIdleness(1s)).To(sink);
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[0];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock;
    options.watermark_interval = 200ms;
    options.listener = this;
    options.operator_uids = {"numbers", "sink"};
    options.context_of = [this, restore](uint32_t index) {
      OperatorContext context;
      context.runtime.clock = &clock;
      if (index > 0 || restore == nullptr) return context;
      context.runtime.restored = true;
      context.runtime.restored_state = {
          {.former_parallelism = 1, .values = restore->operators[0].state.values, .files = {}}};
      return context;
    };
    subtask = std::make_unique<Subtask>(std::move(options), vertex, nullptr,
                                        std::vector<std::unique_ptr<EdgeOutput>>(),
                                        std::vector<OperatorChain::Edge>());
  }
  /// Until the sink has so many rows, and is full.
  void Fill(size_t rows) {
    written.limit = rows;
    while (subtask->Run(0ns) == SlotTask::Progress::kBusy) {
    }
  }
  int64_t watermark() const { return subtask->counters()->watermark_ms; }
  size_t given() const { return written.keys.size(); }

  ManualClock clock;
  Written written;
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

TEST(Subtask, ASourcesWatermarkThatIsDueWakesNobodyWithoutRoom) {
  SourceSubtask source;
  source.Fill(3);
  ASSERT_THAT(source.written.keys, SizeIs(3));
  source.clock.Advance(1000ms);
  EXPECT_EQ(source.subtask->Run(0ns), SlotTask::Progress::kBlocked);
  EXPECT_EQ(source.subtask->NextWakeup(), std::chrono::nanoseconds::max());
}

TEST(Subtask, ASourcesWatermarkGoesBeforeItsBarrier) {
  SourceSubtask source;
  source.Fill(8);
  ASSERT_EQ(source.watermark(), Timestamp::Min().ms) << "not due yet";
  source.written.limit = SIZE_MAX;
  source.subtask->Trigger({.id = CheckpointId(1)}, false);
  while (source.snapshots.empty()) source.subtask->Run(0ns);
  EXPECT_EQ(source.snapshots[0].watermark.ms, static_cast<int64_t>(source.given()) - 5)
      << "of the split that had its turn longest ago";
}

// Where it may not be the last thing that the subtask says before its barrier.
TEST(Subtask, ABarrierThatLeavesASourceWithoutRoomKnowsEventTimeOfTheRowsBeforeIt) {
  SourceSubtask source;
  source.Fill(8);
  source.subtask->Trigger({.id = CheckpointId(1)}, false);
  while (source.snapshots.empty()) source.subtask->Run(0ns);
  ASSERT_EQ(source.given(), 8u);
  ASSERT_EQ(source.watermark(), Timestamp::Min().ms) << "there was room for it";

  SourceSubtask restored(&source.snapshots[0]);
  restored.Fill(1);
  EXPECT_EQ(restored.watermark(), 3) << "of the split that had its turn longest ago";
}

TEST(Subtask, ASourcesSplitsAreNotSilentWithoutRoom) {
  SourceSubtask source;
  for (int rows = 1; rows < 20; ++rows) {
    source.Fill(static_cast<size_t>(rows));
    ASSERT_THAT(source.written.keys, SizeIs(rows));
    source.clock.Advance(60s);
    EXPECT_EQ(source.subtask->Run(0ns), SlotTask::Progress::kBlocked);
    // Before the last poll, of the split that had its turn longest ago.
    if (rows > 4) {
      EXPECT_EQ(source.watermark(), rows - 6);
    }
  }
}

}  // namespace
}  // namespace weir
