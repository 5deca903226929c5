#include "taskmanager/restore.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/failpoint.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"
#include "taskmanager/keyed_chain.h"

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
    }
  }
  for (const JobVertex& vertex : graph.vertices) {
    for (const OperatorSpec& op : vertex.operators) stateful.erase(op.uid);
  }
  return stateful;
}

}  // namespace

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
  return std::unique_ptr<RestorePlan>(new RestorePlan(storage, *std::move(manifest)));
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
        state.files[handle.store_file()] = {.path = path, .offset = 0, .length = handle.length()};
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

}  // namespace weir
