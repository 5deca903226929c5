#include "cli/job_client.h"

#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"
#include "cli/channel.h"
#include "cli/output.h"
#include "cli/ports.h"
#include "cli/proto_json.h"
#include "cli/silence_watch.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kQuickDeadline{200};
constexpr milliseconds kAnswerDeadline{1'000};
constexpr milliseconds kCallDeadline{10'000};
// A savepoint writes all state: its own time-out at the JobManager ends it, not ours, unless the
// JobManager is silent for SilenceWatch::Options::limit.
constexpr milliseconds kSavepointDeadline{24 * 3600 * 1000};
constexpr milliseconds kSubmitDeadline{300'000};
// A JobManager that is starting, or whose leadership moves, is back within this.
constexpr milliseconds kUnavailablePatience{1500};
// One that is there and says nothing may be short of CPU time.
constexpr milliseconds kSilentPatience{5000};
constexpr milliseconds kRetryPause{100};
constexpr size_t kChunkBytes = 256 << 10;
// From the last byte on. What is looked at is a few small files.
constexpr milliseconds kSubmissionPatience{60'000};
constexpr milliseconds kSignalPoll{50};
// A shorter word that looks like the beginning of an id is rather a name, mistyped.
constexpr size_t kLeastIdDigits = 6;

void SetDeadline(grpc::ClientContext& context, milliseconds deadline) {
  context.set_deadline(std::chrono::system_clock::now() + deadline);
}

/// Ends a submission that its user gives up, or that the JobManager does not answer.
class SubmissionWatch {
 public:
  SubmissionWatch(grpc::ClientContext& context, const std::function<bool()>& give_up)
      : context_(context), give_up_(give_up), thread_([this] { Run(); }) {}
  ~SubmissionWatch() { End(); }

  void AllIsSent() {
    std::lock_guard lock(mutex_);
    sent_ = steady_clock::now();
  }
  /// The call's, or why it was ended before.
  absl::Status Outcome(absl::Status status) {
    End();
    // Not by us: by a server that shuts down.
    if (why_.ok() && absl::IsCancelled(status)) return absl::UnavailableError(status.message());
    if (status.ok() || why_.ok()) return status;
    return why_;
  }

 private:
  void End() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void Run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kSignalPoll, [this] { return over_; })) {
      if (give_up_()) {
        why_ = absl::CancelledError("the submission was given up");
      } else if (sent_ && steady_clock::now() - *sent_ > kSubmissionPatience) {
        why_ = absl::DeadlineExceededError("the submission was not answered");
      } else {
        continue;
      }
      context_.TryCancel();
      return;
    }
  }

  grpc::ClientContext& context_;
  const std::function<bool()>& give_up_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;                             // guarded by mutex_
  std::optional<steady_clock::time_point> sent_;  // guarded by mutex_
  absl::Status why_;                              // the thread's, then whoever joined it
  std::thread thread_;
};

bool Ended(proto::JobState state) {
  return state == proto::JOB_STATE_FINISHED || state == proto::JOB_STATE_CANCELED ||
         state == proto::JOB_STATE_FAILED;
}

}  // namespace

JobClient::JobClient(std::string address)
    : address_(std::move(address)),
      channel_(Connect(address_)),
      stub_(proto::JobService::NewStub(channel_)) {}

