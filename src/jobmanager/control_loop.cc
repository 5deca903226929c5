#include "jobmanager/control_loop.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/abi.h"
#include "jobmanager/submission.h"
#include "jobmanager/wire.h"
#include "log/log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/savepoint.h"

namespace weir::jobmanager {
namespace {

/// The loop wakes at least this often, so that a missed deadline costs no more.
constexpr milliseconds kLongestSleep{1'000};

grpc::Status Unavailable() {
  return {grpc::StatusCode::UNAVAILABLE, "the JobManager is shutting down; try again"};
}

grpc::Status StatusOf(ReplyCode code, const std::string& message) {
  switch (code) {
    case ReplyCode::kOk:
      return grpc::Status::OK;
    case ReplyCode::kNotFound:
      return {grpc::StatusCode::NOT_FOUND, message};
    case ReplyCode::kFailedPrecondition:
      return {grpc::StatusCode::FAILED_PRECONDITION, message};
    case ReplyCode::kResourceExhausted:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, message};
    case ReplyCode::kAborted:
      return {grpc::StatusCode::ABORTED, message};
  }
  return {grpc::StatusCode::INTERNAL, message};
}

std::string StrandOf(const JobId& job) { return "job/" + job.value; }

}  // namespace

ControlLoop::ControlLoop(ControlLoopOptions options, Leadership leadership, IoThreads* io,
                         Metrics* metrics, std::function<void(std::string)> on_fenced)
    : options_(std::move(options)),
      leadership_(std::move(leadership)),
      io_(io),
      metrics_(metrics),
      on_fenced_(std::move(on_fenced)),
      started_ms_(leadership_.clock->Now().ms),
      control_(options_.control, leadership_.clock->Monotonic()) {}

ControlLoop::~ControlLoop() { Stop(); }

// ---------------------------------------------------------------- life

void ControlLoop::Recover(std::vector<StoredJob> stored) {
  std::random_device seed;
  for (StoredJob& job : stored) {
    const JobId id(job.record.job_id());
    const proto::JobRecord& r = job.record;
    JobEntry entry;
    entry.record = std::make_shared<const proto::JobRecord>(r);
    entry.storage = std::make_shared<JobStorage>(leadership_, r, job.version);
    if (!r.submission_token().empty()) tokens_[r.submission_token()] = id.value;
    if (r.end() != proto::JOB_STATE_UNSPECIFIED) {
      entry.ended = EndedJob{.state = r.end(),
                             .failure = r.failure(),
                             .ended_ms = r.ended_ms(),
                             .attempt = r.attempt(),
                             .restarts = r.restarts()};
      jobs_[id] = std::move(entry);
      continue;
    }
    jobs_[id] = std::move(entry);
    log::Info("job recovered", {{"job_id", id.value}, {"name", r.graph().job_name()}});
    JobAdmitted admitted{.job = id,
                         .plan = PlanOf(r.graph(), r.artifact_hash()),
                         .attempt_floor = AttemptId(r.attempt()),
                         .canceled = r.cancel_wanted(),
                         .seed = seed()};
    for (const std::string& tm : r.task_managers()) admitted.previous.insert(TaskManagerId(tm));
    Feed(admitted);
  }
  ForgetOldJobs();
}

void ControlLoop::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ControlLoop::Run() {
  while (!stop_) {
    Instant wake = std::min(control_.NextDeadline(), Now() + kLongestSleep);
    if (!poll_deadlines_.empty()) wake = std::min(wake, poll_deadlines_.begin()->first);
    if (Mailbox::Letter letter = mailbox_.Take(std::max(Instant(0), wake - Now()))) letter();
    const Instant now = Now();
    if (now >= control_.NextDeadline() && !stopping_) Feed(ControlTick{});
    while (!poll_deadlines_.empty() && poll_deadlines_.begin()->first <= now) {
      AnswerPoll(poll_deadlines_.begin()->second);
    }
  }
}

void ControlLoop::BeginShutdown() {
  mailbox_.Post([this] {
    if (stopping_) return;
    Feed(ShutDown{});
    stopping_ = true;
    while (!polls_.empty()) AnswerPoll(polls_.begin()->first);
    for (auto& [request, call] : std::exchange(calls_, {})) call.done(Unavailable());
    const grpc::Status bye(grpc::StatusCode::UNAVAILABLE, "the JobManager is shutting down");
    for (auto& [session, s] : std::exchange(sessions_, {})) s.stream->Close(bye);
    for (const auto& stream : std::exchange(unregistered_, {})) stream->Close(bye);
  });
}

void ControlLoop::Stop() {
  if (!thread_.joinable()) return;
  mailbox_.Post([this] { stop_ = true; });
  thread_.join();
}

void ControlLoop::Feed(const ControlEvent& event) {
  if (stopping_) return;
  std::vector<ControlAction> actions;
  control_.Step(event, Now(), &actions);
  for (ControlAction& action : actions) {
    std::visit([this](auto& a) { Do(a); }, action);
  }
}

void ControlLoop::FeedJob(const JobId& job, JobEvent event, std::optional<SessionId> from) {
  Feed(ForJob{.job = job, .from = from, .event = std::move(event)});
}

// ---------------------------------------------------------------- streams

ControlStream::Events ControlLoop::StreamEvents() {
  return {.on_message =
              [this](const std::shared_ptr<ControlStream>& stream, proto::ToJobManager& message) {
                OnMessage(stream, message);
                stream->ReadNext();
              },
          .on_broken = [this](const std::shared_ptr<ControlStream>& stream) { OnBroken(stream); }};
}

void ControlLoop::OnBroken(const std::shared_ptr<ControlStream>& stream) {
  unregistered_.erase(stream);
  if (stream->session.value == 0) return;
  if (auto session = sessions_.find(stream->session); session != sessions_.end()) {
    log::Warn("TaskManager lost: its stream broke",
              {{"tm_id", session->second.registration.tm_id()}});
    sessions_.erase(session);
  }
  Feed(SessionBroken{stream->session, "its control stream broke"});
}

void ControlLoop::OnMessage(const std::shared_ptr<ControlStream>& stream,
                            proto::ToJobManager& message) {
  if (stopping_) {
    stream->Close(Unavailable());
    return;
  }
  if (message.has_register_()) {
    if (!stream->registered) OnRegister(stream, message.register_());
    return;
  }
  const auto found = sessions_.find(stream->session);
  // Of a stream that is being closed, or meant for another leader.
  if (found == sessions_.end() || message.leader_epoch() != leadership_.epoch.value) return;
  Session& session = found->second;
  session.heard = Now();
  const SessionId from = stream->session;
  const auto for_job = [&](const proto::AttemptRef& attempt, CheckpointEvent event) {
    FeedJob(JobId(attempt.job_id()), OfCheckpoints{AttemptId(attempt.attempt()), std::move(event)},
            from);
  };
  switch (message.message_case()) {
    case proto::ToJobManager::kHeartbeat:
      session.heartbeat = message.heartbeat();
      Feed(TaskManagerHeard{from});
      break;
    case proto::ToJobManager::kTaskStateChanged: {
      const proto::TaskStateChanged& m = message.task_state_changed();
      TaskChanged changed{AttemptId(m.attempt().attempt()), FromProto(m.subtask()),
                          FromProto(m.state()), FromProto(m.failure())};
      if (changed.state == TaskState::kFailed) {
        log::Warn("subtask failed", {{"job_id", m.attempt().job_id()},
                                     {"tm_id", session.registration.tm_id()},
                                     {"operator", m.failure().operator_name()},
                                     {"reason", m.failure().message()}});
      }
      FeedJob(JobId(m.attempt().job_id()), std::move(changed), from);
      break;
    }
    case proto::ToJobManager::kCheckpointAck: {
      proto::CheckpointAck& m = *message.mutable_checkpoint_ack();
      for (proto::SubtaskAck& subtask : *m.mutable_subtasks()) {
        SubtaskAck ack{.state = std::move(*subtask.mutable_state()),
                       .state_bytes = subtask.state_bytes(),
                       .full_state_bytes = subtask.full_state_bytes(),
                       .sync_us = subtask.sync_duration_us(),
                       .alignment_us = subtask.alignment_duration_us(),
                       .at_end = subtask.at_end_of_data()};
        for_job(m.attempt(), SubtaskAcknowledged{CheckpointId(m.checkpoint_id()),
                                                 FromProto(subtask.subtask()), std::move(ack)});
      }
      break;
    }
    case proto::ToJobManager::kCheckpointDecline: {
      const proto::CheckpointDecline& m = message.checkpoint_decline();
      for_job(m.attempt(),
              SubtaskDeclined{CheckpointId(m.checkpoint_id()), FromProto(m.subtask()), m.reason()});
      break;
    }
    case proto::ToJobManager::kEarlyCheckpointRequest:
      for_job(message.early_checkpoint_request().attempt(), EarlyCheckpointWanted{});
      break;
    case proto::ToJobManager::kPublicationDone: {
      const proto::PublicationDone& m = message.publication_done();
      for_job(m.attempt(),
              SubtaskPublished{CheckpointId(m.checkpoint_id()), FromProto(m.subtask())});
      break;
    }
    case proto::ToJobManager::kAttemptReleased: {
      const proto::AttemptRef& attempt = message.attempt_released().attempt();
      FeedJob(JobId(attempt.job_id()), AttemptReleased{from, AttemptId(attempt.attempt())}, from);
      break;
    }
    case proto::ToJobManager::kMetrics:
      OnMetrics(message.metrics());
      Feed(TaskManagerHeard{from});
      break;
    case proto::ToJobManager::kGoodbye:
      log::Info("TaskManager leaves",
                {{"tm_id", session.registration.tm_id()}, {"reason", message.goodbye().reason()}});
      sessions_.erase(found);
      Feed(SessionBroken{from, "it ended: " + message.goodbye().reason()});
      stream->Close(grpc::Status::OK);
      break;
    case proto::ToJobManager::kRegister:
    case proto::ToJobManager::MESSAGE_NOT_SET:
      break;
  }
}

void ControlLoop::RefuseStream(ControlStream& stream, proto::RegisterRefused::Reason reason,
                               const std::string& message) {
  log::Warn("TaskManager refused", {{"reason", message}});
  proto::ToTaskManager refused = NewMessage();
  refused.mutable_register_refused()->set_reason(reason);
  refused.mutable_register_refused()->set_message(message);
  stream.Send(std::move(refused));
  stream.Close(grpc::Status::OK);
}

void ControlLoop::OnRegister(const std::shared_ptr<ControlStream>& stream,
                             const proto::Register& r) {
  stream->registered = true;
  using Refused = proto::RegisterRefused;
  if (r.protocol_version() != proto::CONTROL_PROTOCOL_VERSION) {
    return RefuseStream(
        *stream, Refused::REASON_PROTOCOL_VERSION,
        absl::StrCat("TaskManager '", r.tm_id(), "' speaks control protocol ", r.protocol_version(),
                     ", this JobManager ", proto::CONTROL_PROTOCOL_VERSION,
                     "; install the same version of Weir on both"));
  }
  if (r.build() != kAbiStamp) {
    return RefuseStream(*stream, Refused::REASON_BUILD,
                        absl::StrCat("TaskManager '", r.tm_id(), "' is build '", r.build(),
                                     "', this JobManager is '", kAbiStamp,
                                     "'; install the same version of Weir on both"));
  }
  if (r.tm_id().empty() || r.tm_id().size() > 256 || r.incarnation() == 0 || r.host().empty() ||
      r.slots() == 0 || r.slots() > 1'024) {
    return RefuseStream(
        *stream, Refused::REASON_INVALID,
        absl::StrCat("the registration of TaskManager '", r.tm_id(), "' (incarnation ",
                     r.incarnation(), ", host '", r.host(), "', ", r.slots(),
                     " slots) lacks a field; slots must be 1 "
                     "to 1024"));
  }
  if (r.highest_leader_epoch_seen() > leadership_.epoch.value) {
    return RefuseStream(*stream, Refused::REASON_STALE_LEADER,
                        absl::StrCat("TaskManager '", r.tm_id(), "' has seen leader epoch ",
                                     r.highest_leader_epoch_seen(), ", this leader's is ",
                                     leadership_.epoch.value));
  }
  stream->session = SessionId(++last_session_);
  sessions_[stream->session] = {.stream = stream, .registration = r, .heard = Now()};
  TaskManagerRegistered event{.session = stream->session};
  event.registration = {.id = TaskManagerId(r.tm_id()),
                        .incarnation = r.incarnation(),
                        .slots = r.slots(),
                        .dedicated = r.dedicated(),
                        .loaded_artifact = r.loaded_artifact()};
  for (const proto::AttemptRef& attempt : r.running_attempts()) {
    event.registration.running.emplace_back(JobId(attempt.job_id()), AttemptId(attempt.attempt()));
  }
  for (const proto::CrashReport& report : r.crash_reports()) {
    if (!report.attempt().job_id().empty()) event.crashes.push_back(FromProto(report));
  }
  log::Info("TaskManager registered",
            {{"tm_id", r.tm_id()}, {"host", r.host()}, {"slots", absl::StrCat(r.slots())}});
  Feed(event);
  UpdateMetrics();
}

void ControlLoop::OnMetrics(const proto::MetricsSnapshot& snapshot) {
  for (const proto::SubtaskMetrics& m : snapshot.subtasks()) {
    const auto entry = jobs_.find(JobId(m.attempt().job_id()));
    const Job* job = control_.FindJob(JobId(m.attempt().job_id()));
    if (entry == jobs_.end() || job == nullptr || job->attempt() == nullptr) continue;
    const AttemptId attempt(m.attempt().attempt());
    if (job->attempt()->id != attempt) continue;
    if (!job->attempt()->tasks.contains(FromProto(m.subtask()))) continue;
    if (entry->second.metrics_attempt != attempt) {
      entry->second.metrics.clear();
      entry->second.metrics_attempt = attempt;
    }
    entry->second.metrics[FromProto(m.subtask())] = m;
  }
}

proto::ToTaskManager ControlLoop::NewMessage() const {
  proto::ToTaskManager message;
  message.set_leader_epoch(leadership_.epoch.value);
  return message;
}

void ControlLoop::SendTo(SessionId session, proto::ToTaskManager message) {
  const auto found = sessions_.find(session);
  if (found != sessions_.end()) found->second.stream->Send(std::move(message));
}

void ControlLoop::SendToAttempt(const JobId& job, AttemptId attempt,
                                const proto::ToTaskManager& message) {
  const Job* machine = control_.FindJob(job);
  if (machine == nullptr || machine->attempt() == nullptr || machine->attempt()->id != attempt) {
    return;  // it has ended since
  }
  for (SessionId session : machine->attempt()->holding) SendTo(session, message);
}

// ---------------------------------------------------------------- actions: members

void ControlLoop::Do(AcceptSession& action) {
  proto::ToTaskManager message = NewMessage();
  proto::RegisterAck* ack = message.mutable_register_ack();
  const MembershipOptions& membership = options_.control.membership;
  ack->set_heartbeat_interval_ms(static_cast<uint64_t>(membership.heartbeat_interval.count()));
  ack->set_heartbeat_timeout_ms(static_cast<uint64_t>(membership.heartbeat_timeout.count()));
  ack->set_cluster_id(options_.cluster_id);
  ack->set_metrics_interval_ms(static_cast<uint64_t>(options_.metrics_interval.count()));
  SendTo(action.session, std::move(message));
}

void ControlLoop::Do(RefuseSession& action) {
  const auto found = sessions_.find(action.session);
  if (found == sessions_.end()) return;
  const std::shared_ptr<ControlStream> stream = found->second.stream;
  sessions_.erase(found);
  RefuseStream(*stream, ToProto(action.refusal), action.message);
}

void ControlLoop::Do(CloseSession& action) {
  const auto found = sessions_.find(action.session);
  if (found == sessions_.end()) return;
  log::Warn("TaskManager lost",
            {{"tm_id", found->second.registration.tm_id()}, {"reason", action.reason}});
  const std::shared_ptr<ControlStream> stream = found->second.stream;
  sessions_.erase(found);
  stream->Close({grpc::StatusCode::DEADLINE_EXCEEDED, action.reason});
}

void ControlLoop::Do(SendHeartbeats&) {
  proto::ToTaskManager message = NewMessage();
  message.mutable_heartbeat()->set_sequence(++heartbeat_sequence_);
  for (auto& [session, s] : sessions_) s.stream->Send(message);
  UpdateMetrics();
}

void ControlLoop::Do(SendRecycle& action) {
  proto::ToTaskManager message = NewMessage();
  message.mutable_recycle()->set_reason(action.reason);
  SendTo(action.session, std::move(message));
}

// ---------------------------------------------------------------- actions: jobs

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
                             .ended_ms = leadership_.clock->Now().ms,
                             .attempt = job->last_attempt().value,
                             .restarts = job->restarts()};
      if (!job->failures().empty()) {
        entry.ended->failure = ToProto(job->failures().front().failure);
        entry.ended->failure.set_message(job->reason());
      }
      mailbox_.Post([this] { ForgetOldJobs(); });  // not while actions of jobs are carried out
    }
  }
  AnswerPolls(action.job, false);
}

