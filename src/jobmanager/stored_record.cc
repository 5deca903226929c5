#include "jobmanager/stored_record.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {

StoredRecord::StoredRecord(const Leadership& leadership, proto::JobRecord record, uint64_t version)
    : leadership_(leadership), record_(std::move(record)), version_(version) {}

absl::Status StoredRecord::NoteFence(absl::Status status) {
  if (absl::IsAborted(status)) fenced_ = true;
  return status;
}

void StoredRecord::Note(const Edit& edit) {
  std::lock_guard lock(mutex_);
  edit(record_);
}

absl::Status StoredRecord::Store(const Edit& edit) {
  if (absl::Status s = MayAct(); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  if (edit == nullptr) return Put(record_);
  proto::JobRecord edited = record_;
  edit(edited);
  absl::Status stored = Put(edited);
  if (stored.ok()) record_ = std::move(edited);
  return stored;
}

absl::Status StoredRecord::Put(const proto::JobRecord& record) {
  if (deleted_) return absl::NotFoundError("the job's record has been deleted");
  const std::string key = KeyOf(record.job_id());
  if (in_doubt_) {
    const absl::StatusOr<MetadataEntry> found = leadership_.metadata->Get(key);
    if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
    version_ = found.ok() ? found->version : MetadataStore::kAbsent;
    in_doubt_ = false;
  }
  const std::string value = record.SerializeAsString();
  absl::StatusOr<uint64_t> version =
      leadership_.metadata->Put(key, version_, value, leadership_.epoch);
  if (absl::IsUnknown(version.status())) {
    // Only this process writes the key under this epoch: what is there is ours, old or new.
    const absl::StatusOr<MetadataEntry> found = leadership_.metadata->Get(key);
    in_doubt_ = !found.ok();
    if (in_doubt_) return version.status();
    version_ = found->version;
    if (found->value == value) return absl::OkStatus();
    return absl::UnavailableError(version.status().message());
  }
  if (!version.ok()) return NoteFence(version.status());
  version_ = *version;
  return absl::OkStatus();
}

absl::Status StoredRecord::Delete() {
  if (absl::Status s = MayAct(); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  deleted_ = true;
  return leadership_.metadata->Delete(KeyOf(record_.job_id()), version_, leadership_.epoch);
}

absl::StatusOr<std::vector<StoredJob>> ReadJobs(MetadataStore& store) {
  const absl::StatusOr<std::vector<std::string>> keys = store.List("jobs/");
  if (!keys.ok()) return keys.status();
  std::vector<StoredJob> jobs;
  for (const std::string& key : *keys) {
    const absl::StatusOr<MetadataEntry> entry = store.Get(key);
    if (absl::IsNotFound(entry.status())) continue;
    if (!entry.ok()) return entry.status();
    StoredJob job{.version = entry->version};
    if (!job.record.ParseFromString(entry->value)) {
      return absl::DataLossError(
          absl::StrCat("the record ", key, " in ", store.Describe(), " cannot be read"));
    }
    if (job.record.format() != StoredRecord::kFormat) {
      return absl::FailedPreconditionError(
          absl::StrCat("the record ", key, " in ", store.Describe(), " has format ",
                       job.record.format(), "; this build reads ", StoredRecord::kFormat));
    }
    jobs.push_back(std::move(job));
  }
  return jobs;
}

}  // namespace weir::jobmanager