absl::Status JobClient::Explain(const absl::Status& status, steady_clock::time_point began) {
  // It says itself that it does not serve: it does not lead yet, or no more.
  const bool answers = channel_->GetState(false) == GRPC_CHANNEL_READY;
  if (absl::IsUnavailable(status) && answers) {
    return absl::UnavailableError(
        absl::StrCat("the JobManager at ", address_,
                     " answers, but does not serve: ", std::string(status.message()),
                     "\nTry again, or name another with --jobmanager HOST:PORT."));
  }
  const auto waited = std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
  // What was asked for waits behind something else, a store that is slow or hangs; or the line is.
  if (absl::IsDeadlineExceeded(status) && Answers()) {
    return absl::DeadlineExceededError(
        absl::StrCat("the JobManager at ", address_, " answers, but has not done this within ",
                     FormatDuration(waited), " (", std::string(status.message()),
                     "); it may do it yet: look with `weir describe` or `weir list`. Whether its "
                     "storage is slow or fails stands in its log: a file in log.dir, of `weir "
                     "local` `weir logs jobmanager`."));
  }
  // To start a cluster is no way out where one hangs: its address is taken. Nothing is there to be
  // looked at where the name leads nowhere.
  const bool named = !absl::StrContains(status.message(), "DNS resolution failed");
  if ((absl::IsDeadlineExceeded(status) || (absl::IsUnavailable(status) && named)) &&
      Listens(address_, kQuickDeadline)) {
    return absl::Status(
        status.code(),
        absl::StrCat("something listens at ", address_,
                     ", but no JobManager has answered there for ", FormatDuration(waited), " (",
                     std::string(status.message()),
                     ").\nLook at the end of the JobManager's log, a file in log.dir, or of `weir "
                     "local` in logs/ below local.dir; a process that was stopped goes on by `kill "
                     "-CONT PID`, one that hangs can be killed and started again: jobs go on from "
                     "their last checkpoint. If it is another program, name the JobManager with "
                     "--jobmanager HOST:PORT."));
  }
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
    return absl::UnavailableError(absl::StrCat("no JobManager answers at ", address_, " (",
                                               std::string(status.message()),
                                               ").\nStart a cluster here with `weir local`, or "
                                               "name another with --jobmanager HOST:PORT."));
  }
  if (absl::IsUnimplemented(status)) {
    return absl::UnimplementedError(absl::StrCat("what listens at ", address_,
                                                 " is no JobManager of this version (",
                                                 std::string(status.message()), ")"));
  }
  return status;
}

// A standby and a process that is going away do not count as answers: neither will end the call.
bool JobClient::Answers() {
  grpc::ClientContext context;
  SetDeadline(context, kAnswerDeadline);
  proto::ClusterStatusReply reply;
  const absl::Status status =
      ToStatus(stub_->ClusterStatus(&context, proto::ClusterStatusRequest(), &reply));
  return !absl::IsDeadlineExceeded(status) && !absl::IsUnavailable(status);
}

template <class Reply, class Request, class Method>
absl::StatusOr<Reply> JobClient::Call(Method method, const Request& request, milliseconds deadline,
                                      WhenLost when_lost) {
  const auto began = steady_clock::now();
  milliseconds patience = kUnavailablePatience;
  for (;;) {
    grpc::ClientContext context;
    SetDeadline(context, deadline);
    Reply reply;
    std::atomic<bool> silent{false};
    absl::Status status;
    {
      std::optional<SilenceWatch> watch;
      if (deadline >= kSavepointDeadline) {
        watch.emplace(silence_,
                      SilenceWatch::Events{.answers = [this] { return Answers(); },
                                           .tell = [this](auto since) { TellSilence(since); },
                                           .give_up =
                                               [&] {
                                                 silent = true;
                                                 context.TryCancel();
                                               }});
      }
      status = ToStatus((stub_.get()->*method)(&context, request, &reply));
    }
    if (status.ok()) return reply;
    if (silent) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the JobManager at ", address_, " has not answered for ", silence_.limit.count() / 1000,
          " s; whether what was asked for is done is not known: look with `weir describe` once it "
          "answers again"));
    }
    // By the server: what comes to one that shuts down, and what that does not end in time.
    if (absl::IsCancelled(status)) status = absl::UnavailableError(status.message());
    if (!absl::IsUnavailable(status)) return Explain(status, began);
    if (when_lost == WhenLost::kTell) return status;
    absent_ = true;
    if (steady_clock::now() + kRetryPause > began + patience) {
      if (patience == kUnavailablePatience && channel_->GetState(false) != GRPC_CHANNEL_READY &&
          Listens(address_, kQuickDeadline)) {
        patience = kSilentPatience;
      } else {
        return Explain(status, began);
      }
    }
    // A channel reconnects only while somebody waits for it; one that is connected (to a
    // JobManager that does not lead yet) is asked again after the pause, too.
    const auto next = std::chrono::system_clock::now() + kRetryPause;
    if (channel_->WaitForConnected(next)) std::this_thread::sleep_until(next);
  }
}

