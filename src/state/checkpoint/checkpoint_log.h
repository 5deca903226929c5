#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// What to do when the newest checkpoint cannot be read.
enum class RestorePolicy {
  /// Fail and name it. The default: with a transactional sink an older one repeats output.
  kNewest,
  /// Take the newest one that can be read. Somebody asked for this.
  kNewestReadable,
};

/// True when another leader has taken the log over: this one stops acting at once.
inline bool IsFenced(const absl::Status& status) { return absl::IsAborted(status); }

/// One slot of the log as found in the storage.
struct CheckpointLogEntry {
  uint64_t slot = 0;
  std::string path;
  /// Not ok: the slot is taken by something that cannot be read, and this says why.
  absl::Status status;
  proto::LogEntry entry;

  bool is_checkpoint() const { return status.ok() && entry.has_manifest(); }
};

/// What the storage of one job holds, found by listing; never by a pointer.
struct CheckpointLogContents {
  /// By slot, oldest first. Slots of deleted manifests are missing.
  std::vector<CheckpointLogEntry> entries;

  /// The slot of a checkpoint that was complete, and than which only newer ones may be the newest;
  /// 0 if nothing says so.
  uint64_t noted_slot = 0;
  /// Whose log it is, for messages.
  std::string where;

  /// The slot after the last one taken.
  uint64_t next_slot = 1;
  LeaderEpoch highest_epoch;
  /// Above every id that any leader used or may have used.
  CheckpointId next_checkpoint_id{1};

  /// The checkpoint to restore, null if there is none yet. An error when the policy forbids to
  /// pass over an entry that cannot be read or has gone, or when none can be read.
  absl::StatusOr<const CheckpointLogEntry*> FindRestorable(RestorePolicy policy) const;
};

absl::StatusOr<CheckpointLogContents> ReadCheckpointLog(CheckpointStorage& storage);

/// The checkpoints of one job as a log: `log/<slot>`, slots counted from 1 without gaps, each
/// filled once by create-if-absent. An entry is a manifest (the commit point of a checkpoint) or
/// a leader's taking over.
///
/// Why a log: two leaders contend for the same name, whatever they believe. A leader that takes
/// over fills the slot that its predecessor would commit into next; from then on every commit of
/// the predecessor loses, however late it wakes up. No check precedes a write, so nothing can slip
/// in between. A leader's taking over is never deleted while there was more than one (it is small
/// and one per start), so that the slot its predecessor could still aim at never becomes free
/// again. No predecessor can aim behind that one: a leader's reservations of ids, which follow it,
/// are deleted but for the newest, which tells the next leader which ids are used.
///
/// `newest/<slot>` beside it is a note, not a pointer: that the checkpoint in this slot was
/// complete. Nothing is found by it; it only tells that a newer checkpoint than those in the log
/// has gone, by mistake or with a disk. Written once the checkpoint stands, where an older one
/// stays beside it.
///
/// Owned by the leader's checkpoint thread; blocks; not thread-safe.
class CheckpointLog {
 public:
  /// Ids are reserved in blocks, so that aborted ones are not used again by the next leader.
  static constexpr uint64_t kIdBlock = 1000;

  /// Takes the log over for a leader. Aborted (IsFenced) if a leader with a higher epoch, or
  /// another one with the same, was here. With kNewest it refuses a log whose newest checkpoint
  /// cannot be read. `holder` is for people; `incarnation` is unique to this start of the process.
  static absl::StatusOr<std::unique_ptr<CheckpointLog>> TakeOver(CheckpointStorage& storage,
                                                                 LeaderEpoch epoch,
                                                                 const std::string& holder,
                                                                 const std::string& incarnation,
                                                                 RestorePolicy policy);

  /// Makes this checkpoint the newest one. Its files must be durable; that they are present is
  /// checked. The manifest must carry this leader's epoch and an id above the last one.
  ///
  /// Ok: committed. IsFenced: another leader's; stop. OutcomeUnknown: nobody may be told and
  /// nothing deleted; the next Commit finds out. Else: it does not exist and never will.
  [[nodiscard]] absl::Status Commit(const proto::Manifest& manifest);

  /// The first id of a new checkpoint. Ids up to `id_limit()` (exclusive) may be used.
  CheckpointId first_checkpoint_id() const { return first_id_; }
  CheckpointId id_limit() const { return id_limit_; }

