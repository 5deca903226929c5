#include "taskmanager/task_manager.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/abi.h"
#include "base/error.h"
#include "base/loopback.h"
#include "log/log.h"
#include "metrics/process_metrics.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kFirstRetry(50);
constexpr std::chrono::milliseconds kLastRetry(1000);
constexpr std::chrono::seconds kTellAwayEvery(10);
constexpr std::chrono::milliseconds kWatchInterval(500);
constexpr std::chrono::milliseconds kWatchMemoryInterval(1000);
constexpr int kExitStuck = 1;
constexpr uint64_t kDefaultMemoryBytes = uint64_t{2} << 30;

template <class T>
T ValueOrThrow(absl::StatusOr<T> value) {
  if (!value.ok()) ThrowError(ErrorKind::kExternal, std::string(value.status().message()));
  return *std::move(value);
}

// Grows with every process that takes a TaskManager's id, across restarts of the machine too.
uint64_t NewIncarnation() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

std::string HostName() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

TaskManagerOptions WithDefaults(TaskManagerOptions options) {
  if (options.id.empty()) options.id = HostName() + "-" + std::to_string(getpid());
  if (options.host.empty()) options.host = options.bind_host;
  if (options.slots == 0) options.slots = std::max(1u, std::thread::hardware_concurrency());
  if (options.memory_bytes == 0) options.memory_bytes = kDefaultMemoryBytes;
  if (options.directory.empty()) {
    options.directory = "/tmp/weir-taskmanager-" + std::to_string(getpid());
  }
  if (!IsLoopback(options.bind_host) && !options.insecure) {
    ThrowError(ErrorKind::kUser,
               "taskmanager.bind-host is " + options.bind_host +
                   ": whoever reaches these ports can run code. Bind to 127.0.0.1, or say "
                   "--insecure on a network you trust");
  }
  return options;
}

MemoryPlan PlanOf(const TaskManagerOptions& options) {
  absl::StatusOr<MemoryPlan> plan =
      PlanMemory({.budget = options.memory_bytes,
                  .network = uint64_t{options.network_buffers} * options.network_buffer_bytes,
                  .rocksdb = options.rocksdb_bytes,
                  .write_buffer = options.write_buffer_bytes});
  if (!plan.ok()) ThrowError(ErrorKind::kUser, std::string(plan.status().message()));
  return *std::move(plan);
}

// Letters, digits, '-', '_' of an id: it goes into names of checkpoint files.
std::string Label(const std::string& id) {
  std::string label;
  for (const char c : id) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    label += plain ? c : '_';
  }
  return label.substr(0, 64);
}

}  // namespace