void ControlLoop::OnStrand(const JobId& job, std::function<JobEvent(JobStorage&)> work) {
  io_->Post(StrandOf(job), [this, job, storage = jobs_.at(job).storage, work = std::move(work)] {
    JobEvent event = work(*storage);
    if (storage->fenced()) on_fenced_("another leader has written to job " + job.value);
    mailbox_.Post(
        [this, job, event = std::move(event)]() mutable { FeedJob(job, std::move(event)); });
  });
}

void ControlLoop::Do(const JobId& job, PrepareAttempt& action) {
  std::set<TaskManagerId> task_managers;
  for (const auto& [subtask, slot] : control_.FindJob(job)->attempt()->placement) {
    task_managers.insert(slot.task_manager);
  }
  OnStrand(job, [attempt = action.attempt, task_managers](JobStorage& storage) {
    return storage.Prepare(attempt, task_managers);
  });
}

void ControlLoop::Do(const JobId& job, Deploy& action) {
  const proto::JobRecord& record = *jobs_.at(job).record;
  proto::ToTaskManager message = NewMessage();
  proto::DeployJob* deploy = message.mutable_deploy_job();
  deploy->mutable_attempt()->set_job_id(job.value);
  deploy->mutable_attempt()->set_attempt(action.attempt.value);
  deploy->set_artifact_hash(record.artifact_hash());
  *deploy->mutable_graph() = record.graph();
  deploy->set_checkpoint_id_floor(action.id_floor.value);
  deploy->set_checkpoint_directory(record.checkpoint_directory());
  deploy->set_job_name(record.graph().job_name());
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
  jobs_.at(job).print_endpoints =
      PrintEndpointsOf(record.graph(), action.attempt, action.placement, rpc_addresses);
  log::Info("job deployed",
            {{"job_id", job.value},
             {"attempt", absl::StrCat(action.attempt.value)},
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
  OnStrand(job, [](JobStorage& storage) { return storage.StoreCancel(); });
}

void ControlLoop::Do(const JobId& job, PersistEnd& action) {
  const uint32_t restarts = control_.FindJob(job)->restarts();
  OnStrand(job, [end = action, restarts](JobStorage& storage) {
    return storage.StoreEnd(end, restarts);
  });
}

void ControlLoop::Do(const JobId&, Reply& action) {
  const auto found = calls_.find(action.request);
  if (found == calls_.end()) return;
  const Call call = std::move(found->second);
  calls_.erase(found);
  call.done(StatusOf(action.code, action.message));
}

// ---------------------------------------------------------------- actions: checkpoints

void ControlLoop::Do(const JobId& job, CheckpointWork& work) {
  std::visit([&](auto& a) { Do(job, work.attempt, a); }, work.action);
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, SendTrigger& action) {
  const Job* machine = control_.FindJob(job);
  proto::ToTaskManager message = NewMessage();
  proto::TriggerCheckpoint* trigger = message.mutable_trigger_checkpoint();
  trigger->mutable_attempt()->set_job_id(job.value);
  trigger->mutable_attempt()->set_attempt(attempt.value);
  trigger->set_checkpoint_id(action.id.value);
  trigger->set_kind(ToProto(action.kind));
  trigger->set_mode(ToProto(action.mode));
  trigger->set_trigger_time_ms(leadership_.clock->Now().ms);
  trigger->set_timeout_ms(static_cast<uint64_t>(machine->plan().checkpoint.timeout.count()));
  SendToAttempt(job, attempt, message);
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, CommitManifest& action) {
  int64_t triggered_ms = leadership_.clock->Now().ms;
  for (const CheckpointRecord& record : control_.FindJob(job)->checkpoints().history()) {
    if (record.id == action.id) triggered_ms = Time().At(record.triggered);
  }
  auto commit = std::make_shared<CommitManifest>(std::move(action));
  OnStrand(job, [commit, attempt, triggered_ms](JobStorage& storage) -> JobEvent {
    std::string path;
    return OfCheckpoints{attempt, storage.Commit(*commit, attempt, triggered_ms, &path)};
  });
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, SendCompleted& action) {
  proto::ToTaskManager message = NewMessage();
  proto::CheckpointCompleted* completed = message.mutable_checkpoint_completed();
  completed->mutable_attempt()->set_job_id(job.value);
  completed->mutable_attempt()->set_attempt(attempt.value);
  completed->set_checkpoint_id(action.id.value);
  SendToAttempt(job, attempt, message);
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, SendAborted& action) {
  log::Warn("checkpoint aborted", {{"job_id", job.value},
                                   {"checkpoint", absl::StrCat(action.id.value)},
                                   {"reason", action.reason}});
  proto::ToTaskManager message = NewMessage();
  proto::CheckpointAborted* aborted = message.mutable_checkpoint_aborted();
  aborted->mutable_attempt()->set_job_id(job.value);
  aborted->mutable_attempt()->set_attempt(attempt.value);
  aborted->set_checkpoint_id(action.id.value);
  aborted->set_reason(action.reason);
  SendToAttempt(job, attempt, message);
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, jobmanager::ExportSavepoint& action) {
  const std::string target =
      absl::StrCat(action.directory, "/savepoint-", job.value.substr(0, 8), "-", action.id.value);
  // Found on the job's strand, copied beside it: copying takes as long as the state is large.
  io_->Post(StrandOf(job), [this, job, attempt, id = action.id, target,
                            storage = jobs_.at(job).storage] {
    absl::StatusOr<proto::Manifest> manifest = storage->Find(id);
    io_->Post("export/" + job.value, [this, job, attempt, id, target, manifest,
                                      from = storage->checkpoint_storage()] {
      absl::Status status = manifest.status();
      if (status.ok()) {
        absl::StatusOr<std::unique_ptr<DirectoryStorage>> to = DirectoryStorage::Open(target);
        status = to.status();
        if (status.ok()) status = weir::ExportSavepoint(*from, *manifest, **to).status();
      }
      CheckpointEvent event = SavepointExported{id, target};
      if (!status.ok()) event = SavepointExportFailed{id, std::string(status.message())};
      mailbox_.Post([this, job, attempt, event] { FeedJob(job, OfCheckpoints{attempt, event}); });
    });
  });
}

void ControlLoop::Do(const JobId&, AttemptId, ReplySavepoint& action) {
  const auto found = calls_.find(action.request);
  if (found == calls_.end()) return;
  const Call call = std::move(found->second);
  calls_.erase(found);
  if (action.code == ReplyCode::kOk) {
    call.savepoint->set_savepoint_path(action.path);
    call.savepoint->set_checkpoint_id(action.id.value);
  }
  call.done(StatusOf(action.code, action.message));
}

void ControlLoop::Do(const JobId& job, AttemptId, PruneCheckpoints&) {
  io_->Post(StrandOf(job), [storage = jobs_.at(job).storage] { storage->Prune(); });
}

void ControlLoop::Do(const JobId& job, AttemptId attempt, ReserveIds& action) {
  OnStrand(job, [attempt, limit = action.limit](JobStorage& storage) -> JobEvent {
    return OfCheckpoints{attempt, storage.Reserve(limit)};
  });
}

void ControlLoop::Do(const JobId&, AttemptId, FailAttempt&) {}  // the job's own
void ControlLoop::Do(const JobId&, AttemptId, JobDone&) {}      // the job's own

// ---------------------------------------------------------------- clients

const std::string* ControlLoop::JobOfToken(const std::string& token) const {
  const auto found = tokens_.find(token);
  return token.empty() || found == tokens_.end() ? nullptr : &found->second;
}

void ControlLoop::Submit(std::shared_ptr<const proto::JobRecord> record,
                         proto::SubmitJobReply* reply, Done done) {
  if (stopping_) return done(Unavailable());
  const std::string& token = record->submission_token();
  if (const std::string* job = JobOfToken(token)) {
    reply->set_job_id(*job);
    return done(grpc::Status::OK);
  }
  if (!token.empty() && tokens_in_flight_.contains(token)) {
    return done({grpc::StatusCode::UNAVAILABLE, "the same submission is under way; try again"});
  }
  const auto active = static_cast<size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& j) { return !j.second.ended; }));
  if (active + submissions_in_flight_ >= kMaxJobs) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED,
                 absl::StrCat("the cluster has its ", kMaxJobs, " jobs; cancel one first")});
  }
  if (!token.empty()) tokens_in_flight_.insert(token);
  ++submissions_in_flight_;
  const JobId id(record->job_id());
  auto storage = std::make_shared<JobStorage>(leadership_, *record, MetadataStore::kAbsent);
  io_->Post(StrandOf(id), [this, id, record, storage, reply, done] {
    const absl::Status stored = storage->Store();
    if (storage->fenced()) on_fenced_("another leader has written to the metadata store");
    mailbox_.Post([this, id, record, storage, reply, done, stored] {
      tokens_in_flight_.erase(record->submission_token());
      --submissions_in_flight_;
      if (!stored.ok()) {
        return done({grpc::StatusCode::UNAVAILABLE,
                     absl::StrCat("the job could not be stored: ", stored.message())});
      }
      if (!record->submission_token().empty()) tokens_[record->submission_token()] = id.value;
      jobs_[id] = {.record = record, .storage = storage};
      log::Info("job submitted", {{"job_id", id.value}, {"name", record->graph().job_name()}});
      Feed(JobAdmitted{.job = id,
                       .plan = PlanOf(record->graph(), record->artifact_hash()),
                       .seed = std::random_device()()});
      reply->set_job_id(id.value);
      done(stopping_ ? Unavailable() : grpc::Status::OK);
    });
  });
}

