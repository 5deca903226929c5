#include "jobmanager/savepoint_fit.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/timestamp.h"
#include "runtime/graph/channel_ends.h"

namespace weir::jobmanager {
namespace {

/// Event time had been ended for the savepoint although its sources had not.
bool WasDrained(const proto::Manifest& savepoint) {
  for (const proto::VertexSnapshot& vertex : savepoint.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      if (subtask.watermark() == Timestamp::Max().ms && !subtask.at_end_of_data()) return true;
    }
  }
  return false;
}

/// State keeps its number of key groups for good, so it bounds the parallelism.
std::string HowToFit(uint32_t max_parallelism, const proto::JobGraph& graph) {
  const proto::Vertex* widest = nullptr;
  for (const proto::Vertex& vertex : graph.vertices()) {
    if (widest == nullptr || vertex.parallelism() > widest->parallelism()) widest = &vertex;
  }
  if (widest == nullptr || widest->parallelism() <= max_parallelism) {
    return absl::StrCat("start it with --max-parallelism ", max_parallelism);
  }
  return absl::StrCat("its state can be spread over ", max_parallelism,
                      " subtasks at most, and vertex ", widest->id(), " '", widest->name(),
                      "' has ", widest->parallelism(), ": start it with -p ", max_parallelism,
                      " or less, and --max-parallelism ", max_parallelism);
}

std::set<std::string> UidsOf(const proto::JobGraph& graph) {
  std::set<std::string> uids;
  for (const proto::Vertex& vertex : graph.vertices()) {
    for (const proto::Operator& op : vertex.operators()) uids.insert(op.uid());
  }
  return uids;
}

/// The job's edge on which such rows were on their way; null: it has none.
const proto::Edge* EdgeOf(const proto::StateHandle& rows, const proto::JobGraph& graph) {
  for (const proto::Edge& edge : graph.edges()) {
    const proto::Vertex& target = graph.vertices(static_cast<int>(edge.target_vertex()));
    if (target.operators(0).uid() != rows.operator_uid() ||
        edge.target_input() != rows.edge().input() || edge.side_output() != rows.edge().tag()) {
      continue;
    }
    const proto::Vertex& source = graph.vertices(static_cast<int>(edge.source_vertex()));
    for (const proto::Operator& op : source.operators()) {
      if (op.id() == edge.source_operator() && op.uid() == rows.edge().producer_uid()) return &edge;
    }
  }
  return nullptr;
}

/// As checkpoints number it.
uint32_t NumberOf(proto::Partitioning partitioning) {
  switch (partitioning) {
    case proto::PARTITIONING_FORWARD:
      return static_cast<uint32_t>(Partitioning::kForward);
    case proto::PARTITIONING_HASH:
      return static_cast<uint32_t>(Partitioning::kHash);
    case proto::PARTITIONING_BROADCAST:
      return static_cast<uint32_t>(Partitioning::kBroadcast);
    case proto::PARTITIONING_REBALANCE:
      return static_cast<uint32_t>(Partitioning::kRebalance);
    case proto::PARTITIONING_RESCALE:
      return static_cast<uint32_t>(Partitioning::kRescale);
    case proto::PARTITIONING_SHUFFLE:
      return static_cast<uint32_t>(Partitioning::kShuffle);
    case proto::PARTITIONING_GLOBAL:
      return static_cast<uint32_t>(Partitioning::kGlobal);
    default:
      return static_cast<uint32_t>(Partitioning::kCustom);
  }
}

/// The other kinds route rows again, or may send them anywhere.
bool KeepsRowsInTheirSubtask(proto::Partitioning partitioning) {
  return partitioning == proto::PARTITIONING_FORWARD ||
         partitioning == proto::PARTITIONING_BROADCAST;
}

/// One line for each edge, however many subtasks had rows on it.
struct InFlightFaults {
  std::set<std::string> without_edge;
  std::set<std::string> in_other_subtasks;
};

InFlightFaults FindInFlightFaults(const proto::Manifest& savepoint, const proto::JobGraph& graph,
                                  const std::set<std::string>& known) {
  InFlightFaults faults;
  for (const proto::VertexSnapshot& vertex : savepoint.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      for (const proto::StateHandle& rows : subtask.channel_state()) {
        if (!known.contains(rows.operator_uid())) continue;  // told with all state of that uid
        const std::string where = absl::StrCat("from operator '", rows.edge().producer_uid(),
                                               "' to operator '", rows.operator_uid(), "'");
        const proto::Edge* edge = EdgeOf(rows, graph);
        if (edge == nullptr) {
          faults.without_edge.insert(where);
          continue;
        }
        const uint32_t now = graph.vertices(static_cast<int>(edge->target_vertex())).parallelism();
        const bool same = vertex.parallelism() == now &&
                          rows.edge().partitioning() == NumberOf(edge->partitioning());
        if (same || !KeepsRowsInTheirSubtask(edge->partitioning())) continue;
        const auto kind = edge->partitioning() == proto::PARTITIONING_FORWARD
                              ? Partitioning::kForward
                              : Partitioning::kBroadcast;
        faults.in_other_subtasks.insert(absl::StrCat(where, " (", ToString(kind), "; parallelism ",
                                                     vertex.parallelism(), ", now ", now, ")"));
      }
    }
  }
  return faults;
}

