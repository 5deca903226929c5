#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "jobmanager/artifact_store.h"
#include "jobmanager/control_plane.h"
#include "jobmanager/control_stream.h"
#include "jobmanager/io_threads.h"
#include "jobmanager/job_storage.h"
#include "jobmanager/job_table.h"
#include "jobmanager/lineage.h"
#include "jobmanager/loop_time.h"
#include "jobmanager/mailbox.h"
#include "jobmanager/metrics.h"

namespace weir::jobmanager {

struct ControlLoopOptions {
  ControlPlaneOptions control;
  milliseconds metrics_interval{5'000};
  std::string cluster_id;
  std::string rpc_address;
  uint32_t metrics_port = 0;
  std::string savepoint_directory;
  milliseconds deployment_timeout{600'000};
  milliseconds deletion_retry{3'600'000};
};

/// The thread that owns all control state: it takes one letter after the other, steps the control
/// plane and carries out its actions. What blocks goes to I/O strands, whose answers come back as
/// letters; gRPC's threads only post.
///
/// Life: Recover, Start, BeginShutdown, (server stops, I/O stops), Stop.
class ControlLoop {
 public:
  static constexpr size_t kMaxJobs = 1'024;  ///< that have not ended
  /// Remembered; the oldest are forgotten, but none that owes the deletion of its checkpoints.
  static constexpr size_t kMaxEndedJobs = 100;
  static constexpr size_t kMaxWaitingCalls = 4'096;  ///< long polls and savepoints under way
  static constexpr milliseconds kLongestPoll{30'000};

  /// `on_fenced` is called, on an I/O or the loop's thread, when another leader has taken over or
  /// could have: this process must stop. The loop does nothing more by itself then. The
  /// pools outlive the loop.
  ControlLoop(ControlLoopOptions options, Leadership leadership, const IoPools& io,
              Metrics* metrics, std::function<void(std::string)> on_fenced);
  ~ControlLoop();

  /// Before Start.
  void Recover(std::vector<StoredJob> jobs, PastLineages lineages);
  void Start();
  /// Suspends the jobs, answers every waiting call, ends the streams. New calls are refused.
  void BeginShutdown();
  void Stop();

  Mailbox* mailbox() { return &mailbox_; }
  LeaderEpoch epoch() const { return leadership_.epoch; }
  const Leadership& leadership() const { return leadership_; }
  const ControlLoopOptions& options() const { return options_; }

  // ------------------------------------------------ streams; all below: the loop's thread

  ControlStream::Events StreamEvents();

  // ------------------------------------------------ calls of clients

  using Done = std::function<void(grpc::Status)>;

  /// A checked submission whose artifact is stored. `record.job_id` and all else is set.
  void Submit(std::shared_ptr<const proto::JobRecord> record, proto::SubmitJobReply* reply,
              Done done);
  /// The job of an earlier submission with this token, or null.
  const std::string* JobOfToken(const std::string& token) const;
  void ListJobs(const proto::ListJobsRequest& request, proto::ListJobsReply* reply);
  grpc::Status Describe(const proto::DescribeJobRequest& request, proto::JobDetails* details);
  void Cancel(const proto::CancelJobRequest& request, Done done);
  void StopJob(const proto::StopJobRequest& request, proto::SavepointReply* reply, Done done);
  void TriggerSavepoint(const proto::TriggerSavepointRequest& request, proto::SavepointReply* reply,
                        Done done);
  void SetSourceRate(const proto::SetSourceRateRequest& request, Done done);
  void WaitJob(const proto::WaitJobRequest& request, proto::JobStatus* status, Done done);
  void ClusterStatus(proto::ClusterStatusReply* reply);
  /// A directory that a job which has not ended writes to or may restore from.
  struct DirectoryInUse {
    std::string directory;
    std::string job;
    enum class By : uint8_t {
      kWriting,    ///< its checkpoints: it deletes the older ones
      kRestoring,  ///< it may restore from what is there, and leaves it alone
      kOwning,     ///< it has claimed it, and will delete it
    } by;
  };
  std::vector<DirectoryInUse> CheckpointsInUse() const;
  bool stopping() const { return stopping_; }

 private:
  JobPlan PlanFor(const proto::JobRecord& record) const;
  struct Session {
    std::shared_ptr<ControlStream> stream;
    proto::Register registration;
    proto::TaskManagerHeartbeat heartbeat;
    Instant heard{0};
  };
  /// A client that waits for a machine's answer.
  struct Call {
    proto::SavepointReply* savepoint = nullptr;  // filled when it succeeds
    Done done;
  };
  struct Poll {
    JobId job;
    uint64_t version = 0;
    Instant deadline{0};
    proto::JobStatus* status = nullptr;
    Done done;
  };

  /// Work of one job in order; see IoThreads. The record's is of the pool `own`, the others'
  /// of `checkpoints`.
  static std::string StrandOf(const JobId& job) { return "job/" + job.value; }
  static std::string RecordStrandOf(const JobId& job) { return "record/" + job.value; }
  static std::string ExportStrandOf(const JobId& job) { return "export/" + job.value; }

  void Run();
  void TellStandstill(std::chrono::nanoseconds lasted) const;
  /// Whether jobs wait for storage; looks once a second.
  void WatchStorages();
  Instant Now() const { return time_.Now(); }
  TimeOfDay Time() const { return time_.AsTimeOfDay(); }
  void Feed(const ControlEvent& event);
  void FeedJob(const JobId& job, JobEvent event, std::optional<SessionId> from = {});
  /// Whether this is still the leader; tells on_fenced if not.
  bool MayAct();

  // task_manager_sessions.cc
  void OnMessage(const std::shared_ptr<ControlStream>& stream, proto::ToJobManager& message);
  void OnRegister(const std::shared_ptr<ControlStream>& stream, const proto::Register& r);
  void OnBroken(const std::shared_ptr<ControlStream>& stream);
  void OnMetrics(const proto::MetricsSnapshot& snapshot);
  void RefuseStream(ControlStream& stream, proto::RegisterRefused::Reason reason,
                    const std::string& message);
  void SendTo(SessionId session, proto::ToTaskManager message);
  /// To every TaskManager of the job, for each region's attempt that runs there; `attempt_of` is
  /// where the message names it.
  void SendToAttempts(const JobId& job, const proto::ToTaskManager& message,
                      const std::function<proto::AttemptRef*(proto::ToTaskManager*)>& attempt_of);
  proto::ToTaskManager NewMessage() const;

  void Do(AcceptSession& action);
  void Do(RefuseSession& action);
  void Do(CloseSession& action);
  void Do(SendHeartbeats& action);
  void Do(SendRecycle& action);

  // job_work.cc
  void Do(JobWork& action);
  void Do(JobChanged& action);
  void Do(const JobId& job, PrepareAttempt& action);
  void Do(const JobId& job, Deploy& action);
  void Do(const JobId& job, CancelAttempt& action);
  void Do(const JobId& job, DropSession& action);
  void Do(const JobId& job, GiveBackSlots& action);
  void Do(const JobId& job, NoteRestarts& action);
  void Do(const JobId& job, PersistCancel& action);
  void Do(const JobId& job, PersistEnd& action);
  void Do(const JobId& job, Reply& action);
  JobCounts CountsOf(const JobId& job) const { return control_.FindJob(job)->counts(); }
  /// Runs `work` on the job's strand and feeds the event it returns to the job.
  void OnStrand(const JobId& job, std::function<JobEvent(JobStorage&)> work);

  // checkpoint_work.cc
  /// Removes what former leaders' exports left.
  void SweepExports(const JobId& job);
  void Do(const JobId& job, CheckpointWork& action);
  void Do(const JobId& job, AttemptId attempt, SendTrigger& action);
  void Do(const JobId& job, AttemptId attempt, SendTurnUnaligned& action);
  void Do(const JobId& job, AttemptId attempt, CommitManifest& action);
  void Do(const JobId& job, AttemptId attempt, SendCompleted& action);
  void Do(const JobId& job, AttemptId attempt, SendAborted& action);
  void Do(const JobId& job, AttemptId attempt, ExportSavepoint& action);
  void Do(const JobId& job, AttemptId attempt, ReplySavepoint& action);
  void Do(const JobId& job, AttemptId attempt, DiscardSavepoint& action);
  void Do(const JobId& job, AttemptId attempt, PruneCheckpoints& action);
  void Do(const JobId& job, AttemptId attempt, ReserveIds& action);
  void Do(const JobId& job, AttemptId attempt, FailAttempt& action);
  void Do(const JobId& job, AttemptId attempt, JobDone& action);

  // client_calls.cc
  grpc::Status FindJob(const std::string& id_or_prefix, JobId* found) const;
  /// Answers the polls of the job that have seen another version, or all of them.
  void AnswerPolls(const JobId& job, bool all);
  void AnswerPoll(uint64_t poll);
  void AskForSavepoint(const std::string& id, CheckpointKind kind, const std::string& directory,
                       proto::SavepointReply* reply, Done done);
  void OnSourceRateStored(const JobId& job, const proto::SourceRate& rate, RequestId call,
                          const absl::Status& stored);
  /// By jobs whose sinks do not guard it: those that are being admitted, those that are known, and
  /// those that are forgotten.
  std::vector<LineageUse> UsesOfLineage(const std::string& lineage) const;
  /// What jobs that have ended should have taken with them, unless another job begins from it: at
  /// the start, and again for as long as it fails.
  void DeleteLeftBehind();
  void RetryLeftBehind();
  void ForgetOldJobs();
  /// Deletes the record of an ended job, behind what has to outlive it.
  void DeleteRecord(const JobId& job);
  void UpdateMetrics();

  const ControlLoopOptions options_;
  const Leadership leadership_;
  const IoPools io_;
  Metrics* const metrics_;
  const std::function<void(std::string)> on_fenced_;
  Mailbox mailbox_;
  std::thread thread_;
  const int64_t started_ms_;

  // The loop's thread only.
  LoopTime time_;
  ControlPlane control_;
  std::map<SessionId, Session> sessions_;
  std::set<std::shared_ptr<ControlStream>> unregistered_;
  std::map<JobId, JobEntry> jobs_;
  std::map<std::string, std::string> tokens_;  // submission token -> job id
  std::set<std::string> tokens_in_flight_;
  // Those of which nobody knows whether they are stored stay. Bounded by kMaxJobs.
  std::map<JobId, std::shared_ptr<const proto::JobRecord>> submissions_in_flight_;
  PastLineages past_lineages_;
  std::map<RequestId, Call> calls_;                        // bounded by kMaxWaitingCalls
  std::map<uint64_t, Poll> polls_;                         // bounded by kMaxWaitingCalls
  std::set<std::pair<Instant, uint64_t>> poll_deadlines_;  // one per poll
  Instant next_storage_watch_{0};
  Instant next_deletion_;
  uint64_t last_poll_ = 0;
  uint64_t last_session_ = 0;
  uint64_t last_request_ = 0;
  uint64_t heartbeat_sequence_ = 0;
  bool deposed_ = false;  // on_fenced was told
  bool stopping_ = false;
  bool stop_ = false;
};

}  // namespace weir::jobmanager
