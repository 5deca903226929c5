#include "taskmanager/task_manager.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/loopback.h"
#include "log/log.h"
#include "metrics/process_metrics.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kWatchInterval(500);
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

}  // namespace

TaskManager::TaskManager(TaskManagerOptions options)
    : options_(WithDefaults(std::move(options))),
      plan_(PlanOf(options_)),
      incarnation_(NewIncarnation()),
      watchdog_(options_.slots, options_.watchdog_timeout),
      caches_(options_.memory_bytes),
      cluster_id_(options_.cluster_id) {
  // What an earlier process left here belongs to attempts that are over.
  std::error_code error;
  std::filesystem::remove_all(options_.directory + "/attempts", error);
  std::filesystem::remove_all(CopiesDirectory(), error);
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
  copy_report_.on_damaged = [](const std::string& copy) {
    log::Warn("a local copy of a checkpoint file is damaged; the original is read in its place",
              {{"copy", copy}});
  };
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
  removals_ = std::make_unique<IoThread>("tm-removals");
  loop_ = std::make_unique<ControlLoop>("tm-control", Clock::System());
  // Peers of a process that was here before may speak as soon as it listens: to the loop.
  ExchangeOptions exchange;
  exchange.name = options_.id;
  exchange.listen_host = options_.bind_host;
  exchange.port = options_.data_port;
  exchange.unacknowledged = options_.unacknowledged_data;
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
  link_ = std::make_unique<JobManagerLink>(
      JobManagerLink::Options{.address = options_.job_manager,
                              .max_waiting_bytes = plan_.control(),
                              .unacknowledged = options_.unacknowledged},
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
  removals_.reset();
  io_.reset();
  attempts_.clear();
}

metrics::Health TaskManager::HealthNow() const {
  metrics::Health health;
  health.ready = ready_.load();
  if (!health.ready) {
    health.reason = "not registered with the JobManager " + options_.job_manager +
                    ", or it has said nothing for longer than the heartbeat's time-out";
  }
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
  const auto read = [this](const char* from, const std::atomic<uint64_t>& bytes) {
    registrations_.push_back(metrics_.AddFunction(
        "weir_checkpoint_read_bytes_total", "Read of checkpoint files, to restore and to merge",
        metrics::Family::Type::kCounter, {{"from", from}},
        [&bytes] { return static_cast<double>(bytes.load()); }));
  };
  read("copy", copy_report_.local_bytes);
  read("checkpoint_dir", copy_report_.stored_bytes);
  for (const auto& [part, bytes] : plan_.Parts()) {
    registrations_.push_back(
        metrics_.AddFunction("weir_memory_plan_bytes", "How the memory budget is shared out",
                             metrics::Family::Type::kGauge, {{"part", part}},
                             [bytes = bytes] { return static_cast<double>(bytes); }));
  }
}

}  // namespace weir
