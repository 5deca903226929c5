#include "state/checkpoint/checkpoint_log.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "state/checkpoint/manifest.h"

namespace weir {
namespace {

constexpr char kFolder[] = "log";
constexpr char kNotesFolder[] = "newest";
constexpr int kTries = 100;

// log/00000000000000000042 -> 42; 0 if it has another form.
uint64_t SlotOfPath(const std::string& path, const std::string& folder = kFolder) {
  uint64_t slot = 0;
  const size_t name = folder.size() + 1;  // behind the slash
  if (path.size() != name + 20) return 0;
  const char* end = path.data() + path.size();
  const auto [at, error] = std::from_chars(path.data() + name, end, slot);
  return error == std::errc() && at == end ? slot : 0;
}

LeaderEpoch EpochOf(const proto::LogEntry& entry) {
  return LeaderEpoch(entry.has_manifest() ? entry.manifest().leader_epoch()
                                          : entry.leader().leader_epoch());
}

uint64_t EndOfBlockAfter(uint64_t id) {
  return (id / CheckpointLog::kIdBlock + 1) * CheckpointLog::kIdBlock;
}

absl::StatusOr<proto::LogEntry> ReadEntry(CheckpointStorage& storage, const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadWhole(storage, path, kMaxManifestBytes);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<proto::LogEntry> entry = DecodeLogEntry(*bytes, path, storage.Describe());
  if (entry.ok() && entry->has_manifest()) {
    if (absl::Status s = CheckManifest(entry->manifest()); !s.ok()) {
      return absl::DataLossError(absl::StrCat(path, " in ", storage.Describe(), ": ", s.message()));
    }
  }
  return entry;
}

}  // namespace

std::string CheckpointLogPath(uint64_t slot) { return absl::StrFormat("%s/%020d", kFolder, slot); }

absl::Status DeleteNotesOfNewest(CheckpointStorage& storage) {
  const absl::StatusOr<std::vector<StoredFile>> notes = storage.List(kNotesFolder);
  if (!notes.ok()) return notes.status();
  for (const StoredFile& note : *notes) {
    if (absl::Status s = storage.Delete(note.path); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckpointLogContents> ReadCheckpointLog(CheckpointStorage& storage) {
  CheckpointLogContents contents;
  contents.where = storage.Describe();
  // Before the log: what is noted by now is in a log that is listed later, or something newer is.
  const absl::StatusOr<std::vector<StoredFile>> notes = storage.List(kNotesFolder);
  if (!notes.ok()) return notes.status();
  for (const StoredFile& note : *notes) {
    contents.noted_slot = std::max(contents.noted_slot, SlotOfPath(note.path, kNotesFolder));
  }
  const absl::StatusOr<std::vector<StoredFile>> files = storage.List(kFolder);
  if (!files.ok()) return files.status();
  uint64_t ids_used = 0;
  uint64_t unreadable = 0;
  for (const StoredFile& file : *files) {
    CheckpointLogEntry found;
    found.slot = SlotOfPath(file.path);
    found.path = file.path;
    if (found.slot == 0) continue;  // not ours
    absl::StatusOr<proto::LogEntry> entry = ReadEntry(storage, file.path);
    contents.next_slot = found.slot + 1;
    if (entry.ok()) {
      found.entry = *std::move(entry);
      contents.highest_epoch = std::max(contents.highest_epoch, EpochOf(found.entry));
      ids_used = std::max(ids_used, found.entry.has_manifest()
                                        ? found.entry.manifest().checkpoint_id()
                                        : found.entry.leader().end_checkpoint_id() - 1);
    } else if (absl::IsNotFound(entry.status())) {
      continue;  // deleted since the listing, by the retention of its leader
    } else if (absl::IsDataLoss(entry.status()) || absl::IsFailedPrecondition(entry.status()) ||
               absl::IsResourceExhausted(entry.status())) {
      found.status = entry.status();
      ++unreadable;
    } else {
      return entry.status();  // the storage, not the entry
    }
    contents.entries.push_back(std::move(found));
  }
  // An entry that cannot be read may have reserved one block of ids.
  contents.next_checkpoint_id = CheckpointId(ids_used + 1 + unreadable * CheckpointLog::kIdBlock);
  return contents;
}

absl::StatusOr<const CheckpointLogEntry*> CheckpointLogContents::FindRestorable(
    RestorePolicy policy) const {
  const CheckpointLogEntry* unreadable = nullptr;
  const CheckpointLogEntry* found = nullptr;
  for (auto it = entries.rbegin(); it != entries.rend() && found == nullptr; ++it) {
    if (it->is_checkpoint()) found = &*it;
    if (it->status.ok()) continue;
    if (unreadable == nullptr) unreadable = &*it;
    if (policy == RestorePolicy::kNewest) break;
  }
  const bool gone = unreadable == nullptr && (found == nullptr ? 0 : found->slot) < noted_slot;
  if (gone && policy == RestorePolicy::kNewest) {
    return absl::DataLossError(absl::StrCat(
        "the checkpoint ", CheckpointLogPath(noted_slot),
        " was complete, but its manifest is missing"
        " in ",
        where, ", where ",
        found == nullptr
            ? "there is no other"
            : absl::StrCat("the newest is ", found->path,
                           "; an older checkpoint is used only if asked for, by naming "
                           "its manifest: --from-savepoint .../",
                           found->path)));
  }
  if (found != nullptr || unreadable == nullptr) return found;
  const CheckpointLogEntry* older = nullptr;
  for (const CheckpointLogEntry& entry : entries) {
    if (entry.is_checkpoint()) older = &entry;
  }
  std::string mend = "; put it back as it was";
  if (older != nullptr) {
    absl::StrAppend(&mend,
                    ": an older checkpoint is used only if asked for, by naming its manifest: "
                    "--from-savepoint .../",
                    older->path);
  } else {
    absl::StrAppend(&mend, ": no older checkpoint can be read");
  }
  return absl::Status(unreadable->status.code(), absl::StrCat(unreadable->status.message(), mend));
}

absl::StatusOr<std::unique_ptr<CheckpointLog>> CheckpointLog::TakeOver(
    CheckpointStorage& storage, LeaderEpoch epoch, const std::string& holder,
    const std::string& incarnation, RestorePolicy policy) {
  if (epoch.value == 0) return absl::InvalidArgumentError("leader epochs begin at 1");
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<CheckpointLogContents> found = ReadCheckpointLog(storage);
    if (!found.ok()) return found.status();
    std::unique_ptr<CheckpointLog> log(new CheckpointLog(storage, epoch, incarnation));
    for (const CheckpointLogEntry& e : found->entries) {
      if (!e.status.ok()) continue;
      const bool same = EpochOf(e.entry) == epoch;
      const bool own = e.entry.has_leader() && e.entry.leader().incarnation() == incarnation;
      if (EpochOf(e.entry) > epoch || (same && e.entry.has_leader() && !own)) {
        return log->FencedBy(e.entry);
      }
      if (e.is_checkpoint()) {
        log->checkpoints_.push_back(e);
        log->last_id_ = CheckpointId(e.entry.manifest().checkpoint_id());
      }
    }
    const absl::StatusOr<const CheckpointLogEntry*> restorable = found->FindRestorable(policy);
    if (!restorable.ok()) return restorable.status();
    log->holder_ = holder;
    log->next_slot_ = found->next_slot;
    log->noted_slot_ = found->noted_slot;
    log->first_id_ = found->next_checkpoint_id;
    log->id_limit_ = log->first_id_;
    log->found_ = *std::move(found);
    const absl::Status taken =
        log->AppendLeader(EndOfBlockAfter(log->first_id_.value + kIdBlock / 2));
    if (taken.ok()) return log;
    // Somebody was quicker: read what it was. A leader with a higher epoch, a late commit of the
    // predecessor (which then counts), or our own entry whose outcome was unknown.
    if (!IsFenced(taken)) return taken;
  }
  return absl::UnavailableError(absl::StrCat("the checkpoint log in ", storage.Describe(),
                                             " changed at every try to take it over"));
}

absl::Status CheckpointLog::FencedBy(const proto::LogEntry& other) {
  const std::string who =
      other.has_leader() ? absl::StrCat(" (", other.leader().holder(), ")") : std::string();
  fenced_ = absl::AbortedError(absl::StrCat(
      "the checkpoint log in ", storage_.Describe(), " belongs to the leader of epoch ",
      EpochOf(other).value, who, "; this one has epoch ", epoch_.value, " and must stop"));
  return fenced_;
}

bool CheckpointLog::IsOwnLeader(const proto::LogEntry& entry) const {
  return entry.has_leader() && LeaderEpoch(entry.leader().leader_epoch()) == epoch_ &&
         entry.leader().incarnation() == incarnation_;
}

absl::Status CheckpointLog::Append(proto::LogEntry entry) {
  if (!fenced_.ok()) return fenced_;
  constexpr int kAppendTries = 3;
  absl::Status status;
  bool in_doubt = false;  // an earlier try may yet arrive
  for (int i = 0; i < kAppendTries;) {
    entry.set_slot(next_slot_);
    const std::string bytes = EncodeLogEntry(entry);
    if (bytes.size() > kMaxManifestBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the manifest of checkpoint ", entry.manifest().checkpoint_id(), " has ",
                       bytes.size(), " bytes, above the limit of ", kMaxManifestBytes));
    }
    status = storage_.CreateIfAbsent(CheckpointLogPath(next_slot_), bytes);
    const bool ask = absl::IsAlreadyExists(status) || OutcomeUnknown(status);
    if (ask) status = Resolve(bytes);
    if (status.ok()) {
      ++next_slot_;
      return status;
    }
    if (ask && absl::IsAlreadyExists(status)) continue;  // bounded: one per entry in doubt
    if (!ask || !absl::IsNotFound(status)) {
      return in_doubt && !IsFenced(status) ? absl::UnknownError(status.message()) : status;
    }
    // Nothing in this slot or behind it: nobody took over, another try is safe.
    status = absl::UnknownError(status.message());
    in_doubt = true;
    ++i;
  }
  return status;
}

absl::Status CheckpointLog::Resolve(const std::string& bytes) {
  const std::string path = CheckpointLogPath(next_slot_);
  const auto doubt = [&](const absl::Status& why) {
    return absl::UnknownError(
        absl::StrCat("cannot tell whether ", path, " was committed: ", why.message()));
  };
  // The listing makes what it finds durable, and shows whether anybody went past this slot.
  const absl::StatusOr<std::vector<StoredFile>> files = storage_.List(kFolder);
  if (!files.ok()) return doubt(files.status());
  uint64_t last = 0;
  for (const StoredFile& file : *files) last = std::max(last, SlotOfPath(file.path));
  if (last < next_slot_) return absl::NotFoundError(absl::StrCat(path, " was not created"));

  const absl::StatusOr<std::string> found = ReadWhole(storage_, path, kMaxManifestBytes);
  if (!found.ok() && !absl::IsNotFound(found.status())) return doubt(found.status());
  const absl::StatusOr<proto::LogEntry> entry =
      found.ok() ? DecodeLogEntry(*found, path) : found.status();
  if (entry.ok() && IsOwnLeader(*entry)) leader_in_doubt_ = false;
  if (found.ok() && *found == bytes) return absl::OkStatus();
  if (entry.ok()) {
    for (const proto::Manifest& manifest : in_doubt_) {
      if (!entry->has_manifest() || entry->manifest().leader_epoch() != manifest.leader_epoch() ||
          entry->manifest().checkpoint_id() != manifest.checkpoint_id()) {
        continue;
      }
      ++next_slot_;
      Committed(entry->manifest());
      return absl::AlreadyExistsError(absl::StrCat(path, " is an earlier checkpoint of ours"));
    }
    if (IsOwnLeader(*entry)) {
      ++next_slot_;
      id_limit_ = std::max(id_limit_, CheckpointId(entry->leader().end_checkpoint_id()));
      return absl::AlreadyExistsError(absl::StrCat(path, " is an earlier entry of ours"));
    }
    return FencedBy(*entry);
  }
  fenced_ = absl::AbortedError(absl::StrCat("slot ", path, " of the checkpoint log in ",
                                            storage_.Describe(), " was taken by another leader (",
                                            entry.status().message(), "); this one has epoch ",
                                            epoch_.value, " and must stop"));
  return fenced_;
}

absl::Status CheckpointLog::AppendLeader(uint64_t end_id) {
  proto::LogEntry entry;
  proto::LeaderEntry* leader = entry.mutable_leader();
  leader->set_leader_epoch(epoch_.value);
  leader->set_holder(holder_);
  leader->set_incarnation(incarnation_);
  leader->set_first_checkpoint_id(id_limit_.value);
  leader->set_end_checkpoint_id(end_id);
  const absl::Status appended = Append(std::move(entry));
  if (appended.ok()) id_limit_ = std::max(id_limit_, CheckpointId(end_id));
  if (OutcomeUnknown(appended)) leader_in_doubt_ = true;
  return appended;
}

absl::Status CheckpointLog::ReserveIds(CheckpointId beyond) {
  // What settles a doubt keeps its slot: the write in doubt may still be on its way.
  const bool settles = !in_doubt_.empty();
  absl::Status reserved = AppendLeader(std::max(id_limit_, beyond).value + kIdBlock);
  if (reserved.ok() && !settles) reserved_.push_back(next_slot_ - 1);
  return reserved;
}

void CheckpointLog::Committed(const proto::Manifest& manifest) {
  CheckpointLogEntry entry;
  entry.slot = next_slot_ - 1;
  entry.path = CheckpointLogPath(entry.slot);
  *entry.entry.mutable_manifest() = manifest;
  checkpoints_.push_back(std::move(entry));
  // The slot is filled: whatever else was aimed at it has lost.
  in_doubt_.clear();
  leader_in_doubt_ = false;
}

absl::Status CheckpointLog::Commit(const proto::Manifest& manifest) {
  if (!fenced_.ok()) return fenced_;
  if (absl::Status s = CheckManifest(manifest); !s.ok()) return s;
  const uint64_t id = manifest.checkpoint_id();
  if (manifest.leader_epoch() != epoch_.value) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint ", id, " carries leader epoch ",
                                                   manifest.leader_epoch(), ", this leader has ",
                                                   epoch_.value));
  }
  if (id <= last_id_.value || id < first_id_.value || id >= id_limit_.value) {
    return absl::InvalidArgumentError(
        absl::StrCat("checkpoint id ", id, " is not to be used: the last one was ", last_id_.value,
                     ", this leader's ids are ", first_id_.value, " to ", id_limit_.value - 1));
  }
  if (absl::Status s = CheckFilesPresent(storage_, manifest); !s.ok()) return s;

  proto::LogEntry entry;
  *entry.mutable_manifest() = manifest;
  const absl::Status status = Append(std::move(entry));
  if (status.ok()) Committed(manifest);
  if (OutcomeUnknown(status)) in_doubt_.push_back(manifest);
  if (status.ok() || OutcomeUnknown(status)) last_id_ = CheckpointId(id);
  return status;
}