TaskManager::TaskManager(TaskManagerOptions options)
    : options_(WithDefaults(std::move(options))),
      plan_(PlanOf(options_)),
      incarnation_(NewIncarnation()),
      watchdog_(options_.slots, options_.watchdog_timeout),
      caches_(options_.memory_bytes) {
  // What an earlier process left here belongs to attempts that are over.
  std::error_code error;
  std::filesystem::remove_all(options_.directory + "/attempts", error);
  const std::string boxes = options_.directory + "/blackbox";
  std::filesystem::create_directories(boxes, error);
  if (error) {
    ThrowError(ErrorKind::kExternal, "cannot create the working directory " + options_.directory +
                                         ": " + error.message() +
                                         "; set taskmanager.dir to one that can be written to");
  }
  crash_reports_ = ReadCrashReports(boxes, options_.id);
  black_box_ = ValueOrThrow(BlackBox::Create(boxes, incarnation_, options_.slots));
  network_ = ValueOrThrow(NetworkBufferPool::Create(plan_.network, options_.network_buffer_bytes));
  ExchangeOptions exchange;
  exchange.name = options_.id;
  exchange.listen_host = options_.bind_host;
  exchange.port = options_.data_port;
  exchange_ =
      ValueOrThrow(Exchange::Start(exchange, network_.get(), [this](const StreamFailure& failure) {
        // A peer that took its leave was told to by the JobManager, or tells it: its word counts.
        if (failure.orderly) return;
        loop_->Post([this, job = failure.attempt.job.value, attempt = failure.attempt.attempt.value,
                     what = "the data stream " + failure.peer +
                            " broke: " + std::string(failure.reason.message())] {
          OnStreamFailure(job, attempt, what);
        });
      }));
  artifacts_ = std::make_unique<Artifacts>(options_.directory + "/artifacts");
  worker_ = WorkerService::Start(options_.bind_host, options_.rpc_port);
  registrations_ = metrics::AddProcessMetrics(metrics_);
  AddMetrics();
  if (options_.metrics_port >= 0) {
    http_ = metrics::HttpServer::Start({.host = options_.bind_host, .port = options_.metrics_port},
                                       metrics_, [this] { return HealthNow(); });
  }
  for (uint32_t i = 0; i < options_.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>("slot-" + std::to_string(i), Clock::System()));
    slots_.back()->Post([this, i] { black_box_->EnterSlotThread(i); });
    registrations_.push_back(metrics_.AddFunction(
        "weir_slot_stuck_seconds", "How long the slot has been in one turn, if beyond the limit",
        metrics::Family::Type::kGauge, {{"slot", std::to_string(i)}},
        [slot = slots_.back().get(), limit = options_.watchdog_timeout] {
          const auto stuck = StuckFor(slot->busy_since(), Clock::System().Monotonic(), limit);
          return std::chrono::duration<double>(stuck).count();
        }));
  }
  io_ = std::make_unique<IoThread>("tm-io");
  ends_ = std::make_unique<IoThread>("tm-ends");
  loop_ = std::make_unique<ControlLoop>("tm-control", Clock::System());
  link_ = std::make_unique<JobManagerLink>(
      options_.job_manager,
      JobManagerLink::Events{.on_message =
                                 [this](uint64_t stream, proto::ToTaskManager message) {
                                   loop_->Post([this, stream, message = std::move(message)] {
                                     OnMessage(stream, message);
                                   });
                                 },
                             .on_broken =
                                 [this](uint64_t stream, std::string reason) {
                                   loop_->Post(
                                       [this, stream, reason] { OnBroken(stream, reason); });
                                 }});
}

TaskManager::~TaskManager() {
  // Senders before what they post to.
  exchange_->Stop();
  link_.reset();
  http_.reset();
  worker_.reset();
  for (auto& slot : slots_) slot->Stop();
  loop_->Stop();  // the attempts are its own until then
  ends_.reset();
  io_.reset();
  attempts_.clear();
}

metrics::Health TaskManager::HealthNow() const {
  metrics::Health health;
  health.ready = ready_.load();
  if (!health.ready) health.reason = "not registered with the JobManager " + options_.job_manager;
  health.details = {{"role", "taskmanager"},
                    {"id", options_.id},
                    {"leader_epoch", std::to_string(leader_epoch_.load())}};
  return health;
}

void TaskManager::Start() {
  std::string plan;
  for (const auto& [part, bytes] : plan_.Parts()) {
    plan += (plan.empty() ? "" : ", ") + part + " " + std::to_string(bytes >> 20) + " MiB";
  }
  log::Info("memory plan", {{"budget_mib", options_.memory_bytes >> 20}, {"parts", plan}});
  loop_->Post([this] {
    Register();
    WatchSlots();
    WatchMemory();
  });
}

TaskManager::Exit TaskManager::Wait() {
  std::unique_lock lock(end_mutex_);
  end_wake_.wait(lock, [this] { return ended_; });
  return exit_;
}

void TaskManager::Shutdown(const std::string& reason) {
  loop_->Post([this, reason] {
    if (ending_) return;
    log::Info("shutting down", {{"reason", reason}});
    proto::ToJobManager goodbye = NewMessage();
    goodbye.mutable_goodbye()->set_reason(reason);
    link_->Send(std::move(goodbye));
    End(Exit::kShutdown);
  });
}

