#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "jobmanager/values.h"

namespace weir::jobmanager {

// ---------------------------------------------------------------- events

/// All subtasks of the attempt run: periodic checkpoints begin.
struct CheckpointingStarted {
  AttemptId attempt;
  CheckpointId floor;           ///< ids of this attempt are above it
  CheckpointId id_limit;        ///< ids up to it are reserved durably
  CheckpointId last_completed;  ///< newest durable one of this job; 0: none
  /// It is that of a stop: the attempt stands still, and is over when that is published and
  /// exported.
  std::optional<StopPoint> stop;
};
/// The attempt is over, for whatever reason; or none will follow the one that was over already.
struct CheckpointingStopped {
  enum class Then { kAnotherAttempt, kEnd, kNextLeader };
  std::string reason;
  Then then = Then::kAnotherAttempt;
};
/// Some regions have failed, others run on: what is under way cannot succeed, and nothing is
/// triggered until all subtasks run again. A commit under way is awaited as ever, and what it makes
/// durable the others publish.
struct RegionsLost {
  std::string reason;
};
/// All subtasks run again, those that were lost from checkpoint `last_completed`.
struct RegionsBack {
  CheckpointId floor;
  CheckpointId id_limit;
  CheckpointId last_completed;
};
struct SubtaskAcknowledged {
  CheckpointId id;
  SubtaskId subtask;
  SubtaskAck ack;
};
struct SubtaskDeclined {
  CheckpointId id;
  SubtaskId subtask;
  std::string reason;
};
struct EarlyCheckpointWanted {};
/// Every subtask stands at end of data.
struct AllAtEnd {};
/// kind is kSavepoint, kStop or kStopAndDrain.
struct SavepointWanted {
  RequestId request;
  CheckpointKind kind = CheckpointKind::kSavepoint;
  std::string directory;
};
struct ManifestCommitted {
  CheckpointId id;
  std::string path;
};
/// The manifest does not exist, or nobody knows whether it does: either way nobody is told to
/// publish, and the output joins the next checkpoint.
struct ManifestFailed {
  CheckpointId id;
  std::string reason;
  bool in_doubt = true;  ///< it may be there all the same
};
struct SubtaskPublished {
  CheckpointId id;
  SubtaskId subtask;
};
struct SavepointExported {
  CheckpointId id;
  std::string path;
};
struct SavepointExportFailed {
  CheckpointId id;
  std::string reason;
};
/// An answer to ReserveIds: `limit` is the durable limit now, grown or not.
struct IdsReserved {
  CheckpointId limit;
};
struct CheckpointTick {};

using CheckpointEvent =
    std::variant<CheckpointingStarted, CheckpointingStopped, RegionsLost, RegionsBack,
                 SubtaskAcknowledged, SubtaskDeclined, EarlyCheckpointWanted, AllAtEnd,
                 SavepointWanted, ManifestCommitted, ManifestFailed, SubtaskPublished,
                 SavepointExported, SavepointExportFailed, IdsReserved, CheckpointTick>;

// ---------------------------------------------------------------- actions

struct SendTrigger {
  CheckpointId id;
  CheckpointKind kind;
  CheckpointMode mode;
};
/// Subtasks that wait for barriers of it take their snapshots now. At most once for a checkpoint,
/// and only for one that was triggered and has not ended.
struct SendTurnUnaligned {
  CheckpointId id;
};
/// The one commit point. Answered by ManifestCommitted or ManifestFailed, always.
struct CommitManifest {
  CheckpointId id;
  CheckpointKind kind;
  std::map<SubtaskId, SubtaskAck> acks;
  std::string directory;  ///< of a savepoint or stop
};
/// Only after ManifestCommitted.
struct SendCompleted {
  CheckpointId id;
};
struct SendAborted {
  CheckpointId id;
  std::string reason;
};
/// Rewrite checkpoint `id` into a savepoint below `directory`. Answered, always; what it reads is
/// not pruned meanwhile, however long that is.
struct ExportSavepoint {
  CheckpointId id;
  std::string directory;
};
/// Delete a savepoint that was exported and that nobody was told of. Not answered.
struct DiscardSavepoint {
  std::string path;
};
struct ReplySavepoint {
  RequestId request;
  ReplyCode code = ReplyCode::kOk;
  CheckpointId id;
  std::string path;     ///< kOk
  std::string message;  ///< otherwise
};
/// Keep the newest `count` completed checkpoints; older ones may go.
struct PruneCheckpoints {
  uint32_t count = 0;
};
/// Make ids up to `limit` durable in the job's record. Answered by IdsReserved, always.
struct ReserveIds {
  CheckpointId limit;
};
struct FailAttempt {
  Failure failure;
  CheckpointId given_up_stop;  ///< 0: none. The job goes on from it.
};
/// A checkpoint in which every subtask stands at end of data, or a stop savepoint, is durable,
/// published and exported: end the attempt, the job is done.
struct JobDone {
  bool stopped = false;
};

using CheckpointAction =
    std::variant<SendTrigger, SendTurnUnaligned, CommitManifest, SendCompleted, SendAborted,
                 ExportSavepoint, DiscardSavepoint, ReplySavepoint, PruneCheckpoints, ReserveIds,
                 FailAttempt, JobDone>;

// ---------------------------------------------------------------- the machine

/// What `describe` shows of a checkpoint.
struct CheckpointRecord {
  enum class Status { kRunning, kCommitting, kCompleted, kPublished, kFailed };
  CheckpointId id;
  AttemptId attempt;
  CheckpointKind kind = CheckpointKind::kCheckpoint;
  Status status = Status::kRunning;
  Instant triggered{0};
  Instant durable{0};
  Instant published{0};
  uint32_t acknowledged = 0;
  uint64_t state_bytes = 0;
  uint64_t full_state_bytes = 0;
  uint64_t max_sync_us = 0;
  uint64_t max_alignment_us = 0;
  bool unaligned = false;  ///< some subtask took its snapshot ahead of barriers
  uint64_t in_flight_bytes = 0;
  std::string path;
  std::string failure;
};

/// A stop that was asked for. It may fail yet unless the job is done.
struct StopUnderWay {
  CheckpointId id;  ///< 0: not triggered yet
  CheckpointKind kind = CheckpointKind::kStop;
  std::string directory;
  std::string savepoint;  ///< once that is whole
};

/// Takes the checkpoints of one job, across its attempts. Lives and dies with the job's machine.
///
///              CheckpointingStarted            trigger               last ack
///      [kOff] ----------------------> [kIdle] --------> [kAligning] ---------> [kCommitting]
///        ^                              ^  ^                |                    |  |
///        |                              |  +-- decline, ----+                    |  |
///        |                              |      time-out                          |  |
///        |                              +--------- committed or failed ----------+  |
///        +---- CheckpointingStopped (from kIdle, kAligning)                         |
///        +<--- committed or failed --- [kDraining] <--- CheckpointingStopped -------+
///
/// That is one checkpoint's way. With max_concurrent above 1 others are aligned beside it, and a
/// complete one waits while another is committed: commits are one at a time, in the order of ids.
/// One that becomes durable ends those before it: what they would have published is published with
/// it, so there is nothing left to commit.
///
/// Between RegionsLost and RegionsBack it is paused: kIdle, or kCommitting until that has ended.
/// Regions share no edge, so a checkpoint that is taken later, of all of them, is as consistent as
/// one before: each region's part of it is a cut of its own stream.
///
/// Invariants:
///   - ids only grow; an id is triggered once, whatever becomes of it, across leaders too: an id
///     is used only below the limit that the job's record holds
///   - no more than max_concurrent are under way, whatever their kind, and one with a min pause;
///     one at a time is committed; a commit's outcome is always awaited
///   - they turn unaligned in the order of their ids, and none while one before it that stays
///     aligned is under way: a subtask takes its snapshots in that order
///   - a checkpoint is of one deployment of each region: it is triggered when all of them run, and
///     fails with the first that does not any more
///   - SendCompleted(n) only after ManifestCommitted(n), so no sink publishes what is not durable
///   - only periodic exactly-once checkpoints turn unaligned, once each, while they align: a
///     savepoint holds nothing in flight, so it restores at any parallelism
///   - after the barrier of a stop no other checkpoint is triggered; if the stop fails, the attempt
///     does, because its sources have stopped
///   - once its checkpoint is durable a stop is decided, whatever becomes of the attempt: the next
///     one stands still, publishes it, and what is asked of its export is awaited. What cannot be
///     exported is given up where somebody can be told and event time has not been ended for it,
///     and the job goes on; otherwise the job ends as failed and names the checkpoint
///   - every SavepointWanted is answered by exactly one ReplySavepoint
class CheckpointCoordinator {
 public:
  enum class Phase { kOff, kIdle, kAligning, kCommitting, kDraining };

