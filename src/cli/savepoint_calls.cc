#include "cli/savepoint_calls.h"

#include <filesystem>

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

absl::Status With(const absl::Status& status, const std::string& more) {
  return absl::Status(status.code(), absl::StrCat(status.message(), "; ", more));
}

}  // namespace

absl::StatusOr<SavepointCalls::Stopped> SavepointCalls::Stop(
    const proto::StopJobRequest& request) const {
  const std::string& id = request.job_id();
  const std::string see = absl::StrCat("`weir describe ", id, "` shows what came of it");
  for (;;) {
    const absl::StatusOr<proto::SavepointReply> reply = client.Stop(request);
    const bool lost = Lost(client, reply.status());
    if (!reply.ok() && !lost && !absl::IsFailedPrecondition(reply.status())) return reply.status();

    enum { kNothing, kRecorded, kAnother, kNone, kEnded } found = kNothing;
    bool joined = false;
    const auto look = [&](const proto::JobStatus& job) {
      joined |= job.has_stop() && !Ended(job);
      if (Ended(job)) {
        found = kEnded;
      } else if (job.has_stop()) {
        found = IsWhatIsAskedFor(job.stop(), request) ? kRecorded : kAnother;
      } else if (!lost || Runs(job)) {
        found = kNone;
      } else {
        found = kNothing;
      }
      return found == kEnded || (!reply.ok() && (found == kAnother || found == kNone));
    };
    const auto job =
        FollowJob(client, id, remark, look, reply.ok() ? std::nullopt : std::optional(patience));
    if (!job.ok()) {
      const std::string stop = absl::StrCat("the stop of job ", id);
      const std::string known =
          reply.ok()       ? absl::StrCat(stop, " is decided, with the savepoint ",
                                          reply->savepoint_path(), ", and goes on by itself")
          : lost && joined ? stop + " is recorded, and goes on by itself"
                           : absl::StrCat("whether ", stop,
                                          " was recorded is not known: if it was "
                                          "it goes on by itself, if not the job goes on");
      return With(job.status(), known + "; when a JobManager is there " + see);
    }
    if (found == kEnded) {
      if (reply.ok()) return Stopped{*reply, *job};
      if (job->stop().savepoint_path().empty()) {
        if (!lost && !joined) return reply.status();
        return absl::AbortedError(absl::StrCat("job ", id,
                                               " has ended without the savepoint of a stop: it is ",
                                               StateAndReason(*job)));
      }
      if (!IsWhatIsAskedFor(job->stop(), request)) return Another(*job);
      Stopped stopped{.end = *job};
      stopped.savepoint.set_savepoint_path(job->stop().savepoint_path());
      stopped.savepoint.set_checkpoint_id(job->stop().checkpoint_id());
      return stopped;
    }
    if (found == kAnother) return Another(*job);
    if (found == kRecorded || found == kNothing) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the stop of job ", id,
          found == kRecorded ? (lost ? " is recorded and goes on by itself" : " is under way")
                             : " was not recorded",
          ", but within ", FormatDuration(patience), " the job ",
          found == kRecorded ? "has not ended" : "did not run again", ": it is ",
          StateAndReason(*job), "; ",
          found == kRecorded ? see : "ask again when `weir list` shows it as RUNNING"));
    }
    if (!lost && !joined) return reply.status();
    remark(absl::StrCat(lost ? "The JobManager was lost before the stop was recorded"
                             : "The stop that was under way has failed",
                        ", and job ", id, " runs; asking for it again"));
  }
}

absl::StatusOr<proto::SavepointReply> SavepointCalls::Take(
    const proto::TriggerSavepointRequest& request) const {
  const std::string& id = request.job_id();
  for (;;) {
    absl::StatusOr<proto::SavepointReply> reply = client.Savepoint(request);
    if (!Lost(client, reply.status())) return reply;
    const auto settled = [](const proto::JobStatus& job) { return Ended(job) || Runs(job); };
    const auto job = FollowJob(client, id, nullptr, settled, patience);
    if (!job.ok()) {
      return With(job.status(), absl::StrCat("the savepoint of job ", id,
                                             " is lost unless it was complete; ask again when a "
                                             "JobManager is there"));
    }
    if (!settled(*job)) {
      return absl::DeadlineExceededError(
          absl::StrCat("the savepoint of job ", id, " was lost with the JobManager, and within ",
                       FormatDuration(patience), " the job did not run again: it is ",
                       StateAndReason(*job), "; ask again when `weir list` shows it as RUNNING"));
    }
    if (Ended(*job)) {
      return absl::AbortedError(absl::StrCat("the savepoint of job ", id,
                                             " was lost with the JobManager, and the job is ",
                                             StateAndReason(*job)));
    }
    remark(absl::StrCat("The JobManager was lost before the savepoint was complete; job ", id,
                        " runs; asking for another"));
  }
}

}  // namespace weir::cli
