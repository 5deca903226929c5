#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/ids.h"
#include "runtime/channel/edge_output.h"
#include "runtime/channel/input_gate.h"
#include "runtime/channel/remote_channels.h"
#include "runtime/graph/job_graph.h"
#include "runtime/operator/operator_state.h"
#include "runtime/source/source.h"
#include "runtime/task/operator_chain.h"
#include "runtime/task/operator_failure.h"
#include "runtime/task/running_mark.h"
#include "runtime/task/slot.h"

namespace weir {

class SourceOperator;

/// One operator's part of a subtask's snapshot.
struct OperatorSnapshot {
  std::string uid;
  OperatorStateSnapshot state;
  /// Of a keyed operator: the states of the segment that its sink has been given.
  bool keyed = false;
  std::vector<StateSchema> schemas;
};

/// What a subtask hands to whoever makes the checkpoint durable. Keyed state goes there through the
/// backends' sinks and is complete when this is given.
struct SubtaskSnapshot {
  CheckpointId id;
  std::vector<OperatorSnapshot> operators;
  Timestamp watermark{};
  bool at_end_of_data = false;
  std::chrono::nanoseconds sync_duration{};
  std::chrono::nanoseconds alignment_duration{};
  /// Taken ahead of its barriers; then these rows were on their way to the subtask.
  bool unaligned = false;
  std::vector<InFlightRows> in_flight;
};

/// Hears what happens to a subtask. Called on its slot's thread; must not block.
class SubtaskListener {
 public:
  virtual ~SubtaskListener() = default;
  virtual void OnRunning(SubtaskId subtask) = 0;
  virtual void OnEndOfData(SubtaskId subtask) = 0;
  /// `op` is one of the subtask's, or one that reads what it emits.
  virtual void OnFailed(SubtaskId subtask, OperatorPlace op, ErrorKind kind,
                        const std::string& message) = 0;
  /// Everything of the snapshot has been handed over.
  virtual void OnSnapshot(SubtaskId subtask, SubtaskSnapshot snapshot) = 0;
  /// There will be none: the checkpoint fails.
  virtual void OnSnapshotFailed(SubtaskId subtask, CheckpointId id, const std::string& reason) = 0;
  /// The subtask's sinks have published everything up to `id`.
  virtual void OnPublished(SubtaskId subtask, CheckpointId id) = 0;
};

/// Counters of one subtask. Written by the slot thread per batch, read by metrics.
struct SubtaskCounters {
  std::atomic<uint64_t> records_in{0};
  std::atomic<uint64_t> records_out{0};
  std::atomic<uint64_t> batches{0};
  std::atomic<int64_t> watermark_ms{Timestamp::Min().ms};
  std::atomic<uint32_t> input_queued{0};
  TaskTimes times;
  /// Of all its keyed operators, at most half a second old.
  struct State {
    std::atomic<bool> keyed{false};  // false: there is none, the others say nothing
    std::atomic<uint64_t> entries{0};
    std::atomic<uint64_t> memory_bytes{0};
    std::atomic<uint64_t> snapshot_bytes{0};
    std::atomic<uint64_t> waiting_bytes{0};
    std::atomic<uint64_t> store_reads{0};
    std::atomic<uint64_t> store_multi_gets{0};
  } state;
};

/// One parallel instance of a vertex: takes rows from its source or its gate, feeds them through
/// the chain, answers barriers.
///
/// Slot thread only, but for the counters. Nothing blocks: Run returns when its slice is used up,
/// nothing is there, or the output has no room. Rows are fed in views of the input batch, whole
/// while there is room and in ever smaller steps when the last step overran it, down to one record;
/// what one record emits beyond room goes into the channels' overdraft.
///
/// Checkpoints may overlap: snapshots are taken in the order of their ids and handed over in it. An
/// operator's tables know one snapshot at a time that is still to be written, so that the next one
/// waits until the keyed state of the one before is written: a source lets its barrier wait, a
/// subtask that is to turn unaligned goes on with its rows, and one whose barriers are all there
/// does nothing else meanwhile.
class Subtask final : public SlotTask {
 public:
  struct Options {
    SubtaskId id;
    std::chrono::nanoseconds buffer_timeout{};
    std::chrono::nanoseconds watermark_interval{};
    /// How often a source emits a latency marker; 0: never.
    std::chrono::nanoseconds latency_interval{};
    /// Called with the age of each marker that arrives. Null: nobody wants to know.
    std::function<void(VertexId source, std::chrono::milliseconds age)> note_latency;
    const Clock* clock = nullptr;
    Parker* parker = nullptr;
    SubtaskListener* listener = nullptr;
    /// Where it notes that it runs.
    RunningMark mark;
    /// Set (by any thread) when the subtask is to go: a restore then ends before its time, and a
    /// subtask that has not been opened yet never is. Null: never.
    std::shared_ptr<const std::atomic<bool>> cancelled;
    /// Called now and then while it restores. Null: nobody wants to know.
    std::function<void()> note_progress;
    std::function<OperatorContext(uint32_t index)> context_of;
    std::vector<std::string> operator_uids;
    /// True when the operator's next keyed snapshot must be a full one, because what an earlier one
    /// wrote is lost. Null: never.
    std::function<bool(uint32_t index)> wants_full_snapshot;
    /// Checkpoints that the coordinator has under way at a time.
    uint32_t max_concurrent_checkpoints = 1;
    /// Nothing but to publish what its sinks were restored with: a source emits nothing and begins
    /// no checkpoint, and operators are not told again of the one that they come from.
    bool stands_still = false;
    /// The channels from other processes that the gate reads; null when there are none.
    std::unique_ptr<RemoteChannels::Gate> remote_gate;
  };

