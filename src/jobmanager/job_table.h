#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jobmanager/job_storage.h"
#include "jobmanager/loop_time.h"
#include "jobmanager/stored_record.h"
#include "jobmanager/values.h"
#include "proto/client.pb.h"
#include "proto/job_record.pb.h"

namespace weir::jobmanager {

/// How a job ended, when its machine is not in memory any more.
struct EndedJob {
  proto::JobState state = proto::JOB_STATE_UNSPECIFIED;
  proto::Failure failure;
  std::string reason;
  int64_t ended_ms = 0;
  uint32_t attempt = 0;
  uint32_t restarts = 0;
  uint64_t last_checkpoint_id = 0;
  JobCounts counts;
  /// That it was stopped by.
  std::optional<proto::Stop> stop;
};

/// For how long the loop has found the same piece of work at the head of a strand: in its own time,
/// which stands still when the process does.
class StrandWait {
 public:
  /// Whoever waits longer is told.
  static constexpr std::chrono::seconds kTold{5};

  void Look(uint64_t piece, Instant now) {
    if (piece != piece_) since_ = now;
    piece_ = piece;
    lasts_ = piece == 0 ? std::chrono::nanoseconds(0) : now - since_;
  }
  bool long_enough() const { return lasts_ >= kTold; }
  std::chrono::nanoseconds lasts() const { return lasts_; }

 private:
  uint64_t piece_ = 0;
  Instant since_{0};
  std::chrono::nanoseconds lasts_{0};
};

/// What the loop keeps of a job beside its machine. Owned by the loop's thread.
struct JobEntry {
  /// As submitted, or as the leader before left it; only its immutable fields are read here, and
  /// what can have grown since.
  std::shared_ptr<const proto::JobRecord> record;
  /// Any I/O thread. Shared, as what follows, with work that is under way: the entry may go first.
  std::shared_ptr<StoredRecord> stored;
  /// Called on the job's I/O strand only.
  std::shared_ptr<JobStorage> storage;
  std::optional<EndedJob> ended;
  /// When its end was decided on, as the record says: set with the first try to store that.
  std::optional<int64_t> ending_ms;
  /// It can do without what it began from.
  bool restore_settled = false;
  /// Of each region's newest attempt that has told any.
  std::map<SubtaskId, proto::SubtaskMetrics> metrics;
  /// Of each region's newest deployed attempt, kept after its end: what it printed last is still
  /// there.
  std::vector<proto::PrintEndpoint> print_endpoints;
  StrandWait storage_wait;
  /// Set since the submission, by vertex.
  std::map<uint32_t, proto::SourceRate> source_rates;
};

/// `machine` is null for a job that ended before this leadership.
void DescribeStatus(const std::string& id, const JobEntry& entry, const Job* machine,
                    LeaderEpoch epoch, const TimeOfDay& time, proto::JobStatus* status);

/// Addresses of TaskManagers' RPC, by session.
using RpcAddresses = std::map<SessionId, std::string>;

/// Where the print sinks of an attempt that is placed so can be read.
std::vector<proto::PrintEndpoint> PrintEndpointsOf(const proto::JobGraph& graph, AttemptId attempt,
                                                   const Placement& placement,
                                                   const RpcAddresses& addresses);

void DescribeJob(const std::string& id, const JobEntry& entry, const Job* machine,
                 LeaderEpoch epoch, const TimeOfDay& time, proto::JobDetails* details);

}  // namespace weir::jobmanager