absl::StatusOr<std::vector<proto::Manifest>> CheckpointLog::Retain(uint32_t count) {
  const uint32_t kept = std::max(count, 1u);
  if (kept > 1) NoteNewest();
  return DropAllBut(kept);
}

void CheckpointLog::NoteNewest() {
  if (!fenced_.ok() || checkpoints_.size() < 2) return;
  const uint64_t slot = checkpoints_.back().slot;
  if (slot == noted_slot_) return;
  const auto path = [](uint64_t of) { return absl::StrFormat("%s/%020d", kNotesFolder, of); };
  // One that fails is no reason to keep old checkpoints, on a full disk least of all: the next one
  // is noted again.
  const absl::Status noted =
      storage_.CreateIfAbsent(path(slot), absl::StrCat(CheckpointLogPath(slot), " was complete\n"));
  if (!noted.ok() && !absl::IsAlreadyExists(noted)) return;
  const uint64_t before = std::exchange(noted_slot_, slot);
  if (before != 0) (void)storage_.Delete(path(before));
}

absl::StatusOr<std::vector<proto::Manifest>> CheckpointLog::DropAll() {
  // Another entry in the next slot ends all doubt about it.
  if (!in_doubt_.empty() || leader_in_doubt_) {
    if (absl::Status s = ReserveIds(); !s.ok()) return s;
  }
  return DropAllBut(0);
}