void ControlLoop::ListJobs(const proto::ListJobsRequest& request, proto::ListJobsReply* reply) {
  std::vector<std::pair<int64_t, const JobId*>> order;
  for (const auto& [id, entry] : jobs_) {
    if (!request.running_only() || !entry.ended) {
      order.emplace_back(-entry.record->created_ms(), &id);
    }
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, *a.second) < std::pair(b.first, *b.second);
  });
  for (const auto& [age, id] : order) {
    DescribeStatus(id->value, jobs_.at(*id), control_.FindJob(*id), epoch(), Time(),
                   reply->add_jobs());
  }
}

grpc::Status ControlLoop::FindJob(const std::string& id_or_prefix, JobId* found) const {
  if (id_or_prefix.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, "job_id is empty"};
  if (jobs_.contains(JobId(id_or_prefix))) {
    *found = JobId(id_or_prefix);
    return grpc::Status::OK;
  }
  size_t matches = 0;
  for (auto job = jobs_.lower_bound(JobId(id_or_prefix));
       job != jobs_.end() && job->first.value.starts_with(id_or_prefix); ++job) {
    *found = job->first;
    ++matches;
  }
  if (matches == 1) return grpc::Status::OK;
  if (matches > 1) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            absl::StrCat("'", id_or_prefix, "' fits ", matches, " jobs; give more of the id")};
  }
  return {grpc::StatusCode::NOT_FOUND,
          absl::StrCat("there is no job '", id_or_prefix, "'; `weir list` shows all")};
}

