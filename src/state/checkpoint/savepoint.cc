#include "state/checkpoint/savepoint.h"

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/failpoint.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/garbage_collector.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"

namespace weir {
namespace {

constexpr char kExporting[] = "exporting";
constexpr uint64_t kMaxNoteBytes = 1 << 10;
constexpr char kDisposing[] = "disposing";

std::string NoteOf(const std::string& job_id, uint64_t checkpoint_id) {
  return absl::StrCat(job_id, " ", checkpoint_id, "\n");
}

absl::StatusOr<bool> IsEmpty(CheckpointStorage& storage, const std::string& folder) {
  const absl::StatusOr<std::vector<StoredFile>> files = storage.List(folder);
  if (!files.ok()) return files.status();
  return files->empty();
}

absl::Status InUse(CheckpointStorage& to, const std::string& why) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot write a savepoint to ", to.Describe(), ": ", why, "; it must be empty"));
}

/// Makes an empty storage this export's own, or finds that it is.
absl::Status Claim(CheckpointStorage& to, const std::string& note) {
  const absl::StatusOr<std::string> found = ReadWhole(to, kExporting, kMaxNoteBytes);
  if (found.ok()) {
    return *found == note ? absl::OkStatus() : InUse(to, "another one is being written there");
  }
  if (!absl::IsNotFound(found.status())) return found.status();
  const absl::StatusOr<bool> empty = IsEmpty(to, "data");
  if (!empty.ok()) return empty.status();
  if (!*empty) return InUse(to, "there are files of others");
  const absl::Status claimed = to.CreateIfAbsent(kExporting, note);
  if (!absl::IsAlreadyExists(claimed) && !OutcomeUnknown(claimed)) return claimed;
  const absl::StatusOr<std::string> now = ReadWhole(to, kExporting, kMaxNoteBytes);
  return now.ok() && *now == note ? absl::OkStatus() : claimed;
}

/// NotFound: no disposal has begun here.
absl::StatusOr<std::set<std::string>> FilesOfACutOffDisposal(CheckpointStorage& storage) {
  const absl::StatusOr<std::string> note = ReadWhole(storage, kDisposing, kMaxManifestBytes);
  if (!note.ok()) return note.status();
  return std::set<std::string>(absl::StrSplit(*note, '\n', absl::SkipEmpty()));
}

}  // namespace

absl::StatusOr<proto::Manifest> ExportSavepoint(CheckpointStorage& from,
                                                const proto::Manifest& checkpoint,
                                                CheckpointStorage& to) {
  proto::LogEntry entry;
  proto::Manifest& savepoint = *entry.mutable_manifest();
  savepoint = checkpoint;
  savepoint.set_kind(proto::Manifest::SAVEPOINT);
  savepoint.set_exported_from(checkpoint.checkpoint_id());
  // With an entry in its log it is a savepoint, this one or another, and only compared below.
  const absl::StatusOr<bool> fresh = IsEmpty(to, "log");
  if (!fresh.ok()) return fresh.status();
  if (*fresh) {
    const std::string note = NoteOf(checkpoint.job_id(), checkpoint.checkpoint_id());
    if (absl::Status s = Claim(to, note); !s.ok()) return s;
  }
  for (const std::string& path : *fresh ? FilesOf(checkpoint) : std::set<std::string>()) {
    const absl::Status copied = CopyFile(from, to, path);
    (void)WEIR_FAILPOINT("savepoint.copied");
    if (copied.ok() || absl::IsAlreadyExists(copied)) continue;
    return absl::Status(copied.code(),
                        absl::StrCat("savepoint of checkpoint ", checkpoint.checkpoint_id(), ": ",
                                     copied.message()));
  }
  if (*fresh) {
    if (absl::Status s = VerifyChecksums(to, savepoint); !s.ok()) return s;
  }
  // What an earlier try copied without syncing the folder is made durable by listing it.
  if (absl::Status s = to.List("data").status(); !s.ok()) return s;

  entry.set_slot(1);
  const std::string bytes = EncodeLogEntry(entry);
  const std::string path = CheckpointLogPath(1);
  (void)WEIR_FAILPOINT("savepoint.before_commit");
  absl::Status written = to.CreateIfAbsent(path, bytes);
  if (absl::IsAlreadyExists(written) || OutcomeUnknown(written)) {
    if (absl::Status s = to.List("log").status(); !s.ok()) return s;
    const absl::StatusOr<std::string> found = ReadWhole(to, path, kMaxManifestBytes);
    if (found.ok() && *found == bytes) written = absl::OkStatus();
  }
  if (!written.ok()) {
    return absl::Status(written.code(),
                        absl::StrCat("cannot write a savepoint to ", to.Describe(), ": ",
                                     written.message(), "; it must be empty"));
  }
  (void)WEIR_FAILPOINT("savepoint.after_commit");
  if (absl::Status s = to.Delete(kExporting); !s.ok()) return s;
  return savepoint;
}

