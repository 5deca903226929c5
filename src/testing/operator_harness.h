#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/data_stream.h"
#include "api/environment.h"
#include "api/keyed_stream.h"
#include "api/windowed_stream.h"
#include "base/clock.h"
#include "base/error.h"
#include "runtime/operator/operator.h"
#include "testing/harness_state.h"

namespace weir::testing {

/// A row that went in or came out, with its timestamp.
template <class T>
struct Stamped {
  T row{};
  Timestamp timestamp = kNoTimestamp;
  friend bool operator==(const Stamped&, const Stamped&) = default;
};

/// How the operator under test runs.
struct HarnessOptions {
  uint32_t parallelism = 1;
  uint32_t max_parallelism = 128;
  /// Begin with this state; null for a first run. Only used by the constructor.
  const HarnessSnapshot* restore = nullptr;
  Timestamp processing_time{0};
  HarnessBackend backend;
};

/// Runs all subtasks of one operator in the test's own thread.
///
///   OperatorHarness<Order, Keyed<std::string, int64_t>> harness([](DataStream<Order> orders) {
///     return orders.KeyBy(&Order::customer).Window(Tumbling(1min)).Aggregate(Sum(&Order::cents));
///   });
///   harness.Push({"ann", 120}, Timestamp{1000});
///   harness.Watermark(Timestamp{59'999});
///   EXPECT_EQ(harness.TakeRows(), ...);
///
/// The function builds exactly one operator on the stream that it is given. Rows reach subtasks as
/// they would in a job: by key group behind KeyBy, else in turn.
template <class In, class Out>
class OperatorHarness {
 public:
  using Build = std::function<DataStream<Out>(DataStream<In>)>;

  explicit OperatorHarness(const Build& build, HarnessOptions options = {})
      : options_(options), clock_(options.processing_time) {
    Source<In> source;
    source.name = "test";
    const DataStream<In> input = env_.From(std::move(source));
    node_ = build(input).node();
    const StreamNode& node = env_.node(node_);
    for (const StreamInput& port : node.inputs) {
      if (port.node != input.node()) {
        ThrowError(ErrorKind::kUser,
                   "the function given to OperatorHarness built more than one operator; test them "
                   "one by one");
      }
    }
    if (node.max_operator_parallelism) {
      options_.parallelism = std::min(options_.parallelism, *node.max_operator_parallelism);
    }
    if (node.inputs[0].router) router_ = node.inputs[0].router(options_.max_parallelism);
    for (uint32_t i = 0; i < options_.parallelism; ++i) {
      subtasks_.push_back(std::make_unique<Subtask>(
          node.make_operator(), options_.max_parallelism,
          KeyGroupRange{FirstKeyGroup(i, options_.max_parallelism, options_.parallelism),
                        FirstKeyGroup(i + 1, options_.max_parallelism, options_.parallelism)},
          options_.restore, options_.backend));
    }
    if (options_.restore != nullptr) restored_ = FormerState(*options_.restore);
    options_.restore = nullptr;
  }

  ~OperatorHarness() {
    for (auto& subtask : subtasks_) {
      if (opened_) subtask->op->Close();
    }
  }

  /// Catches what the operator puts into a side output. Before the first row or time.
  template <class U>
  void Listen(const OutputTag<U>& tag) {
    if (opened_) ThrowError(ErrorKind::kUser, "listen to side outputs before the first row");
    internal::CheckSideOutput(env_.node(node_), tag.name, RecordTypeOf<U>());
    for (auto& subtask : subtasks_) {
      subtask->sides[tag.name] = std::make_unique<Capture<U>>();
    }
  }

  /// Opens the operator; the first row or time does it too.
  void Open() {
    if (opened_) return;
    opened_ = true;
    for (uint32_t i = 0; i < subtasks_.size(); ++i) OpenSubtask(i);
    RunPending();
  }

  void Push(In row, Timestamp timestamp = kNoTimestamp) {
    PushBatch({{std::move(row), timestamp}});
  }