grpc::Status ControlLoop::Describe(const proto::DescribeJobRequest& request,
                                   proto::JobDetails* details) {
  JobId id;
  if (grpc::Status s = FindJob(request.job_id(), &id); !s.ok()) return s;
  DescribeJob(id.value, jobs_.at(id), control_.FindJob(id), epoch(), Time(), details);
  return grpc::Status::OK;
}

void ControlLoop::Cancel(const proto::CancelJobRequest& request, Done done) {
  JobId id;
  if (grpc::Status s = FindJob(request.job_id(), &id); !s.ok()) return done(s);
  if (control_.FindJob(id) == nullptr) {
    return done({grpc::StatusCode::FAILED_PRECONDITION, "the job has ended already"});
  }
  if (calls_.size() >= kMaxWaitingCalls) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting"});
  }
  const RequestId call(++last_request_);
  calls_[call] = {.done = std::move(done)};
  FeedJob(id, CancelWanted{call});
}

void ControlLoop::AskForSavepoint(const std::string& job, CheckpointKind kind,
                                  const std::string& directory, proto::SavepointReply* reply,
                                  Done done) {
  JobId id;
  if (grpc::Status s = FindJob(job, &id); !s.ok()) return done(s);
  if (control_.FindJob(id) == nullptr) {
    return done({grpc::StatusCode::FAILED_PRECONDITION, "the job has ended already"});
  }
  const std::string& target = directory.empty() ? options_.savepoint_directory : directory;
  if (!target.starts_with("/")) {
    return done({grpc::StatusCode::INVALID_ARGUMENT,
                 absl::StrCat("the savepoint directory '", target,
                              "' must be an absolute path that the JobManager can write to")});
  }
  if (calls_.size() >= kMaxWaitingCalls) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting"});
  }
  const RequestId call(++last_request_);
  calls_[call] = {.savepoint = reply, .done = std::move(done)};
  FeedJob(id, OfCheckpoints{AttemptId(0), SavepointWanted{call, kind, target}});
}

