#include "jobmanager/job_manager.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/file/durable_file.h"
#include "base/loopback.h"
#include "ha/directory_metadata_store.h"
#include "ha/file_lock_election.h"
#include "jobmanager/control_loop.h"
#include "jobmanager/job_service.h"
#include "jobmanager/lineage_records.h"
#include "jobmanager/task_manager_gateway.h"
#include "log/grpc_log.h"
#include "log/log.h"
#include "metrics/http_server.h"
#include "metrics/process_metrics.h"

namespace weir::jobmanager {
namespace {

constexpr int kMaxMessageBytes = 16 << 20;
// Who connects and says nothing is not kept for gRPC's two minutes.
constexpr int kGreetingTimeoutMs = 5'000;
// Calls at once on one connection: a TaskManager needs a few, a client one for each job it waits
// for.
constexpr int kMaxCallsPerConnection = 256;
// Of the pools of I/O threads. Each of the latter two's may hang in one storage.
constexpr size_t kOwnThreads = 4;
constexpr size_t kCheckpointThreads = 8;
constexpr size_t kClientThreads = 4;
constexpr milliseconds kDrain{2'000};
// Ports above a taken one that are tried before any.
constexpr int kNeighbours = 20;
constexpr int kLastPort = 65535;
constexpr char kClusterIdKey[] = "cluster/id";

absl::Status CheckOptions(const JobManagerOptions& options) {
  if (options.directory.empty()) {
    return absl::InvalidArgumentError("jobmanager.dir is empty; give the JobManager a directory");
  }
  if (!IsLoopback(options.bind_host) && !options.insecure) {
    return absl::InvalidArgumentError(absl::StrCat(
        "jobmanager.bind-host is ", options.bind_host,
        ", and whoever reaches it can run code here; listen on 127.0.0.1, or say --insecure"));
  }
  if (options.heartbeat_interval.count() <= 0 ||
      options.heartbeat_timeout < 2 * options.heartbeat_interval) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the heartbeat time-out (", options.heartbeat_timeout.count(),
        " ms) must be at least twice the interval (", options.heartbeat_interval.count(), " ms)"));
  }
  return absl::OkStatus();
}

/// Waits for the first decision of an election.
class FirstElection final : public LeaderElectionListener {
 public:
  explicit FirstElection(std::atomic<bool>* lost) : lost_(lost) {}

  void OnElected(LeaderEpoch epoch) override {
    std::lock_guard lock(mutex_);
    epoch_ = epoch;
    changed_.notify_all();
  }
  void OnLost(const absl::Status& reason) override {
    log::Error("leadership lost", {{"reason", std::string(reason.message())}});
    lost_->store(true);
  }
  void OnTrouble(const absl::Status& why) override {
    std::lock_guard lock(mutex_);
    trouble_ = why;
  }

  /// None: not within this time.
  std::optional<LeaderEpoch> Wait(milliseconds patience) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, patience, [this] { return epoch_.has_value(); });
    return epoch_;
  }
  /// What kept this one from standing for election; ok where another one holds the lock.
  absl::Status trouble() {
    std::lock_guard lock(mutex_);
    return trouble_;
  }

 private:
  std::atomic<bool>* const lost_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<LeaderEpoch> epoch_;  // guarded by mutex_
  absl::Status trouble_;              // guarded by mutex_
};

class Assembly final : public JobManager {
 public:
  Assembly(JobManagerOptions options, std::unique_ptr<LeaderElection> election)
      : options_(std::move(options)),
        election_listener_(&fenced_),
        election_(std::move(election)) {}
  ~Assembly() override { Stop(); }

  absl::Status Init();
  void Stop() override;
  int rpc_port() const override { return rpc_port_; }
  int metrics_port() const override { return metrics_port_; }
  const std::string& cluster_id() const override { return cluster_id_; }
  bool fenced() const override { return fenced_; }

