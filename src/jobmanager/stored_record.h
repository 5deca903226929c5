#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ha/metadata_store.h"
#include "jobmanager/leadership.h"
#include "proto/job_record.pb.h"

namespace weir::jobmanager {

/// The record of one job in the metadata store, and the only writer of it under this leadership.
///
/// Thread-safe, and apart from the job's checkpoints: a wish to cancel is stored while a commit
/// hangs in their storage. Calls that store block for as long as the metadata store does.
class StoredRecord {
 public:
  static constexpr uint32_t kFormat = 1;
  static std::string KeyOf(const std::string& job_id) { return "jobs/" + job_id; }

  using Edit = std::function<void(proto::JobRecord&)>;

  /// `version` is that of the record in the store; kAbsent for a new job, whose first Store creates
  /// it.
  StoredRecord(const Leadership& leadership, proto::JobRecord record, uint64_t version);

  /// As it is durable, with what was noted since.
  template <typename Get>
  auto Read(const Get& get) const {
    std::lock_guard lock(mutex_);
    return get(static_cast<const proto::JobRecord&>(record_));
  }

  /// An ended job's checkpoints are still to be deleted.
  bool Owes() const {
    return Read([](const proto::JobRecord& r) {
      return r.end() != proto::JOB_STATE_UNSPECIFIED && r.discards_checkpoints();
    });
  }

  /// Goes into the record with whatever is stored next.
  void Note(const Edit& edit);

  /// Makes what was noted durable, and what `edit` changes, which is not kept if that fails.
  /// Unknown: it may be durable all the same.
  [[nodiscard]] absl::Status Store(const Edit& edit = nullptr);

  /// Nothing is stored any more behind it: NotFound.
  [[nodiscard]] absl::Status Delete();

  /// Another leader was here, or could have been: stop. Any call may have found that.
  bool fenced() const { return fenced_; }
  /// Remembers it if it says that.
  absl::Status NoteFence(absl::Status status);
  absl::Status MayAct() { return NoteFence(leadership_.MayAct()); }

 private:
  absl::Status Put(const proto::JobRecord& record);  // under mutex_

  const Leadership leadership_;
  mutable std::mutex mutex_;
  proto::JobRecord record_;  // guarded by mutex_
  uint64_t version_;         // guarded by mutex_
  bool deleted_ = false;     // guarded by mutex_
  bool in_doubt_ = false;    // guarded by mutex_: what the store holds is to be asked first
  std::atomic<bool> fenced_ = false;
};

/// Every job in the store, with the version of its record. DataLoss or FailedPrecondition names a
/// record that cannot be read.
struct StoredJob {
  proto::JobRecord record;
  uint64_t version = 0;
};
absl::StatusOr<std::vector<StoredJob>> ReadJobs(MetadataStore& store);

}  // namespace weir::jobmanager