  /// `gate` is null for a source. `edges` are owned by the subtask; `chain_edges` point into them.
  Subtask(Options options, const JobVertex& vertex, std::unique_ptr<InputGate> gate,
          std::vector<std::unique_ptr<EdgeOutput>> edges,
          std::vector<OperatorChain::Edge> chain_edges);
  ~Subtask() override;

  Progress Run(std::chrono::nanoseconds slice) override;
  std::chrono::nanoseconds NextWakeup() override;
  TaskTimes& times() override { return counters_->times; }

  /// Source subtasks: begin this checkpoint at the next record boundary. With `drain` event time
  /// ends first. Ignored by others (their barriers come through the gate).
  void Trigger(const Barrier& barrier, bool drain);
  /// The checkpoint turns unaligned: a subtask that reads a gate and waits for its barriers takes
  /// its snapshot now, and what is on its way to it becomes part of that. Ignored by sources, and
  /// when the snapshot is taken or the checkpoint given up.
  void TurnUnaligned(CheckpointId id);
  /// Source subtasks: rows per second of the whole source; empty: no limit.
  void SetSourceRate(std::optional<double> per_second);
  void NotifyCheckpointComplete(CheckpointId id);
  void NotifyCheckpointAborted(CheckpointId id);
  /// Of each keyed operator, from now on.
  void SetStateCacheBytes(size_t bytes);

  const std::shared_ptr<SubtaskCounters>& counters() const { return counters_; }
  const OperatorChain& chain() const { return chain_; }
  SubtaskId id() const { return options_.id; }

 private:
  enum class Step { kDone, kNothing, kNoRoom };

  struct PendingSnapshot {
    SubtaskSnapshot snapshot;
    bool keyed_done = false;
    bool asked = false;  ///< the operators, whether it may be acknowledged
  };
  /// A checkpoint that a source is to begin.
  struct Triggered {
    Barrier barrier;
    bool drain = false;
  };
  /// One whose barriers are all there, while it waits for the snapshot before.
  struct Held {
    Barrier barrier;
    std::chrono::nanoseconds alignment{};
  };

  /// An idle subtask whose snapshot waits for the snapshot thread looks again after this long.
  static constexpr std::chrono::nanoseconds kSnapshotRetry = std::chrono::microseconds(100);
  /// A subtask whose state waits for the store or the snapshot thread looks again after this long:
  /// of what is settled on the way, and not because it was asked for, nobody tells it.
  static constexpr std::chrono::nanoseconds kStateRetry = std::chrono::milliseconds(1);
  /// However short the buffer timeout: what could not be flushed is tried again after this long.
  /// Nobody tells when it can be: the receiver has enough to do as long as it cannot.
  static constexpr std::chrono::nanoseconds kFlushRetry = std::chrono::milliseconds(1);
  /// With input waiting, a snapshot gets a fifth of the subtask's time, in slices shorter than a
  /// batch takes; the rest of the time it takes what it can.
  static constexpr int kStepsTimePerSnapshotTime = 4;
  static constexpr size_t kBusySliceBytes = 16 << 10;
  static constexpr size_t kIdleSliceBytes = 64 << 10;
  /// What a step or slice counts for at most: a thread that lost its core was not at work.
  static constexpr std::chrono::nanoseconds kLongestCounted = std::chrono::milliseconds(1);
  /// Rows that take longer together are fed in smaller steps: between two steps the subtask hears
  /// the control plane. Long enough that no batch worth looking up together is taken apart.
  static constexpr std::chrono::nanoseconds kLongestStep = std::chrono::milliseconds(50);
  /// Of more checkpoints whose output waits for its publication the newest alone is remembered
  /// beyond these; the report of that one is theirs, too.
  static constexpr size_t kMaxUnpublished = 64;

