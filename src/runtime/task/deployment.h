#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "runtime/channel/channel_writer.h"
#include "runtime/channel/in_flight.h"
#include "runtime/channel/input_channel.h"
#include "runtime/channel/input_gate.h"
#include "runtime/channel/remote_channels.h"
#include "runtime/graph/channel_ends.h"
#include "runtime/graph/job_graph.h"
#include "runtime/task/slot.h"
#include "runtime/task/subtask.h"

namespace weir {

/// Where a subtask runs.
struct SubtaskPlacement {
  SubtaskId subtask;
  uint32_t process = 0;
  uint32_t slot = 0;
};

/// The part of one attempt of a job that runs in this process: builds subtasks and the channels
/// between them, and puts them into the slots.
///
/// Owned by the process's control loop. Subtasks belong to their slots once started; the channels
/// stay here and go when the last subtask has gone, because two slots use each.
class Deployment {
 public:
  struct Options {
    const JobGraph* graph = nullptr;  // outlives the deployment
    std::vector<SubtaskPlacement> placements;
    uint32_t process = 0;
    std::vector<Slot*> slots;
    const Clock* clock = nullptr;
    SubtaskListener* listener = nullptr;
    /// Null when the whole job runs here.
    RemoteChannels* remote = nullptr;
    std::function<OperatorContext(SubtaskId, uint32_t operator_index)> context_of;
    /// See Subtask::Options; may be null.
    std::function<bool(SubtaskId, uint32_t operator_index)> wants_full_snapshot;
    /// How often each source emits a latency marker; 0: never.
    std::chrono::nanoseconds latency_interval{};
    /// Called on slots' threads with the age of each marker that arrives at a vertex with a sink.
    /// May be null.
    std::function<void(SubtaskId sink, VertexId source, std::chrono::milliseconds age)>
        note_latency;
    /// What was on its way to the subtask in the checkpoint that it begins from. May be null.
    std::function<std::vector<InFlightRows>(SubtaskId)> in_flight;
    InputGate::InFlightLimits in_flight_limits;
    /// Checkpoints that the coordinator has under way at a time.
    uint32_t max_concurrent_checkpoints = 1;
    /// Of all subtasks: see Subtask::Options.
    bool stands_still = false;
    /// Where a subtask notes that it runs. The cells outlive the deployment. May be null.
    std::function<RunningMark(SubtaskId, uint32_t slot)> mark_of;
  };

  explicit Deployment(Options options);
  ~Deployment();  // after Stop

  /// Hands the subtasks to their slots.
  void Start();

  /// Any control call reaches the subtasks as mail to their slots.
  void Trigger(const Barrier& barrier, bool drain);
  /// Rows per second of the source that is this vertex's head, of all its subtasks wherever they
  /// run; empty: no limit. From construction on.
  void SetSourceRate(VertexId vertex, std::optional<double> per_second);
  /// See Subtask::TurnUnaligned.
  void TurnUnaligned(CheckpointId id);
  void NotifyCheckpointComplete(CheckpointId id);
  void NotifyCheckpointAborted(CheckpointId id);
  /// What the tables of each keyed operator may take when they lie in front of a store.
  void SetStateCacheBytes(size_t bytes);

  /// Removes the subtasks from their slots, those that still restore as soon as they look up.
  /// `done` is called (on some slot's thread) when the last
  /// has gone; only then may the deployment be destroyed.
  void Stop(std::function<void()> done);

  struct LocalSubtask {
    SubtaskId id;
    Slot* slot = nullptr;
    uint32_t slot_index = 0;
    Subtask* subtask = nullptr;  // slot thread only
    std::shared_ptr<SubtaskCounters> counters;
  };
  const std::vector<LocalSubtask>& subtasks() const { return subtasks_; }

 private:
  void BuildSubtask(const SubtaskPlacement& placement);
  bool IsHere(SubtaskId subtask) const;
  Parker* ParkerOf(SubtaskId subtask) const;
  void OnEach(std::function<void(Subtask&)> f);

  const Options options_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::map<SubtaskId, SubtaskPlacement> placement_of_;
  std::map<ChannelId, std::unique_ptr<ChannelWriter>> writers_;  // local channels and remote ones
  std::map<ChannelId, InputChannel*> inputs_;
  std::vector<LocalSubtask> subtasks_;
  std::vector<std::unique_ptr<Subtask>> unstarted_;
};

}  // namespace weir