  /// The rows reach a subtask as one batch (at most Batch::kCapacity).
  void PushBatch(const std::vector<Stamped<In>>& rows) {
    Open();
    RecordBatch<In> all;
    for (const Stamped<In>& row : rows) all.Append(row.row, row.timestamp);
    std::vector<uint16_t> channel(all.size());
    if (router_ != nullptr) {
      router_->Route(all, options_.parallelism, channel.data());
    } else {
      for (uint16_t& c : channel) c = static_cast<uint16_t>(turn_++ % options_.parallelism);
    }
    for (uint32_t s = 0; s < subtasks_.size(); ++s) {
      RecordBatch<In> batch;
      for (size_t i = 0; i < rows.size(); ++i) {
        if (channel[i] == s) batch.Append(rows[i].row, rows[i].timestamp);
      }
      if (!batch.empty()) subtasks_[s]->op->ProcessBatch(0, batch);
    }
    RunPending();
  }

  /// Event time in all subtasks. When yielding, this begins what is due, and Resume goes on.
  void Watermark(Timestamp watermark) {
    Open();
    for (auto& subtask : subtasks_) subtask->op->ProcessWatermark(watermark);
    RunPending();
  }
  void Idle() {
    Open();
    for (auto& subtask : subtasks_) subtask->op->ProcessIdle();
  }

  /// Processing time moves forward, and what is due in between happens.
  void ProcessingTime(Timestamp now) {
    Open();
    clock_.Advance(now - clock_.Now());
    for (auto& subtask : subtasks_) {
      while (subtask->op->NextProcessingTimer() <= now) subtask->op->OnProcessingTime(now);
    }
    RunPending();
  }

  /// The last watermark, then the end of all inputs.
  void EndOfInput() {
    Watermark(Timestamp::Max());
    for (auto& subtask : subtasks_) subtask->op->EndOfInput();
  }

  /// With true, operators are asked to yield whenever they look, and only Resume lets them go on.
  void SetYielding(bool yielding) {
    yielding_ = yielding;
    RunPending();
  }
  bool HasPendingWork() const {
    return std::any_of(subtasks_.begin(), subtasks_.end(),
                       [](const auto& s) { return s->op->HasPendingWork(); });
  }
  /// One step of pending work in each subtask.
  void Resume() {
    for (auto& subtask : subtasks_) {
      if (subtask->op->HasPendingWork()) subtask->op->Resume();
    }
  }

  /// What was emitted since the last call, in order within a subtask, subtasks one after another.
  std::vector<Stamped<Out>> Take() {
    std::vector<Stamped<Out>> all;
    for (auto& subtask : subtasks_) subtask->output.MoveTo(all);
    return all;
  }
  std::vector<Out> TakeRows() {
    std::vector<Out> rows;
    for (auto& stamped : Take()) rows.push_back(std::move(stamped.row));
    return rows;
  }
  template <class U>
  std::vector<Stamped<U>> TakeSide(const OutputTag<U>& tag) {
    std::vector<Stamped<U>> all;
    for (auto& subtask : subtasks_) {
      const auto side = subtask->sides.find(tag.name);
      auto* capture =
          side == subtask->sides.end() ? nullptr : dynamic_cast<Capture<U>*>(side->second.get());
      if (capture == nullptr) {
        ThrowError(ErrorKind::kUser, "TakeSide of '" + tag.name +
                                         "': call Listen with the same tag before the first row");
      }
      capture->MoveTo(all);
    }
    return all;
  }
  /// Watermarks that one subtask has passed on since the start.
  const std::vector<Timestamp>& watermarks(uint32_t subtask = 0) const {
    return subtasks_[subtask]->output.watermarks;
  }
  /// What the operator counts under a name, all subtasks together.
  int64_t counter(const std::string& name) const {
    const auto found = counters_.find(name);
    return found == counters_.end() ? 0 : found->second;
  }

  /// The state as it is now, of all subtasks.
  HarnessSnapshot Snapshot() {
    BeginSnapshot();
    return FinishSnapshot();
  }
  /// The same in two steps: what happens in between does not belong to the snapshot.
  void BeginSnapshot() {
    Open();
    begun_.clear();
    ++checkpoint_;
    for (auto& subtask : subtasks_) {
      OperatorStateSnapshot snapshot;
      subtask->op->Snapshot(CheckpointId(checkpoint_), snapshot);
      if (KeyedStateBackend* backend = subtask->op->keyed_state()) {
        backend->BeginSnapshot(CheckpointId(checkpoint_));
      }
      begun_.push_back(
          {.key_groups = subtask->key_groups, .values = snapshot.values, .segments = {}});
    }
  }
  HarnessSnapshot FinishSnapshot() {
    for (size_t i = 0; i < subtasks_.size(); ++i) {
      KeyedStateBackend* backend = subtasks_[i]->op->keyed_state();
      if (backend == nullptr) continue;
      while (!backend->SnapshotSlice()) {
      }
      subtasks_[i]->snapshots.Collect(backend->Schemas());
      begun_[i].segments = subtasks_[i]->snapshots.segments();
    }
    return {.max_parallelism = options_.max_parallelism, .subtasks = begun_};
  }

