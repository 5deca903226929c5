#include "jobmanager/control_loop.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/abi.h"
#include "jobmanager/status.h"
#include "jobmanager/wire.h"
#include "log/log.h"

namespace weir::jobmanager {

// The control loop and its TaskManagers: their streams, their messages, and who is a member.

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
    stream->Close(ShuttingDown());
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
                       .at_end = subtask.at_end_of_data(),
                       .unaligned = subtask.unaligned(),
                       .in_flight_bytes = subtask.in_flight_bytes()};
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
      Feed(SessionBroken{from, "it ended: " + message.goodbye().reason(), /*in_order=*/true});
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
  if (r.feature_bits() != 0) {
    return RefuseStream(*stream, Refused::REASON_PROTOCOL_VERSION,
                        absl::StrCat("TaskManager '", r.tm_id(), "' asks for features ",
                                     r.feature_bits(), " of the control protocol, of which this ",
                                     "JobManager knows none; install the same version of Weir on "
                                     "both"));
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
  // Before the epochs: those of two clusters have nothing to do with one another.
  if (!r.cluster_id().empty() && r.cluster_id() != options_.cluster_id) {
    return RefuseStream(
        *stream, Refused::REASON_OTHER_CLUSTER,
        absl::StrCat("TaskManager '", r.tm_id(), "' belongs to cluster ", r.cluster_id(),
                     ", but the JobManager at ", options_.rpc_address, " is that of cluster ",
                     options_.cluster_id,
                     ". If it is to work for this one, start it again, with "
                     "taskmanager.cluster-id (if that is set) corrected; otherwise correct its "
                     "jobmanager.address, and give each cluster an address of its own"));
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
                        .loaded_artifact = r.loaded_artifact(),
                        .network_buffers = r.network_buffers(),
                        .exclusive_buffers = r.exclusive_buffers()};
  for (const proto::AttemptRef& attempt : r.running_attempts()) {
    event.registration.running.emplace_back(JobId(attempt.job_id()), AttemptId(attempt.attempt()));
  }
  for (const proto::CrashReport& report : r.crash_reports()) {
    if (report.attempt().job_id().empty()) continue;
    log::Warn("TaskManager crashed before", {{"tm_id", r.tm_id()},
                                             {"job_id", report.attempt().job_id()},
                                             {"attempt", absl::StrCat(report.attempt().attempt())},
                                             {"reason", report.message()}});
    event.crashes.push_back(FromProto(report));
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
    if (entry == jobs_.end() || job == nullptr) continue;
    const SubtaskId subtask = FromProto(m.subtask());
    const Attempt* attempt = job->AttemptOf(subtask);
    if (attempt == nullptr || attempt->id.value != m.attempt().attempt()) continue;
    if (!attempt->tasks.contains(subtask)) continue;
    // With the first of an attempt, what its region's former one came to is over.
    auto& metrics = entry->second.metrics;
    const auto before = metrics.find(subtask);
    if (before == metrics.end() || before->second.attempt().attempt() != attempt->id.value) {
      std::erase_if(metrics, [&](const auto& known) {
        return attempt->tasks.contains(known.first) &&
               known.second.attempt().attempt() != attempt->id.value;
      });
    }
    metrics[subtask] = m;
  }
}

proto::ToTaskManager ControlLoop::NewMessage() const {
  proto::ToTaskManager message;
  message.set_leader_epoch(leadership_.epoch.value);
  return message;
}

void ControlLoop::SendTo(SessionId session, proto::ToTaskManager message) {
  const auto found = sessions_.find(session);
  if (found != sessions_.end() && MayAct()) found->second.stream->Send(std::move(message));
}

void ControlLoop::SendToAttempts(
    const JobId& job, const proto::ToTaskManager& message,
    const std::function<proto::AttemptRef*(proto::ToTaskManager*)>& attempt_of) {
  const Job* machine = control_.FindJob(job);
  if (machine == nullptr) return;
  for (const auto& [region, attempt] : machine->attempts()) {
    // One that is to end is told, too: the last checkpoint's completion goes ahead of its cancel.
    if (!attempt.deployed) continue;
    proto::ToTaskManager mine = message;
    proto::AttemptRef* ref = attempt_of(&mine);
    ref->set_job_id(job.value);
    ref->set_attempt(attempt.id.value);
    for (SessionId session : attempt.holding) SendTo(session, mine);
  }
}

// ---------------------------------------------------------------- actions

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
  for (auto& [session, s] : sessions_) SendTo(session, message);
  UpdateMetrics();
}

void ControlLoop::Do(SendRecycle& action) {
  proto::ToTaskManager message = NewMessage();
  message.mutable_recycle()->set_reason(action.reason);
  SendTo(action.session, std::move(message));
}

}  // namespace weir::jobmanager