 private:
  absl::Status OpenDirectories();
  absl::Status StartServer();
  absl::Status Listen(int port);
  absl::Status Lead();
  absl::Status StartMetrics();
  absl::StatusOr<std::string> ClusterId(LeaderEpoch epoch);
  std::string Address() const { return absl::StrCat(options_.bind_host, ":", rpc_port_); }

  JobManagerOptions options_;
  std::string holder_;
  std::atomic<bool> fenced_{false};
  FirstElection election_listener_;
  std::unique_ptr<LeaderElection> election_;
  std::unique_ptr<DirectoryMetadataStore> metadata_;
  std::unique_ptr<ArtifactStore> artifacts_;
  metrics::Registry registry_;
  std::vector<metrics::Registration> process_metrics_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<IoThreads> own_io_;
  std::unique_ptr<IoThreads> checkpoint_io_;
  std::unique_ptr<IoThreads> client_io_;
  std::unique_ptr<ControlLoop> loop_;
  JobServiceImpl job_service_;
  TaskManagerGatewayService gateway_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<metrics::HttpServer> http_;
  int rpc_port_ = 0;
  int metrics_port_ = 0;
  std::string cluster_id_;
  std::atomic<bool> leading_{false};
  bool stopped_ = false;
};

absl::Status Assembly::OpenDirectories() {
  std::error_code error;
  options_.directory = std::filesystem::absolute(options_.directory, error).string();
  if (absl::Status s = MakeDirectories(options_.directory, "jobmanager"); !s.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("jobmanager.dir: ", s.message()));
  }
  if (options_.checkpoint_directory.empty()) {
    options_.checkpoint_directory = options_.directory + "/checkpoints";
  }
  options_.checkpoint_directory =
      std::filesystem::absolute(options_.checkpoint_directory, error).string();
  if (options_.savepoint_directory.empty()) {
    options_.savepoint_directory = options_.checkpoint_directory + "/savepoints";
  }
  options_.savepoint_directory =
      std::filesystem::absolute(options_.savepoint_directory, error).string();
  auto artifacts = ArtifactStore::Open(options_.directory + "/artifacts");
  if (!artifacts.ok()) return artifacts.status();
  artifacts_ = *std::move(artifacts);
  auto metadata = DirectoryMetadataStore::Open(options_.directory + "/metadata");
  if (!metadata.ok()) return metadata.status();
  metadata_ = *std::move(metadata);
  return absl::OkStatus();
}

/// The port that is wanted; where another will do, those that follow it, and then any. One that is
/// not of the ephemeral range is still free when the JobManager is started again.
std::vector<int> PortsToTry(int wanted, bool others) {
  std::vector<int> ports = {wanted};
  if (wanted == 0 || !others) return ports;
  for (int i = 1; i <= kNeighbours && wanted + i <= kLastPort; ++i) ports.push_back(wanted + i);
  ports.push_back(0);
  return ports;
}

/// Whether somebody listens there: only so that gRPC need not fail in many words. It is gRPC's own
/// bind that counts.
bool SurelyTaken(const std::string& host, int port) {
  if (port == 0) return false;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return false;
  const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return bind(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
         errno == EADDRINUSE;
}

absl::Status Assembly::StartServer() {
  absl::Status status;
  for (const int port : PortsToTry(options_.rpc_port, options_.other_rpc_port)) {
    status = Listen(port);
    if (status.ok()) break;
  }
  return status;
}

absl::Status Assembly::Listen(int port) {
  const absl::Status failed = absl::UnavailableError(
      absl::StrCat("cannot listen on ", options_.bind_host, ":", port,
                   "; is the port taken? Choose another by jobmanager.rpc-port (0: any free one)"));
  if (SurelyTaken(options_.bind_host, port)) return failed;
  rpc_port_ = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat(options_.bind_host, ":", port),
                           grpc::InsecureServerCredentials(), &rpc_port_);
  // Else a second JobManager could share the port and steal every other connection.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kGreetingTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.RegisterService(&job_service_);
  builder.RegisterService(&gateway_);
  server_ = builder.BuildAndStart();
  return server_ != nullptr && rpc_port_ > 0 ? absl::OkStatus() : failed;
}

