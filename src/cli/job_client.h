#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/channel.h"
#include "cli/silence_watch.h"
#include "proto/client.grpc.pb.h"

namespace weir::cli {

/// The JobManager as the command line sees it. Failures carry the JobManager's own words; when it
/// cannot be reached the message says where it was looked for and what to do. Thread-safe.
class JobClient {
 public:
  explicit JobClient(std::string address);

  const std::string& address() const { return address_; }

  /// Calls that may take long (savepoints) tell here, as a sentence, that the JobManager does not
  /// answer, and that it does again. Past two minutes of silence, or the limit given, they fail.
  /// Called on another thread. Before the first call.
  void OnSilence(std::function<void(const std::string&)> tell, SilenceWatch::Options options = {}) {
    tell_ = std::move(tell);
    silence_ = options;
  }

  /// Whether a JobManager was not there for a call since this was asked last: the one that has
  /// answered then may have come just now, and its jobs be on their way.
  bool TakeAbsence() { return absent_.exchange(false); }

  /// Returns when the JobManager answers, or Unavailable when it has been silent for too long.
  absl::Status AwaitAnswer();

  absl::StatusOr<proto::ListJobsReply> List(bool running_only);
  absl::StatusOr<proto::JobDetails> Describe(const std::string& job_id);
  absl::StatusOr<proto::ClusterStatusReply> Status();
  /// As Status, but an answer that is not there at once is a failure.
  absl::StatusOr<proto::ClusterStatusReply> StatusNow();
  absl::Status Cancel(const std::string& job_id);
  /// Of these two Unavailable says that the JobManager, or the connection to it, was lost, perhaps
  /// behind the beginning of what was asked for: they are asked once.
  absl::StatusOr<proto::SavepointReply> Stop(const proto::StopJobRequest& request);
  absl::StatusOr<proto::SavepointReply> Savepoint(const proto::TriggerSavepointRequest& request);
  absl::Status SetSourceRate(const proto::SetSourceRateRequest& request);
  absl::Status Dispose(const std::string& savepoint_path);
  /// One long poll.
  absl::StatusOr<proto::JobStatus> Wait(const std::string& job_id, uint64_t version,
                                        std::chrono::milliseconds max_wait);

  /// Uploads the library unless the JobManager has it. `progress` gets bytes sent and in all.
  /// `give_up` is asked on another thread, some times a second: true ends it with Cancelled. What
  /// takes a minute from the last byte on is given up as well. In both cases the job may be
  /// submitted all the same.
  absl::StatusOr<proto::SubmitJobReply> Submit(
      proto::SubmitJobHeader header, const std::string& library,
      const std::function<void(uint64_t, uint64_t)>& progress,
      const std::function<bool()>& give_up);

  enum class Which { kAny, kRunning };
  /// The id of the job meant by an id, the name of a single job that has not ended, or the
  /// beginning of an id, six digits or more; with kRunning an id is only cut short of jobs that
  /// have not ended. NOT_FOUND says which there are, InvalidArgument which of several may be meant.
  absl::StatusOr<std::string> Resolve(const std::string& text, Which which);

 private:
  enum class WhenLost { kAskAgain, kTell };
  template <class Reply, class Request, class Method>
  absl::StatusOr<Reply> Call(Method method, const Request& request,
                             std::chrono::milliseconds deadline,
                             WhenLost when_lost = WhenLost::kAskAgain);
  /// `began`: when the first answer was waited for.
  absl::Status Explain(const absl::Status& status, std::chrono::steady_clock::time_point began);
  bool Answers();
  void TellSilence(std::optional<std::chrono::milliseconds> silent);

  const std::string address_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<proto::JobService::Stub> stub_;
  std::function<void(const std::string&)> tell_;
  SilenceWatch::Options silence_;
  std::atomic<bool> absent_{false};
};

}  // namespace weir::cli
