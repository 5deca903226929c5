#include "jobmanager/control_loop.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/abi.h"
#include "base/file/writable.h"
#include "jobmanager/status.h"
#include "jobmanager/submission.h"
#include "jobmanager/wire.h"
#include "log/log.h"

namespace weir::jobmanager {

// What clients ask of the control loop: submissions, descriptions, savepoints, long polls.

namespace {

absl::StatusOr<proto::SourceRate> SourceRateOf(const proto::JobGraph& graph,
                                               const proto::SetSourceRateRequest& request) {
  const double per_second = request.records_per_second();
  if (!std::isfinite(per_second) || per_second < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rate of ", per_second, " records per second; give 0 or a number above it"));
  }
  std::vector<std::string> sources;
  for (const proto::Vertex& vertex : graph.vertices()) {
    if (!vertex.is_source()) continue;
    if (vertex.uid() != request.source_uid()) {
      sources.push_back(absl::StrCat("'", vertex.uid(), "'"));
      continue;
    }
    proto::SourceRate rate;
    rate.set_vertex(vertex.id());
    if (request.has_records_per_second()) rate.set_records_per_second(per_second);
    return rate;
  }
  return absl::InvalidArgumentError(absl::StrCat("the job has no source with the uid '",
                                                 request.source_uid(), "'; its sources are ",
                                                 absl::StrJoin(sources, ", ")));
}

}  // namespace

const std::string* ControlLoop::JobOfToken(const std::string& token) const {
  const auto found = tokens_.find(token);
  return token.empty() || found == tokens_.end() ? nullptr : &found->second;
}

void ControlLoop::Submit(std::shared_ptr<const proto::JobRecord> record,
                         proto::SubmitJobReply* reply, Done done) {
  if (stopping_) return done(ShuttingDown());
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
  if (active + submissions_in_flight_.size() >= kMaxJobs) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED,
                 absl::StrCat("the cluster has its ", kMaxJobs, " jobs; cancel one first")});
  }
  // Here and no earlier: of two submissions that come together the second one finds the first.
  const absl::Status may = CheckLineage(*record, UsesOfLineage(record->graph().output_lineage()));
  if (!may.ok()) return done(ToGrpc(may));
  if (!token.empty()) tokens_in_flight_.insert(token);
  const JobId id(record->job_id());
  submissions_in_flight_[id] = record;
  auto stored = std::make_shared<StoredRecord>(leadership_, *record, MetadataStore::kAbsent);
  io_.own->Post(RecordStrandOf(id), [this, id, record, stored, reply, done] {
    const absl::Status outcome = stored->Store();
    if (stored->fenced()) on_fenced_("another leader has written to the metadata store");
    mailbox_.Post([this, id, record, stored, reply, done, outcome] {
      // It may be stored all the same, and the next leader run it: until then it counts as there.
      if (absl::IsUnknown(outcome)) {
        return done({grpc::StatusCode::ABORTED,
                     absl::StrCat("whether the job was stored is not known; if so it is ", id.value,
                                  ", and runs once the JobManager has been restarted: ",
                                  outcome.message())});
      }
      tokens_in_flight_.erase(record->submission_token());
      submissions_in_flight_.erase(id);
      if (!outcome.ok()) {
        return done({grpc::StatusCode::UNAVAILABLE,
                     absl::StrCat("the job could not be stored: ", outcome.message())});
      }
      if (!record->submission_token().empty()) tokens_[record->submission_token()] = id.value;
      jobs_[id] = {.record = record,
                   .stored = stored,
                   .storage = std::make_shared<JobStorage>(leadership_, record, stored)};
      log::Info("job submitted", {{"job_id", id.value}, {"name", record->graph().job_name()}});
      // Made in place: g++ 12 warns in the release preset of members that a moved one lacks.
      ControlEvent event(std::in_place_type<JobAdmitted>);
      auto& admitted = std::get<JobAdmitted>(event);
      admitted.job = id;
      admitted.plan = PlanFor(*record);
      admitted.seed = std::random_device()();
      Feed(event);
      reply->set_job_id(id.value);
      done(stopping_ ? ShuttingDown() : grpc::Status::OK);
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
  if (!control_.FindJob(id)->takes_savepoints()) {
    // It refuses; no directory is made for that.
    return FeedJob(id, OfCheckpoints{AttemptId(0), SavepointWanted{call, kind, target}});
  }
  // Before anything is asked of the job: a stop that fails at its export has silenced the sources,
  // and costs a restart.
  io_.clients->Post("export/" + id.value, [this, call, id, kind, target] {
    const absl::Status usable = CheckWritable(target, "savepoint");
    mailbox_.Post([this, call, id, kind, target, usable] {
      if (usable.ok() && control_.FindJob(id) != nullptr) {
        return FeedJob(id, OfCheckpoints{AttemptId(0), SavepointWanted{call, kind, target}});
      }
      const std::string why = usable.ok()
                                  ? "the job has ended already"
                                  : absl::StrCat("the savepoint directory ", target,
                                                 " cannot be used: ", usable.message(),
                                                 "; choose one that the JobManager can write to");
      ReplySavepoint refusal{call, ReplyCode::kFailedPrecondition, {}, {}, why};
      Do(id, AttemptId(0), refusal);
    });
  });
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

void ControlLoop::SetSourceRate(const proto::SetSourceRateRequest& request, Done done) {
  JobId id;
  if (grpc::Status s = FindJob(request.job_id(), &id); !s.ok()) return done(s);
  if (control_.FindJob(id) == nullptr || IsTerminal(control_.FindJob(id)->state())) {
    return done({grpc::StatusCode::FAILED_PRECONDITION, "the job has ended already"});
  }
  absl::StatusOr<proto::SourceRate> rate = SourceRateOf(jobs_.at(id).record->graph(), request);
  if (!rate.ok()) return done(ToGrpc(rate.status()));
  if (calls_.size() >= kMaxWaitingCalls) {
    return done({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls are waiting"});
  }
  const RequestId call(++last_request_);
  calls_[call] = {.done = std::move(done)};
  io_.own->Post(RecordStrandOf(id), [this, id, call, rate = *rate, stored = jobs_.at(id).stored] {
    const absl::Status outcome = stored->Store([&rate](proto::JobRecord& r) {
      auto& rates = *r.mutable_source_rates();
      const auto same = std::ranges::find(
          rates, rate.vertex(), [](const proto::SourceRate& one) { return one.vertex(); });
      *(same != rates.end() ? &*same : rates.Add()) = rate;
    });
    if (stored->fenced()) on_fenced_("another leader has written to job " + id.value);
    mailbox_.Post([this, id, rate, call, outcome] { OnSourceRateStored(id, rate, call, outcome); });
  });
}

void ControlLoop::OnSourceRateStored(const JobId& id, const proto::SourceRate& rate, RequestId call,
                                     const absl::Status& stored) {
  const auto entry = jobs_.find(id);
  if (stored.ok() && entry != jobs_.end()) {
    // An attempt that is deployed after this has it in its deployment, one before is told now.
    entry->second.source_rates[rate.vertex()] = rate;
    proto::ToTaskManager message = NewMessage();
    *message.mutable_set_source_rate()->mutable_rate() = rate;
    SendToAttempts(id, message, [](proto::ToTaskManager* m) {
      return m->mutable_set_source_rate()->mutable_attempt();
    });
  }
  const auto waiting = calls_.find(call);
  if (waiting == calls_.end()) return;  // answered by the shutdown
  const Done done = std::move(waiting->second.done);
  calls_.erase(waiting);
  if (stored.ok()) return done(grpc::Status::OK);
  done({grpc::StatusCode::UNAVAILABLE,
        absl::StrCat("the rate could not be stored: ", stored.message())});
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
  if (stopping_) return poll.done(ShuttingDown());
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

std::vector<ControlLoop::DirectoryInUse> ControlLoop::CheckpointsInUse() const {
  std::vector<DirectoryInUse> in_use;
  for (const auto& [id, entry] : jobs_) {
    if (entry.ended) continue;
    in_use.push_back(
        {entry.record->checkpoint_directory(), id.value, DirectoryInUse::By::kWriting});
    if (!entry.record->has_initial_restore() || entry.restore_settled) continue;
    in_use.push_back({entry.record->initial_restore().directory(), id.value,
                      entry.record->restore_mode() == proto::RESTORE_MODE_CLAIM
                          ? DirectoryInUse::By::kOwning
                          : DirectoryInUse::By::kRestoring});
  }
  return in_use;
}

std::vector<LineageUse> ControlLoop::UsesOfLineage(const std::string& lineage) const {
  std::vector<LineageUse> uses;
  const auto uses_it = [&](const proto::JobRecord& record) {
    return record.graph().output_lineage() == lineage && HasUnguardedSinks(record.graph());
  };
  for (const auto& [id, record] : submissions_in_flight_) {
    if (uses_it(*record)) uses.push_back({.job = id.value, .running = true});
  }
  for (const auto& [id, entry] : jobs_) {
    if (!uses_it(*entry.record)) continue;
    uses.push_back({.job = id.value,
                    .running = !entry.ended,
                    .published = CheckpointId(entry.ended ? entry.ended->last_checkpoint_id : 0),
                    .directory = entry.record->checkpoint_directory()});
  }
  if (const proto::LineageRecord* past = past_lineages_.Find(lineage)) {
    uses.push_back({.job = past->job_id(),
                    .published = CheckpointId(past->published()),
                    .directory = past->checkpoint_directory()});
  }
  return uses;
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

}  // namespace weir::jobmanager
