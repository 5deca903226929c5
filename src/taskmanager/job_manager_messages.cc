#include "taskmanager/task_manager.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/abi.h"
#include "base/failpoint.h"
#include "log/log.h"
#include "metrics/process_metrics.h"

// Registration, what the leader says, heartbeats and figures: the control stream as the control
// loop sees it.

namespace weir {
namespace {

constexpr std::chrono::milliseconds kFirstRetry(50);
constexpr std::chrono::milliseconds kLastRetry(1000);
constexpr std::chrono::seconds kTellAwayEvery(10);
// An answer to Register takes as long at least, on a busy machine, before its connection is given
// up.
constexpr std::chrono::milliseconds kRegistration(5'000);

}  // namespace

void TaskManager::Register() {
  if (ending_) return;
  registered_ = false;
  proto::ToJobManager first = NewMessage();
  proto::Register& r = *first.mutable_register_();
  r.set_protocol_version(proto::CONTROL_PROTOCOL_VERSION);
  r.set_tm_id(options_.id);
  r.set_incarnation(incarnation_);
  r.set_host(options_.host);
  r.set_data_port(static_cast<uint32_t>(exchange_->port()));
  r.set_rpc_port(static_cast<uint32_t>(worker_->port()));
  r.set_metrics_port(http_ == nullptr ? 0 : static_cast<uint32_t>(http_->port()));
  r.set_slots(options_.slots);
  r.set_memory_bytes(options_.memory_bytes);
  r.set_cpu_cores(std::thread::hardware_concurrency());
  r.set_network_buffers(network_->stats().total_segments);
  r.set_pid(static_cast<uint32_t>(getpid()));
  r.set_loaded_artifact(loaded_artifact_);
  r.set_dedicated(options_.dedicated);
  const bool forgetful = WEIR_PLANTED_BUG("obey_stale_leader");
  r.set_highest_leader_epoch_seen(forgetful ? 0 : leader_epoch_.load());
  for (const auto& [job, attempt] : attempts_) *r.add_running_attempts() = attempt->ref();
  r.set_build(kAbiStamp);
  r.set_exclusive_buffers(exchange_->exclusive_per_channel());
  r.set_cluster_id(cluster_id_);
  for (const proto::CrashReport& report : crash_reports_.reports) *r.add_crash_reports() = report;
  stream_ = link_->Open(std::move(first));
  // A name that is slow to resolve, or a host that accepts and says nothing, breaks no stream.
  loop_->PostAfter(std::max(heartbeat_timeout_, kRegistration), [this, stream = stream_] {
    if (stream != stream_ || registered_ || ending_) return;
    TellAway("no answer yet");
    link_->Disconnect();  // OnBroken follows
  });
}

void TaskManager::TellAway(const std::string& reason) {
  const auto now = Clock::System().Monotonic();
  if (told_away_.count() != 0 && now - told_away_ < kTellAwayEvery) return;
  told_away_ = now;
  log::Warn("the JobManager cannot be reached; trying on",
            {{"job_manager", options_.job_manager}, {"reason", reason}});
}

void TaskManager::OnBroken(uint64_t stream, const std::string& reason) {
  if (stream != stream_ || ending_) return;
  if (registered_) {
    log::Warn("lost the JobManager; tasks keep running", {{"reason", reason}});
    told_away_ = Clock::System().Monotonic();
  } else {
    TellAway(reason);
  }
  registered_ = false;
  ready_.store(false);
  stream_ = 0;
  loop_->PostAfter(retry_, [this] {
    if (stream_ == 0) Register();
  });
  retry_ = std::min(retry_ * 2, kLastRetry);
}

void TaskManager::OnMessage(uint64_t stream, const proto::ToTaskManager& message) {
  if (stream != stream_ || ending_) return;
  // Before its epoch is looked at: that is another cluster's.
  if (message.register_refused().reason() == proto::RegisterRefused::REASON_OTHER_CLUSTER) {
    OnRefused(message.register_refused());
    return;
  }
  if (message.leader_epoch() < leader_epoch_.load() && !WEIR_PLANTED_BUG("obey_stale_leader")) {
    log::Warn("refused a message of an earlier leader",
              {{"its_epoch", message.leader_epoch()}, {"seen", leader_epoch_.load()}});
    stream_ = 0;
    link_->Close();
    loop_->PostAfter(kLastRetry, [this] {
      if (stream_ == 0) Register();
    });
    return;
  }
  leader_epoch_.store(message.leader_epoch());
  if (silence_.Heard(Clock::System().Monotonic()) && registered_) {
    ready_.store(true);
    log::Info("the JobManager answers again");
  }
  using M = proto::ToTaskManager;
  switch (message.message_case()) {
    case M::kRegisterAck:
      OnRegistered(message.register_ack());
      break;
    case M::kRegisterRefused:
      OnRefused(message.register_refused());
      break;
    case M::kHeartbeat:
      heard_sequence_ = message.heartbeat().sequence();
      break;
    case M::kDeployJob:
      OnDeploy(message.deploy_job());
      break;
    case M::kCancelJob:
      OnCancel(message.cancel_job());
      break;
    case M::kTriggerCheckpoint:
      if (auto* attempt = Find(message.trigger_checkpoint().attempt())) {
        attempt->TriggerCheckpoint(message.trigger_checkpoint());
      }
      break;
    case M::kTurnUnaligned:
      if (auto* attempt = Find(message.turn_unaligned().attempt())) {
        attempt->TurnUnaligned(CheckpointId(message.turn_unaligned().checkpoint_id()));
      }
      break;
    case M::kSetSourceRate:
      if (auto* attempt = Find(message.set_source_rate().attempt())) {
        attempt->SetSourceRate(message.set_source_rate().rate());
      } else if (auto* waiting = FindWaiting(message.set_source_rate().attempt())) {
        *waiting->add_source_rates() = message.set_source_rate().rate();
      }
      break;
    case M::kCheckpointCompleted:
      if (auto* attempt = Find(message.checkpoint_completed().attempt())) {
        attempt->CheckpointCompleted(CheckpointId(message.checkpoint_completed().checkpoint_id()));
      }
      break;
    case M::kCheckpointAborted:
      if (auto* attempt = Find(message.checkpoint_aborted().attempt())) {
        attempt->CheckpointAborted(CheckpointId(message.checkpoint_aborted().checkpoint_id()),
                                   message.checkpoint_aborted().reason());
      }
      break;
    case M::kRecycle:
      log::Info("recycling", {{"reason", message.recycle().reason()}});
      End(Exit::kRecycle);
      break;
    case M::kShutdown:
      log::Info("shutting down", {{"reason", message.shutdown().reason()}});
      End(Exit::kShutdown);
      break;
    case M::MESSAGE_NOT_SET:
      break;
  }
}

void TaskManager::OnRegistered(const proto::RegisterAck& ack) {
  registered_ = true;
  cluster_id_ = ack.cluster_id();
  ready_.store(true);
  RemoveFiles(crash_reports_.files);
  crash_reports_ = {};
  retry_ = kFirstRetry;
  heartbeat_interval_ =
      std::chrono::milliseconds(std::max<uint64_t>(ack.heartbeat_interval_ms(), 50));
  heartbeat_timeout_ =
      std::chrono::milliseconds(std::max<uint64_t>(ack.heartbeat_timeout_ms(), 200));
  metrics_interval_ = std::chrono::milliseconds(ack.metrics_interval_ms());
  log::SetLeaderEpoch(leader_epoch_.load());
  log::Info("registered", {{"job_manager", options_.job_manager},
                           {"cluster", cluster_id_},
                           {"slots", options_.slots},
                           {"data_port", exchange_->port()},
                           {"rpc_port", worker_->port()}});
  silence_.Begin(Clock::System().Monotonic(), heartbeat_interval_, heartbeat_timeout_);
  Heartbeat(stream_);
  if (metrics_interval_.count() > 0) SendMetrics(stream_);
}

void TaskManager::OnRefused(const proto::RegisterRefused& refused) {
  using R = proto::RegisterRefused;
  const bool retry =
      refused.reason() == R::REASON_STALE_LEADER || refused.reason() == R::REASON_TOO_MANY;
  log::Warn("the JobManager refused this TaskManager",
            {{"reason", refused.message()}, {"retrying", retry}});
  if (!retry) End(Exit::kRefused);
}

// A hung leader keeps its sockets open: silence is noticed here.
void TaskManager::Heartbeat(uint64_t stream) {
  if (stream != stream_ || ending_) return;
  switch (silence_.Look(Clock::System().Monotonic())) {
    case JobManagerSilence::Verdict::kNone:
      break;
    case JobManagerSilence::Verdict::kBegins:
      log::Warn("the JobManager is silent; tasks keep running",
                {{"for_ms", heartbeat_timeout_.count()}});
      ready_.store(false);
      break;
    case JobManagerSilence::Verdict::kGiveUp:
      log::Warn("the JobManager stays silent; registering anew",
                {{"for_ms", JobManagerSilence::kPatience * heartbeat_timeout_.count()}});
      link_->Disconnect();  // OnBroken follows
      return;
  }
  proto::ToJobManager message = NewMessage();
  proto::TaskManagerHeartbeat& beat = *message.mutable_heartbeat();
  const metrics::ProcessUse use = metrics::ReadProcessUse();
  beat.set_rss_bytes(use.resident_bytes);
  beat.set_sequence(heard_sequence_);
  const auto now = Clock::System().Monotonic();
  if (cpu_read_at_.count() != 0 && now > cpu_read_at_) {
    beat.set_cpu_usage((use.cpu_seconds - cpu_seconds_) /
                       std::chrono::duration<double>(now - cpu_read_at_).count());
  }
  cpu_read_at_ = now;
  cpu_seconds_ = use.cpu_seconds;
  link_->Send(std::move(message));
  loop_->PostAfter(heartbeat_interval_, [this, stream] { Heartbeat(stream); });
}

void TaskManager::SendMetrics(uint64_t stream) {
  if (stream != stream_ || ending_) return;
  proto::ToJobManager message = NewMessage();
  for (const auto& [job, attempt] : attempts_) {
    message.mutable_metrics()->MergeFrom(attempt->Metrics());
  }
  if (message.metrics().subtasks_size() > 0) link_->Send(std::move(message));
  loop_->PostAfter(metrics_interval_, [this, stream] { SendMetrics(stream); });
}

}  // namespace weir