absl::Status JobClient::AwaitAnswer() {
  std::promise<bool> outcome;
  std::atomic<bool> settled{false};
  const auto settle = [&](bool answers) {
    if (!settled.exchange(true)) outcome.set_value(answers);
    return answers;
  };
  SilenceWatch::Options options = silence_;
  options.interval = kRetryPause;
  const SilenceWatch watch(
      options, SilenceWatch::Events{.answers = [&] { return Answers() && settle(true); },
                                    .tell = [this](auto since) { TellSilence(since); },
                                    .give_up = [&] { settle(false); }});
  if (outcome.get_future().get()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no JobManager has answered at ", address_, " for ",
                                             silence_.limit.count() / 1000, " s"));
}

void JobClient::TellSilence(std::optional<milliseconds> silent) {
  if (!tell_) return;
  tell_(silent ? absl::StrCat("The JobManager at ", address_, " has not answered for ",
                              silent->count() / 1000, " s; waiting for it, ",
                              silence_.limit.count() / 1000, " s at most")
               : absl::StrCat("The JobManager at ", address_, " answers again"));
}

absl::StatusOr<proto::ListJobsReply> JobClient::List(bool running_only) {
  proto::ListJobsRequest request;
  request.set_running_only(running_only);
  return Call<proto::ListJobsReply>(&proto::JobService::Stub::ListJobs, request, kCallDeadline);
}

absl::StatusOr<proto::JobDetails> JobClient::Describe(const std::string& job_id) {
  proto::DescribeJobRequest request;
  request.set_job_id(job_id);
  return Call<proto::JobDetails>(&proto::JobService::Stub::DescribeJob, request, kCallDeadline);
}

absl::StatusOr<proto::ClusterStatusReply> JobClient::Status() {
  return Call<proto::ClusterStatusReply>(&proto::JobService::Stub::ClusterStatus,
                                         proto::ClusterStatusRequest(), kCallDeadline);
}

absl::StatusOr<proto::ClusterStatusReply> JobClient::StatusNow() {
  grpc::ClientContext context;
  SetDeadline(context, kQuickDeadline);
  proto::ClusterStatusReply reply;
  const absl::Status status =
      ToStatus(stub_->ClusterStatus(&context, proto::ClusterStatusRequest(), &reply));
  if (!status.ok()) return status;
  return reply;
}

absl::Status JobClient::Cancel(const std::string& job_id) {
  proto::CancelJobRequest request;
  request.set_job_id(job_id);
  return Call<proto::CancelJobReply>(&proto::JobService::Stub::CancelJob, request, kCallDeadline)
      .status();
}

absl::StatusOr<proto::SavepointReply> JobClient::Stop(const proto::StopJobRequest& request) {
  return Call<proto::SavepointReply>(&proto::JobService::Stub::StopJob, request, kSavepointDeadline,
                                     WhenLost::kTell);
}

absl::StatusOr<proto::SavepointReply> JobClient::Savepoint(
    const proto::TriggerSavepointRequest& request) {
  return Call<proto::SavepointReply>(&proto::JobService::Stub::TriggerSavepoint, request,
                                     kSavepointDeadline, WhenLost::kTell);
}

absl::Status JobClient::SetSourceRate(const proto::SetSourceRateRequest& request) {
  return Call<proto::SetSourceRateReply>(&proto::JobService::Stub::SetSourceRate, request,
                                         kCallDeadline)
      .status();
}

absl::Status JobClient::Dispose(const std::string& savepoint_path) {
  proto::DisposeSavepointRequest request;
  request.set_savepoint_path(savepoint_path);
  return Call<proto::DisposeSavepointReply>(&proto::JobService::Stub::DisposeSavepoint, request,
                                            kSavepointDeadline)
      .status();
}

