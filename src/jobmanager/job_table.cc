#include "jobmanager/job_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "jobmanager/masked_arguments.h"
#include "jobmanager/wire.h"

namespace weir::jobmanager {
namespace {

void DescribeCheckpoints(const Job& machine, const TimeOfDay& time, proto::JobDetails* details) {
  const CheckpointCoordinator& coordinator = machine.checkpoints();
  const auto subtasks = static_cast<uint32_t>(machine.plan().Subtasks().size());
  for (const CheckpointRecord& from : coordinator.history()) {
    proto::CheckpointDetails* to = details->add_checkpoints();
    to->set_id(from.id.value);
    to->set_kind(ToProto(from.kind));
    to->set_status(ToProto(from.status));
    to->set_attempt(from.attempt.value);
    to->set_triggered_ms(time.At(from.triggered));
    auto millis = [](Instant from, Instant to) {
      return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(to - from).count());
    };
    if (from.durable.count() > 0) to->set_duration_ms(millis(from.triggered, from.durable));
    if (from.published.count() > 0) to->set_publication_ms(millis(from.durable, from.published));
    to->set_state_bytes(from.state_bytes);
    to->set_full_state_bytes(from.full_state_bytes);
    to->set_max_alignment_us(from.max_alignment_us);
    to->set_max_sync_us(from.max_sync_us);
    to->set_acknowledged(from.acknowledged);
    to->set_subtasks(subtasks);
    to->set_path(from.path);
    to->set_failure(from.failure);
    to->set_unaligned(from.unaligned);
    to->set_in_flight_bytes(from.in_flight_bytes);
  }
}

void DescribeVertices(const JobEntry& entry, const Job* machine, proto::JobDetails* details) {
  const std::map<VertexId, uint32_t> regions =
      machine != nullptr ? machine->plan().Regions() : std::map<VertexId, uint32_t>();
  for (const proto::Vertex& from : entry.record->graph().vertices()) {
    proto::VertexDetails* to = details->add_vertices();
    to->set_id(from.id());
    to->set_name(from.name());
    to->set_uid(from.uid());
    to->set_parallelism(from.parallelism());
    to->set_slot_sharing_group(from.slot_sharing_group());
    if (const auto region = regions.find(VertexId(from.id())); region != regions.end()) {
      to->set_region(region->second);
    }
    *to->mutable_operators() = from.operators();
    if (from.has_rate_per_second()) to->set_rate_per_second(from.rate_per_second());
    if (const auto set = entry.source_rates.find(from.id()); set != entry.source_rates.end()) {
      to->clear_rate_per_second();
      if (set->second.has_records_per_second()) {
        to->set_rate_per_second(set->second.records_per_second());
      }
    }
    for (uint32_t i = 0; i < from.parallelism(); ++i) {
      proto::SubtaskDetails* subtask = to->add_subtasks();
      const SubtaskId id{VertexId(from.id()), i};
      subtask->set_index(i);
      if (auto metrics = entry.metrics.find(id); metrics != entry.metrics.end()) {
        *subtask->mutable_metrics() = metrics->second;
      }
      const Attempt* attempt = machine != nullptr ? machine->AttemptOf(id) : nullptr;
      if (attempt == nullptr) continue;
      subtask->set_attempt(attempt->id.value);
      subtask->set_state(ToProto(attempt->tasks.at(id)));
      const SlotRef& slot = attempt->placement.at(id);
      subtask->set_tm_id(slot.task_manager.value);
      subtask->set_slot(slot.slot);
    }
  }
}

void DescribeStop(const JobEntry& entry, const Job& machine, proto::JobStatus* status) {
  const bool finished = machine.state() == JobState::kFinished;
  if (IsTerminal(machine.state()) && !finished) return;
  // Until then nobody knows whether the one that the leader before has noted was decided.
  if (!machine.ever_prepared() && entry.record->has_stop()) {
    *status->mutable_stop() = entry.record->stop();
  }
  const std::optional<StopUnderWay> stop = machine.stop();
  if (!stop) return;
  status->mutable_stop()->set_checkpoint_id(stop->id.value);
  status->mutable_stop()->set_drain(stop->kind == CheckpointKind::kStopAndDrain);
  status->mutable_stop()->set_directory(stop->directory);
  if (finished) status->mutable_stop()->set_savepoint_path(stop->savepoint);
}

}  // namespace

std::vector<proto::PrintEndpoint> PrintEndpointsOf(const proto::JobGraph& graph, AttemptId attempt,
                                                   const Placement& placement,
                                                   const RpcAddresses& addresses) {
  std::vector<proto::PrintEndpoint> endpoints;
  for (const proto::Vertex& vertex : graph.vertices()) {
    for (const proto::Operator& op : vertex.operators()) {
      if (op.kind() != "print") continue;
      for (uint32_t i = 0; i < vertex.parallelism(); ++i) {
        const auto slot = placement.find(SubtaskId{VertexId(vertex.id()), i});
        if (slot == placement.end()) continue;
        const auto address = addresses.find(slot->second.session);
        if (address == addresses.end()) continue;
        proto::PrintEndpoint& print = endpoints.emplace_back();
        print.set_vertex(vertex.id());
        print.set_subtask(i);
        print.set_operator_uid(op.uid());
        print.set_operator_name(op.name());
        print.set_rpc_address(address->second);
        print.set_attempt(attempt.value);
      }
    }
  }
  return endpoints;
}

