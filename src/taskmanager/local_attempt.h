#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "metrics/registry.h"
#include "proto/control.pb.h"
#include "runtime/exchange/exchange.h"
#include "runtime/graph/concurrent_checkpoints.h"
#include "runtime/task/deployment.h"
#include "runtime/task/operator_failure.h"
#include "state/state_bound.h"
#include "taskmanager/black_box.h"
#include "taskmanager/checkpoint_writer.h"
#include "taskmanager/control_loop.h"
#include "taskmanager/exchange_channels.h"
#include "taskmanager/io_thread.h"
#include "taskmanager/operator_metrics.h"
#include "taskmanager/prepared_attempt.h"
#include "taskmanager/subtask_metrics.h"

namespace weir {

/// What an attempt uses of its process. All of it outlives the attempt.
struct AttemptEnvironment {
  ControlLoop* loop = nullptr;
  IoThread* io = nullptr;
  /// Where attempts end. Not `io`: a long preparation must not make another job's end late.
  IoThread* ends = nullptr;
  /// Where their files are removed: nothing waits for that.
  IoThread* removals = nullptr;
  std::vector<Slot*> slots;
  Exchange* exchange = nullptr;
  NetworkBufferPool* network = nullptr;
  BlackBox* black_box = nullptr;
  std::chrono::nanoseconds watchdog_timeout{};
  Artifacts* artifacts = nullptr;
  metrics::Registry* metrics = nullptr;
  std::string metrics_scope = "flink_taskmanager";
  std::chrono::milliseconds metrics_interval{10'000};  ///< of rates
  std::chrono::milliseconds latency_interval{0};       ///< of latency markers; 0: none
  const Clock* clock = nullptr;
  std::string directory;  ///< of this process's working files
  /// Of copies of checkpoint files, one folder for each job; empty: none are kept.
  std::string copies;
  LocalCopyReport* copy_report = nullptr;
  std::string label;         ///< of this process, in names of checkpoint files
  std::string task_manager;  ///< this process's id, in messages
  std::function<absl::Status(const std::string& hash, const std::string& path,
                             const std::atomic<bool>& stop)>
      fetch_artifact;
  /// What all stores of the process share; made at the first call. I/O thread.
  std::function<RocksDbResources*()> rocksdb;
  RocksDbTuning rocksdb_tuning;
  /// When an attempt has gone: memory that only it used goes back to the system. I/O thread.
  std::function<void()> give_back_memory;
  // Shares of the process's memory plan, for all that the attempt has here.
  size_t snapshot_bytes = size_t{512} << 20;       ///< checkpoints that are being written
  uint64_t connector_bytes = uint64_t{256} << 20;  ///< queues of connectors
  // What all attempts of the process together may hold of state that stays in memory.
  size_t pinned_bytes = size_t{256} << 20;       ///< with stores: windows and timers
  size_t state_bytes = size_t{512} << 20;        ///< without
  std::atomic<size_t>* state_account = nullptr;  ///< and what they hold
  /// To the JobManager; any thread.
  std::function<void(proto::ToJobManager)> send;
};

/// The part of one attempt of a job's region that runs in this TaskManager.
///
/// Loads the library and the state on the I/O thread (what a release calls off), deploys into the
/// slots, answers checkpoints, and goes in good order: subtasks out of their slots, streams closed,
/// the writer stopped, then AttemptReleased. A writer stops when the storage lets it, so that it
/// does so on a thread where others may wait: the loop goes on and sees to
/// task.cancellation.timeout. Owned by the control loop; every method is called there. What slots
/// and other threads report arrives as mail.
class LocalAttempt final : private SubtaskListener {
 public:
  /// `on_released` is the last thing an attempt does; it may destroy the attempt.
  LocalAttempt(AttemptEnvironment env, proto::DeployJob deploy, uint64_t leader_epoch,
               std::function<void()> on_released);
  ~LocalAttempt() override;

  void Start();
  void TriggerCheckpoint(const proto::TriggerCheckpoint& trigger);
  void TurnUnaligned(CheckpointId id);
  void SetSourceRate(const proto::SourceRate& rate);
  void CheckpointCompleted(CheckpointId id);
  void CheckpointAborted(CheckpointId id, const std::string& reason);
  /// Another process's data stream broke.
  void PeerFailed(const std::string& message);
  /// Ends it; on_released follows.
  void Release(proto::CancelReason reason);

