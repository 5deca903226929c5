#include "taskmanager/restore.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/failpoint.h"
#include "runtime/exchange/element.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"
#include "taskmanager/keyed_chain.h"
#include "taskmanager/operator_state_section.h"

namespace weir {
namespace {

// Uids in the manifest that have state and no operator in the job.
std::set<std::string> Unmatched(const proto::Manifest& manifest, const JobGraph& graph) {
  std::set<std::string> stateful;
  for (const proto::VertexSnapshot& vertex : manifest.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      for (const auto& handle : subtask.keyed_state()) stateful.insert(handle.operator_uid());
      for (const auto& state : subtask.operator_state()) stateful.insert(state.operator_uid());
      for (const auto& handle : subtask.epoch_output()) stateful.insert(handle.operator_uid());
      for (const auto& handle : subtask.channel_state()) stateful.insert(handle.operator_uid());
    }
  }
  for (const JobVertex& vertex : graph.vertices) {
    for (const OperatorSpec& op : vertex.operators) stateful.erase(op.uid);
  }
  return stateful;
}

// Of the bytes of rows in flight.
constexpr uint32_t kInFlightVersion = 1;

constexpr char kMend[] =
    "; restore with the parallelism and the edges of the job that wrote it, and let it take a "
    "savepoint, which holds no rows in flight";

bool IsSameEdge(const proto::StateHandle& a, const proto::StateHandle& b) {
  return a.operator_uid() == b.operator_uid() &&
         a.edge().producer_uid() == b.edge().producer_uid() && a.edge().tag() == b.edge().tag() &&
         a.edge().input() == b.edge().input();
}

const JobEdge* EdgeOf(const proto::StateHandle& rows, const JobGraph& graph) {
  const std::map<uint32_t, proto::StateHandle> edges = InFlightHandles(graph);
  for (const JobEdge& edge : graph.edges) {
    if (IsSameEdge(rows, edges.at(edge.id))) return &edge;
  }
  return nullptr;
}

std::string Describe(const proto::StateHandle& rows) {
  return "rows in flight from operator '" + rows.edge().producer_uid() + "' to operator '" +
         rows.operator_uid() + "'";
}

// Rows that may go to any subtask of the reading operator.
bool GoAnywhere(Partitioning partitioning) {
  return partitioning == Partitioning::kRebalance || partitioning == Partitioning::kRescale ||
         partitioning == Partitioning::kShuffle || partitioning == Partitioning::kGlobal;
}

// Every row in flight has a place in the job.
absl::Status CheckInFlight(const proto::Manifest& manifest, const JobGraph& graph) {
  for (const proto::VertexSnapshot& vertex : manifest.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      for (const proto::StateHandle& handle : subtask.channel_state()) {
        if (EdgeOf(handle, graph) != nullptr) continue;
        return absl::FailedPreconditionError(
            "the checkpoint holds " + Describe(handle) +
            ", between which the job has no channel (no such edge, or they are chained)" + kMend +
            "; --allow-non-restored-state drops the rows");
      }
    }
  }
  return absl::OkStatus();
}

// Calls `take(rows)` for each piece of what the handle holds.
absl::Status ReadInFlight(CheckpointStorage& storage, const proto::StateHandle& handle,
                          const JobEdge& edge, const std::function<void(InFlightRows)>& take) {
  if (handle.format_version() != kInFlightVersion) {
    return absl::FailedPreconditionError(
        Describe(handle) + " have format version " + std::to_string(handle.format_version()) +
        ", this Weir reads version " + std::to_string(kInFlightVersion));
  }
  StateReader reader(storage, handle);
  std::string rest;
  std::string bytes;
  for (;;) {
    const absl::StatusOr<bool> more = reader.Next(bytes);
    if (!more.ok()) return more.status();
    if (!*more) break;
    rest += bytes;
    std::string_view left = rest;
    ElementHeader element;
    while (ReadElementHeader(left, &element) &&
           left.size() - kElementHeaderBytes >= element.bytes) {
      take({.edge = edge.id,
            .type = edge.type,
            .rows = element.rows,
            .bytes = std::make_shared<const std::string>(
                left.substr(kElementHeaderBytes, element.bytes))});
      left.remove_prefix(kElementHeaderBytes + element.bytes);
    }
    rest.erase(0, rest.size() - left.size());
  }
  if (rest.empty()) return absl::OkStatus();
  return absl::DataLossError(Describe(handle) + " in " + handle.file() + " are cut short");
}