void DescribeStatus(const std::string& id, const JobEntry& entry, const Job* machine,
                    LeaderEpoch epoch, const TimeOfDay& time, proto::JobStatus* status) {
  status->set_job_id(id);
  status->set_name(entry.record->graph().job_name());
  status->set_created_ms(entry.record->created_ms());
  for (const proto::Vertex& vertex : entry.record->graph().vertices()) {
    status->set_subtasks_total(status->subtasks_total() + vertex.parallelism());
  }
  // Versions of different leaders differ, whatever their machines have counted.
  status->set_version((epoch.value << 40) | (machine != nullptr ? machine->version() : 1));
  if (machine == nullptr) {
    status->set_state(entry.ended->state);
    status->set_changed_ms(entry.ended->ended_ms);
    status->set_ended_ms(entry.ended->ended_ms);
    status->set_attempt(entry.ended->attempt);
    status->set_restarts(entry.ended->restarts);
    status->set_reason(entry.ended->reason);
    status->set_last_checkpoint_id(entry.ended->last_checkpoint_id);
    if (entry.ended->state == proto::JOB_STATE_FAILED) {
      *status->mutable_failure() = entry.ended->failure;
    }
    if (entry.ended->stop) *status->mutable_stop() = *entry.ended->stop;
    return;
  }
  status->set_state(machine->failing() ? proto::JOB_STATE_FAILING : ToProto(machine->state()));
  status->set_changed_ms(time.At(machine->state_since()));
  // An instant turned into a time of day differs by a millisecond from call to call.
  if (entry.ended) status->set_changed_ms(entry.ended->ended_ms);
  if (IsTerminal(machine->state())) status->set_ended_ms(status->changed_ms());
  status->set_attempt(machine->last_attempt().value);
  status->set_restarts(machine->restarts());
  status->set_reason(machine->reason());
  if (const FailureRecord* last = machine->last_failure()) {
    *status->mutable_failure() = ToProto(last->failure);
  }
  DescribeStop(entry, *machine, status);
  for (const auto& [region, attempt] : machine->attempts()) {
    for (const auto& [subtask, state] : attempt.tasks) {
      if (state == TaskState::kRunning)
        status->set_subtasks_running(status->subtasks_running() + 1);
      if (state == TaskState::kAtEnd) status->set_subtasks_at_end(status->subtasks_at_end() + 1);
    }
  }
  // Until this leader has looked, what the one before has noted. Where one alone is retained, that
  // is an early one.
  const bool noted = entry.record->graph().settings().checkpoint().retained() != 1;
  status->set_last_checkpoint_id(std::max(
      machine->last_checkpoint().value, noted ? entry.record->last_checkpoint_id() : uint64_t{0}));
  if (machine->restart_at()) status->set_restart_at_ms(time.At(*machine->restart_at()));
  if (entry.storage_wait.long_enough() && !IsTerminal(machine->state())) {
    status->set_storage_wait_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(entry.storage_wait.lasts()).count());
  }
}

void DescribeJob(const std::string& id, const JobEntry& entry, const Job* machine,
                 LeaderEpoch epoch, const TimeOfDay& time, proto::JobDetails* details) {
  const proto::JobRecord& record = *entry.record;
  DescribeStatus(id, entry, machine, epoch, time, details->mutable_status());
  DescribeVertices(entry, machine, details);
  details->mutable_print_endpoints()->Add(entry.print_endpoints.begin(),
                                          entry.print_endpoints.end());
  *details->mutable_edges() = record.graph().edges();
  *details->mutable_settings() = record.graph().settings();
  for (std::string& shown :
       MaskedArguments({record.graph().arguments().begin(), record.graph().arguments().end()})) {
    details->add_arguments(std::move(shown));
  }
  details->set_artifact_hash(record.artifact_hash());
  details->set_output_lineage(record.graph().output_lineage());
  details->set_max_parallelism(record.graph().max_parallelism());
  details->set_checkpoint_directory(record.checkpoint_directory());
  if (record.has_initial_restore()) {
    const proto::RestoreFrom& from = record.initial_restore();
    details->set_began_from(absl::StrCat(from.directory(), "/", from.manifest_path()));
  }
  const JobCounts counts = machine != nullptr ? machine->counts() : entry.ended->counts;
  details->set_checkpoints_completed(counts.checkpoints_completed);
  details->set_checkpoints_failed(counts.checkpoints_failed);
  if (machine == nullptr) return;
  details->set_slots(SlotsNeeded(machine->plan()));
  DescribeCheckpoints(*machine, time, details);
  for (const FailureRecord& from : machine->failures()) {
    proto::FailureDetails* to = details->add_failures();
    to->set_at_ms(time.At(from.at));
    to->set_attempt(from.attempt.value);
    *to->mutable_failure() = ToProto(from.failure);
    to->set_tm_id(from.task_manager.value);
    to->set_after_end(from.after_end);
    if (from.subtask) ToProto(*from.subtask, to->mutable_subtask());
  }
  AttemptId newest;
  for (const auto& [region, attempt] : machine->attempts()) {
    if (!attempt.restore || attempt.id < newest) continue;
    newest = attempt.id;
    details->set_restored_from(
        absl::StrCat(attempt.restore->directory, "/", attempt.restore->manifest_path));
  }
}

}  // namespace weir::jobmanager
