#include "jobmanager/control_loop.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "jobmanager/status.h"
#include "jobmanager/wire.h"
#include "log/log.h"

namespace weir::jobmanager {

// What the control loop does for the life of a job: prepare, deploy, cancel, end.

void ControlLoop::Do(JobWork& work) {
  std::visit([&](auto& a) { Do(work.job, a); }, work.action);
}

void ControlLoop::Do(JobChanged& action) {
  const Job* job = control_.FindJob(action.job);
  if (job != nullptr) {
    metrics_->UpdateJob(action.job, *job);
    if (IsTerminal(job->state()) && !jobs_.at(action.job).ended) {
      log::Info("job ended", {{"job_id", action.job.value},
                              {"name", job->plan().name},
                              {"state", ToString(job->state())},
                              {"reason", job->reason()}});
      JobEntry& entry = jobs_.at(action.job);
      entry.ended = EndedJob{.state = ToProto(job->state()),
                             .reason = job->reason(),
                             .ended_ms = entry.ending_ms.value_or(leadership_.clock->Now().ms),
                             .attempt = job->last_attempt().value,
                             .restarts = job->restarts(),
                             // The record alone knows if the log was not opened any more.
                             .last_checkpoint_id = std::max(job->last_checkpoint().value,
                                                            entry.record->last_checkpoint_id()),
                             .counts = job->counts()};
      if (const FailureRecord* last = job->last_failure()) {
        entry.ended->failure = ToProto(last->failure);
        entry.ended->failure.set_message(job->reason());
      }
      mailbox_.Post([this] { ForgetOldJobs(); });  // not while actions of jobs are carried out
    }
  }
  AnswerPolls(action.job, false);
}

void ControlLoop::OnStrand(const JobId& job, std::function<JobEvent(JobStorage&)> work) {
  io_.checkpoints->Post(
      StrandOf(job), [this, job, storage = jobs_.at(job).storage, work = std::move(work)] {
        JobEvent event = work(*storage);
        if (storage->fenced()) on_fenced_("another leader has written to job " + job.value);
        mailbox_.Post(
            [this, job, event = std::move(event)]() mutable { FeedJob(job, std::move(event)); });
      });
}

void ControlLoop::Do(const JobId& job, PrepareAttempt& action) {
  std::set<TaskManagerId> task_managers;
  for (const auto& [subtask, slot] : control_.FindJob(job)->Placed()) {
    task_managers.insert(slot.task_manager);
  }
  OnStrand(job, [action, task_managers, memory = ToProto(action.memory, Time()),
                 counts = CountsOf(job)](JobStorage& storage) {
    storage.Count(counts);
    storage.Remember(memory);
    return storage.Prepare(action, task_managers);
  });
}

void ControlLoop::Do(const JobId& job, NoteRestarts& action) {
  io_.checkpoints->Post(StrandOf(job), [this, job, memory = ToProto(action.memory, Time()),
                                        counts = CountsOf(job), storage = jobs_.at(job).storage] {
    storage->Count(counts);
    storage->Remember(memory);
    storage->NoteRestarts();
    if (storage->fenced()) on_fenced_("another leader has written to job " + job.value);
  });
}

void ControlLoop::Do(const JobId& job, Deploy& action) {
  const proto::JobRecord& record = *jobs_.at(job).record;
  proto::ToTaskManager message = NewMessage();
  proto::DeployJob* deploy = message.mutable_deploy_job();
  deploy->mutable_attempt()->set_job_id(job.value);
  deploy->mutable_attempt()->set_attempt(action.attempt.value);
  deploy->set_region(action.region);
  deploy->set_regions(control_.FindJob(job)->regions());
  deploy->set_artifact_hash(record.artifact_hash());
  *deploy->mutable_graph() = record.graph();
  deploy->set_checkpoint_id_floor(action.id_floor.value);
  deploy->set_checkpoint_directory(record.checkpoint_directory());
  deploy->set_stands_still(action.stands_still);
  deploy->set_job_name(record.graph().job_name());
  for (const auto& [vertex, rate] : jobs_.at(job).source_rates) *deploy->add_source_rates() = rate;
  if (action.restore) {
    proto::RestoreFrom* restore = deploy->mutable_restore();
    restore->set_checkpoint_id(action.restore->id.value);
    restore->set_directory(action.restore->directory);
    restore->set_manifest_path(action.restore->manifest_path);
    restore->set_is_savepoint(action.restore->is_savepoint);
    restore->set_allow_non_restored_state(action.restore->allow_non_restored_state);
  }
  std::map<SessionId, uint32_t> index;
  RpcAddresses rpc_addresses;
  for (const auto& [subtask, slot] : action.placement) {
    const auto [at, fresh] = index.emplace(slot.session, static_cast<uint32_t>(index.size()));
    if (fresh) {
      const auto session = sessions_.find(slot.session);
      proto::TaskManagerAddress* address = deploy->add_task_managers();
      address->set_tm_id(slot.task_manager.value);
      if (session != sessions_.end()) {
        const proto::Register& r = session->second.registration;
        address->set_incarnation(r.incarnation());
        address->set_data_address(absl::StrCat(r.host(), ":", r.data_port()));
        rpc_addresses[slot.session] = absl::StrCat(r.host(), ":", r.rpc_port());
      }
    }
    proto::SubtaskPlacement* placement = deploy->add_placements();
    ToProto(subtask, placement->mutable_subtask());
    placement->set_task_manager(at->second);
    placement->set_slot(slot.slot);
  }
  auto& endpoints = jobs_.at(job).print_endpoints;
  std::erase_if(endpoints, [&](const proto::PrintEndpoint& former) {
    return action.placement.contains({VertexId(former.vertex()), former.subtask()});
  });
  for (proto::PrintEndpoint& endpoint :
       PrintEndpointsOf(record.graph(), action.attempt, action.placement, rpc_addresses)) {
    endpoints.push_back(std::move(endpoint));
  }
  log::Info("job deployed",
            {{"job_id", job.value},
             {"attempt", absl::StrCat(action.attempt.value)},
             {"region", absl::StrCat(action.region)},
             {"task_managers", absl::StrCat(index.size())},
             {"restore", action.restore ? absl::StrCat(action.restore->id.value) : "nothing"}});
  for (const auto& [session, position] : index) {
    deploy->set_your_index(position);
    SendTo(session, message);
  }
}

void ControlLoop::Do(const JobId& job, CancelAttempt& action) {
  proto::ToTaskManager message = NewMessage();
  message.mutable_cancel_job()->mutable_attempt()->set_job_id(job.value);
  message.mutable_cancel_job()->mutable_attempt()->set_attempt(action.attempt.value);
  message.mutable_cancel_job()->set_reason(ToProto(action.reason));
  SendTo(action.session, std::move(message));
}

void ControlLoop::Do(const JobId&, DropSession&) {}    // the control plane's own
void ControlLoop::Do(const JobId&, GiveBackSlots&) {}  // the control plane's own

void ControlLoop::Do(const JobId& job, PersistCancel&) {
  io_.own->Post(RecordStrandOf(job), [this, job, stored = jobs_.at(job).stored] {
    const absl::Status outcome =
        stored->Store([](proto::JobRecord& r) { r.set_cancel_wanted(true); });
    if (stored->fenced()) on_fenced_("another leader has written to job " + job.value);
    CancelPersisted event;
    if (!outcome.ok()) {
      event = {false, absl::StrCat("the wish to cancel could not be stored: ", outcome.message())};
    }
    mailbox_.Post([this, job, event] { FeedJob(job, event); });
  });
}

void ControlLoop::Do(const JobId& job, PersistEnd& action) {
  const uint32_t restarts = control_.FindJob(job)->restarts();
  std::optional<int64_t>& ending_ms = jobs_.at(job).ending_ms;
  if (!ending_ms) ending_ms = leadership_.clock->Now().ms;
  OnStrand(job, [end = action, restarts, ended_ms = *ending_ms,
                 counts = CountsOf(job)](JobStorage& storage) {
    storage.Count(counts);
    return storage.StoreEnd(end, restarts, ended_ms);
  });
  io_.checkpoints->Post(StrandOf(job), [this, job, storage = jobs_.at(job).storage] {
    storage->DeleteUnretained();
    if (storage->fenced()) on_fenced_("another leader has written to job " + job.value);
  });
}

void ControlLoop::Do(const JobId&, Reply& action) {
  const auto found = calls_.find(action.request);
  if (found == calls_.end()) return;
  const Call call = std::move(found->second);
  calls_.erase(found);
  call.done(ToGrpc(action.code, action.message));
}

}  // namespace weir::jobmanager