absl::StatusOr<bool> CheckpointLog::RemoveIfAlone() {
  if (!checkpoints_.empty() || !in_doubt_.empty() || leader_in_doubt_ || found_.next_slot != 1) {
    return false;
  }
  absl::StatusOr<std::vector<StoredFile>> files = ListOwn();
  if (!files.ok()) return files.status();
  for (const StoredFile& file : *files) {
    if (absl::Status s = storage_.Delete(file.path); !s.ok()) return s;
  }
  fenced_ = absl::FailedPreconditionError(
      absl::StrCat("the checkpoint log in ", storage_.Describe(), " was removed with its job"));
  return true;
}

absl::StatusOr<std::vector<StoredFile>> CheckpointLog::ListOwn() {
  if (!fenced_.ok()) return fenced_;
  absl::StatusOr<std::vector<StoredFile>> files = storage_.List(kFolder);
  if (!files.ok()) return files.status();
  const uint64_t foreign = next_slot_ + (in_doubt_.empty() ? 0 : 1);
  for (const StoredFile& file : *files) {
    if (SlotOfPath(file.path) < foreign) continue;
    const absl::StatusOr<proto::LogEntry> other = ReadEntry(storage_, file.path);
    if (leader_in_doubt_ && other.ok() && IsOwnLeader(*other)) continue;
    return other.ok() ? FencedBy(*other) : other.status();
  }
  return files;
}

