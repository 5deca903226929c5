#include "jobmanager/lineage.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weir::jobmanager {
namespace {

std::vector<std::string> UnguardedSinks(const proto::JobGraph& graph) {
  std::vector<std::string> sinks;
  for (const proto::Vertex& vertex : graph.vertices()) {
    for (const proto::Operator& op : vertex.operators()) {
      if (!op.unguarded_lineage()) continue;
      sinks.push_back(absl::StrCat("'", op.name(), "' (uid '", op.uid(), "')"));
    }
  }
  return sinks;
}

}  // namespace

bool HasUnguardedSinks(const proto::JobGraph& graph) { return !UnguardedSinks(graph).empty(); }

absl::Status CheckLineage(const proto::JobRecord& job, const std::vector<LineageUse>& uses) {
  const std::vector<std::string> sinks = UnguardedSinks(job.graph());
  if (sinks.empty() || uses.empty()) return absl::OkStatus();
  const proto::RestoreFrom& from = job.initial_restore();
  const std::string where =
      absl::StrCat("checkpoint ", from.checkpoint_id(), " in ", from.directory());
  const auto refuse = [&](const LineageUse& use, const std::string& why, const std::string& mend) {
    return absl::FailedPreconditionError(absl::StrCat(
        "nothing keeps the transactional sink", sinks.size() == 1 ? " " : "s ",
        absl::StrJoin(sinks, ", "), " from publishing once more what is published: job ", use.job,
        " of the same output lineage has ", why, ", and this one would begin from ", where, "; ",
        mend, ", or begin where you wanted with --new-lineage, which repeats all results since"));
  };
  // One that has not ended may publish anything yet; stopped, it leaves the newest point there is.
  const auto running =
      std::find_if(uses.begin(), uses.end(), [](const LineageUse& use) { return use.running; });
  if (running != uses.end()) {
    return refuse(*running, "not ended",
                  absl::StrCat("stop it (weir stop ", running->job,
                               ") and begin from the savepoint that this gives"));
  }
  const auto furthest = std::max_element(
      uses.begin(), uses.end(),
      [](const LineageUse& a, const LineageUse& b) { return a.published < b.published; });
  if (furthest->published <= CheckpointId(from.checkpoint_id())) return absl::OkStatus();
  return refuse(*furthest, absl::StrCat("published up to checkpoint ", furthest->published.value),
                absl::StrCat("begin from the savepoint that it was stopped with, or from that one "
                             "if it is still retained in ",
                             furthest->directory));
}

const proto::LineageRecord* PastLineages::Find(const std::string& lineage) const {
  const auto found = known_.find(lineage);
  return found == known_.end() ? nullptr : &found->second;
}

const proto::LineageRecord& PastLineages::Add(const std::string& lineage,
                                              const proto::LineageRecord& job) {
  proto::LineageRecord& kept = known_[lineage];
  const int64_t ended_ms = std::max(kept.ended_ms(), job.ended_ms());
  if (kept.published() < job.published()) kept = job;
  kept.set_ended_ms(ended_ms);
  return kept;
}

std::optional<std::string> PastLineages::TakeSurplus(size_t max) {
  if (known_.size() <= max) return std::nullopt;
  const auto first = std::min_element(
      known_.begin(), known_.end(),
      [](const auto& a, const auto& b) { return a.second.ended_ms() < b.second.ended_ms(); });
  std::string lineage = first->first;
  known_.erase(first);
  return lineage;
}

}  // namespace weir::jobmanager
