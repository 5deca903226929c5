#include "state/checkpoint/garbage_collector.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "state/checkpoint/manifest.h"

namespace weir {

std::set<std::string> FilesOf(const proto::Manifest& manifest) {
  std::set<std::string> files;
  ForEachHandle(manifest, [&](const proto::StateHandle& handle) {
    if (!handle.file().empty()) files.insert(handle.file());
  });
  return files;
}

std::set<std::string> GarbageCollector::Marked() const {
  std::set<std::string> marked;
  for (const CheckpointLogEntry& e : log_.checkpoints()) marked.merge(FilesOf(e.entry.manifest()));
  for (const proto::Manifest& m : log_.in_doubt()) marked.merge(FilesOf(m));
  return marked;
}

void GarbageCollector::BeginExport(const proto::Manifest& checkpoint) {
  exported_[checkpoint.checkpoint_id()] = FilesOf(checkpoint);
}

void GarbageCollector::EndExport(CheckpointId checkpoint) { exported_.erase(checkpoint.value); }

bool GarbageCollector::IsExported(const std::string& path) const {
  return std::any_of(exported_.begin(), exported_.end(),
                     [&](const auto& e) { return e.second.contains(path); });
}

absl::StatusOr<GarbageReport> GarbageCollector::AfterCommit() {
  GarbageReport report;
  absl::StatusOr<std::vector<proto::Manifest>> dropped = log_.Retain(options_.retained);
  if (!dropped.ok()) return dropped.status();
  // What earlier calls dropped is durably gone now: its files may go.
  const std::set<std::string> marked = Marked();
  for (const std::string& path : std::exchange(released_, {})) {
    if (marked.contains(path)) continue;
    if (IsExported(path)) {
      released_.insert(path);
      continue;
    }
    if (absl::Status s = log_.storage().Delete(path); !s.ok()) {
      released_.insert(path);
      ++report.kept_in_doubt;
      continue;
    }
    ++report.deleted_files;
  }
  for (const proto::Manifest& manifest : *dropped) {
    for (const std::string& path : FilesOf(manifest)) {
      if (!marked.contains(path)) released_.insert(path);
    }
  }
  return report;
}

absl::StatusOr<GarbageCollector::Orphans> GarbageCollector::FindOrphans() const {
  // Mark from what the storage says, not from what this leader remembers.
  const absl::StatusOr<CheckpointLogContents> contents = ReadCheckpointLog(log_.storage());
  if (!contents.ok()) return contents.status();
  if (contents->highest_epoch > log_.epoch()) {
    return absl::AbortedError(absl::StrCat("a leader of epoch ", contents->highest_epoch.value,
                                           " was seen; this one, of epoch ", log_.epoch().value,
                                           ", deletes nothing"));
  }
  std::set<std::string> marked = Marked();
  Orphans found;
  for (const CheckpointLogEntry& e : contents->entries) {
    if (!e.status.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "nothing is deleted, because it is not known what it refers to: ", e.status.message()));
    }
    if (!e.is_checkpoint()) continue;
    marked.merge(FilesOf(e.entry.manifest()));
    found.newest = std::max(found.newest, e.entry.manifest().checkpoint_id());
  }
  absl::StatusOr<std::vector<StoredFile>> files = log_.storage().List("data");
  if (!files.ok()) return files.status();
  for (StoredFile& file : *files) {
    if (marked.contains(file.path) || IsExported(file.path)) continue;
    const absl::StatusOr<DataFileName> name = DataFileName::Parse(file.path);
    const bool ours = name.ok() && name->epoch <= log_.epoch();
    found.orphans.push_back(
        {.file = std::move(file), .name = ours ? std::optional(*name) : std::nullopt});
  }
  return found;
}

absl::StatusOr<GarbageReport> GarbageCollector::Sweep(std::chrono::nanoseconds now) {
  const absl::StatusOr<Orphans> found = FindOrphans();
  if (!found.ok()) return found.status();
  GarbageReport report;
  const auto seen_before = std::exchange(orphans_, {});
  for (const auto& [file, name] : found->orphans) {
    if (released_.contains(file.path)) continue;  // it goes with the next commit
    const bool in_flight =
        !name || (name->epoch == log_.epoch() && name->checkpoint.value > found->newest);
    if (in_flight) {
      ++report.kept_in_doubt;
      continue;
    }
    const auto before = seen_before.find(file.path);
    const std::chrono::nanoseconds since = before == seen_before.end() ? now : before->second;
    if (now - since < options_.grace || !log_.storage().Delete(file.path).ok()) {
      orphans_[file.path] = since;
      ++report.kept_in_doubt;
      continue;
    }
    ++report.deleted_files;
    report.deleted_bytes += file.size;
  }
  const absl::StatusOr<uint64_t> abandoned = log_.storage().RemoveAbandoned(options_.grace);
  if (!abandoned.ok()) return abandoned.status();
  report.deleted_files += *abandoned;
  return report;
}

absl::StatusOr<GarbageReport> GarbageCollector::SweepBetweenAttempts() {
  const absl::StatusOr<Orphans> found = FindOrphans();
  if (!found.ok()) return found.status();
  GarbageReport report;
  for (const auto& [file, name] : found->orphans) {
    const bool ours = name || released_.contains(file.path);
    if (!ours || !log_.storage().Delete(file.path).ok()) {
      ++report.kept_in_doubt;
      continue;
    }
    orphans_.erase(file.path);
    released_.erase(file.path);
    ++report.deleted_files;
    report.deleted_bytes += file.size;
  }
  const absl::StatusOr<uint64_t> abandoned =
      log_.storage().RemoveAbandoned(std::chrono::milliseconds(0));
  if (!abandoned.ok()) return abandoned.status();
  report.deleted_files += *abandoned;
  return report;
}

absl::StatusOr<GarbageReport> GarbageCollector::DeleteAll() {
  GarbageReport report;
  absl::StatusOr<std::vector<proto::Manifest>> dropped = std::vector<proto::Manifest>();
  if (!log_removed_) dropped = log_.DropAll();
  if (!dropped.ok()) return dropped.status();
  // Ours whatever their names say: those of a savepoint keep the epoch of the cluster it is from.
  for (const proto::Manifest& manifest : *dropped) released_.merge(FilesOf(manifest));
  const absl::StatusOr<std::vector<StoredFile>> files = log_.storage().List("data");
  if (!files.ok()) return files.status();
  for (const StoredFile& file : *files) {
    // No leader writes for a job that is over: one whose epoch is higher is that of the cluster
    // that a savepoint came from, and no manifest need name it any more.
    if (!released_.contains(file.path) && !DataFileName::Parse(file.path).ok()) {
      ++report.kept_in_doubt;
      continue;
    }
    if (absl::Status s = log_.storage().Delete(file.path); !s.ok()) return s;
    ++report.deleted_files;
    report.deleted_bytes += file.size;
  }
  released_.clear();
  // Listing makes the deletions durable, before anybody says that all is gone.
  if (absl::Status s = log_.storage().List("data").status(); !s.ok()) return s;
  if (report.kept_in_doubt == 0) {
    if (!log_removed_) {
      const absl::StatusOr<bool> removed = log_.RemoveIfAlone();
      if (!removed.ok()) return removed.status();
      log_removed_ = *removed;
    }
    (void)log_.storage().RemoveAbandoned(std::chrono::milliseconds(0));  // nobody writes any more
  }
  if (absl::Status s = log_.storage().RemoveEmptyFolders(); !s.ok()) return s;
  return report;
}

}  // namespace weir