absl::StatusOr<std::vector<proto::Manifest>> CheckpointLog::DropAllBut(size_t count) {
  if (!fenced_.ok()) return fenced_;
  std::vector<proto::Manifest> dropped;
  if (checkpoints_.size() <= count && drops_durable_) return dropped;
  // Listing makes durable what was deleted before.
  if (absl::Status s = ListOwn().status(); !s.ok()) return s;
  drops_durable_ = true;
  if (count == 0) {
    if (absl::Status s = DeleteNotesOfNewest(storage_); !s.ok()) return s;
    noted_slot_ = 0;
  }
  // One that cannot be deleted is tried again.
  while (reserved_.size() > 1 && storage_.Delete(CheckpointLogPath(reserved_.front())).ok()) {
    reserved_.pop_front();
  }
  // Oldest first: a crash in between leaves the newest.
  while (checkpoints_.size() > count) {
    drops_durable_ = false;
    if (absl::Status s = storage_.Delete(checkpoints_.front().path); !s.ok()) return s;
    dropped.push_back(std::move(*checkpoints_.front().entry.mutable_manifest()));
    checkpoints_.erase(checkpoints_.begin());
  }
  if (count > 0) return dropped;
  // Before anybody deletes the files.
  if (absl::Status s = storage_.List(kFolder).status(); !s.ok()) return s;
  drops_durable_ = true;
  return dropped;
}

}  // namespace weir