  static constexpr uint64_t kIdBlock = 1'000;  ///< ids reserved at a time
  static constexpr uint64_t kIdsLeft = 100;    ///< reserve more when fewer are left
  static constexpr size_t kMaxWaitingSavepoints = 16;
  static constexpr size_t kHistory = 32;
  static constexpr milliseconds kRetryPause{500};  ///< after a failed final checkpoint or reserve

  CheckpointCoordinator(CheckpointPolicy policy, std::vector<SubtaskId> subtasks,
                        std::vector<SubtaskId> transactional);

  void Step(const CheckpointEvent& event, Instant now, std::vector<CheckpointAction>* out);

  /// When the next CheckpointTick is due, if any.
  std::optional<Instant> NextDeadline() const;

  /// Of the checkpoint that is farthest.
  Phase phase() const;
  /// A commit's outcome is outstanding: no restore point may be chosen before it is known.
  bool commit_in_flight() const { return committing_.has_value(); }
  /// Triggered, and neither durable nor given up.
  size_t in_progress() const { return pending_.size() + (committing_ ? 1 : 0); }
  /// Started and not stopped: RegionsLost may come, and after it RegionsBack.
  bool on() const { return on_; }
  bool paused() const { return paused_; }
  /// Under this leader.
  bool ever_on() const { return attempt_.value != 0; }
  /// Of the newest attempt, and not known to have failed.
  std::optional<StopUnderWay> stop() const;
  CheckpointId last_completed() const { return last_completed_; }
  /// Under former leaders, whose history is gone.
  void AddFormer(uint64_t completed, uint64_t failed) {
    completed_ += completed;
    failed_ += failed;
  }
  uint64_t completed() const { return completed_; }
  uint64_t failed() const { return failed_; }
  const std::deque<CheckpointRecord>& history() const { return history_; }  ///< newest first