// Those of the rows that the edge now sends to channel `index` of `channels`.
InFlightRows Routed(const InFlightRows& rows, Router& router, uint32_t channels, uint32_t index) {
  const std::unique_ptr<Batch> batch = rows.type->NewBatch();
  DecodeInFlight(rows, *batch);
  std::vector<uint16_t> channel(batch->size());
  router.Route(*batch, channels, channel.data());
  batch->Select([&](uint32_t row) { return channel[row] == index; });
  return EncodeInFlight(rows.edge, *rows.type, *batch);
}

}  // namespace

std::map<uint32_t, proto::StateHandle> InFlightHandles(const JobGraph& graph) {
  std::map<uint32_t, proto::StateHandle> handles;
  for (const JobEdge& edge : graph.edges) {
    proto::StateHandle& handle = handles[edge.id];
    handle.set_kind(proto::StateHandle::CHANNEL);
    handle.set_format_version(kInFlightVersion);
    handle.set_operator_uid(graph.vertex(edge.target).operators.front().uid);
    proto::ChannelEdge& of = *handle.mutable_edge();
    of.set_producer_uid(graph.vertex(edge.source).operators[edge.source_operator].uid);
    of.set_tag(edge.tag);
    of.set_input(edge.target_input);
    of.set_partitioning(static_cast<uint32_t>(edge.partitioning));
    proto::StateSchema& rows = *handle.add_states();
    rows.set_state_kind("rows");
    rows.set_serde_name(edge.type->SchemaName());
    rows.set_schema_hash(edge.type->SchemaHash());
  }
  return handles;
}

absl::StatusOr<std::unique_ptr<RestorePlan>> RestorePlan::Load(CheckpointStorage& storage,
                                                               const std::string& manifest_path,
                                                               const JobGraph& graph,
                                                               bool allow_non_restored_state) {
  absl::StatusOr<proto::Manifest> manifest = ReadManifest(storage, manifest_path);
  if (!manifest.ok()) return manifest.status();
  const std::set<std::string> unmatched = Unmatched(*manifest, graph);
  if (!unmatched.empty() && !allow_non_restored_state) {
    return absl::FailedPreconditionError(
        "the job has no operator for the state of uid " + absl::StrJoin(unmatched, ", ") + " in " +
        storage.Describe() +
        "; give the operators their uids back, or drop that state with "
        "--allow-non-restored-state");
  }
  for (const proto::VertexSnapshot& vertex : manifest->vertices()) {
    if (vertex.max_parallelism() != 0 &&
        vertex.max_parallelism() != graph.settings.max_parallelism) {
      return absl::FailedPreconditionError(
          "the state was written with max parallelism " + std::to_string(vertex.max_parallelism()) +
          ", the job has " + std::to_string(graph.settings.max_parallelism) +
          "; submit it with --max-parallelism " + std::to_string(vertex.max_parallelism()));
    }
  }
  if (!allow_non_restored_state) {
    if (absl::Status s = CheckInFlight(*manifest, graph); !s.ok()) return s;
  }
  return std::unique_ptr<RestorePlan>(new RestorePlan(storage, *std::move(manifest), graph));
}

