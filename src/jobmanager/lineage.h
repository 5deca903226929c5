#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "proto/job_record.pb.h"

namespace weir::jobmanager {

/// Do the job's sinks leave it to the JobManager that no output is published twice? Theirs alone
/// are meant by all that stands here.
bool HasUnguardedSinks(const proto::JobGraph& graph);

/// A job that publishes under an output lineage, or has.
struct LineageUse {
  std::string job;
  bool running = false;  ///< it is admitted, or about to be, and has not ended
  /// Its newest durable checkpoint. From then on it counts as published: sinks are told at once.
  CheckpointId published;
  std::string directory;  ///< of its checkpoints
};

/// FailedPrecondition names the sinks, the other job and the mend when the job would publish again
/// what another of its lineage has published, or may: that one has not ended, or has published past
/// the checkpoint that this one begins from. Pure.
[[nodiscard]] absl::Status CheckLineage(const proto::JobRecord& job,
                                        const std::vector<LineageUse>& uses);

/// How far the lineages of jobs that are forgotten are published. Outlives the jobs' own records;
/// bounded, so that what is oldest is forgotten in the end.
class PastLineages {
 public:
  static constexpr size_t kMax = 4'096;

  explicit PastLineages(std::map<std::string, proto::LineageRecord> known = {})
      : known_(std::move(known)) {}

  /// Null: none of its jobs is forgotten.
  const proto::LineageRecord* Find(const std::string& lineage) const;
  /// Of several jobs the one that has published furthest counts. Gives what is to be stored.
  const proto::LineageRecord& Add(const std::string& lineage, const proto::LineageRecord& job);
  /// Takes out the one that ended first while there are more than `max`.
  std::optional<std::string> TakeSurplus(size_t max = kMax);

 private:
  std::map<std::string, proto::LineageRecord> known_;
};

}  // namespace weir::jobmanager