// The process goes when its attempts have gone.
void TaskManager::End(Exit exit) {
  ending_ = true;
  exit_ = exit;
  ready_.store(false);
  for (auto& [job, attempt] : attempts_) Release(*attempt, proto::CANCEL_REASON_CANCELED);
  if (!Idle()) return;
  std::lock_guard lock(end_mutex_);
  ended_ = true;
  end_wake_.notify_all();
}

proto::ToJobManager TaskManager::NewMessage() const {
  proto::ToJobManager message;
  message.set_leader_epoch(leader_epoch_.load());
  return message;
}

// ---------------------------------------------------------------- the control stream

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
  r.set_highest_leader_epoch_seen(leader_epoch_.load());
  for (const auto& [job, attempt] : attempts_) *r.add_running_attempts() = attempt->ref();
  r.set_build(kAbiStamp);
  r.set_exclusive_buffers(exchange_->exclusive_per_channel());
  for (const proto::CrashReport& report : crash_reports_.reports) *r.add_crash_reports() = report;
  stream_ = link_->Open(std::move(first));
  last_heard_ = Clock::System().Monotonic();
  // A name that is slow to resolve, or a host that accepts and says nothing, breaks no stream.
  loop_->PostAfter(heartbeat_timeout_, [this, stream = stream_] {
    if (stream != stream_ || registered_ || ending_) return;
    TellAway("no answer yet");
    link_->Close();  // OnBroken follows
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
  if (message.leader_epoch() < leader_epoch_.load()) {
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
  last_heard_ = Clock::System().Monotonic();
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
                           {"slots", options_.slots},
                           {"data_port", exchange_->port()},
                           {"rpc_port", worker_->port()}});
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

void TaskManager::AddMetrics() {
  const auto gauge = [this](const std::string& name, const char* help, auto read) {
    registrations_.push_back(metrics_.AddFunction(
        name, help, metrics::Family::Type::kGauge, {},
        [this, read] { return static_cast<double>(read(network_->stats())); }));
  };
  using Stats = const NetworkBufferStats&;
  gauge(options_.metrics_scope + "_buffer_pool_usage", "Part of the network buffers in use, 0 to 1",
        [](Stats s) {
          return static_cast<double>(s.used_segments) /
                 static_cast<double>(std::max<size_t>(s.total_segments, 1));
        });
  gauge("weir_network_buffers", "Network buffers of the process",
        [](Stats s) { return s.total_segments; });
  gauge("weir_network_buffers_used", "Network buffers in use, received ones included",
        [](Stats s) { return s.used_segments; });
  gauge("weir_network_buffers_exclusive",
        "Network buffers set aside as channels' own credit, used or not",
        [](Stats s) { return s.exclusive_segments; });
  gauge("weir_network_overdraft_bytes", "What single records needed beyond the buffers",
        [](Stats s) { return s.overdraft_bytes; });
  gauge("weir_network_buffer_fragmentation", "Part of queued buffers that carries nothing, 0 to 1",
        [](Stats s) { return s.fragmentation; });
  gauge("weir_memory_budget_bytes", "What the whole process may use",
        [bytes = options_.memory_bytes](Stats) { return bytes; });
  for (const auto& [part, bytes] : plan_.Parts()) {
    registrations_.push_back(
        metrics_.AddFunction("weir_memory_plan_bytes", "How the memory budget is shared out",
                             metrics::Family::Type::kGauge, {{"part", part}},
                             [bytes = bytes] { return static_cast<double>(bytes); }));
  }
}

uint64_t TaskManager::RocksDbBytes() const {
  return static_cast<uint64_t>(static_cast<double>(plan_.rocksdb) * rocksdb_share_);
}

RocksDbResources* TaskManager::SharedRocksDb() {
  if (rocksdb_ != nullptr) return rocksdb_.get();
  rocksdb_ = std::make_unique<RocksDbResources>(
      RocksDbResources::Options{.memory_bytes = plan_.rocksdb, .memtable_bytes = plan_.memtables});
  // The governor may have gone down before the first store was opened.
  if (rocksdb_share_ < 1) rocksdb_->SetMemoryBytes(RocksDbBytes());
  size_t i = 0;
  for (const auto& [name, value] : rocksdb_->Metrics()) {
    const bool counts = name.ends_with("_total");
    rocksdb_registrations_.push_back(metrics_.AddFunction(
        "weir_" + name, "Of RocksDB, all stores of the process together",
        counts ? metrics::Family::Type::kCounter : metrics::Family::Type::kGauge, {},
        [resources = rocksdb_.get(), i] { return resources->Metrics()[i].second; }));
    ++i;
  }
  return rocksdb_.get();
}

// A hung leader keeps its sockets open: silence is noticed here.
void TaskManager::Heartbeat(uint64_t stream) {
  if (stream != stream_ || ending_) return;
  if (Clock::System().Monotonic() - last_heard_ > heartbeat_timeout_) {
    log::Warn("the JobManager is silent", {{"for_ms", heartbeat_timeout_.count()}});
    link_->Close();  // OnBroken follows
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

// ---------------------------------------------------------------- attempts

LocalAttempt* TaskManager::Find(const proto::AttemptRef& ref) {
  const auto it = attempts_.find(ref.job_id());
  if (it == attempts_.end() || it->second->ref().attempt() != ref.attempt()) return nullptr;
  return it->second.get();
}

proto::DeployJob* TaskManager::FindWaiting(const proto::AttemptRef& ref) {
  const auto it = waiting_.find(ref.job_id());
  if (it == waiting_.end() || it->second.attempt().attempt() != ref.attempt()) return nullptr;
  return &it->second;
}

void TaskManager::OnDeploy(const proto::DeployJob& deploy) {
  const proto::AttemptRef& ref = deploy.attempt();
  const uint32_t highest = history_.Highest(ref.job_id());
  if (ref.attempt() <= highest) {
    log::Warn("refused to deploy an attempt that is over",
              {{"job", ref.job_id()}, {"attempt", ref.attempt()}, {"seen", highest}});
    return;
  }
  history_.Note(ref.job_id(), ref.attempt());
  loaded_artifact_ = deploy.artifact_hash();
  const auto running = attempts_.find(ref.job_id());
  if (running != attempts_.end()) {
    waiting_[ref.job_id()] = deploy;
    Release(*running->second, proto::CANCEL_REASON_FAILED);
    return;
  }
  StartAttempt(deploy, leader_epoch_.load());
}

void TaskManager::StartAttempt(const proto::DeployJob& deploy, uint64_t leader_epoch) {
  AttemptEnvironment env;
  env.loop = loop_.get();
  env.io = io_.get();
  env.ends = ends_.get();
  for (const auto& slot : slots_) env.slots.push_back(slot.get());
  env.exchange = exchange_.get();
  env.network = network_.get();
  env.black_box = black_box_.get();
  env.watchdog_timeout = options_.watchdog_timeout;
  env.artifacts = artifacts_.get();
  env.metrics = &metrics_;
  env.metrics_scope = options_.metrics_scope;
  env.metrics_interval = options_.metrics_interval;
  env.clock = &Clock::System();
  env.directory = options_.directory;
  env.label = Label(options_.id);
  env.task_manager = options_.id;
  env.fetch_artifact = [this, leader_epoch](const std::string& hash, const std::string& path,
                                            const std::atomic<bool>& stop) {
    return link_->FetchArtifact(leader_epoch, hash, path, stop);
  };
  const size_t attempts =
      attempts_.size() + (attempts_.contains(deploy.attempt().job_id()) ? 0 : 1);
  env.snapshot_bytes = plan_.snapshots / attempts;
  env.connector_bytes = plan_.connectors / attempts;
  env.pinned_bytes = plan_.tables;
  env.state_bytes = plan_.state();
  env.state_account = &state_account_;
  env.give_back_memory = [this] {
    if (rocksdb_ != nullptr) rocksdb_->DropUnusedBlocks();
    // Of all arenas: each thread of an attempt had one, and none is trimmed by itself below the
    // threshold.
    malloc_trim(0);
  };
  env.rocksdb_tuning = options_.rocksdb;
  if (options_.write_buffer_bytes != 0) {
    env.rocksdb_tuning.write_buffer_bytes = options_.write_buffer_bytes;
  }
  env.rocksdb = [this] { return SharedRocksDb(); };
  env.send = [this](proto::ToJobManager message) { link_->Send(std::move(message)); };
  const std::string job = deploy.attempt().job_id();
  log::Info("deploying",
            {{"job", deploy.job_name()}, {"job_id", job}, {"attempt", deploy.attempt().attempt()}});
  auto& slot = attempts_[job];
  slot = std::make_unique<LocalAttempt>(std::move(env), deploy, leader_epoch, [this, job] {
    loop_->Post([this, job] { OnReleased(job); });
  });
  slot->Start();
  ShareStateCache();
}

// State that cannot shrink is first come, first served: see StateBound. The caches share equally in
// what that leaves; an attempt's own such state is in its tables as well.
void TaskManager::ShareStateCache() {
  size_t sharing = 0;
  for (const auto& [job, attempt] : attempts_) sharing += attempt->UsesStateCache() ? 1 : 0;
  if (sharing == 0) return;
  const size_t claimed = state_account_.load();
  const size_t left = plan_.tables - std::min(claimed, plan_.tables - plan_.tables / 8);
  const double each = static_cast<double>(left) / static_cast<double>(sharing) * caches_.share();
  for (const auto& [job, attempt] : attempts_) {
    if (attempt->UsesStateCache()) {
      attempt->SetCacheBytes(static_cast<size_t>(each) + attempt->ClaimedBytes());
    }
  }
}

// What is resident decides, not what was planned: user code keeps to no plan.
void TaskManager::WatchMemory() {
  const double before = caches_.share();
  const uint64_t resident = metrics::ResidentBytes();
  const double share = caches_.Look(resident);
  if (share != before) {
    if (share < before) {
      log::Warn("more memory is resident than taskmanager.memory allows; the state's caches shrink",
                {{"resident_bytes", resident},
                 {"budget_bytes", options_.memory_bytes},
                 {"caches_share", share}});
    }
    io_->Post([this, share] {
      rocksdb_share_ = share;
      if (rocksdb_ != nullptr) {
        rocksdb_->SetMemoryBytes(RocksDbBytes());
      }
      // The allocator keeps what was freed otherwise. Tables shrink as they are used: the last
      // look's are done by now.
      malloc_trim(0);
    });
  }
  ShareStateCache();  // attempts have been prepared or have claimed more since, or are on their way
  loop_->PostAfter(kWatchMemoryInterval, [this] { WatchMemory(); });
}

void TaskManager::Release(LocalAttempt& attempt, proto::CancelReason reason) {
  if (attempt.releasing()) return;
  attempt.Release(reason);
  loop_->PostAfter(options_.cancellation_timeout, [this, ref = attempt.ref()] {
    if (const LocalAttempt* late = Find(ref)) GiveUp(*late);
  });
}

// A thread that does not come back from user code cannot be ended; the process can. Whatever else
// runs here is restarted elsewhere, and the next incarnation says why.
void TaskManager::GiveUp(const LocalAttempt& attempt) {
  const proto::AttemptRef& ref = attempt.ref();
  const std::string limit = std::to_string(options_.cancellation_timeout.count()) +
                            " ms of a cancel (task.cancellation.timeout)";
  std::string why = "attempt " + std::to_string(ref.attempt()) + " of job " + ref.job_id() +
                    " did not end within " + limit;
  std::optional<uint32_t> stuck;
  std::string name;
  for (uint32_t i = 0; i < options_.slots && !stuck; ++i) {
    const auto running = black_box_->WhatRuns(i);
    if (!running || running->job_id != ref.job_id() || running->attempt != ref.attempt()) continue;
    name = running->operator_name;
    if (running->opening) {
      // Slow disks and servers hang here as well: that ends the process, and accuses nobody.
      why = "attempt " + std::to_string(ref.attempt()) + " of job " + ref.job_id() +
            ", still opening operator '" + name + "' (subtask " +
            std::to_string(running->id.index) + "), did not end within " + limit;
      continue;
    }
    stuck = i;
    why = "it did not return within " + limit;
  }
  log::Error("ending the process: a cancel does not come back",
             {{"job", ref.job_id()}, {"operator", name}, {"reason", why}});
  black_box_->NoteStuck(stuck, why);
  std::_Exit(kExitStuck);
}

void TaskManager::WatchSlots() {
  std::vector<std::chrono::nanoseconds> busy_since;
  for (const auto& slot : slots_) busy_since.push_back(slot->busy_since());
  for (const SlotWatchdog::Change& change :
       watchdog_.Look(busy_since, Clock::System().Monotonic())) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(change.lasted).count();
    if (!change.stuck) {
      log::Info("a slot has come back", {{"slot", change.slot}, {"after_s", seconds}});
      continue;
    }
    const auto running = black_box_->WhatRuns(change.slot);
    log::Warn("a subtask does not return from its turn; all of its slot stands still",
              {{"slot", change.slot},
               {"for_s", seconds},
               {"job", running ? running->job_id : ""},
               {"task", running ? running->vertex_name : ""},
               {"subtask", running ? std::to_string(running->id.index) : ""},
               {"operator", running ? running->operator_name : ""}});
  }
  loop_->PostAfter(kWatchInterval, [this] { WatchSlots(); });
}

void TaskManager::OnReleased(const std::string& job) {
  const auto released = attempts_.find(job);
  // Under the epoch of whoever leads now: a new leader waits for the end of an old one's attempt,
  // and does not hear what that says under its own epoch.
  proto::ToJobManager message = NewMessage();
  *message.mutable_attempt_released()->mutable_attempt() = released->second->ref();
  attempts_.erase(released);
  ShareStateCache();
  link_->Send(std::move(message));
  const auto next = waiting_.find(job);
  if (next != waiting_.end() && !ending_) {
    const proto::DeployJob deploy = std::move(next->second);
    waiting_.erase(next);
    StartAttempt(deploy, leader_epoch_.load());
  }
  if (ending_) End(exit_);
}

void TaskManager::OnCancel(const proto::CancelJob& cancel) {
  const proto::AttemptRef& ref = cancel.attempt();
  history_.Note(ref.job_id(), ref.attempt());
  const auto waiting = waiting_.find(ref.job_id());
  const bool was_waiting =
      waiting != waiting_.end() && waiting->second.attempt().attempt() == ref.attempt();
  if (was_waiting) waiting_.erase(waiting);
  if (LocalAttempt* attempt = Find(ref)) {
    Release(*attempt, cancel.reason());
    return;
  }
  proto::ToJobManager message = NewMessage();
  *message.mutable_attempt_released()->mutable_attempt() = ref;
  link_->Send(std::move(message));
}

void TaskManager::OnStreamFailure(const std::string& job, uint32_t attempt,
                                  const std::string& what) {
  const auto it = attempts_.find(job);
  if (it != attempts_.end() && it->second->ref().attempt() == attempt) {
    it->second->PeerFailed(what);
  }
}

}  // namespace weir