  const proto::AttemptRef& ref() const { return deploy_.attempt(); }
  const std::string& artifact() const { return deploy_.artifact_hash(); }
  /// Its name between processes: one that no other region's has.
  JobAttempt DataPlaneAttempt() const;
  bool releasing() const { return releasing_; }
  proto::MetricsSnapshot Metrics() const;
  /// Has tables in front of stores, or may come to have some.
  bool UsesStateCache() const;
  /// Of state that has to stay in memory; see StateBound.
  size_t ClaimedBytes() const { return bound_ ? bound_->claimed.load() : 0; }
  /// Its share of tables in front of stores, from now on, before it is deployed too.
  void SetCacheBytes(size_t bytes);

 private:
  /// Of the operators that run here, one for each subtask.
  size_t CountLocal(bool (*is)(const StreamNode&)) const;
  void ApplyCacheBytes();
  void CheckStateMemory() const;
  void OnPrepared(absl::StatusOr<PreparedAttempt> prepared);
  void Deploy();
  void ApplySourceRate(const proto::SourceRate& rate);
  /// Checkpoints that the coordinator has under way at a time.
  uint32_t MaxConcurrentCheckpoints() const {
    const proto::CheckpointSettings& settings = deploy_.graph().settings().checkpoint();
    return ConcurrentCheckpoints(settings.max_concurrent(),
                                 std::chrono::milliseconds(settings.min_pause_ms()));
  }
  void AddSinksOfKeyedOperators();
  SubtaskChannels ChannelsOf(SubtaskId subtask) const;
  RunningMark MarkOf(SubtaskId subtask, uint32_t slot);
  OperatorContext ContextOf(SubtaskId subtask, uint32_t index);

  // SubtaskListener: slots' threads.
  void OnRunning(SubtaskId subtask) override;
  void OnEndOfData(SubtaskId subtask) override;
  void OnFailed(SubtaskId subtask, OperatorPlace op, ErrorKind kind,
                const std::string& message) override;
  void OnSnapshot(SubtaskId subtask, SubtaskSnapshot snapshot) override;
  void OnSnapshotFailed(SubtaskId subtask, CheckpointId id, const std::string& reason) override;
  void OnPublished(SubtaskId subtask, CheckpointId id) override;

  void OnCheckpointDone(CheckpointId id, absl::StatusOr<CheckpointWriter::Result> result);
  void FailAll(proto::FailureKind kind, const std::string& message);
  void FailAll(const proto::Failure& failure);
  proto::Failure FailureOf(OperatorPlace op, ErrorKind kind, const std::string& text) const;
  void SendTaskState(SubtaskId subtask, proto::TaskState state);
  void SendFailure(SubtaskId subtask, const proto::Failure& failure);
  proto::ToJobManager NewMessage() const;
  void MaybeReleased();

  const AttemptEnvironment env_;
  const proto::DeployJob deploy_;
  const uint64_t leader_epoch_;
  const std::function<void()> on_released_;
  const std::string directory_;
  const std::string copies_;  // of this job; empty: none

  PreparedAttempt prepared_;
  std::unique_ptr<ExchangeChannels> channels_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<Deployment> deployment_;
  std::map<SubtaskId, RunningMark> marks_;
  std::vector<metrics::Registration> registrations_;
  LatencyMetrics latencies_;
  std::set<SubtaskId> local_;
  std::map<uint32_t, proto::SourceRate> source_rates_;  // set since the submission, by vertex
  std::map<std::pair<SubtaskId, uint32_t>, SnapshotSink*> sinks_;
  std::map<std::pair<SubtaskId, uint32_t>, StateStore*> stores_;  // owned by the writer
  size_t cache_bytes_ = size_t{256} << 20;                        // as SetCacheBytes
  std::atomic<size_t> cache_bytes_each_{0};                       // also read by slots
  std::optional<StateBound> bound_;                               // const once deployed
  uint64_t connector_bytes_each_ = 0;                             // const once deployed
  std::set<CheckpointId> running_checkpoints_;  // to be declined if they fail here

  /// Whoever sets it first has the preparation: the I/O thread, which then does it, or Release,
  /// which has it dropped while other jobs' are still before it.
  const std::shared_ptr<std::atomic<bool>> preparation_taken_ =
      std::make_shared<std::atomic<bool>>(false);
  /// Set by Release: ends the preparation, and what operators still restore as they open.
  const std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  bool preparing_ = false;
  bool releasing_ = false;
  bool keeps_copies_ = true;  // another attempt of the job may follow
  bool stopping_subtasks_ = false;
  // What the JobManager was told: a cause once, an echo once and only before any cause.
  bool failed_ = false;
  bool echoed_ = false;
};

}  // namespace weir
