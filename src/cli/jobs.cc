#include "cli/jobs.h"

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "cli/follow_job.h"
#include "cli/job_client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/savepoint_calls.h"
#include "cli/storage_wait.h"
#include "runtime/graph/operator_name.h"

namespace weir::cli {
namespace {

/// Of one that is under way: so far.
int64_t Took(const proto::CheckpointDetails& checkpoint) {
  const bool under_way = checkpoint.status() == proto::CHECKPOINT_STATUS_RUNNING ||
                         checkpoint.status() == proto::CHECKPOINT_STATUS_COMMITTING;
  if (!under_way) return static_cast<int64_t>(checkpoint.duration_ms());
  return std::max<int64_t>(0, Clock::System().Now().ms - checkpoint.triggered_ms());
}

using Align = Table::Align;
using std::chrono::milliseconds;

// Of `describe`, before what they are labels of.
constexpr size_t kLabelColumns = 13;
// Of a list's remark; `weir describe` has the whole text.
constexpr size_t kRemarkColumns = 80;

std::string StateOf(const proto::JobStatus& job) {
  return ShortEnumName(proto::JobState_descriptor(), job.state());
}

std::string RunTime(const proto::JobStatus& job) {
  const int64_t end = job.ended_ms() != 0 ? job.ended_ms() : Clock::System().Now().ms;
  return FormatDuration(milliseconds(end - job.created_ms()));
}

std::string Plural(uint64_t n, const char* what) {
  return absl::StrCat(n, " ", what, n == 1 ? "" : "s");
}

/// Where the job is more than one slot-sharing group or region: which vertices go together.
void PrintGroups(std::ostream& out, const proto::JobDetails& job) {
  std::set<std::string> groups;
  std::set<uint32_t> regions;
  for (const proto::VertexDetails& vertex : job.vertices()) {
    groups.insert(vertex.slot_sharing_group());
    regions.insert(vertex.region());
  }
  if (groups.size() < 2 && regions.size() < 2) return;
  Table table({{"VERTEX"}, {"SLOT GROUP"}, {"REGION", Align::kRight}, {"ATTEMPT", Align::kRight}});
  for (const proto::VertexDetails& vertex : job.vertices()) {
    const uint32_t attempt = vertex.subtasks().empty() ? 0 : vertex.subtasks(0).attempt();
    table.Add({vertex.name(), vertex.slot_sharing_group(), absl::StrCat(vertex.region()),
               attempt == 0 ? "-" : absl::StrCat(attempt)});
  }
  out << '\n';
  table.Print(out);
}

void PrintVertices(std::ostream& out, const proto::JobDetails& job) {
  Table table({{"VERTEX"},
               {"PARALLELISM", Align::kRight},
               {"RECORDS IN", Align::kRight},
               {"RECORDS OUT", Align::kRight},
               {"BUSY", Align::kRight},
               {"BACK-PRESSURED", Align::kRight},
               {"IDLE", Align::kRight},
               {"STATE IN MEMORY", Align::kRight},
               {"STATES"}});
  for (const proto::VertexDetails& vertex : job.vertices()) {
    uint64_t in = 0, sent = 0, busy = 0, pressed = 0, idle = 0, waiting = 0;
    uint64_t state = 0;
    std::map<std::string, int> states;
    for (const proto::SubtaskDetails& subtask : vertex.subtasks()) {
      const proto::SubtaskMetrics& m = subtask.metrics();
      in += m.records_in();
      sent += m.records_out();
      busy += m.busy_us();
      pressed += m.back_pressured_us();
      idle += m.idle_us();
      waiting += m.waiting_for_slot_us();
      state += m.state_memory_bytes();
      if (subtask.state() != proto::TASK_STATE_UNSPECIFIED) {
        ++states[ShortEnumName(proto::TaskState_descriptor(), subtask.state())];
      }
    }
    const uint64_t all = busy + pressed + idle + waiting;
    auto share = [all](uint64_t part) {
      return all == 0 ? std::string("-") : absl::StrCat((part * 100 + all / 2) / all, "%");
    };
    std::vector<std::string> words;
    for (const auto& [state, count] : states) words.push_back(absl::StrCat(count, " ", state));
    table.Add({vertex.name(), absl::StrCat(vertex.parallelism()),
               FormatCount(static_cast<double>(in)), FormatCount(static_cast<double>(sent)),
               share(busy), share(pressed), share(idle), state == 0 ? "-" : FormatBytes(state),
               absl::StrJoin(words, ", ")});
  }
  table.Print(out);
}

void PrintRates(std::ostream& out, const proto::JobDetails& job) {
  for (const proto::VertexDetails& vertex : job.vertices()) {
    if (!vertex.has_rate_per_second()) continue;
    out << "\nSource " << ShownInLine(vertex.uid()) << " reads at most " << vertex.rate_per_second()
        << " records per second\n";
  }
}

void PrintCheckpoints(std::ostream& out, const proto::JobDetails& job) {
  constexpr int kShown = 5;
  Table table({{"CHECKPOINT", Align::kRight},
               {"KIND"},
               {"STATUS"},
               {"TRIGGERED"},
               {"TOOK", Align::kRight},
               {"WRITTEN", Align::kRight},
               {"STATE", Align::kRight},
               {"IN FLIGHT", Align::kRight},
               {"REMARK"}});
  for (int i = 0; i < std::min(kShown, job.checkpoints_size()); ++i) {
    const proto::CheckpointDetails& c = job.checkpoints(i);
    table.Add({absl::StrCat(c.id()), ShortEnumName(proto::CheckpointKind_descriptor(), c.kind()),
               ShortEnumName(proto::CheckpointStatus_descriptor(), c.status()),
               FormatTime(c.triggered_ms()), FormatDuration(milliseconds(Took(c))),
               FormatBytes(c.state_bytes()), FormatBytes(c.full_state_bytes()),
               c.unaligned() ? FormatBytes(c.in_flight_bytes()) : "aligned",
               OneLine(c.failure(), kRemarkColumns)});
  }
  if (!table.empty()) {
    out << '\n';
    table.Print(out);
  }
}

/// Subtasks that do not come back from a record, a timer or a call.
void PrintStuck(std::ostream& out, const proto::JobDetails& job) {
  for (const proto::VertexDetails& vertex : job.vertices()) {
    for (const proto::SubtaskDetails& subtask : vertex.subtasks()) {
      const proto::SubtaskMetrics& m = subtask.metrics();
      if (m.stuck_ms() == 0) continue;
      out << "\nStuck: subtask " << subtask.index() << " of '" << ShownInLine(vertex.name())
          << "' on " << ShownInLine(subtask.tm_id()) << " has not returned for "
          << FormatDuration(milliseconds(m.stuck_ms())) << ", in '"
          << ShownInLine(m.stuck_operator()) << "'\n";
    }
  }
}

void PrintFailures(std::ostream& out, const proto::JobDetails& job) {
  constexpr int kShown = 3;
  for (int i = 0; i < std::min(kShown, job.failures_size()); ++i) {
    const proto::FailureDetails& f = job.failures(i);
    out << (i == 0 ? "\nFailures, newest first:\n" : "") << "  " << FormatTime(f.at_ms())
        << "  attempt " << f.attempt();
    if (!f.tm_id().empty()) out << " on " << ShownInLine(f.tm_id());
    if (!f.failure().operator_name().empty()) {
      out << ", "
          << ShownInLine(NameWithUid(f.failure().operator_name(), f.failure().operator_uid()));
    }
    out << ": " << ShownBehind(4, f.failure().message()) << '\n';
  }
}

/// Paths are this process's own; the JobManager runs in another directory.
std::string Absolute(const std::string& path) {
  return path.empty() ? "" : std::filesystem::absolute(path).lexically_normal().string();
}

using Which = JobClient::Which;

/// Runs `call` on the job that `text` means.
template <class Call>
ExitCode WithJob(const Context& context, const std::string& text, Which which, Call call) {
  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  auto id = client.Resolve(text, which);
  if (!id.ok()) return context.Fail(id.status());
  return call(client, *id);
}

void PrintSavepoint(const Context& context, const std::string& job,
                    const proto::SavepointReply& reply, const char* sentence) {
  if (context.json) {
    Json json = ToJson(reply);
    json["job_id"] = job;
    context.Print(json);
  } else {
    *context.out << sentence << ' ' << reply.savepoint_path() << '\n';
  }
}

/// Of a job that is being stopped, or was.
void PrintStop(std::ostream& out, const proto::Stop& stop) {
  const char* kind = stop.drain() ? "stop --drain" : "stop";
  if (stop.savepoint_path().empty()) {
    out << "Stopping     by `weir " << kind << "`, with a savepoint in " << stop.directory()
        << '\n';
    return;
  }
  out << "Savepoint    " << stop.savepoint_path() << '\n'
      << "             of `weir " << kind << "`; go on with `weir run LIB --from-savepoint "
      << stop.savepoint_path() << "`\n";
}

/// Of a job that has ended and was not stopped: how to go on once what ended it is mended. What has
/// become of its checkpoints since nobody here knows.
void PrintGoOn(std::ostream& out, const proto::JobDetails& job) {
  const proto::JobState state = job.status().state();
  const bool retained =
      state == proto::JOB_STATE_FAILED ||
      (state == proto::JOB_STATE_CANCELED &&
       job.settings().checkpoint().retention() != proto::CHECKPOINT_RETENTION_DELETE_ON_CANCEL);
  if (!retained || job.status().has_stop()) return;
  // What a JobManager had counted when it was killed its successor may not know.
  const bool own = job.checkpoints_completed() != 0 || job.status().last_checkpoint_id() != 0;
  const std::string& from = own ? job.checkpoint_directory() : job.began_from();
  if (from.empty()) return;
  out << "Go on        from "
      << (own ? "its newest checkpoint, unless disposed of or claimed,"
              : "where it began, as it has no checkpoint of its own,")
      << "\n             with `weir run LIB --from-savepoint " << from << "`\n";
}

}  // namespace

ExitCode ListJobs(const Context& context, bool running_only) {
  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  auto reply = client.List(running_only);
  if (!reply.ok()) return context.Fail(reply.status());
  if (context.json) {
    context.Print(ToJson(*reply)["jobs"]);
    return kDone;
  }
  if (reply->jobs().empty()) {
    *context.out << "No jobs. Submit one with `weir run libjob.so`.\n";
    return kDone;
  }
  Table table({{"JOB"},
               {"NAME"},
               {"STATE"},
               {"SUBTASKS", Align::kRight},
               {"SUBMITTED"},
               {"RUN TIME", Align::kRight},
               {"RESTARTS", Align::kRight},
               {"CHECKPOINT", Align::kRight},
               {"REMARK"}});
  for (const proto::JobStatus& job : reply->jobs()) {
    table.Add(
        {job.job_id(), job.name(), StateOf(job),
         absl::StrCat(job.subtasks_running() + job.subtasks_at_end(), "/", job.subtasks_total()),
         FormatTime(job.created_ms()), RunTime(job), absl::StrCat(job.restarts()),
         job.last_checkpoint_id() == 0 ? "-" : absl::StrCat(job.last_checkpoint_id()),
         OneLine(job.storage_wait_ms() == 0 ? job.reason() : StorageWait(job), kRemarkColumns)});
  }
  table.Print(*context.out);
  return kDone;
}

ExitCode DescribeJob(const Context& context, const std::string& job) {
  return WithJob(context, job, Which::kAny, [&](JobClient& client, const std::string& id) {
    auto details = client.Describe(id);
    if (!details.ok()) return context.Fail(details.status());
    if (context.json) {
      context.Print(ToJson(*details));
      return kDone;
    }
    std::ostream& out = *context.out;
    const proto::JobStatus& status = details->status();
    out << "Job          " << status.job_id() << "  " << ShownInLine(status.name()) << '\n'
        << "State        " << StateOf(status)
        << (status.reason().empty() ? "" : ": " + ShownBehind(kLabelColumns, status.reason()))
        << '\n'
        << "Submitted    " << FormatTime(status.created_ms()) << ", " << RunTime(status)
        << (status.ended_ms() == 0 ? " ago" : " until it ended") << '\n'
        << "Attempt      " << status.attempt() << ", " << Plural(status.restarts(), "restart")
        << '\n'
        << "Subtasks     " << status.subtasks_running() << " running, " << status.subtasks_at_end()
        << " at end of data, " << status.subtasks_total() << " in all\n"
        << "Checkpoints  " << details->checkpoints_completed() << " completed, "
        << details->checkpoints_failed() << " failed, in " << details->checkpoint_directory()
        << '\n';
    if (status.storage_wait_ms() != 0) {
      out << "             " << StorageWait(status) << '\n';
    }
    if (details->slots() > 0) out << "Slots        " << details->slots() << '\n';
    out << "Keyed state  "
        << (details->settings().state_backend() == proto::STATE_BACKEND_MEMORY ? "memory"
                                                                               : "RocksDB")
        << " backend\n";
    if (status.has_stop()) PrintStop(out, status.stop());
    PrintGoOn(out, *details);
    if (!details->began_from().empty()) out << "Began from   " << details->began_from() << '\n';
    // Before its first checkpoint that is where it began.
    if (!details->restored_from().empty() && details->restored_from() != details->began_from()) {
      out << "Restored     " << details->restored_from() << '\n';
    }
    if (!details->arguments().empty()) {
      out << "Arguments    " << ShownInLine(absl::StrJoin(details->arguments(), " ")) << '\n';
    }
    out << '\n';
    PrintVertices(out, *details);
    PrintGroups(out, *details);
    PrintRates(out, *details);
    PrintStuck(out, *details);
    PrintCheckpoints(out, *details);
    PrintFailures(out, *details);
    return kDone;
  });
}

ExitCode ShowStatus(const Context& context) {
  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  auto status = client.Status();
  if (!status.ok()) return context.Fail(status.status());
  if (context.json) {
    context.Print(ToJson(*status));
    return kDone;
  }
  std::ostream& out = *context.out;
  out << "Cluster " << status->cluster_id() << " at " << client.address() << ", leader epoch "
      << status->leader_epoch() << ", up since " << FormatTime(status->started_ms()) << '\n'
      << Plural(status->jobs_running(), "job") << " running, " << status->jobs_total()
      << " in all; " << status->slots_free() << " of " << Plural(status->slots_total(), "slot")
      << " free";
  if (status->slots_wanted() > 0) out << "; jobs wait for " << status->slots_wanted() << " more";
  out << '\n';
  if (status->metrics_port() != 0) {
    const std::string host = client.address().substr(0, client.address().rfind(':'));
    out << "Metrics at http://" << host << ':' << status->metrics_port() << "/metrics\n";
  }
  out << '\n';
  if (status->task_managers().empty()) {
    out << "No TaskManagers. Start one with `weir taskmanager --jobmanager " << client.address()
        << "`.\n";
    return kDone;
  }
  Table table({{"TASKMANAGER"},
               {"HOST"},
               {"PID", Align::kRight},
               {"SLOTS FREE", Align::kRight},
               {"MEMORY", Align::kRight},
               {"CPU", Align::kRight},
               {"HEARD", Align::kRight},
               {"METRICS", Align::kRight},
               {"JOBS"}});
  for (const proto::TaskManagerDetails& tm : status->task_managers()) {
    const std::vector<std::string> jobs(tm.job_ids().begin(), tm.job_ids().end());
    char cpu[32];
    std::snprintf(cpu, sizeof cpu, "%.1f/%.0f", tm.cpu_usage(), tm.cpu_cores());
    table.Add({tm.tm_id(), tm.host(), absl::StrCat(tm.pid()),
               absl::StrCat(tm.free_slots(), "/", tm.slots()),
               absl::StrCat(FormatBytes(tm.rss_bytes()), " / ", FormatBytes(tm.memory_bytes())),
               cpu, absl::StrCat(FormatDuration(milliseconds(tm.last_heartbeat_age_ms())), " ago"),
               tm.metrics_port() == 0 ? "-" : absl::StrCat(tm.metrics_port()),
               tm.recycling() ? "(starting afresh)" : absl::StrJoin(jobs, ", ")});
  }
  table.Print(out);
  return kDone;
}

ExitCode CancelJob(const Context& context, const std::string& job) {
  return WithJob(context, job, Which::kRunning, [&](JobClient& client, const std::string& id) {
    const absl::Status accepted = client.Cancel(id);
    if (!accepted.ok()) return context.Fail(accepted);
    absl::StatusOr<proto::JobStatus> end;
    {
      Progress progress(context, "cancelling job " + id);
      const auto remark = [&](const std::string& line) { progress.Remark(line); };
      client.OnSilence(remark);
      end = FollowJob(client, id, remark, Ended);
    }
    if (!end.ok()) {
      return context.Fail(absl::Status(
          end.status().code(),
          absl::StrCat(end.status().message(), "; the cancellation of job ", id,
                       " is recorded and goes on by itself: `weir list` shows its end")));
    }
    if (context.json) {
      context.Print(ToJson(*end));
    } else {
      *context.out << "Job " << id << " is " << StateOf(*end) << ".\n";
    }
    return kDone;
  });
}

ExitCode TakeSavepoint(const Context& context, const std::string& job,
                       const std::string& directory) {
  return WithJob(context, job, Which::kRunning, [&](JobClient& client, const std::string& id) {
    proto::TriggerSavepointRequest request;
    request.set_job_id(id);
    request.set_savepoint_directory(Absolute(directory));
    absl::StatusOr<proto::SavepointReply> reply;
    {
      Progress progress(context, "taking a savepoint of job " + id);
      const auto remark = [&](const std::string& line) { progress.Remark(line); };
      client.OnSilence(remark);
      reply = SavepointCalls{client, remark}.Take(request);
    }
    if (!reply.ok()) return context.Fail(reply.status());
    PrintSavepoint(context, id, *reply, "Savepoint:");
    return kDone;
  });
}

ExitCode StopJob(const Context& context, const std::string& job, const std::string& directory,
                 bool drain) {
  return WithJob(context, job, Which::kRunning, [&](JobClient& client, const std::string& id) {
    proto::StopJobRequest request;
    request.set_job_id(id);
    request.set_savepoint_directory(Absolute(directory));
    request.set_drain(drain);
    absl::StatusOr<SavepointCalls::Stopped> stopped;
    {
      Progress progress(context, "stopping job " + id + " with a savepoint");
      const auto remark = [&](const std::string& line) { progress.Remark(line); };
      client.OnSilence(remark);
      stopped = SavepointCalls{client, remark}.Stop(request);
    }
    if (!stopped.ok()) return context.Fail(stopped.status());
    PrintSavepoint(
        context, id, stopped->savepoint,
        drain ? "Drained and stopped; what follows the end of its data is no part of it. Savepoint:"
              : "Stopped. Go on with `weir run --from-savepoint`");
    const proto::JobStatus& end = stopped->end;
    if (end.state() == proto::JOB_STATE_FINISHED) return kDone;
    return context.Fail(absl::AbortedError(
        absl::StrCat("the savepoint is complete, but the job did not finish: it is ", StateOf(end),
                     end.reason().empty() ? "" : ": ",
                     context.json ? end.reason() : ShownBehind(2, end.reason()))));
  });
}

ExitCode SetSourceRate(const Context& context, const std::string& job, const std::string& source,
                       const std::string& rate) {
  proto::SetSourceRateRequest request;
  request.set_source_uid(source);
  double per_second = 0;
  if (rate != "unlimited") {
    if (!absl::SimpleAtod(rate, &per_second)) {
      return context.Fail(absl::InvalidArgumentError(absl::StrCat(
          "'", rate, "' is no rate; give records per second, 0 to pause, or 'unlimited'")));
    }
    request.set_records_per_second(per_second);
  }
  return WithJob(context, job, Which::kRunning, [&](JobClient& client, const std::string& id) {
    request.set_job_id(id);
    const absl::Status set = client.SetSourceRate(request);
    if (!set.ok()) return context.Fail(set);
    if (context.json) {
      Json json{{"job_id", id}, {"source_uid", source}};
      if (request.has_records_per_second()) json["records_per_second"] = per_second;
      context.Print(json);
    } else if (request.has_records_per_second()) {
      *context.out << "Source " << source << " of job " << id << " reads at most " << per_second
                   << " records per second.\n";
    } else {
      *context.out << "Source " << source << " of job " << id << " reads without a limit.\n";
    }
    return kDone;
  });
}

ExitCode DisposeSavepoint(const Context& context, const std::string& path) {
  const auto address = context.Address();
  if (!address.ok()) return context.Fail(address.status());
  JobClient client(*address);
  absl::Status status;
  {
    Progress progress(context, "disposing of " + path);
    client.OnSilence([&](const std::string& line) { progress.Remark(line); });
    status = client.Dispose(Absolute(path));
  }
  if (!status.ok()) return context.Fail(status);
  if (context.json) {
    context.Print({{"disposed", path}});
  } else {
    *context.out << "Disposed of " << path << '\n';
  }
  return kDone;
}

}  // namespace weir::cli