/// Of these uids, those with output that nothing outside may have yet. Of a savepoint all is
/// published before it is written.
std::set<std::string> WithUnpublishedOutput(const proto::Manifest& checkpoint,
                                            const std::vector<std::string>& uids) {
  std::set<std::string> found;
  if (checkpoint.kind() == proto::Manifest::SAVEPOINT) return found;
  for (const proto::VertexSnapshot& vertex : checkpoint.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      for (const proto::StateHandle& output : subtask.epoch_output()) {
        if (std::binary_search(uids.begin(), uids.end(), output.operator_uid())) {
          found.insert(output.operator_uid());
        }
      }
    }
  }
  return found;
}

/// For the warning that state of these uids (sorted) is dropped.
std::string DroppedOutput(const proto::Manifest& checkpoint, const std::vector<std::string>& uids) {
  const std::set<std::string> sinks = WithUnpublishedOutput(checkpoint, uids);
  if (sinks.empty()) return "";
  const std::string list = absl::StrJoin(sinks, ", ");
  return absl::StrCat("; among it output of ", list, " in checkpoint ", checkpoint.checkpoint_id(),
                      " that may not be published yet, and then never is: to keep it, start once "
                      "with ",
                      list, " first, or end the job by weir stop, which publishes all");
}

constexpr char kInFlightMend[] =
    "; start the job with the parallelism and the edges with which it was written, let it take a "
    "savepoint (weir stop, weir savepoint), which holds no rows in flight, and go on from that";

absl::Status CheckInFlight(const InFlightFaults& faults, bool allow_non_restored_state,
                           std::vector<std::string>* warnings) {
  // Nobody may drop these: their edge is there.
  if (!faults.in_other_subtasks.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the checkpoint was taken unaligned and holds rows in flight of which nobody can say to "
        "which subtask they belong now: ",
        absl::StrJoin(faults.in_other_subtasks, ", "), kInFlightMend));
  }
  if (faults.without_edge.empty()) return absl::OkStatus();
  const std::string list = absl::StrJoin(faults.without_edge, ", ");
  if (allow_non_restored_state) {
    warnings->push_back(absl::StrCat("rows in flight in the checkpoint are dropped: ", list));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the checkpoint was taken unaligned and holds rows in flight between operators between which "
      "the job has no channel (no such edge, or they are chained): ",
      list, kInFlightMend, "; or drop the rows with --allow-non-restored-state"));
}

}  // namespace

absl::Status CheckSavepointFits(const proto::Manifest& savepoint, const proto::JobGraph& graph,
                                bool allow_non_restored_state, std::vector<std::string>* warnings) {
  const std::set<std::string> known = UidsOf(graph);
  std::set<std::string> stateful;
  for (const proto::VertexSnapshot& vertex : savepoint.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      for (const auto& handle : subtask.keyed_state()) stateful.insert(handle.operator_uid());
      for (const auto& state : subtask.operator_state()) stateful.insert(state.operator_uid());
      for (const auto& handle : subtask.epoch_output()) stateful.insert(handle.operator_uid());
      for (const auto& handle : subtask.channel_state()) stateful.insert(handle.operator_uid());
    }
    if (vertex.max_parallelism() != 0 && vertex.max_parallelism() != graph.max_parallelism()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the savepoint was taken with max parallelism ", vertex.max_parallelism(),
                       ", the job has ", graph.max_parallelism(), "; ",
                       HowToFit(vertex.max_parallelism(), graph)));
    }
  }
  if (WasDrained(savepoint)) {
    warnings->push_back(
        "the savepoint is of weir stop --drain: windows that were open fired with what they had, "
        "and rows of theirs that come now make further results; savepoints to go on from are those "
        "of weir stop and weir savepoint");
  }
  std::vector<std::string> orphans;
  std::set_difference(stateful.begin(), stateful.end(), known.begin(), known.end(),
                      std::back_inserter(orphans));
  if (!orphans.empty()) {
    const std::string list = absl::StrJoin(orphans, ", ");
    if (!allow_non_restored_state) {
      return absl::InvalidArgumentError(
          absl::StrCat("the savepoint holds state of uids that the job does not have: ", list,
                       "; give the operators these uids, or drop the state with "
                       "--allow-non-restored-state"));
    }
    warnings->push_back(absl::StrCat("state of these uids in the savepoint is dropped: ", list,
                                     DroppedOutput(savepoint, orphans)));
  }
  return CheckInFlight(FindInFlightFaults(savepoint, graph, known), allow_non_restored_state,
                       warnings);
}

}  // namespace weir::jobmanager