absl::StatusOr<OperatorRestore> RestorePlan::For(const std::string& uid, uint32_t index,
                                                 uint32_t parallelism, KeyGroupRange key_groups,
                                                 const std::string& directory) {
  OperatorRestore result;
  if (WEIR_PLANTED_BUG("wrong_key_groups")) ++key_groups.first;
  for (const proto::VertexSnapshot& vertex : manifest_.vertices()) {
    for (const proto::SubtaskSnapshot& subtask : vertex.subtasks()) {
      RestoredOperatorState state;
      state.former_subtask = subtask.subtask();
      state.former_parallelism = vertex.parallelism();
      bool any = false;
      for (const proto::OperatorState& from : subtask.operator_state()) {
        if (from.operator_uid() != uid) continue;
        any = true;
        for (const auto& entry : from.entries()) state.values[entry.key()] = entry.value();
        if (!from.has_stored()) continue;
        if (absl::Status s = OperatorStateSection::Read(storage_, from.stored(), state.values);
            !s.ok()) {
          return s;
        }
      }
      for (const proto::StateHandle& handle : subtask.epoch_output()) {
        if (handle.operator_uid() != uid || subtask.subtask() % parallelism != index) continue;
        any = true;
        // An operator's names are unique among its files of one subtask.
        const std::string path = directory + "/restored-" + std::to_string(subtask.subtask()) +
                                 "-" + std::to_string(state.files.size());
        std::error_code ignored;
        std::filesystem::create_directories(directory, ignored);
        if (absl::Status s = DownloadFile(storage_, handle, path, Transfer::kLinkOrCopy); !s.ok()) {
          return s;
        }
        state.files[handle.store_file()] = {.path = path, .length = handle.length()};
      }
      if (any) result.operator_state.push_back(std::move(state));

      for (const proto::StateHandle& handle : subtask.keyed_state()) {
        if (handle.operator_uid() != uid) continue;
        const KeyGroupRange ours{std::max(key_groups.first, handle.key_groups().first()),
                                 std::min(key_groups.end, handle.key_groups().end())};
        if (ours.first >= ours.end) continue;
        proto::StateHandle cut = handle;
        cut.mutable_key_groups()->set_first(ours.first);
        cut.mutable_key_groups()->set_end(ours.end);
        result.keyed_handles.push_back(std::move(cut));
      }
    }
  }
  if (!result.keyed_handles.empty()) {
    absl::StatusOr<std::vector<SegmentLink>> links =
        OpenChain(storage_, result.keyed_handles, key_groups);
    if (!links.ok()) return links.status();
    result.keyed_state = std::make_unique<SegmentSet>();
    for (SegmentLink& link : *links) result.keyed_state->Add(link.reader, link.key_groups);
  }
  return result;
}

absl::StatusOr<std::vector<InFlightRows>> RestorePlan::InFlight(SubtaskId subtask) {
  const uint32_t parallelism = graph_.vertex(subtask.vertex).parallelism;
  std::vector<InFlightRows> result;
  for (const proto::VertexSnapshot& vertex : manifest_.vertices()) {
    for (const proto::SubtaskSnapshot& from : vertex.subtasks()) {
      for (const proto::StateHandle& handle : from.channel_state()) {
        const JobEdge* edge = EdgeOf(handle, graph_);
        if (edge == nullptr || edge->target != subtask.vertex) continue;
        if (edge->type->SchemaHash() != handle.states(0).schema_hash()) {
          return absl::FailedPreconditionError("the checkpoint holds " + Describe(handle) +
                                               " of the type " + handle.states(0).serde_name() +
                                               ", the job sends " + edge->type->SchemaName() +
                                               kMend);
        }
        const bool same = vertex.parallelism() == parallelism &&
                          handle.edge().partitioning() == static_cast<uint32_t>(edge->partitioning);
        std::unique_ptr<Router> router;
        if (!same && edge->router) {
          router = edge->router(graph_.settings.max_parallelism);
        } else if (!same && !GoAnywhere(edge->partitioning)) {
          return absl::FailedPreconditionError(
              "the checkpoint was taken at parallelism " + std::to_string(vertex.parallelism()) +
              " of the operator and holds " + Describe(handle) + ", at parallelism " +
              std::to_string(parallelism) + " nobody can say which subtask they belong to (" +
              ToString(edge->partitioning) + ")" + kMend);
        }
        if (router == nullptr && from.subtask() % parallelism != subtask.index) continue;
        absl::Status status = ReadInFlight(storage_, handle, *edge, [&](InFlightRows rows) {
          if (router != nullptr) rows = Routed(rows, *router, parallelism, subtask.index);
          if (rows.rows > 0) result.push_back(std::move(rows));
        });
        if (!status.ok()) return status;
      }
    }
  }
  return result;
}

}  // namespace weir