void ControlLoop::StopJob(const proto::StopJobRequest& request, proto::SavepointReply* reply,
                          Done done) {
  AskForSavepoint(request.job_id(),
                  request.drain() ? CheckpointKind::kStopAndDrain : CheckpointKind::kStop,
                  request.savepoint_directory(), reply, std::move(done));
}

void ControlLoop::TriggerSavepoint(const proto::TriggerSavepointRequest& request,
                                   proto::SavepointReply* reply, Done done) {
  AskForSavepoint(request.job_id(), CheckpointKind::kSavepoint, request.savepoint_directory(),
                  reply, std::move(done));
}

void ControlLoop::WaitJob(const proto::WaitJobRequest& request, proto::JobStatus* status,
                          Done done) {
  JobId id;
  if (grpc::Status s = FindJob(request.job_id(), &id); !s.ok()) return done(s);
  proto::JobStatus now;
  DescribeStatus(id.value, jobs_.at(id), control_.FindJob(id), epoch(), Time(), &now);
  const bool ended = jobs_.at(id).ended.has_value();
  if (request.version() != now.version() || ended || request.max_wait_ms() == 0) {
    *status = std::move(now);
    return done(grpc::Status::OK);
  }
  if (polls_.size() >= kMaxWaitingCalls) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting"});
  }
  const auto wait = std::min<uint64_t>(request.max_wait_ms(), kLongestPoll.count());
  const uint64_t poll = ++last_poll_;
  const Instant deadline = Now() + milliseconds(wait);
  polls_[poll] = {.job = id,
                  .version = request.version(),
                  .deadline = deadline,
                  .status = status,
                  .done = std::move(done)};
  poll_deadlines_.emplace(deadline, poll);
}