absl::StatusOr<std::string> Assembly::ClusterId(LeaderEpoch epoch) {
  const absl::StatusOr<MetadataEntry> found = metadata_->Get(kClusterIdKey);
  if (found.ok()) return found->value;
  if (!absl::IsNotFound(found.status())) return found.status();
  const std::string id = Sha256Hex(UniqueFileName("cluster")).substr(0, 16);
  const auto put = metadata_->Put(kClusterIdKey, MetadataStore::kAbsent, id, epoch);
  if (!put.ok()) return put.status();
  return id;
}

absl::Status Assembly::Lead() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  holder_ = absl::StrCat(host, " process ", ::getpid());
  if (election_ == nullptr) {
    election_ = std::make_unique<FileLockElection>(
        FileLockElection::Options{.directory = options_.directory + "/leader", .holder = holder_});
  }
  if (absl::Status s = election_->Start(Address(), &election_listener_); !s.ok()) return s;
  const std::optional<LeaderEpoch> epoch = election_listener_.Wait(options_.leadership_wait);
  if (!epoch) {
    const absl::Status trouble = election_listener_.trouble();
    if (!trouble.ok()) {
      return absl::UnavailableError(absl::StrCat(
          "this JobManager could not stand for election in ", options_.directory, " within ",
          options_.leadership_wait.count(), " ms: ", trouble.message(),
          "; make room there, let this user write there, or choose another directory by "
          "jobmanager.dir"));
    }
    const auto leader = election_->CurrentLeader();
    const std::string who = leader.ok() && *leader
                                ? absl::StrCat((*leader)->holder, " at ", (*leader)->address)
                                : std::string("unknown");
    return absl::UnavailableError(absl::StrCat(
        "this JobManager was not elected in ", options_.directory, " within ",
        options_.leadership_wait.count(), " ms (another one leads: ", who,
        "); stop the other one, or give this one a directory of its own by jobmanager.dir"));
  }
  if (absl::Status s = metadata_->Fence(*epoch); !s.ok()) return s;
  log::SetLeaderEpoch(epoch->value);
  const absl::StatusOr<std::string> cluster = ClusterId(*epoch);
  if (!cluster.ok()) return cluster.status();
  cluster_id_ = *cluster;
  absl::StatusOr<std::vector<StoredJob>> jobs = ReadJobs(*metadata_);
  if (!jobs.ok()) return jobs.status();
  absl::StatusOr<std::map<std::string, proto::LineageRecord>> lineages = ReadLineages(*metadata_);
  if (!lineages.ok()) return lineages.status();
  std::set<std::string> needed;
  for (const StoredJob& job : *jobs) {
    if (job.record.end() == proto::JOB_STATE_UNSPECIFIED) needed.insert(job.record.artifact_hash());
  }
  artifacts_->Keep(needed);  // no upload can be under way yet

  ControlLoopOptions options{.metrics_interval = options_.metrics_interval,
                             .cluster_id = *cluster,
                             .rpc_address = Address(),
                             .metrics_port = static_cast<uint32_t>(metrics_port_),
                             .savepoint_directory = options_.savepoint_directory,
                             .deployment_timeout = options_.deployment_timeout,
                             .deletion_retry = options_.deletion_retry};
  options.control.membership.heartbeat_interval = options_.heartbeat_interval;
  options.control.membership.heartbeat_timeout = options_.heartbeat_timeout;
  const Leadership leadership{.epoch = *epoch,
                              .holder = holder_,
                              .incarnation = UniqueFileName("leader"),
                              .metadata = metadata_.get(),
                              .clock = &Clock::System(),
                              .election = election_.get()};
  own_io_ = std::make_unique<IoThreads>(kOwnThreads);
  checkpoint_io_ = std::make_unique<IoThreads>(kCheckpointThreads);
  client_io_ = std::make_unique<IoThreads>(kClientThreads);
  const IoPools io{
      .own = own_io_.get(), .checkpoints = checkpoint_io_.get(), .clients = client_io_.get()};
  metrics_ = std::make_unique<Metrics>(&registry_, options_.metrics_scope);
  loop_ = std::make_unique<ControlLoop>(std::move(options), leadership, io, metrics_.get(),
                                        [this](const std::string& why) {
                                          log::Error("leadership lost", {{"reason", why}});
                                          fenced_ = true;
                                        });
  loop_->Recover(*std::move(jobs), PastLineages(*std::move(lineages)));
  loop_->Start();
  job_service_.Serve(loop_.get(), io, artifacts_.get(), options_.checkpoint_directory);
  gateway_.Serve(loop_.get(), io.own, artifacts_.get());
  leading_ = true;
  log::Info("JobManager leads", {{"address", Address()},
                                 {"epoch", absl::StrCat(epoch->value)},
                                 {"cluster", *cluster},
                                 {"directory", options_.directory}});
  return absl::OkStatus();
}