  template <class F>
  void Guard(F&& f);
  void Open();
  void WhileRestoring();
  bool Cancelled() const;
  Progress RunOpened(std::chrono::nanoseconds deadline);
  Step OneStep();
  bool StepBarrier();
  Step StepSource();
  Step StepGate();
  void FeedView();
  void BatchDone();
  void EmitSourceWatermark(bool now);
  bool EmitsMarkers() const;
  void EmitLatencyMarker();
  void OnLatencyMarker(const LatencyMarker& marker);
  void ReachEndOfData();
  void NoteAlignment();
  std::chrono::nanoseconds EndAlignment();
  bool MayTakeSnapshot() const;
  void OnGateBarrier(const Barrier& barrier);
  bool SnapshotIsDue() const;
  void TakeDueSnapshot();
  void TurnNow(CheckpointId id);
  void OnBarrier(const Barrier& barrier, std::chrono::nanoseconds alignment);
  bool PullInFlight();
  void ContinueSnapshots();
  bool MayHandOver(PendingSnapshot& pending);
  bool TakeInFlight(SubtaskSnapshot& snapshot);
  bool WriteKeyed();
  bool SnapshotGoesOn() const;
  void PaceSnapshot(Step step, std::chrono::nanoseconds now);
  bool PublishedUpTo(CheckpointId id);
  void CheckPublished();
  void FlushIfDue();
  void CountState(std::chrono::nanoseconds now);
  bool HasRoom();
  void NoteRoom(bool room);
  void CheckStateBound();
  bool ShouldYield();
  void Fail(ErrorKind kind, const std::string& message);
  void Fail(OperatorPlace op, ErrorKind kind, const std::string& message);

  const Options options_;
  const std::shared_ptr<SubtaskCounters> counters_ = std::make_shared<SubtaskCounters>();
  std::unique_ptr<InputGate> gate_;
  std::vector<std::unique_ptr<EdgeOutput>> edges_;
  OperatorChain chain_;
  SourceOperator* source_ = nullptr;
  struct Backend {
    uint32_t index = 0;
    KeyedStateBackend* backend = nullptr;
  };
  std::vector<Backend> backends_;  // of the chain's keyed operators
  std::chrono::nanoseconds state_counted_{};

  bool running_ = false;  // it is open, and the listener knows
  bool failed_ = false;   // or was cancelled before it ran: nothing of it runs any more
  bool at_end_ = false;
  bool silent_ = false;         // a stop barrier has passed: sources emit nothing more
  bool without_room_ = false;   // at the last step
  bool state_blocked_ = false;  // when it was last asked for room

  // The batch that is being fed, and how far.
  Batch* batch_ = nullptr;
  uint32_t batch_input_ = 0;
  uint32_t cursor_ = 0;
  uint32_t step_ = Batch::kCapacity;
  PollResult polled_ = PollResult::kMore;

  std::chrono::nanoseconds deadline_{};
  std::chrono::nanoseconds next_watermark_{};
  std::chrono::nanoseconds next_marker_{};
  Timestamp emitted_watermark_ = Timestamp::Min();
  bool watermark_due_ = false;
  bool emitted_idle_ = false;

  bool unflushed_ = false;
  std::chrono::nanoseconds flush_at_{};

  // All three by id, and bounded as the checkpoints under way are.
  std::deque<Triggered> triggered_;
  std::deque<PendingSnapshot> pending_;
  std::deque<CheckpointId> to_turn_;  // unaligned, when they may take their snapshots
  std::optional<Held> held_;
  // The snapshot's share of the time since its barrier, less what it has used of it.
  std::chrono::nanoseconds snapshot_credit_{};
  std::chrono::nanoseconds step_began_{};
  bool had_input_ = false;  // at the last step
  std::chrono::nanoseconds alignment_began_{};
  // What the sinks were told of and is not reported as published: by id, at most kMaxUnpublished.
  std::deque<CheckpointId> unpublished_;
};

}  // namespace weir