absl::StatusOr<SweptExport> SweepExport(CheckpointStorage& storage, const std::string& job_id) {
  const absl::StatusOr<bool> uncommitted = IsEmpty(storage, "log");
  if (!uncommitted.ok()) return uncommitted.status();
  const absl::StatusOr<std::vector<StoredFile>> data = storage.List("data");
  if (!data.ok()) return data.status();
  const absl::StatusOr<std::string> note = ReadWhole(storage, kExporting, kMaxNoteBytes);
  const bool noted = note.ok();
  if (!noted && !absl::IsNotFound(note.status())) return note.status();
  const bool ours = noted && absl::StartsWith(*note, absl::StrCat(job_id, " "));
  if (noted && !ours) return SweptExport::kForeign;
  if (!*uncommitted) {
    // Damaged or not: whatever has a manifest is kept.
    if (!ours) return SweptExport::kForeign;
    if (absl::Status s = storage.Delete(kExporting); !s.ok()) return s;
    return SweptExport::kWhole;
  }
  if (!ours && !data->empty()) return SweptExport::kForeign;
  for (const StoredFile& file : *data) {
    if (absl::Status s = storage.Delete(file.path); !s.ok()) return s;
  }
  (void)storage.RemoveAbandoned(std::chrono::milliseconds(0));
  // Last: what a crash leaves of this sweep is still known to be ours.
  if (absl::Status s = storage.Delete(kExporting); !s.ok()) return s;
  if (absl::Status s = storage.RemoveEmptyFolders(); !s.ok()) return s;
  return ours ? SweptExport::kRemoved : SweptExport::kNothingThere;
}

absl::StatusOr<proto::Manifest> ReadSavepoint(CheckpointStorage& storage) {
  const absl::StatusOr<CheckpointLogContents> contents = ReadCheckpointLog(storage);
  if (!contents.ok()) return contents.status();
  const absl::StatusOr<const CheckpointLogEntry*> newest =
      contents->FindRestorable(RestorePolicy::kNewest);
  if (!newest.ok()) return newest.status();
  if (*newest == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(storage.Describe(), " holds no savepoint and no checkpoint"));
  }
  return (*newest)->entry.manifest();
}

absl::Status DisposeSavepoint(CheckpointStorage& storage) {
  const absl::StatusOr<CheckpointLogContents> contents = ReadCheckpointLog(storage);
  if (!contents.ok()) return contents.status();
  absl::StatusOr<std::set<std::string>> files = FilesOfACutOffDisposal(storage);
  if (!files.ok() && !absl::IsNotFound(files.status())) return files.status();
  if (contents->entries.empty() && !files.ok()) {
    return absl::NotFoundError(absl::StrCat(storage.Describe(), " holds no savepoint"));
  }
  if (!files.ok()) files = std::set<std::string>();
  bool savepoint = contents->entries.empty();
  for (const CheckpointLogEntry& e : contents->entries) {
    if (!e.status.ok()) return e.status;
    if (!e.is_checkpoint()) continue;
    savepoint = savepoint || e.entry.manifest().kind() == proto::Manifest::SAVEPOINT;
    files->merge(FilesOf(e.entry.manifest()));
  }
  if (!savepoint) {
    // The job's own storage: what aborted checkpoints left goes, too.
    const absl::StatusOr<std::vector<StoredFile>> data = storage.List("data");
    if (!data.ok()) return data.status();
    for (const StoredFile& file : *data) files->insert(file.path);
  }
  // On a full disk there is none: it would only be missed if this were cut off.
  (void)storage.CreateIfAbsent(kDisposing, absl::StrCat(absl::StrJoin(*files, "\n"), "\n"));
  if (absl::Status s = DeleteNotesOfNewest(storage); !s.ok()) return s;
  for (const bool leaders : {false, true}) {
    for (const CheckpointLogEntry& e : contents->entries) {
      if (e.is_checkpoint() == leaders) continue;
      if (absl::Status s = storage.Delete(e.path); !s.ok()) return s;
    }
    if (leaders) break;
    if (absl::Status s = storage.List("log").status(); !s.ok()) return s;
    for (const std::string& path : *files) {
      if (absl::Status s = storage.Delete(path); !s.ok()) return s;
    }
  }
  // What writers that were killed left half-written.
  (void)storage.RemoveAbandoned(std::chrono::milliseconds(0));
  // Listing makes the deletions durable, before the note that they are to be done goes.
  if (absl::Status s = storage.List("data").status(); !s.ok()) return s;
  if (absl::Status s = storage.Delete(kDisposing); !s.ok()) return s;
  return storage.RemoveEmptyFolders();
}

}  // namespace weir
