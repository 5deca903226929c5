#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/parker.h"
#include "proto/checkpoint.pb.h"
#include "runtime/task/subtask.h"
#include "state/checkpoint/snapshot_file_writer.h"
#include "state/checkpoint/storage.h"
#include "state/segment/segment_builder.h"
#include "state/store.h"
#include "taskmanager/keyed_chain.h"
#include "taskmanager/stored_files.h"

namespace weir {

/// Makes the snapshots of one attempt's subtasks in this process durable: sorts what keyed
/// operators hand over, writes it into one file per checkpoint, takes in the files of sinks, and
/// reports what each subtask contributes.
///
/// A checkpoint that fails or is cancelled costs nothing but a larger next one: what had been
/// written for it stays where it came from until a file that has it is durable.
///
/// Of several checkpoints under way the files are written one after the other, in the order of
/// their ids, whatever their snapshots wait for: what a file has to hold, and the chain that its
/// checkpoint refers to, depends on what became of the file before.
///
/// Threads: slots push chunks and deliver snapshots; the control loop begins and cancels; three
/// threads of its own sort, write and merge. `Events` are called on these and must only post.
class CheckpointWriter {
 public:
  struct Options {
    /// Outlives the writer.
    CheckpointStorage* storage = nullptr;
    /// Of this process, in file names: letters, digits, '-', '_'.
    std::string label;
    LeaderEpoch epoch;
    AttemptId attempt;
    /// Where large sorts spill.
    std::string spill_directory;
    /// What each operator's changes may take in memory before they are spilled; as much again may
    /// be on its way to the sorting thread and to the store.
    size_t operator_bytes = SegmentBuilder::kDefaultMemoryLimit;
    /// Checkpoints that the coordinator has under way at a time.
    uint32_t max_concurrent = 1;
    /// What the handle of rows in flight says of their edge, by its number.
    std::map<uint32_t, proto::StateHandle> edges;
  };
  /// What is durable of the subtasks of this process, by subtask.
  using Result = std::map<SubtaskId, proto::SubtaskSnapshot>;
  struct Events {
    std::function<void(CheckpointId, absl::StatusOr<Result>)> on_done;
    /// The state of an operator can no longer be kept (its store failed, or memory and spilling
    /// did): the attempt has to end. At most once.
    std::function<void(absl::Status)> on_failed;
  };

  CheckpointWriter(Options options, Events events);
  /// Cancels what runs, a merge too: whoever waits for the attempt to go does not wait for all of
  /// its state to be read and written. No slot may use a sink any more.
  ~CheckpointWriter();

  struct KeyedOperator {
    SubtaskId subtask;
    std::string uid;
    uint32_t max_parallelism = 0;
    KeyGroupRange key_groups;
    std::vector<proto::StateHandle> restored;  ///< the chain that it begins with
    /// What lies below the operator's tables; it is given all that they hand over. Null: nothing.
    std::unique_ptr<StateStore> store;
    Parker* slot = nullptr;
  };
  /// Control loop, before the subtasks start. Sink and store live as long as the writer.
  SnapshotSink* AddOperator(KeyedOperator op);

  /// Control loop, in the order of the ids. At most max_concurrent run; of one more the oldest is
  /// cancelled.
  void Begin(CheckpointId id, const std::set<SubtaskId>& subtasks);
  /// Any thread. Its on_done follows with the reason, unless it had finished; from here, when it
  /// waits for another's file.
  void Cancel(CheckpointId id, const std::string& reason);

  /// Slot thread: the subtask has handed everything over. It may be earlier than Begin, of a
  /// process whose word from the coordinator comes later than barriers from others.
  void Deliver(SubtaskId subtask, SubtaskSnapshot snapshot);

  /// Slot thread: see Subtask::Options. When the stored chain of a memory backend cannot be merged
  /// (a damaged file), a full snapshot takes its place: wanted until one is durable, for the first
  /// may be aborted.
  bool WantsFull(SubtaskId subtask, const std::string& uid);

 private:
  class Operator;
  struct Running;
  using OperatorKey = std::pair<SubtaskId, std::string>;

  void SortLoop();
  void WriteLoop();
  void MergeLoop();
  Operator* FindToMerge() const;
  bool TakeChunks(std::unique_lock<std::mutex>& lock);
  void FailAttempt(std::unique_lock<std::mutex>& lock, absl::Status status);
  CheckpointId OldestWanted() const;
  void WriteDelivered(std::unique_lock<std::mutex>& lock);
  absl::Status WriteSubtask(Running& running, SubtaskId subtask, const SubtaskSnapshot& snapshot);
  absl::Status WriteSegment(Running& running, Operator& op, const OperatorSnapshot& snapshot,
                            CheckpointId id);
  absl::Status WriteOperatorState(Running& running, SubtaskId subtask, const OperatorSnapshot& op,
                                  int index);
  absl::Status WriteInFlight(Running& running, SubtaskId subtask, const SubtaskSnapshot& snapshot);
  absl::Status Append(Running& running, uint32_t section, std::string& slice, bool last);
  void Finish(const std::shared_ptr<Running>& running,
              absl::StatusOr<std::vector<proto::StateHandle>> handles);

  const Options options_;
  const Events events_;

  std::mutex mutex_;
  std::condition_variable sort_wake_;
  std::condition_variable write_wake_;
  std::condition_variable merge_wake_;
  // All below: mutex_, except what says otherwise.
  bool stop_ = false;
  bool failed_ = false;
  std::map<OperatorKey, std::unique_ptr<Operator>> operators_;
  /// By id. The first is in the hands of the writing thread, and the only one that is written into:
  /// what the next has to hold depends on what becomes of it. Those that are not cancelled are at
  /// most max_concurrent.
  std::deque<std::shared_ptr<Running>> running_;
  /// Of checkpoints that were delivered to and have not begun; a few of the newest.
  std::map<CheckpointId, std::map<SubtaskId, SubtaskSnapshot>> early_;
  CheckpointId begun_;  // the newest
  /// What a merge under way looks at; shared because StoppableStorage keeps what it looks at.
  const std::shared_ptr<std::atomic<bool>> ending_ = std::make_shared<std::atomic<bool>>(false);
  StoredFiles stored_files_;  // the sorting thread's alone
  std::thread sort_thread_;
  std::thread write_thread_;
  std::thread merge_thread_;
};

}  // namespace weir