  /// Raises id_limit() by a block, and to at least a block above `beyond`; call it before it is
  /// reached. A job that begins from another one's savepoint goes on beyond that one's ids.
  [[nodiscard]] absl::Status ReserveIds(CheckpointId beyond = CheckpointId(0));

  /// What the log held when it was taken over: restore from here.
  const CheckpointLogContents& contents_at_takeover() const { return found_; }

  /// Checkpoints known to be committed and not dropped, oldest first; those of earlier leaders
  /// too. The last one is what a new attempt restores.
  const std::vector<CheckpointLogEntry>& checkpoints() const { return checkpoints_; }

  /// Manifests whose commit has an unknown outcome: their files stay.
  const std::vector<proto::Manifest>& in_doubt() const { return in_doubt_; }

  /// Deletes all manifests but the newest `count` (at least 1) and returns them: that they are gone
  /// is durable when a later call succeeds, and not before. Their files stay (GarbageCollector). So
  /// do reservations of ids but the newest. Deletes nothing if another leader was here. Notes the
  /// newest checkpoint if older ones stay. Lists the log once, and not at all with nothing to do.
  absl::StatusOr<std::vector<proto::Manifest>> Retain(uint32_t count);

  /// Notes the newest one if older ones are beside it, and deletes nothing.
  void NoteNewest();

  /// The same for all of them, durably: the job is over and leaves nothing to restore.
  absl::StatusOr<std::vector<proto::Manifest>> DropAll();

  /// After DropAll: removes the entries of leaders as well, and ends the log, where no other leader
  /// was here. True: nothing is left of it. All of them stay as well where the outcome of a commit
  /// was unknown and no later one has succeeded: its write may still be on its way, into a slot
  /// that must be found taken.
  absl::StatusOr<bool> RemoveIfAlone();

  LeaderEpoch epoch() const { return epoch_; }
  CheckpointStorage& storage() { return storage_; }

 private:
  CheckpointLog(CheckpointStorage& storage, LeaderEpoch epoch, std::string incarnation)
      : storage_(storage), epoch_(epoch), incarnation_(std::move(incarnation)) {}

  /// Fills the next slot with `entry`, resolving doubt as far as the storage allows.
  absl::Status Append(proto::LogEntry entry);
  /// After AlreadyExists or Unknown: what is in the next slot? Ok: `bytes`. NotFound: nothing,
  /// here or behind it. AlreadyExists: an earlier entry of ours that was in doubt and now counts.
  absl::Status Resolve(const std::string& bytes);
  absl::Status AppendLeader(uint64_t end_id);
  absl::StatusOr<std::vector<proto::Manifest>> DropAllBut(size_t count);
  /// All entries; an error when one is of another leader that came after this one.
  absl::StatusOr<std::vector<StoredFile>> ListOwn();
  absl::Status FencedBy(const proto::LogEntry& other);
  /// A taking over or a reservation of ids by this very leader.
  bool IsOwnLeader(const proto::LogEntry& entry) const;
  /// The slot is ours and holds this manifest.
  void Committed(const proto::Manifest& manifest);

  CheckpointStorage& storage_;
  const LeaderEpoch epoch_;
  const std::string incarnation_;
  std::string holder_;
  CheckpointLogContents found_;
  uint64_t next_slot_ = 1;
  CheckpointId first_id_{1};
  CheckpointId id_limit_{1};
  CheckpointId last_id_{0};
  std::vector<CheckpointLogEntry> checkpoints_;
  std::vector<proto::Manifest> in_doubt_;
  bool leader_in_doubt_ = false;  // an entry of this leader may be in the next slot, or come late
  uint64_t noted_slot_ = 0;
  /// Slots of this leader's reservations that nothing else was ever aimed at, oldest first.
  std::deque<uint64_t> reserved_;
  bool drops_durable_ = true;
  absl::Status fenced_;
};

/// log/00000000000000000042
std::string CheckpointLogPath(uint64_t slot);

/// Deletes the notes of newest checkpoints; before the last manifest goes.
[[nodiscard]] absl::Status DeleteNotesOfNewest(CheckpointStorage& storage);

}  // namespace weir