 private:
  struct Pending {
    CheckpointId id;
    CheckpointKind kind = CheckpointKind::kCheckpoint;
    Instant started{0};
    std::map<SubtaskId, SubtaskAck> acks;
    std::optional<SavepointWanted> savepoint;
    bool all_at_end = false;
    bool turned = false;    // unaligned
    bool complete = false;  // all have acknowledged
  };
  using Pendings = std::deque<Pending>;
  /// A durable savepoint: answered when it is exported and published, or when its output took too
  /// long for that.
  struct Export {
    SavepointWanted wanted;
    Instant durable{0};
    std::string checkpoint;  // path of its manifest
    std::optional<std::string> path;
    std::optional<std::string> error;
    bool orphaned = false;  // the attempt ended first: answered already
    bool told = false;      // a stop that goes on: answered, or asked for under a former leader
  };

  using Out = std::vector<CheckpointAction>;
  void On(const CheckpointingStarted& e, Instant now, Out* out);
  void On(const CheckpointingStopped& e, Instant now, Out* out);
  void On(const RegionsLost& e, Instant now, Out* out);
  void On(const RegionsBack& e, Instant now, Out* out);
  void On(const SubtaskAcknowledged& e, Instant now, Out* out);
  void On(const SubtaskDeclined& e, Instant now, Out* out);
  void On(const EarlyCheckpointWanted& e, Instant now, Out* out);
  void On(const AllAtEnd& e, Instant now, Out* out);
  void On(const SavepointWanted& e, Instant now, Out* out);
  void On(const ManifestCommitted& e, Instant now, Out* out);
  void On(const ManifestFailed& e, Instant now, Out* out);
  void On(const SubtaskPublished& e, Instant now, Out* out);
  void On(const SavepointExported& e, Instant now, Out* out);
  void On(const SavepointExportFailed& e, Instant now, Out* out);
  void On(const IdsReserved& e, Instant now, Out* out);
  void On(const CheckpointTick& e, Instant now, Out* out);

