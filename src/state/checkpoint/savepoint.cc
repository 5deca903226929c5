#include "state/checkpoint/savepoint.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/garbage_collector.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"

namespace weir {

absl::StatusOr<proto::Manifest> ExportSavepoint(CheckpointStorage& from,
                                                const proto::Manifest& checkpoint,
                                                CheckpointStorage& to) {
  proto::LogEntry entry;
  proto::Manifest& savepoint = *entry.mutable_manifest();
  savepoint = checkpoint;
  savepoint.set_kind(proto::Manifest::SAVEPOINT);
  savepoint.set_exported_from(checkpoint.checkpoint_id());
  for (const std::string& path : FilesOf(checkpoint)) {
    const absl::Status copied = CopyFile(from, to, path);
    if (copied.ok() || absl::IsAlreadyExists(copied)) continue;
    return absl::Status(copied.code(),
                        absl::StrCat("savepoint of checkpoint ", checkpoint.checkpoint_id(), ": ",
                                     copied.message()));
  }
  if (absl::Status s = VerifyChecksums(to, savepoint); !s.ok()) return s;
  // What an earlier try copied without syncing the folder is made durable by listing it.
  if (absl::Status s = to.List("data").status(); !s.ok()) return s;

  entry.set_slot(1);
  const std::string bytes = EncodeLogEntry(entry);
  const std::string path = CheckpointLogPath(1);
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
  return savepoint;
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
  if (contents->entries.empty()) {
    return absl::NotFoundError(absl::StrCat(storage.Describe(), " holds no savepoint"));
  }
  bool savepoint = false;
  std::set<std::string> files;
  for (const CheckpointLogEntry& e : contents->entries) {
    if (!e.status.ok()) return e.status;
    if (!e.is_checkpoint()) continue;
    savepoint = savepoint || e.entry.manifest().kind() == proto::Manifest::SAVEPOINT;
    files.merge(FilesOf(e.entry.manifest()));
  }
  if (!savepoint) {
    // The job's own storage: what aborted checkpoints left goes, too.
    const absl::StatusOr<std::vector<StoredFile>> data = storage.List("data");
    if (!data.ok()) return data.status();
    for (const StoredFile& file : *data) files.insert(file.path);
  }
  if (absl::Status s = DeleteNotesOfNewest(storage); !s.ok()) return s;
  for (const bool leaders : {false, true}) {
    for (const CheckpointLogEntry& e : contents->entries) {
      if (e.is_checkpoint() == leaders) continue;
      if (absl::Status s = storage.Delete(e.path); !s.ok()) return s;
    }
    if (leaders) break;
    if (absl::Status s = storage.List("log").status(); !s.ok()) return s;
    for (const std::string& path : files) {
      if (absl::Status s = storage.Delete(path); !s.ok()) return s;
    }
  }
  return storage.RemoveEmptyFolders();
}

}  // namespace weir
