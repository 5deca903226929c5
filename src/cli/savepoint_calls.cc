#include "cli/savepoint_calls.h"

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/follow_job.h"
#include "cli/output.h"
#include "cli/proto_json.h"

namespace weir::cli {
namespace {

std::string StateAndReason(const proto::JobStatus& job) {
  return absl::StrCat(ShortEnumName(proto::JobState_descriptor(), job.state()),
                      job.reason().empty() ? "" : ": ", job.reason());
}

bool Runs(const proto::JobStatus& job) {
  return job.state() == proto::JOB_STATE_RUNNING || job.state() == proto::JOB_STATE_FINISHING;
}

/// Whoever names no directory takes any.
bool IsWhatIsAskedFor(const proto::Stop& stop, const proto::StopJobRequest& request) {
  const auto place = [](const std::string& path) { return std::filesystem::path(path) / ""; };
  const std::string& directory = request.savepoint_directory();
  return stop.drain() == request.drain() &&
         (directory.empty() || place(directory) == place(stop.directory()));
}

absl::Status Another(const proto::JobStatus& job) {
  const proto::Stop& stop = job.stop();
  return absl::FailedPreconditionError(absl::StrCat(
      "job ", job.job_id(),
      Ended(job) ? " has been stopped already, " : " is being stopped already, ",
      stop.drain() ? "with" : "without", " --drain, ",
      Ended(job) ? absl::StrCat("with the savepoint ", stop.savepoint_path())
                 : absl::StrCat("with a savepoint in ", stop.directory(),
                                "; `weir stop` of the same waits for its end, `weir describe ",
                                job.job_id(), "` shows it")));
}

/// The call was lost with its JobManager, or has met one that has just come.
bool Lost(JobClient& client, const absl::Status& outcome) {
  return absl::IsUnavailable(outcome) ||
         (absl::IsFailedPrecondition(outcome) && client.TakeAbsence());
}

/// What each JobManager dies of is not asked of every one.
constexpr int kAskedAtMost = 3;

/// Whom a call is made to, and whether it is there no more when the call is lost. Only then is it
/// certain that what was asked for is not under way still.
class Leader {
 public:
  explicit Leader(JobClient& client) : client_(client), epoch_(Epoch()) {}
  /// Cut off from it, by whatever lies between, for instance.
  bool LeadsOn(const absl::Status& outcome) const {
    return absl::IsUnavailable(outcome) && epoch_ && epoch_ == Epoch();
  }

 private:
  std::optional<uint64_t> Epoch() const {
    const absl::StatusOr<proto::ClusterStatusReply> status = client_.Status();
    return status.ok() ? std::optional(status->leader_epoch()) : std::nullopt;
  }