  void MaybeTrigger(Instant now, Out* out);
  void Trigger(CheckpointKind kind, std::optional<SavepointWanted> savepoint, Instant now,
               Out* out);
  void MaybeTurn(Instant now, Out* out);
  /// The next that turns unaligned, if one will; and when.
  const Pending* NextToTurn() const;
  Instant TurnsAt(const Pending& pending) const {
    return pending.started + *policy_.aligned_timeout;
  }
  void MaybeReserve(Instant now, Out* out);
  void MaybeCommit(Out* out);
  Pendings::iterator Find(CheckpointId id);
  Pending Remove(Pendings::iterator at);
  /// This checkpoint is over, and nobody is to publish.
  void Abort(const Pending& pending, const std::string& reason, Instant now, Out* out);
  /// It failed while the attempt goes on: counted against what is tolerated.
  void FailPending(const Pending& failed, const std::string& reason, Instant now, Out* out);
  void AbortBefore(CheckpointId id, const std::string& reason, Instant now, Out* out);
  void AbortBehindTheLast(Instant now, Out* out);
  static void ReplyAborted(const Pending& pending, const std::string& message, Out* out);
  /// Goes on with one that is decided, in an attempt that stands still.
  void CompleteStop(const StopPoint& stop, Instant now, Out* out);
  void BeginExport(CheckpointId id, Export entry, Out* out);
  void SettleExports(Out* out);
  /// Of no use to anybody: the savepoint goes, its checkpoint stays.
  void Discard(CheckpointId id, const Export& entry, Out* out);
  /// A stop that cannot be exported.
  void FailStop(CheckpointId id, const Export& entry, std::string what, Out* out);
  /// When whoever asked for this one is told that its output is not published; nothing: not at all.
  std::optional<Instant> TellsAt(CheckpointId id, const Export& entry) const;
  void TellUnpublished(Instant now, Out* out);
  void MaybeDone(Out* out);
  /// Every transactional subtask has published the output up to this checkpoint.
  bool Published(CheckpointId id) const { return transactional_.empty() || id <= published_; }
  void MarkPublished(Instant now);
  bool stopping() const { return stop_.has_value(); }
  std::optional<Instant> EarliestTrigger() const;
  CheckpointRecord* Record(CheckpointId id);
  void RecordFailure(CheckpointId id, const std::string& reason);

  const CheckpointPolicy policy_;
  const std::vector<SubtaskId> subtasks_;
  const std::vector<SubtaskId> transactional_;

  bool on_ = false;
  AttemptId attempt_;
  uint64_t next_id_ = 1;
  uint64_t id_limit_ = 0;
  bool reserving_ = false;
  Instant reserve_after_{0};

  Pendings pending_;  // by id; bounded by max_concurrent
  std::optional<Pending> committing_;
  /// What each transactional subtask has published up to: epochs are published in order.
  std::map<SubtaskId, CheckpointId> published_by_;
  CheckpointId published_;                  // the least of them
  std::map<CheckpointId, Export> exports_;  // bounded by kMaxWaitingSavepoints
  std::deque<SavepointWanted> waiting_;     // bounded by kMaxWaitingSavepoints

  Instant next_periodic_{0};
  Instant last_end_{0};
  bool any_ended_ = false;
  bool early_ = false;
  bool at_end_ = false;
  Instant retry_final_at_{0};
  std::optional<CheckpointId> final_id_;  // durable, every subtask at end of data
  std::optional<StopUnderWay> stop_;      // a stop's barrier has left
  bool stop_durable_ = false;
  bool stop_failed_ = false;  // known to have; stop_ stays until another attempt runs
  bool done_ = false;
  bool paused_ = false;  // some region does not run
  CheckpointingStopped::Then then_ = CheckpointingStopped::Then::kAnotherAttempt;  // while off
  uint32_t failures_in_a_row_ = 0;
  uint64_t counts_from_ = 0;  // the first id that was triggered after the last of them

  CheckpointId last_completed_;
  uint64_t completed_ = 0;
  uint64_t failed_ = 0;
  std::deque<CheckpointRecord> history_;
};

}  // namespace weir::jobmanager
