#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "runtime/graph/channel_ends.h"

/// The vocabulary of the control machines: plain values, no I/O, no wire types.
namespace weir::jobmanager {

using std::chrono::milliseconds;

/// A point on Clock::Monotonic().
using Instant = std::chrono::nanoseconds;

/// A TaskManager across its incarnations; local state is found by it.
using TaskManagerId = StrongId<struct TaskManagerIdTag, std::string>;
/// One registration of one TaskManager process: one control stream. Never reused in a leadership.
using SessionId = StrongId<struct SessionIdTag>;
/// A client's call that waits for an answer.
using RequestId = StrongId<struct RequestIdTag>;

/// Why an attempt ended, or what a dead process left behind.
struct Failure {
  ErrorKind kind = ErrorKind::kInternal;
  std::string operator_uid;  ///< empty: no operator is to blame
  std::string operator_name;
  std::string message;
  bool secondary = false;  ///< the echo of another failure
  bool death = false;      ///< the operator's thread took its process down by a signal

  /// As a job's reason tells it: behind the operator that is to blame, if the message does not name
  /// it.
  std::string Told() const;
};

enum class CheckpointKind { kCheckpoint, kSavepoint, kStop, kStopAndDrain, kFinal };
enum class CheckpointMode { kExactlyOnce, kAtLeastOnce };

const char* ToString(CheckpointKind kind);
/// With or without draining.
inline bool IsStop(CheckpointKind kind) {
  return kind == CheckpointKind::kStop || kind == CheckpointKind::kStopAndDrain;
}

struct CheckpointPolicy {
  milliseconds interval{0};  ///< 0: no periodic checkpoints
  milliseconds timeout{600'000};
  milliseconds min_pause{0};
  /// A channel holds so many barriers that its consumer has not read yet, and more: see
  /// kMaxCreditFreeFrames.
  static constexpr uint32_t kMostConcurrent = 16;
  /// Under way at a time; with a min pause it is one, which is what the pause means.
  uint32_t max_concurrent = 1;
  /// A periodic checkpoint that is not complete so long after its trigger turns unaligned; 0: at
  /// once; empty: never. Exactly-once only.
  std::optional<milliseconds> aligned_timeout;
  CheckpointMode mode = CheckpointMode::kExactlyOnce;
  /// Checkpoints in a row that may fail before the attempt fails. Three: a slow store or one late
  /// TaskManager must not restart a healthy job, while a store that is gone must not go unnoticed
  /// (output waits for checkpoints, and a restart would repeat ever more work).
  uint32_t tolerable_failures = 3;
  uint32_t retained = 2;
  bool retain_on_cancel = true;
};

enum class RestartKind { kNone, kFixedDelay, kExponentialDelay, kFailureRate };

struct RestartOptions {
  RestartKind kind = RestartKind::kNone;
  uint32_t attempts = 1;          ///< fixed delay
  milliseconds delay{1'000};      ///< fixed delay, failure rate
  uint32_t max_failures = 1;      ///< failure rate: within `interval`; one more ends the job
  milliseconds interval{60'000};  ///< failure rate
  milliseconds initial{1'000};    ///< exponential: the second restart's wait; the first is at once
  milliseconds maximum{60'000};   ///< exponential
  double multiplier = 1.5;        ///< exponential
  double jitter = 0.1;            ///< exponential: fraction of the wait, up and down
  milliseconds reset{3'600'000};  ///< exponential: running so long forgets earlier failures
  uint32_t max_user_failures = 10;        ///< of one operator; more end the job
  uint32_t max_deaths = 3;                ///< of the process by a signal in one operator
  milliseconds operator_window{600'000};  ///< running so long without one forgets them
};

struct VertexPlan {
  VertexId id;
  std::string name;
  uint32_t parallelism = 1;
  std::string slot_sharing_group = "default";
  bool transactional = false;
};

/// All that the machines need to know of a job.
struct JobPlan {
  std::string name;
  std::string artifact_hash;
  std::vector<VertexPlan> vertices;
  std::vector<EdgeShape> edges;
  CheckpointPolicy checkpoint;
  RestartOptions restart;
  /// Until all subtasks of an attempt run.
  milliseconds deployment_timeout{600'000};

  /// So many regions at most: each has threads and files of its own on a TaskManager.
  static constexpr uint32_t kMaxRegions = 16;

  std::vector<SubtaskId> Subtasks() const;
  std::vector<SubtaskId> TransactionalSubtasks() const;
  /// The region of each vertex, counted from 0 without gaps. Vertices that edges connect, over
  /// whatever others, are in one: nothing flows between two regions. The same under every leader.
  std::map<VertexId, uint32_t> Regions() const;
};

struct SlotRef {
  SessionId session;
  TaskManagerId task_manager;
  uint32_t slot = 0;
  friend auto operator<=>(const SlotRef&, const SlotRef&) = default;
};

/// Where every subtask of an attempt runs.
using Placement = std::map<SubtaskId, SlotRef>;

/// The durable checkpoint that an attempt begins from.
struct RestorePoint {
  CheckpointId id;
  std::string directory;      ///< root of the storage it lies in
  std::string manifest_path;  ///< relative to `directory`
  bool is_savepoint = false;
  bool allow_non_restored_state = false;
};

/// A stop that is decided, because its checkpoint is durable: the job ends there.
struct StopPoint {
  CheckpointId id;
  CheckpointKind kind = CheckpointKind::kStop;
  std::string directory;  ///< where the savepoint is to lie
  std::string path;       ///< of the manifest
};

enum class TaskState { kDeploying, kRunning, kAtEnd, kCanceled, kFailed };

enum class CancelReason { kCanceled, kFailed, kFinished, kStopped, kUnknown };

/// How a client's request ended. The codes are those of proto/client.proto.
enum class ReplyCode { kOk, kNotFound, kFailedPrecondition, kResourceExhausted, kAborted };

/// What has become of a job so far, in numbers.
struct JobCounts {
  uint64_t checkpoints_completed = 0;
  uint64_t checkpoints_failed = 0;
  uint64_t failures = 0;
};

/// What one subtask acknowledged. `state` goes into the manifest unread.
struct SubtaskAck {
  std::string state;
  uint64_t state_bytes = 0;
  uint64_t full_state_bytes = 0;
  uint64_t sync_us = 0;
  uint64_t alignment_us = 0;
  bool at_end = false;
  bool unaligned = false;        ///< taken ahead of its barriers
  uint64_t in_flight_bytes = 0;  ///< of rows on their way to it
};

}  // namespace weir::jobmanager