  JobClient& client_;
  const std::optional<uint64_t> epoch_;
};

// A JobManager answers: not the code by which scripts know that none does, and ask again.
absl::Status CutOff(const absl::Status& outcome, const std::string& known) {
  return absl::AbortedError(absl::StrCat("the connection was lost, and not the JobManager (",
                                         outcome.message(), "): ", known));
}

absl::Status AskedOften(const absl::Status& outcome, const std::string& what) {
  return absl::AbortedError(absl::StrCat(what, " was asked for ", kAskedAtMost,
                                         " times, and came to nothing (", outcome.message(),
                                         "); if JobManagers die of it their log tells why: a file "
                                         "in log.dir, of `weir local` `weir logs jobmanager`"));
}

absl::Status With(const absl::Status& status, const std::string& more) {
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", more));
}

/// Of a job that has ended meanwhile, or had before. `outcome`: of the call, unless that was lost
/// or has joined another.
absl::StatusOr<SavepointCalls::Stopped> Found(const proto::JobStatus& job,
                                              const proto::StopJobRequest& request,
                                              const absl::Status& outcome) {
  if (job.stop().savepoint_path().empty()) {
    if (!outcome.ok()) return outcome;
    return absl::AbortedError(absl::StrCat("job ", job.job_id(),
                                           " has ended without the savepoint of a stop: it is ",
                                           StateAndReason(job)));
  }
  if (!IsWhatIsAskedFor(job.stop(), request)) return Another(job);
  SavepointCalls::Stopped stopped{.end = job};
  stopped.savepoint.set_savepoint_path(job.stop().savepoint_path());
  stopped.savepoint.set_checkpoint_id(job.stop().checkpoint_id());
  return stopped;
}

}  // namespace

absl::StatusOr<SavepointCalls::Stopped> SavepointCalls::Stop(
    const proto::StopJobRequest& request) const {
  const std::string& id = request.job_id();
  const std::string what = absl::StrCat("the stop of job ", id);
  const std::string see = absl::StrCat("`weir describe ", id, "` shows what came of it");
  for (int asked = 1;; ++asked) {
    const Leader leader(client);
    const absl::StatusOr<proto::SavepointReply> reply = client.Stop(request);
    if (reply.ok()) {
      const auto end = FollowJob(client, id, remark, Ended);
      if (end.ok()) return Stopped{*reply, *end};
      return With(end.status(),
                  absl::StrCat(what, " is decided, with the savepoint ", reply->savepoint_path(),
                               ", and goes on by itself; when a JobManager is there ", see));
    }
    const bool lost = Lost(client, reply.status());
    if (!lost && !absl::IsFailedPrecondition(reply.status())) return reply.status();

    enum { kNothing, kRecorded, kAnother, kNone, kEnded } found = kNothing;
    bool joined = false;
    const auto look = [&](const proto::JobStatus& job) {
      joined |= job.has_stop() && !Ended(job);
      if (Ended(job)) {
        found = kEnded;
      } else if (job.has_stop()) {
        found = IsWhatIsAskedFor(job.stop(), request) ? kRecorded : kAnother;
      } else if ((!lost && !joined) || Runs(job)) {
        found = kNone;
      } else {
        found = kNothing;
      }
      return found;
    };
    // A stop that is found takes as long as it takes.
    const auto known = [&](const proto::JobStatus& job) { return look(job) != kNothing; };
    const auto over = [&](const proto::JobStatus& job) { return look(job) != kRecorded; };
    absl::StatusOr<proto::JobStatus> job;
    do {
      job = FollowJob(client, id, remark, known, patience);
      if (!job.ok() || found != kRecorded) break;
      remark(absl::StrCat("The stop of job ", id, " is under way (", StateAndReason(*job),
                          "); waiting for its end"));
      job = FollowJob(client, id, remark, over);
    } while (job.ok() && found == kNothing);
    if (!job.ok()) {
      return With(job.status(),
                  absl::StrCat(what,
                               " may be recorded: if so it goes on by itself, if not the job "
                               "goes on; when a JobManager is there ",
                               see));
    }
    if (found == kEnded) {
      return Found(*job, request, lost || joined ? absl::OkStatus() : reply.status());
    }
    if (found == kAnother) return Another(*job);
    if (found == kNothing) {
      return absl::DeadlineExceededError(
          absl::StrCat("no stop of job ", id, " is under way, but within ",
                       FormatDuration(patience), " the job did not run again: it is ",
                       StateAndReason(*job), "; ask again when `weir list` shows it as RUNNING"));
    }
    if (!lost && !joined) return reply.status();
    if (leader.LeadsOn(reply.status())) {
      return CutOff(
          reply.status(),
          joined ? absl::StrCat("the stop of job ", id, " that was under way has failed")
                 : absl::StrCat("no stop of job ", id, " has begun; one may begin yet: ", see));
    }
    if (asked == kAskedAtMost) return AskedOften(reply.status(), what);
    remark(absl::StrCat(joined ? "The stop that was under way has failed"
                        : absl::IsUnavailable(reply.status())
                            ? "The JobManager was lost before the stop was recorded"
                            : "The JobManager has just come, and refused the stop at first",
                        ", and job ", id, " runs; asking for it again"));
  }
}

absl::StatusOr<proto::SavepointReply> SavepointCalls::Take(
    const proto::TriggerSavepointRequest& request) const {
  const std::string& id = request.job_id();
  const std::string what = absl::StrCat("the savepoint of job ", id);
  for (int asked = 1;; ++asked) {
    const Leader leader(client);
    absl::StatusOr<proto::SavepointReply> reply = client.Savepoint(request);
    if (!Lost(client, reply.status())) return reply;
    bool cut_off = false;
    const auto settled = [&](const proto::JobStatus& job) {
      cut_off = leader.LeadsOn(reply.status());
      return cut_off || Ended(job) || Runs(job);
    };
    const auto job = FollowJob(client, id, nullptr, settled, patience);
    if (!job.ok()) {
      return With(job.status(), absl::StrCat(what,
                                             " is lost unless it was complete; ask again "
                                             "when a JobManager is there"));
    }
    if (cut_off) {
      return CutOff(reply.status(), absl::StrCat(what, " may still be under way; `weir describe ",
                                                 id, "` shows it among the checkpoints"));
    }
    if (Ended(*job)) {
      return absl::AbortedError(absl::StrCat(what, " was lost with the JobManager, and the job is ",
                                             StateAndReason(*job)));
    }
    if (!Runs(*job)) {
      return absl::DeadlineExceededError(
          absl::StrCat(what, " was lost with the JobManager, and within ", FormatDuration(patience),
                       " the job did not run again: it is ", StateAndReason(*job),
                       "; ask again when `weir list` shows it as RUNNING"));
    }
    if (asked == kAskedAtMost) return AskedOften(reply.status(), what);
    remark(absl::StrCat("The JobManager was lost before the savepoint was complete; job ", id,
                        " runs; asking for another"));
  }
}

}  // namespace weir::cli
