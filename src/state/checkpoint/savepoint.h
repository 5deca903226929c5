#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "state/checkpoint/storage.h"

namespace weir {

/// A savepoint is a storage of its own with one entry in its log. It names only its own files, by
/// relative paths: the directory can be moved, copied and restored from anywhere.

/// Writes a committed checkpoint out as a savepoint. `to` must be empty. Every file is copied and
/// its checksums are verified at the copy; the savepoint exists when this returns ok, and not
/// before. A repeated call goes on where a crash left off. Returns the manifest as written.
///
/// The first file is a note, `exporting`, that says whose export this is, and the last act is to
/// delete it: what SweepExport may delete is told by it, and not by a name.
///
/// Failpoints: savepoint.copied (a file), savepoint.before_commit, savepoint.after_commit.
absl::StatusOr<proto::Manifest> ExportSavepoint(CheckpointStorage& from,
                                                const proto::Manifest& checkpoint,
                                                CheckpointStorage& to);

enum class SweptExport { kNothingThere, kRemoved, kWhole, kForeign };

/// Removes what a cut off export of this job left. A whole savepoint stays, and so does everything
/// that the job's export did not begin. The caller knows that whoever exported is gone.
absl::StatusOr<SweptExport> SweepExport(CheckpointStorage& storage, const std::string& job_id);

/// The savepoint in a storage, or the newest checkpoint of a job that was retained there.
/// NotFound if there is none. An unreadable one is an error: nothing older is taken.
absl::StatusOr<proto::Manifest> ReadSavepoint(CheckpointStorage& storage);

/// Deletes a savepoint, or the checkpoints that a job left: the manifests first, then the files,
/// and what writers that were killed left half-written. The caller knows that no job uses them.
/// DataLoss if an entry cannot be read: what it names stays. A note, `disposing`, says what is to
/// go, and goes last: a call after one that was cut off goes on with it.
[[nodiscard]] absl::Status DisposeSavepoint(CheckpointStorage& storage);

}  // namespace weir