absl::StatusOr<proto::JobStatus> JobClient::Wait(const std::string& job_id, uint64_t version,
                                                 milliseconds max_wait) {
  proto::WaitJobRequest request;
  request.set_job_id(job_id);
  request.set_version(version);
  request.set_max_wait_ms(static_cast<uint64_t>(max_wait.count()));
  return Call<proto::JobStatus>(&proto::JobService::Stub::WaitJob, request,
                                max_wait + kCallDeadline);
}

absl::StatusOr<proto::SubmitJobReply> JobClient::Submit(
    proto::SubmitJobHeader header, const std::string& library,
    const std::function<void(uint64_t, uint64_t)>& progress, const std::function<bool()>& give_up) {
  std::ifstream file(library, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return absl::InvalidArgumentError(absl::StrCat("'", library, "' cannot be read"));
  header.set_artifact_hash(Sha256Hex(bytes));
  header.set_artifact_bytes(bytes.size());

  proto::HasArtifactRequest has;
  has.set_artifact_hash(header.artifact_hash());
  auto present =
      Call<proto::HasArtifactReply>(&proto::JobService::Stub::HasArtifact, has, kCallDeadline);
  if (!present.ok()) return present.status();

  const auto began = steady_clock::now();
  grpc::ClientContext context;
  SetDeadline(context, kSubmitDeadline);
  proto::SubmitJobReply reply;
  SubmissionWatch watch(context, give_up);
  const auto writer = stub_->SubmitJob(&context, &reply);
  proto::SubmitJobRequest message;
  *message.mutable_header() = std::move(header);
  bool open = writer->Write(message);
  if (!present->present()) {
    for (size_t at = 0; open && at < bytes.size(); at += kChunkBytes) {
      message.set_artifact_chunk(bytes.substr(at, kChunkBytes));
      open = writer->Write(message);
      progress(std::min<uint64_t>(at + kChunkBytes, bytes.size()), bytes.size());
    }
  }
  // A refusal ends the stream early; Finish tells the reason.
  if (open) writer->WritesDone();
  watch.AllIsSent();
  const absl::Status status = watch.Outcome(ToStatus(writer->Finish()));
  if (!status.ok()) return Explain(status, began);
  return reply;
}

absl::StatusOr<std::string> JobClient::Resolve(const std::string& text, Which which) {
  auto jobs = List(false);
  if (!jobs.ok()) return jobs.status();
  const bool beginning = text.size() >= kLeastIdDigits &&
                         text.find_first_not_of("0123456789abcdef") == std::string::npos;
  std::vector<std::string> by_name, by_prefix, ended, live;
  for (const proto::JobStatus& job : jobs->jobs()) {
    if (job.job_id() == text) return text;
    const bool begins = beginning && job.job_id().compare(0, text.size(), text) == 0;
    const std::string shown = absl::StrCat(job.job_id(), " (", job.name(), ")");
    if (!Ended(job.state())) {
      live.push_back(shown);
      if (job.name() == text) by_name.push_back(job.job_id());
    } else if (begins && which == Which::kRunning) {
      ended.push_back(shown);
      continue;
    }
    if (begins) by_prefix.push_back(job.job_id());
  }
  const auto& found = by_name.empty() ? by_prefix : by_name;
  if (found.size() == 1) return found[0];
  if (!found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' means more than one job: ", absl::StrJoin(found, ", "),
                     by_name.empty() ? "; give more of the id" : "; name one by its id"));
  }
  return absl::NotFoundError(absl::StrCat(
      ended.empty() ? absl::StrCat("there is no job '", text, "'")
                    : absl::StrCat("'", text, "' has ended: ", absl::StrJoin(ended, ", ")),
      "; ",
      live.empty() ? "no job is running" : absl::StrCat("running: ", absl::StrJoin(live, ", ")),
      "; `weir list` shows those that have ended, too"));
}

}  // namespace weir::cli