void ControlLoop::AnswerPoll(uint64_t number) {
  const auto found = polls_.find(number);
  if (found == polls_.end()) return;
  const Poll poll = std::move(found->second);
  poll_deadlines_.erase({poll.deadline, number});
  polls_.erase(found);
  const auto entry = jobs_.find(poll.job);
  if (entry == jobs_.end()) return poll.done({grpc::StatusCode::NOT_FOUND, "the job is forgotten"});
  if (stopping_) return poll.done(Unavailable());
  DescribeStatus(poll.job.value, entry->second, control_.FindJob(poll.job), epoch(), Time(),
                 poll.status);
  poll.done(grpc::Status::OK);
}

void ControlLoop::AnswerPolls(const JobId& job, bool all) {
  std::vector<uint64_t> due;
  const Job* machine = control_.FindJob(job);
  const uint64_t version =
      (epoch().value << 40) | (machine != nullptr ? machine->version() : uint64_t{1});
  for (const auto& [number, poll] : polls_) {
    if (poll.job == job && (all || poll.version != version)) due.push_back(number);
  }
  for (uint64_t number : due) AnswerPoll(number);
}

void ControlLoop::ClusterStatus(proto::ClusterStatusReply* reply) {
  reply->set_cluster_id(options_.cluster_id);
  reply->set_leader_epoch(epoch().value);
  reply->set_build(kAbiStamp);
  reply->set_rpc_address(options_.rpc_address);
  reply->set_metrics_port(options_.metrics_port);
  reply->set_slots_wanted(control_.slots_wanted());
  reply->set_started_ms(started_ms_);
  for (const auto& [session, entry] : control_.membership().entries()) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) continue;
    const proto::Register& r = found->second.registration;
    const proto::TaskManagerHeartbeat& beat = found->second.heartbeat;
    proto::TaskManagerDetails* tm = reply->add_task_managers();
    tm->set_tm_id(r.tm_id());
    tm->set_incarnation(r.incarnation());
    tm->set_host(r.host());
    tm->set_data_port(r.data_port());
    tm->set_rpc_port(r.rpc_port());
    tm->set_metrics_port(r.metrics_port());
    tm->set_slots(r.slots());
    tm->set_free_slots(static_cast<uint32_t>(entry.FreeSlots().size()));
    tm->set_memory_bytes(r.memory_bytes());
    tm->set_rss_bytes(beat.rss_bytes());
    tm->set_cpu_cores(r.cpu_cores());
    tm->set_cpu_usage(beat.cpu_usage());
    tm->set_pid(r.pid());
    tm->set_loaded_artifact(entry.loaded_artifact);
    for (const JobId& job : entry.Jobs()) tm->add_job_ids(job.value);
    tm->set_last_heartbeat_age_ms(static_cast<uint64_t>(
        std::chrono::duration_cast<milliseconds>(Now() - found->second.heard).count()));
    tm->set_recycling(entry.recycling_since.has_value());
    reply->set_slots_total(reply->slots_total() + tm->slots());
    reply->set_slots_free(reply->slots_free() + tm->free_slots());
  }
  reply->set_jobs_total(static_cast<uint32_t>(jobs_.size()));
  for (const auto& [id, job] : control_.jobs()) {
    if (job->state() == JobState::kRunning) reply->set_jobs_running(reply->jobs_running() + 1);
  }
}