absl::Status Assembly::StartMetrics() {
  if (options_.metrics_port < 0) return absl::OkStatus();
  process_metrics_ = metrics::AddProcessMetrics(registry_);
  std::string failed;
  for (const int port : PortsToTry(options_.metrics_port, options_.other_metrics_port)) {
    try {
      http_ =
          metrics::HttpServer::Start({.host = options_.bind_host, .port = port}, registry_, [this] {
            metrics::Health health{.alive = !fenced_, .ready = leading_};
            health.reason = health.ready ? "" : "not leading";
            health.details = {{"role", "jobmanager"}, {"address", Address()}};
            return health;
          });
      metrics_port_ = http_->port();
      return absl::OkStatus();
    } catch (const weir::Error& error) {
      failed = error.what();
    }
  }
  return absl::UnavailableError(failed);
}

absl::Status Assembly::Init() {
  if (absl::Status s = CheckOptions(options_); !s.ok()) return s;
  if (absl::Status s = OpenDirectories(); !s.ok()) return s;
  if (absl::Status s = StartServer(); !s.ok()) return s;
  if (absl::Status s = StartMetrics(); !s.ok()) return s;
  return Lead();
}

void Assembly::Stop() {
  if (stopped_) return;
  stopped_ = true;
  leading_ = false;
  if (loop_ != nullptr) loop_->BeginShutdown();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kDrain);
  for (IoThreads* pool : {own_io_.get(), client_io_.get(), checkpoint_io_.get()}) {
    if (pool != nullptr) pool->Stop();
  }
  if (loop_ != nullptr) loop_->Stop();
  http_.reset();
  if (election_ != nullptr) election_->Stop();
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobManager>> JobManager::Start(
    const JobManagerOptions& options, std::unique_ptr<LeaderElection> election) {
  auto assembly = std::make_unique<Assembly>(options, std::move(election));
  if (absl::Status s = assembly->Init(); !s.ok()) return s;
  return assembly;
}

}  // namespace weir::jobmanager

namespace weir {

int RunJobManager(const JobManagerOptions& options) {
  // Blocked before any thread begins, so that all inherit it and sigtimedwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  log::TakeOverGrpcLog();
  auto manager = jobmanager::JobManager::Start(options);
  if (!manager.ok()) {
    log::Error("the JobManager did not start",
               {{"reason", std::string(manager.status().message())}});
    return 1;
  }
  if (options.on_ready) {
    options.on_ready(
        {(*manager)->rpc_port(), (*manager)->metrics_port(), (*manager)->cluster_id()});
  }
  // Looks once in a while whether another leader has taken over.
  constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 200'000'000};
  while (!(*manager)->fenced()) {
    if (const int signal = sigtimedwait(&signals, nullptr, &kLook); signal > 0) {
      log::Info("the JobManager stops", {{"signal", std::to_string(signal)}});
      (*manager)->Stop();
      return 0;
    }
  }
  (*manager)->Stop();
  return 1;
}

}  // namespace weir
