#include "taskmanager/prepared_attempt.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "job/graph_difference.h"
#include "job/graph_proto.h"
#include "job/secret_references.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/state_file.h"
#include "state/rocksdb/rocksdb_store.h"

namespace weir {
namespace {

// Takes the files of a savepoint, or of another job, into the job's own storage: what a checkpoint
// refers to must be the job's. Several TaskManagers may want the same file.
absl::Status Adopt(CheckpointStorage& from, const std::vector<proto::StateHandle>& handles,
                   CheckpointStorage& to) {
  for (const proto::StateHandle& handle : handles) {
    const absl::Status status = CopyFile(from, to, handle.file());
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
  }
  return absl::OkStatus();
}

// Where copies of that storage's files go: nowhere if it is in the same file system, where the
// originals are as near.
std::string CopiesFor(const std::string& storage, const std::string& copies) {
  if (copies.empty()) return copies;
  std::error_code ignored;
  std::filesystem::create_directories(copies, ignored);
  if (!InOneFileSystem(storage, copies)) return copies;
  std::filesystem::remove(copies, ignored);
  return {};
}

absl::Status OpenStores(const Preparation& what, PreparedAttempt& prepared) {
  if (prepared.graph->settings.state_backend != StateBackendKind::kRocksDb) {
    return absl::OkStatus();
  }
  for (const SubtaskId& subtask : *what.local) {
    const JobVertex& vertex = prepared.graph->vertex(subtask.vertex);
    for (uint32_t op = 0; op < vertex.operators.size(); ++op) {
      if (!vertex.operators[op].node.keyed) continue;
      RocksDbStoreOptions options;
      options.directory = OperatorDirectory(what.directory, subtask, op) + "/rocksdb";
      options.owner_removes = true;  // behind the attempt's end: the next one waits for that
      options.tuning = what.tuning;
      std::error_code ignored;
      std::filesystem::create_directories(OperatorDirectory(what.directory, subtask, op), ignored);
      auto store = RocksDbStore::Open(what.rocksdb(), std::move(options));
      if (!store.ok()) return store.status();
      prepared.stores[{subtask, op}] = *std::move(store);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PreparedAttempt> PrepareAttempt(const Preparation& what) {
  const proto::DeployJob& deploy = *what.deploy;
  absl::StatusOr<std::string> library =
      what.artifacts->Get(deploy.artifact_hash(), what.fetch_artifact);
  if (!library.ok()) return library.status();
  PreparedAttempt prepared;
  try {
    const absl::StatusOr<Parameters> parameters = ResolveSecrets(
        Args::Parse({deploy.graph().arguments().begin(), deploy.graph().arguments().end()}).all());
    if (!parameters.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "TaskManager ", what.task_manager, ": ", std::string(parameters.status().message())));
    }
    const Args args(*parameters);
    prepared.graph = JobLibrary::Load(*library).BuildGraph(args, OverridesFrom(deploy.graph()));
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(e.what());
  }
  if (GraphHashText(prepared.graph->hash) != deploy.graph().graph_hash()) {
    proto::JobGraph here = deploy.graph();
    proto::JobGraph built = ToProto(*prepared.graph, {});
    here.mutable_vertices()->Swap(built.mutable_vertices());
    here.mutable_edges()->Swap(built.mutable_edges());
    here.set_graph_hash(built.graph_hash());
    return absl::FailedPreconditionError(
        "the job library built another graph here than where it was submitted: " +
        GraphDifference(deploy.graph(), "the submitted graph", here, "the one built here") +
        "; the job function must depend on its arguments alone (no clock, no randomness, no files, "
        "no environment)");
  }
  ApplySettings(deploy.graph(), *prepared.graph);
  prepared.lineage = deploy.graph().output_lineage();

  const auto not_seen = [&](const absl::Status& status, const std::string& directory) {
    return NotSeenHere(status, what.task_manager, directory);
  };
  auto storage = DirectoryStorage::OpenShared(deploy.checkpoint_directory());
  if (!storage.ok()) return not_seen(storage.status(), deploy.checkpoint_directory());
  prepared.storage = std::make_unique<LocalCopies>(
      *std::move(storage), CopiesFor(deploy.checkpoint_directory(), what.copies), what.copy_report);
  if (absl::Status s = OpenStores(what, prepared); !s.ok()) return s;
  if (!deploy.has_restore()) return prepared;

  CheckpointStorage* storage_of_restore = prepared.storage.get();
  if (deploy.restore().directory() != deploy.checkpoint_directory()) {
    auto other = DirectoryStorage::OpenExisting(deploy.restore().directory());
    if (!other.ok()) return not_seen(other.status(), deploy.restore().directory());
    prepared.restore_storage = *std::move(other);
    storage_of_restore = prepared.restore_storage.get();
  }
  prepared.restore_from = std::make_unique<StoppableStorage>(*storage_of_restore, what.stop);
  StoppableStorage* const from = prepared.restore_from.get();
  auto plan = RestorePlan::Load(*from, deploy.restore().manifest_path(), *prepared.graph,
                                deploy.restore().allow_non_restored_state());
  if (!plan.ok()) return not_seen(plan.status(), deploy.restore().directory());
  for (const SubtaskId& subtask : *what.local) {
    const JobVertex& vertex = prepared.graph->vertex(subtask.vertex);
    for (uint32_t op = 0; op < vertex.operators.size(); ++op) {
      auto restored = (*plan)->For(vertex.operators[op].uid, subtask.index, vertex.parallelism,
                                   KeyGroupsOf(deploy.graph(), subtask),
                                   OperatorDirectory(what.directory, subtask, op));
      if (!restored.ok()) return restored.status();
      if (storage_of_restore != prepared.storage.get()) {
        if (absl::Status s = Adopt(*from, restored->keyed_handles, *prepared.storage); !s.ok()) {
          return s;
        }
      }
      prepared.restored[{subtask, op}] = *std::move(restored);
    }
    auto in_flight = (*plan)->InFlight(subtask);
    if (!in_flight.ok()) return in_flight.status();
    if (!in_flight->empty()) prepared.in_flight[subtask] = *std::move(in_flight);
  }
  return prepared;
}

absl::Status NotSeenHere(const absl::Status& status, const std::string& task_manager,
                         const std::string& directory) {
  if (!absl::IsNotFound(status)) return status;
  return absl::UnavailableError("TaskManager '" + task_manager + "' does not see in " + directory +
                                " what the JobManager has there (" + std::string(status.message()) +
                                "); mount that directory on its machine: every process must "
                                "reach checkpoint.dir, and the savepoints that jobs begin from");
}

// Damage and a state that does not fit stay wrong however often they are tried.
proto::FailureKind FailureKindOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
      return proto::FAILURE_KIND_FATAL;
    case absl::StatusCode::kInvalidArgument:
      return proto::FAILURE_KIND_USER;
    case absl::StatusCode::kInternal:
      return proto::FAILURE_KIND_INTERNAL;
    default:
      return proto::FAILURE_KIND_EXTERNAL;
  }
}

KeyGroupRange KeyGroupsOf(const proto::JobGraph& graph, SubtaskId subtask) {
  const uint32_t max = graph.max_parallelism();
  const uint32_t parallelism = graph.vertices(static_cast<int>(subtask.vertex.value)).parallelism();
  return {FirstKeyGroup(subtask.index, max, parallelism),
          FirstKeyGroup(subtask.index + 1, max, parallelism)};
}

std::string OperatorDirectory(const std::string& attempt_directory, SubtaskId subtask,
                              uint32_t index) {
  return attempt_directory + "/" + std::to_string(subtask.vertex.value) + "-" +
         std::to_string(subtask.index) + "-" + std::to_string(index);
}

}  // namespace weir