// ---------------------------------------------------------------- housekeeping

void ControlLoop::ForgetOldJobs() {
  std::vector<std::pair<int64_t, JobId>> ended;
  for (const auto& [id, entry] : jobs_) {
    if (entry.ended) ended.emplace_back(entry.ended->ended_ms, id);
  }
  if (ended.size() <= kMaxEndedJobs) return;
  std::sort(ended.begin(), ended.end());
  for (size_t i = 0; i + kMaxEndedJobs < ended.size(); ++i) {
    const JobId& id = ended[i].second;
    io_->Post(StrandOf(id), [storage = jobs_.at(id).storage] {
      if (absl::Status s = storage->Forget(); !s.ok()) {
        log::Warn("the record of an ended job was not deleted",
                  {{"reason", std::string(s.message())}});
      }
    });
    tokens_.erase(jobs_.at(id).record->submission_token());
    jobs_.erase(id);
    AnswerPolls(id, true);
    metrics_->ForgetJob(id);
    Feed(JobForgotten{id});
  }
}

void ControlLoop::UpdateMetrics() {
  size_t slots = 0, free = 0, running = 0;
  for (const auto& [session, entry] : control_.membership().entries()) {
    slots += entry.slot_owners.size();
    free += entry.FreeSlots().size();
  }
  for (const auto& [id, job] : control_.jobs()) running += job->state() == JobState::kRunning;
  metrics_->Cluster(control_.membership().entries().size(), slots, free, control_.slots_wanted(),
                    running);
}

}  // namespace weir::jobmanager
