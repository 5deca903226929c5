#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/state_file.h"

namespace weir {

struct GarbageOptions {
  /// Checkpoints kept, at least 1.
  uint32_t retained = 1;
  /// How long a file that no manifest names is left alone from when this leader first saw it:
  /// longer than any checkpoint takes.
  std::chrono::milliseconds grace = std::chrono::hours(1);
};

struct GarbageReport {
  uint64_t deleted_files = 0;
  uint64_t deleted_bytes = 0;  // as far as known
  uint64_t kept_in_doubt = 0;
};

/// Deletes the files of checkpoints that are no longer retained.
///
/// A file goes only if no retained manifest, none in doubt and none that is being exported names
/// it, and
/// - it was named by a manifest that was dropped before the newest checkpoint was committed: a
///   checkpoint in flight at the drop, which may refer to it, has then ended or is marked; or
/// - no manifest names it, its name says that it was written by this leader or an earlier one and
///   not for a checkpoint still to come, and it was so already at a sweep that is longer ago than
///   the grace. Times of day, ours or the storage's, have no say: a clock that jumps would make
///   orphans of what writers have just finished; or
/// - no manifest names it, its name says that it was written under this leader or an earlier one,
///   and no attempt of the job runs: what former ones wrote nobody will ever name. Where the disk
///   is small, that is what the next checkpoint has room in.
/// In any doubt (an unreadable entry, an unknown name) it stays.
///
/// A writer may refer to its own files of the last completed checkpoint that it knows of, and to
/// those that it has written since, aborted checkpoints included. Should it refer to another all
/// the same, Commit refuses the manifest if the file is missing. Checkpoints that overlap change
/// nothing: each writer puts them together in the order of their ids, which is that of the commits,
/// and a file that it no longer refers to in one it refers to in none behind that.
///
/// Owned by the leader's checkpoint thread, beside the log; blocks.
class GarbageCollector {
 public:
  GarbageCollector(CheckpointLog& log, GarbageOptions options) : log_(log), options_(options) {}

  uint32_t retained() const { return options_.retained; }

  /// After each successful commit: drops what exceeds the retained number, and deletes what
  /// earlier calls dropped. Costs what it deletes; lists nothing but the log.
  absl::StatusOr<GarbageReport> AfterCommit();

  /// Looks at every file: for what crashes and aborted checkpoints left. At the start of a leader
  /// and about once an hour. `now`: Clock::Monotonic.
  absl::StatusOr<GarbageReport> Sweep(std::chrono::nanoseconds now);

  /// No attempt runs that could still be part of a checkpoint, and none will before this returns:
  /// takes what former ones left, whatever checkpoint it was for.
  absl::StatusOr<GarbageReport> SweepBetweenAttempts();

  /// The job is over and nothing of it is to stay: deletes all manifests, then all files, then the
  /// storage's own folder. Where there were several leaders their entries remain, so that an
  /// earlier one still finds its slot taken.
  absl::StatusOr<GarbageReport> DeleteAll();

  /// An export reads the files of this checkpoint from now on, however long that takes: they stay,
  /// whether its manifest does or not. DeleteAll does not ask.
  void BeginExport(const proto::Manifest& checkpoint);
  /// What of them nothing names goes with the next commit.
  void EndExport(CheckpointId checkpoint);

 private:
  /// By the log.
  std::set<std::string> Marked() const;
  /// A file of `data/` that no manifest names, in the log or in doubt, and no export reads.
  struct Orphan {
    StoredFile file;
    /// Nothing: it is none of ours, or of a leader that this one has not heard of.
    std::optional<DataFileName> name;
  };
  struct Orphans {
    std::vector<Orphan> orphans;
    uint64_t newest = 0;  ///< checkpoint
  };
  absl::StatusOr<Orphans> FindOrphans() const;
  bool IsExported(const std::string& path) const;

  CheckpointLog& log_;
  const GarbageOptions options_;
  /// Of dropped manifests. A file that the log marks again is not one of them, and is released
  /// again with what marks it; one that is exported stays one.
  std::set<std::string> released_;
  std::map<uint64_t, std::set<std::string>> exported_;       // by checkpoint
  std::map<std::string, std::chrono::nanoseconds> orphans_;  // and when they were seen first
  bool log_removed_ = false;  // by DeleteAll, which may have failed behind it
};

/// Files that a manifest names.
std::set<std::string> FilesOf(const proto::Manifest& manifest);

}  // namespace weir