  /// Entries of keyed state in all subtasks: to see that nothing is left behind.
  uint64_t state_entries() const {
    uint64_t entries = 0;
    for (const auto& subtask : subtasks_) {
      if (const KeyedStateBackend* backend = subtask->op->keyed_state()) {
        entries += backend->Metrics().entries;
      }
    }
    return entries;
  }

 private:
  struct CaptureBase : Output {
    void EmitWatermark(Timestamp watermark) override { watermarks.push_back(watermark); }
    void EmitIdle() override {}
    std::vector<Timestamp> watermarks;
    const RecordType* type = nullptr;  // of the rows that it takes
  };
  template <class U>
  struct Capture final : CaptureBase {
    Capture() { this->type = &RecordTypeOf<U>(); }
    void Emit(Batch& batch) override {
      static_cast<RecordBatch<U>&>(batch).ForEach([this](U& row, Timestamp t) {
        rows.push_back({row, t});
      });
    }
    void MoveTo(std::vector<Stamped<U>>& all) {
      for (auto& row : rows) all.push_back(std::move(row));
      rows.clear();
    }
    std::vector<Stamped<U>> rows;
  };
  struct Subtask {
    Subtask(std::unique_ptr<Operator> made, uint32_t max_parallelism, KeyGroupRange range,
            const HarnessSnapshot* restore, const HarnessBackend& backend)
        : key_groups(range),
          snapshots("operator", max_parallelism, range, restore, backend),
          op(std::move(made)) {}

    const KeyGroupRange key_groups;
    KeyedSnapshots snapshots;
    Capture<Out> output;
    std::map<std::string, std::unique_ptr<CaptureBase>> sides;
    std::unique_ptr<Operator> op;  // last: uses the others
  };

  static std::vector<RestoredOperatorState> FormerState(const HarnessSnapshot& snapshot) {
    std::vector<RestoredOperatorState> formers;
    for (uint32_t i = 0; i < snapshot.subtasks.size(); ++i) {
      formers.push_back({.former_subtask = i,
                         .former_parallelism = static_cast<uint32_t>(snapshot.subtasks.size()),
                         .values = snapshot.subtasks[i].values,
                         .files = {}});
    }
    return formers;
  }

  void OpenSubtask(uint32_t index) {
    Subtask& subtask = *subtasks_[index];
    OperatorContext context;
    context.runtime.job_name = "test";
    context.runtime.operator_name = "operator";
    context.runtime.operator_uid = "operator";
    context.runtime.subtask_index = index;
    context.runtime.parallelism = options_.parallelism;
    context.runtime.max_parallelism = options_.max_parallelism;
    context.runtime.clock = &clock_;
    context.runtime.restored = !restored_.empty();
    context.runtime.restored_state = restored_;
    context.runtime.wake = [] {};
    context.runtime.request_checkpoint = [] {};
    context.runtime.log_warning = [](const std::string&) {};
    context.runtime.add_to_counter = [this](const std::string& name, int64_t delta) {
      counters_[name] += delta;
    };
    context.runtime.set_gauge = [](const std::string&, const std::string&, double) {};
    context.output = &subtask.output;
    for (auto& [tag, side] : subtask.sides) {
      context.side_outputs[tag] = {.output = side.get(), .type = side->type};
    }
    context.keyed_state = subtask.snapshots.Options();
    context.should_yield = [this] { return yielding_; };
    subtask.op->Open(context);
  }

  void RunPending() {
    while (!yielding_ && HasPendingWork()) Resume();
  }

  HarnessOptions options_;
  ManualClock clock_;
  Environment env_;
  uint32_t node_ = 0;
  std::unique_ptr<Router> router_;
  std::vector<std::unique_ptr<Subtask>> subtasks_;
  std::vector<RestoredOperatorState> restored_;
  std::vector<SubtaskState> begun_;
  std::map<std::string, int64_t> counters_;
  bool opened_ = false;
  bool yielding_ = false;
  uint32_t turn_ = 0;
  uint64_t checkpoint_ = 0;
};

}  // namespace weir::testing
