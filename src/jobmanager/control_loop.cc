#include "jobmanager/control_loop.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "jobmanager/lineage_records.h"
#include "jobmanager/status.h"
#include "jobmanager/submission.h"
#include "jobmanager/wire.h"
#include "log/log.h"

namespace weir::jobmanager {

namespace {

/// The loop wakes at least this often, so that a missed deadline costs no more.
constexpr milliseconds kLongestSleep{1'000};

constexpr milliseconds kStorageWatch{1'000};

constexpr char kLeftBehindStrand[] = "left-behind";
/// Records of lineages are of no single job.
constexpr char kLineageStrand[] = "lineages";

/// How late the loop may wake without having stood still: less than a heartbeat that is due has
/// left, and little beside any other time-out.
milliseconds Tolerance(const MembershipOptions& of) {
  return std::min(milliseconds(500), (of.heartbeat_timeout - of.heartbeat_interval) / 2);
}

}  // namespace

ControlLoop::ControlLoop(ControlLoopOptions options, Leadership leadership, const IoPools& io,
                         Metrics* metrics, std::function<void(std::string)> on_fenced)
    : options_(std::move(options)),
      leadership_(std::move(leadership)),
      io_(io),
      metrics_(metrics),
      on_fenced_(std::move(on_fenced)),
      started_ms_(leadership_.clock->Now().ms),
      time_(*leadership_.clock, Tolerance(options_.control.membership)),
      control_(options_.control, time_.Now()),
      next_deletion_(time_.Now() + options_.deletion_retry) {}

ControlLoop::~ControlLoop() { Stop(); }

// ---------------------------------------------------------------- life

JobPlan ControlLoop::PlanFor(const proto::JobRecord& record) const {
  JobPlan plan = PlanOf(record.graph(), record.artifact_hash());
  plan.deployment_timeout = options_.deployment_timeout;
  return plan;
}

void ControlLoop::Recover(std::vector<StoredJob> stored, PastLineages lineages) {
  past_lineages_ = std::move(lineages);
  std::random_device seed;
  for (StoredJob& job : stored) {
    const JobId id(job.record.job_id());
    const proto::JobRecord& r = job.record;
    JobEntry entry;
    entry.record = std::make_shared<const proto::JobRecord>(r);
    entry.stored = std::make_shared<StoredRecord>(leadership_, r, job.version);
    entry.storage = std::make_shared<JobStorage>(leadership_, entry.record, entry.stored);
    entry.restore_settled = r.restore_settled();
    for (const proto::SourceRate& rate : r.source_rates()) entry.source_rates[rate.vertex()] = rate;
    if (!r.submission_token().empty()) tokens_[r.submission_token()] = id.value;
    if (r.end() != proto::JOB_STATE_UNSPECIFIED) {
      entry.ended = EndedJob{.state = r.end(),
                             .failure = r.failure(),
                             .reason = r.end_reason(),
                             .ended_ms = r.ended_ms(),
                             .attempt = r.attempt(),
                             .restarts = r.restarts(),
                             .last_checkpoint_id = r.last_checkpoint_id(),
                             .counts = FromProto(r.counts())};
      if (!r.stop().savepoint_path().empty()) entry.ended->stop = r.stop();
      // Records of before they had one.
      if (entry.ended->reason.empty()) entry.ended->reason = r.failure().message();
      jobs_[id] = std::move(entry);
      SweepExports(id);
      continue;
    }
    jobs_[id] = std::move(entry);
    SweepExports(id);
    log::Info("job recovered", {{"job_id", id.value}, {"name", r.graph().job_name()}});
    JobAdmitted admitted{.job = id,
                         .plan = PlanFor(r),
                         .attempt_floor = AttemptId(r.attempt()),
                         .canceled = r.cancel_wanted(),
                         .restarts = r.restarts(),
                         .memory = FromProto(r.restart_memory(), Time()),
                         .counts = FromProto(r.counts()),
                         .seed = seed()};
    for (const std::string& tm : r.task_managers()) admitted.previous.insert(TaskManagerId(tm));
    Feed(admitted);
  }
  DeleteLeftBehind();
  ForgetOldJobs();
}

void ControlLoop::RetryLeftBehind() {
  if (Now() < next_deletion_) return;
  next_deletion_ = Now() + options_.deletion_retry;
  if (!stopping_ && MayAct()) DeleteLeftBehind();
}

// What earlier leaders left on one strand: if they hang in their storage, it is one thread that
// does. What this one left on the job's, where its storage belongs. One try of each at a time.
void ControlLoop::DeleteLeftBehind() {
  std::set<std::string> needed;
  for (const auto& [id, entry] : jobs_) {
    if (entry.ended || entry.restore_settled) continue;
    needed.insert(entry.record->initial_restore().directory());
  }
  std::set<std::string> busy;
  for (const auto& [id, entry] : jobs_) {
    for (const std::string& strand : {std::string(kLeftBehindStrand), StrandOf(id)}) {
      if (entry.ended && io_.checkpoints->OldestPiece(strand) != 0) busy.insert(strand);
    }
  }
  for (const auto& [id, entry] : jobs_) {
    if (!entry.ended || !entry.stored->Owes()) continue;
    const bool earlier = entry.record->end() != proto::JOB_STATE_UNSPECIFIED;
    const std::string strand = earlier ? kLeftBehindStrand : StrandOf(id);
    if (busy.contains(strand)) continue;
    io_.checkpoints->Post(strand, [storage = entry.storage, needed,
                                   directory = entry.record->checkpoint_directory()] {
      for (const std::string& other : needed) {
        std::error_code ignored;
        if (std::filesystem::equivalent(directory, other, ignored)) return;
      }
      storage->DeleteLeftBehind();
    });
  }
}

void ControlLoop::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ControlLoop::Run() {
  while (!stop_) {
    const auto due = [this] {
      return stopping_ || deposed_ ? Instant::max() : control_.NextDeadline();
    };
    Instant wake = std::min(due(), Now() + kLongestSleep);
    if (!poll_deadlines_.empty()) wake = std::min(wake, poll_deadlines_.begin()->first);
    Mailbox::Letter letter = mailbox_.Take(time_.Until(wake));
    TellStandstill(time_.Woke(wake));
    if (letter) letter();
    if (Now() >= due()) Feed(ControlTick{});
    WatchStorages();
    RetryLeftBehind();
    while (!poll_deadlines_.empty() && poll_deadlines_.begin()->first <= Now()) {
      AnswerPoll(poll_deadlines_.begin()->second);
    }
  }
}

void ControlLoop::TellStandstill(std::chrono::nanoseconds lasted) const {
  if (lasted < options_.control.membership.heartbeat_timeout) return;
  log::Warn("this JobManager stood still; nobody is held for lost because of that",
            {{"for_ms", absl::StrCat(std::chrono::duration_cast<milliseconds>(lasted).count())}});
}

void ControlLoop::WatchStorages() {
  if (Now() < next_storage_watch_) return;
  next_storage_watch_ = Now() + kStorageWatch;
  for (auto& [id, entry] : jobs_) {
    if (entry.ended) continue;
    const bool told = entry.storage_wait.long_enough();
    entry.storage_wait.Look(io_.checkpoints->OldestPiece(StrandOf(id)), Now());
    if (told || !entry.storage_wait.long_enough()) continue;
    log::Warn("the job waits for its checkpoint directory, or for this JobManager's own",
              {{"job_id", id.value}, {"directory", entry.record->checkpoint_directory()}});
  }
}

void ControlLoop::BeginShutdown() {
  mailbox_.Post([this] {
    if (stopping_) return;
    Feed(ShutDown{});
    stopping_ = true;
    while (!polls_.empty()) AnswerPoll(polls_.begin()->first);
    for (auto& [request, call] : std::exchange(calls_, {})) call.done(ShuttingDown());
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

bool ControlLoop::MayAct() {
  if (deposed_) return false;
  const absl::Status may = leadership_.MayAct();
  if (may.ok()) return true;
  deposed_ = true;
  on_fenced_(std::string(may.message()));
  return false;
}

void ControlLoop::Feed(const ControlEvent& event) {
  if (stopping_ || !MayAct()) return;
  std::vector<ControlAction> actions;
  control_.Step(event, Now(), &actions);
  for (ControlAction& action : actions) {
    std::visit([this](auto& a) { Do(a); }, action);
  }
}

void ControlLoop::FeedJob(const JobId& job, JobEvent event, std::optional<SessionId> from) {
  Feed(ForJob{.job = job, .from = from, .event = std::move(event)});
}

// ---------------------------------------------------------------- housekeeping

void ControlLoop::ForgetOldJobs() {
  std::vector<std::pair<int64_t, JobId>> ended;
  for (const auto& [id, entry] : jobs_) {
    if (entry.ended && !entry.stored->Owes()) ended.emplace_back(entry.ended->ended_ms, id);
  }
  if (ended.size() <= kMaxEndedJobs) return;
  std::sort(ended.begin(), ended.end());
  for (size_t i = 0; i + kMaxEndedJobs < ended.size(); ++i) {
    const JobId& id = ended[i].second;
    DeleteRecord(id);
    tokens_.erase(jobs_.at(id).record->submission_token());
    jobs_.erase(id);
    AnswerPolls(id, true);
    metrics_->ForgetJob(id);
    Feed(JobForgotten{id});
  }
}

void ControlLoop::DeleteRecord(const JobId& id) {
  const JobEntry& entry = jobs_.at(id);
  const auto remove = [this, id, stored = entry.stored] {
    io_.checkpoints->Post(StrandOf(id), [stored] {
      if (absl::Status s = stored->Delete(); !s.ok()) {
        log::Warn("the record of an ended job was not deleted",
                  {{"reason", std::string(s.message())}});
      }
    });
  };
  const proto::JobRecord& job = *entry.record;
  if (entry.ended->last_checkpoint_id == 0 || !HasUnguardedSinks(job.graph())) return remove();
  const std::string& lineage = job.graph().output_lineage();
  proto::LineageRecord published;
  published.set_format(kLineageRecordFormat);
  published.set_job_id(id.value);
  published.set_published(entry.ended->last_checkpoint_id);
  published.set_checkpoint_directory(job.checkpoint_directory());
  published.set_ended_ms(entry.ended->ended_ms);
  io_.own->Post(kLineageStrand,
                [this, lineage, remove, kept = past_lineages_.Add(lineage, published)] {
                  absl::Status stored = leadership_.MayAct();
                  if (stored.ok()) {
                    stored = StoreLineage(*leadership_.metadata, lineage, kept, leadership_.epoch);
                  }
                  if (stored.ok()) return remove();
                  // The next JobManager finds the job's record, and tries again.
                  log::Warn("how far an output lineage is published was not stored",
                            {{"lineage", lineage}, {"reason", std::string(stored.message())}});
                });
  const std::optional<std::string> surplus = past_lineages_.TakeSurplus();
  if (!surplus) return;
  log::Info("an output lineage is forgotten: there are more than are remembered",
            {{"lineage", *surplus}});
  io_.own->Post(kLineageStrand, [this, lineage = *surplus] {
    absl::Status deleted = leadership_.MayAct();
    if (deleted.ok()) {
      deleted = DeleteLineage(*leadership_.metadata, lineage, leadership_.epoch);
    }
    if (deleted.ok()) return;
    log::Warn("the record of an output lineage was not deleted",
              {{"lineage", lineage}, {"reason", std::string(deleted.message())}});
  });
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
