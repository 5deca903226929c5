#include "cli/local.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/durable_file.h"
#include "base/file/writable.h"
#include "cli/child.h"
#include "cli/job_client.h"
#include "cli/last_words.h"
#include "cli/local_files.h"
#include "cli/output.h"
#include "cli/overridden_settings.h"
#include "cli/ports.h"
#include "cli/ready_file.h"
#include "cli/respawn.h"

namespace weir::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr milliseconds kStartPoll{5};
constexpr milliseconds kCalmPoll{100};
constexpr int kLockTries = 20;
// How often the JobManager is asked whether jobs wait for slots.
constexpr milliseconds kDemandInterval{500};
// How often it is asked before it has answered.
constexpr milliseconds kAnswerInterval{10};
constexpr milliseconds kStartLimit{15'000};
// A TaskManager that has gone this long is not counted on: another is started for a job that waits.
constexpr milliseconds kComeBackLimit{5'000};
// The first start of a broker fetches it.
constexpr milliseconds kBrokerStartLimit{300'000};
// Daemons have this long to end in good order.
constexpr milliseconds kStopLimit{5'000};

/// 0 when it is not there.
std::streamoff SizeOf(const std::string& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : static_cast<std::streamoff>(size);
}

constexpr const char* kBrokerScript = "tools/kafka/start.sh";

/// In the source tree that this program was built in, or that it is called in.
absl::StatusOr<std::string> FindBrokerScript() {
  std::error_code error;
  for (fs::path folder : {fs::path(ThisProgram()).parent_path(), fs::current_path(error)}) {
    for (;; folder = folder.parent_path()) {
      const std::string script = folder / kBrokerScript;
      if (access(script.c_str(), X_OK) == 0) return script;
      if (!folder.has_relative_path()) break;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--broker needs ", kBrokerScript,
                   " of Weir's source tree, which lies neither above ", ThisProgram(),
                   " nor above this folder; call it within a source tree, or leave "
                   "--broker out and give jobs the address of a broker of your own"));
}

/// One daemon: its process, how it was started, and when it is to be started again.
struct Daemon {
  std::string name;  // "jobmanager", "tm-1"
  std::vector<std::string> arguments;
  std::string output;
  std::streamoff output_begins = 0, log_begins = 0;  // where this incarnation's words do
  std::optional<Child> child;
  steady_clock::time_point started;
  steady_clock::time_point start_at;  // when child is empty
  RespawnBackoff backoff;
  bool was_ready = false;  // it, or one before it, answered, or was registered
  bool surplus = false;    // a TaskManager that was started because a job needed it
  steady_clock::time_point idle_since = steady_clock::now();  // of a surplus one
  steady_clock::time_point registered;                        // when it was seen to be, last
  milliseconds start_limit = kStartLimit;
};

/// The cluster. One thread; every step returns quickly.
class LocalCluster {
 public:
  LocalCluster(const Context& context, const LocalOptions& options)
      : context_(context), options_(options), files_(LocalDirectory(context.config.options())) {}
  ~LocalCluster() { Stop(); }

  /// Takes the directory and starts the JobManager.
  absl::Status Start();
  /// One round: reap, respawn, note who is ready, ask for demand.
  absl::Status Step();
  /// JobManager first: it must not take the TaskManagers' end for failures of its jobs.
  void Stop();

  bool ready() const { return announced_; }

 private:
  absl::Status CheckCheckpointDirectory() const;
  absl::Status TakeDirectory();
  void Sweep() const;
  absl::Status Launch(Daemon& daemon);
  absl::Status LaunchAgain(Daemon& daemon);
  absl::Status OnNotComeUp(Daemon& daemon);
  absl::Status MeetJobManager();
  std::vector<std::string> JobManagerArguments() const;
  std::string FreeName() const;
  absl::Status AddTaskManager(bool surplus);
  absl::Status AddBroker();
  std::string BrokerAddress() const;
  void WatchBroker();
  void WriteClusterFile() const;
  absl::Status OnDeath(Daemon& daemon, const Ending& ending);
  std::string Log(const Daemon& daemon) const;
  std::string LastWords(const Daemon& daemon) const;
  void Announce(const proto::ClusterStatusReply& status);
  void MeetDemand(const proto::ClusterStatusReply& status);
  void DismissIdle(const proto::ClusterStatusReply& status);
  void Say(const std::string& text) const {
    if (!context_.json) *context_.err << text << std::endl;
  }
  std::string Address() const {
    return absl::StrCat(context_.config.options().jobmanager.bind_host, ":", listens_->rpc_port);
  }
  /// All that are started again when they die.
  std::vector<Daemon*> Kept() {
    std::vector<Daemon*> all = {&job_manager_};
    for (auto& tm : task_managers_) all.push_back(tm.get());
    if (broker_ != nullptr) all.push_back(broker_.get());
    return all;
  }

  const Context& context_;
  const LocalOptions& options_;
  const LocalFiles files_;
  UniqueFd lock_;  // held from TakeDirectory to Stop
  Daemon job_manager_;
  std::vector<std::unique_ptr<Daemon>> task_managers_;
  std::unique_ptr<Daemon> broker_;                   // null: none is wanted
  std::string broker_address_;                       // where it answered last
  pid_t broker_answered_ = 0;                        // its process then
  std::vector<std::unique_ptr<Daemon>> leaving_;     // TaskManagers that were told to end
  std::optional<JobManagerOptions::Ready> listens_;  // since the JobManager led first
  bool leads_ = false;                               // the one that was started last
  bool announced_ = false;
  Json cluster_;  // what was announced
  steady_clock::time_point begun_ = steady_clock::now();
  steady_clock::time_point asked_;
  std::unique_ptr<JobClient> client_;  // while the JobManager answers
};

/// Without it every submission would be refused. One below jobmanager.dir is ours. Makes it: only
/// once the lock is held.
absl::Status LocalCluster::CheckCheckpointDirectory() const {
  const std::string& directory = context_.config.options().checkpoint.dir;
  if (directory.empty()) return absl::OkStatus();
  const absl::Status usable = CheckWritable(directory, "storage");
  if (usable.ok()) return usable;
  return absl::InvalidArgumentError(absl::StrCat("checkpoint.dir '", directory,
                                                 "' cannot be used: ", usable.message(),
                                                 "; choose one that this user can write to"));
}

/// Until the lock is held, everything here may be a running cluster's.
absl::Status LocalCluster::TakeDirectory() {
  std::error_code error;
  for (const std::string& dir : {files_.TaskManagers(), files_.Logs(), files_.JobManager()}) {
    fs::create_directories(dir, error);
    if (error) {
      return absl::InvalidArgumentError(absl::StrCat("directory '", dir, "' cannot be made (",
                                                     error.message(), "); set local.dir"));
    }
  }
  UniqueFd lock(open(files_.Lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock.get() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", files_.Lock(), "' cannot be opened (",
                                                   strerror(errno), "); set local.dir"));
  }
  bool taken = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
  // A command that looks whether a cluster runs holds it for a moment (IsTaken).
  for (int i = 0; !taken && i < kLockTries; ++i) {
    std::this_thread::sleep_for(kStartPoll);
    taken = flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
  }
  if (!taken) {
    const auto running = ReadRunningCluster(files_);
    return absl::FailedPreconditionError(absl::StrCat(
        "a local cluster runs in '", files_.dir, "' already",
        running ? absl::StrCat(" (pid ", running->pid, ", JobManager at ", running->address, ")")
                : "",
        "; use it, stop it, or set local.dir to another directory"));
  }
  lock_ = std::move(lock);
  return absl::OkStatus();
}

/// Whatever lies here belongs to dead processes: the lock is ours, and children die with their
/// launcher. The metadata, the checkpoints and the logs stay, unless a fresh start is asked for.
void LocalCluster::Sweep() const {
  std::error_code ignored;
  fs::remove(files_.Cluster(), ignored);
  fs::remove(files_.Ready(), ignored);
  for (const auto& entry : fs::directory_iterator(files_.TaskManagers(), ignored)) {
    fs::remove_all(entry.path(), ignored);
  }
  if (options_.fresh) {
    fs::remove_all(files_.JobManager(), ignored);
    fs::remove_all(files_.Logs(), ignored);
    fs::remove_all(files_.Broker(), ignored);
    fs::create_directories(files_.JobManager(), ignored);
    fs::create_directories(files_.Logs(), ignored);
  }
}

absl::Status LocalCluster::Start() {
  absl::Status taken = TakeDirectory();
  if (!taken.ok()) return taken;
  if (absl::Status usable = CheckCheckpointDirectory(); !usable.ok()) return usable;
  Sweep();
  job_manager_.name = "jobmanager";
  job_manager_.arguments = JobManagerArguments();
  absl::Status launched = options_.broker ? AddBroker() : absl::OkStatus();
  if (launched.ok()) launched = Launch(job_manager_);
  return launched;
}

/// The JobManager binds its ports itself and tells them; where only a default is taken, it takes
/// another. From then on it keeps them: TaskManagers and people know them.
std::vector<std::string> LocalCluster::JobManagerArguments() const {
  const config::Options& o = context_.config.options();
  std::vector<std::string> arguments = {"jobmanager", "--ready-file", files_.Ready()};
  arguments.insert(arguments.end(), options_.inherited.begin(), options_.inherited.end());
  auto set = [&arguments](const std::string& key, const auto& value) {
    arguments.push_back("--set");
    arguments.push_back(absl::StrCat(key, "=", value));
  };
  if (listens_) {
    set("jobmanager.rpc-port", listens_->rpc_port);
    if (listens_->metrics_port != 0) set("metrics.port", listens_->metrics_port);
  } else {
    if (!context_.config.IsSet("jobmanager.rpc-port")) arguments.push_back("--other-rpc-port");
    if (!context_.config.IsSet("metrics.port")) arguments.push_back("--other-metrics-port");
  }
  if (o.jobmanager.dir.empty()) set("jobmanager.dir", files_.JobManager());
  if (o.log.dir.empty()) set("log.dir", files_.Logs());
  return arguments;
}

/// Looks whether the JobManager that was started last leads. At its first time the TaskManagers are
/// started: it is known now where they find it.
absl::Status LocalCluster::MeetJobManager() {
  if (leads_ || !job_manager_.child) return absl::OkStatus();
  const auto ready = ReadReadyFile(files_.Ready(), job_manager_.child->pid());
  if (!ready) return absl::OkStatus();
  leads_ = true;
  if (listens_) return absl::OkStatus();
  listens_ = *ready;
  const config::Options& o = context_.config.options();
  const std::tuple<const char*, int64_t, int64_t> ports[] = {
      {"jobmanager.rpc-port", o.jobmanager.rpc_port, listens_->rpc_port},
      {"metrics.port", o.metrics.enabled ? o.metrics.port : 0, listens_->metrics_port}};
  for (const auto& [key, wanted, got] : ports) {
    if (wanted == 0 || wanted == got) continue;
    Say(absl::StrCat("Port ", wanted, " (", key, ") is taken; using ", got));
  }
  job_manager_.arguments = JobManagerArguments();
  const int64_t wanted = options_.task_managers.value_or(o.taskmanager.min_instances);
  absl::Status launched;
  for (int64_t i = 0; i < wanted && launched.ok(); ++i) launched = AddTaskManager(false);
  return launched;
}

absl::Status LocalCluster::Launch(Daemon& daemon) {
  // Whoever tidies up may have deleted it under the running cluster.
  std::error_code error;
  fs::create_directories(files_.Logs(), error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("directory '", files_.Logs(), "' cannot be made: ", error.message()));
  }
  daemon.output = absl::StrCat(files_.Logs(), "/", daemon.name, ".out");
  daemon.output_begins = SizeOf(daemon.output);
  daemon.log_begins = SizeOf(Log(daemon));
  auto child = Child::Spawn(daemon.arguments, daemon.output);
  if (!child.ok()) return child.status();
  daemon.child.emplace(*std::move(child));
  daemon.started = steady_clock::now();
  return absl::OkStatus();
}

/// Once the cluster stands, what cannot be started now (no memory for a process) is tried later.
absl::Status LocalCluster::LaunchAgain(Daemon& daemon) {
  const absl::Status launched = Launch(daemon);
  if (launched.ok() || !announced_) return launched;
  const milliseconds wait = std::max(daemon.backoff.OnDeath(milliseconds(0)), kDemandInterval);
  daemon.start_at = steady_clock::now() + wait;
  Say(absl::StrCat(daemon.name, " cannot be started: ", launched.message(), "; trying again in ",
                   FormatDuration(wait)));
  return absl::OkStatus();
}

absl::Status LocalCluster::OnNotComeUp(Daemon& daemon) {
  const std::string what =
      absl::StrCat(daemon.name, " did not come up within ", FormatDuration(daemon.start_limit));
  if (!announced_) {
    return absl::InternalError(absl::StrCat(what, ":\n",
                                            Tail(daemon.output, daemon.output_begins, 20),
                                            "\nIts files are in ", files_.Logs()));
  }
  daemon.child.reset();  // kills it
  const milliseconds wait = daemon.backoff.OnDeath(milliseconds(0));
  daemon.start_at = steady_clock::now() + wait;
  Say(absl::StrCat(what, "; starting it again",
                   wait.count() > 0 ? absl::StrCat(" in ", FormatDuration(wait)) : ""));
  return absl::OkStatus();
}

/// The first name that none of them has, nor one that is still ending.
std::string LocalCluster::FreeName() const {
  for (size_t i = 1;; ++i) {
    const std::string name = absl::StrCat("tm-", i);
    auto has_it = [&name](const auto& daemon) { return daemon->name == name; };
    if (std::none_of(task_managers_.begin(), task_managers_.end(), has_it) &&
        std::none_of(leaving_.begin(), leaving_.end(), has_it)) {
      return name;
    }
  }
}

absl::Status LocalCluster::AddTaskManager(bool surplus) {
  auto daemon = std::make_unique<Daemon>();
  const config::Options& o = context_.config.options();
  daemon->name = FreeName();
  daemon->surplus = surplus;
  auto& arguments = daemon->arguments;
  arguments = {"taskmanager"};
  arguments.insert(arguments.end(), options_.inherited.begin(), options_.inherited.end());
  auto set = [&arguments](const std::string& key, const auto& value) {
    arguments.push_back("--set");
    arguments.push_back(absl::StrCat(key, "=", value));
  };
  set("jobmanager.address", Address());
  set("taskmanager.id", daemon->name);
  set("taskmanager.cluster-id", listens_->cluster_id);
  set("taskmanager.dir", files_.TaskManagers());
  // Several on one machine cannot share one port, whatever is configured.
  for (const char* port : {"taskmanager.rpc-port", "taskmanager.data-port", "metrics.port"}) {
    set(port, 0);
  }
  if (options_.slots) set("taskmanager.slots", *options_.slots);
  if (o.log.dir.empty()) set("log.dir", files_.Logs());
  task_managers_.push_back(std::move(daemon));
  return LaunchAgain(*task_managers_.back());
}

absl::Status LocalCluster::AddBroker() {
  const absl::StatusOr<std::string> script = FindBrokerScript();
  if (!script.ok()) return script.status();
  broker_ = std::make_unique<Daemon>();
  broker_->name = "broker";
  broker_->arguments = {"broker", *script, files_.Broker()};
  broker_->start_limit = kBrokerStartLimit;
  Say("Starting a Kafka broker; the first time that takes a while");
  return Launch(*broker_);
}

/// Empty: the process has not chosen a port yet. It writes the port and then its pid; until then
/// both are those of the broker before, and somebody else may listen there by now.
std::string LocalCluster::BrokerAddress() const {
  std::ifstream pid_file(files_.Broker() + "/pid");
  pid_t pid = 0;
  if (!(pid_file >> pid) || pid != broker_->child->pid()) return "";
  std::ifstream in(files_.Broker() + "/port");
  std::string port;
  return std::getline(in, port) && !port.empty() ? "127.0.0.1:" + port : "";
}

/// Each process of the broker is looked at until it answers: one that was started again keeps its
/// port only while nobody else has it.
void LocalCluster::WatchBroker() {
  if (broker_ == nullptr || !broker_->child || broker_->child->pid() == broker_answered_) return;
  const std::string address = BrokerAddress();
  int64_t port = 0;
  if (!absl::SimpleAtoi(address.substr(address.find(':') + 1), &port)) return;
  if (!Answers("127.0.0.1", port)) return;
  broker_->was_ready = true;
  broker_answered_ = broker_->child->pid();
  const bool moved = address != broker_address_;
  broker_address_ = address;
  if (!announced_ || !moved) return;
  cluster_["broker"] = address;
  WriteClusterFile();
  Say(absl::StrCat("The broker's port was taken meanwhile: it is at ", address, " now"));
}

void LocalCluster::WriteClusterFile() const {
  const std::string fresh = files_.Cluster() + ".new";
  std::ofstream(fresh) << Dump(cluster_) << '\n';
  std::error_code ignored;
  fs::rename(fresh, files_.Cluster(), ignored);
}

std::string LocalCluster::Log(const Daemon& daemon) const {
  const std::string& dir = context_.config.options().log.dir;
  return absl::StrCat(dir.empty() ? files_.Logs() : dir, "/", daemon.name, ".log");
}

/// What a daemon said last, in its log and otherwise; of those before it nothing.
std::string LocalCluster::LastWords(const Daemon& daemon) const {
  std::string words = ":";
  for (const std::string& tail :
       {Tail(Log(daemon), daemon.log_begins, 10), Tail(daemon.output, daemon.output_begins, 10)}) {
    if (!tail.empty()) absl::StrAppend(&words, "\n", tail);
  }
  return absl::StrCat(words, "\nIts files are in ", files_.Logs());
}

absl::Status LocalCluster::OnDeath(Daemon& daemon, const Ending& ending) {
  daemon.child.reset();
  if (&daemon == &job_manager_) leads_ = false;
  const auto now = steady_clock::now();
  // Only a cluster that cannot come up ends. Later, a TaskManager that came for a job may die of
  // that before it was seen here, and takes nothing else along.
  if (!announced_ && !daemon.was_ready) {
    return absl::InternalError(
        absl::StrCat(daemon.name, " ", ending.Text(), " before it was ready", LastWords(daemon)));
  }
  const auto lifetime = std::chrono::duration_cast<milliseconds>(now - daemon.started);
  const std::string why =
      LastError(Log(daemon), daemon.log_begins, daemon.output, daemon.output_begins);
  const milliseconds wait = daemon.backoff.OnDeath(lifetime);
  daemon.start_at = now + wait;
  Say(absl::StrCat(daemon.name, " ", ending.Text(), "; starting it again",
                   wait.count() > 0 ? absl::StrCat(" in ", FormatDuration(wait)) : "",
                   why.empty() ? "" : absl::StrCat("; its last words:\n  ", why)));
  // It keeps the port that TaskManagers and commands know.
  if (&daemon == &job_manager_ && !context_.config.IsSet("jobmanager.rpc-port") &&
      absl::StrContains(why, "cannot listen")) {
    Say(absl::StrCat("Another program has taken ", Address(),
                     " meanwhile: end that, or stop this cluster and start it again, which takes "
                     "another port and goes on with the jobs"));
  }
  return absl::OkStatus();
}

absl::Status LocalCluster::Step() {
  const auto now = steady_clock::now();
  std::erase_if(leaving_, [](const auto& tm) { return !tm->child || tm->child->Poll(); });
  if (absl::Status met = MeetJobManager(); !met.ok()) return met;
  for (Daemon* daemon : Kept()) {
    absl::Status status;
    if (!daemon->child) {
      if (now >= daemon->start_at) status = LaunchAgain(*daemon);
    } else if (const auto ending = daemon->child->Poll()) {
      status = OnDeath(*daemon, *ending);
    } else if (!daemon->was_ready && now - daemon->started > daemon->start_limit) {
      status = OnNotComeUp(*daemon);
    }
    if (!status.ok()) return status;
  }
  const milliseconds interval = announced_ ? kDemandInterval : kAnswerInterval;
  if (now - asked_ < interval) return absl::OkStatus();
  asked_ = now;
  WatchBroker();
  // A channel that has failed once looks up only every few seconds while nobody calls on it: one is
  // made when the JobManager listens, and another when it has failed.
  if (!leads_) return absl::OkStatus();  // starting, or dead and about to be started again
  if (client_ == nullptr) client_ = std::make_unique<JobClient>(Address());
  const auto answer = client_->StatusNow();
  // Another cluster's JobManager may have got the port of ours that died.
  if (!answer.ok() || answer->cluster_id() != listens_->cluster_id) {
    client_.reset();
    return absl::OkStatus();
  }
  job_manager_.was_ready = true;
  for (auto& tm : task_managers_) {
    for (const auto& registered : answer->task_managers()) {
      if (registered.tm_id() != tm->name) continue;
      tm->was_ready = true;
      tm->registered = now;
    }
  }
  if (announced_) {
    MeetDemand(*answer);
    DismissIdle(*answer);
  } else {
    Announce(*answer);
  }
  return absl::OkStatus();
}

/// Says once that the cluster stands: every TaskManager is registered.
void LocalCluster::Announce(const proto::ClusterStatusReply& status) {
  for (const auto& tm : task_managers_) {
    if (!tm->was_ready) return;
  }
  if (broker_ != nullptr && !broker_->was_ready) return;
  announced_ = true;
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun_);
  const std::string& host = context_.config.options().jobmanager.bind_host;
  cluster_ = {{"pid", getpid()},
              {"address", Address()},
              {"cluster_id", listens_->cluster_id},
              {"dir", files_.dir},
              {"logs", files_.Logs()}};
  if (listens_->metrics_port != 0)
    cluster_["metrics"] = absl::StrCat("http://", host, ":", listens_->metrics_port, "/metrics");
  if (broker_ != nullptr) cluster_["broker"] = broker_address_;
  cluster_["task_managers"] = Json::array();
  for (const auto& tm : status.task_managers()) {
    cluster_["task_managers"].push_back({{"id", tm.tm_id()},
                                         {"pid", tm.pid()},
                                         {"slots", tm.slots()},
                                         {"data_port", tm.data_port()},
                                         {"metrics_port", tm.metrics_port()}});
  }
  WriteClusterFile();
  if (context_.json) {
    context_.Print(cluster_);
    return;
  }
  std::ostream& out = *context_.out;
  out << "Cluster ready in " << FormatDuration(took) << ": JobManager at " << Address() << ", "
      << task_managers_.size() << " TaskManagers with " << status.slots_total() << " slots\n";
  if (listens_->metrics_port != 0)
    out << "Metrics      http://" << host << ':' << listens_->metrics_port << "/metrics\n";
  if (broker_ != nullptr) {
    out << "Broker       " << broker_address_ << ", its files in " << files_.Broker() << "\n";
  }
  out << "Logs         " << files_.Logs() << "\n"
      << "Submit jobs from another terminal with `weir run libjob.so`; Ctrl-C stops the cluster"
      << std::endl;
}

void LocalCluster::MeetDemand(const proto::ClusterStatusReply& status) {
  if (status.slots_wanted() == 0) return;
  // Those that were started for it have not all registered yet, or one that died is on its way
  // back. What stands still is not waited for.
  const auto now = steady_clock::now();
  for (const auto& tm : task_managers_) {
    if (!tm->was_ready || (tm->registered < asked_ && now - tm->registered < kComeBackLimit))
      return;
  }
  const int64_t slots =
      status.task_managers_size() > 0 ? std::max(1u, status.task_managers(0).slots()) : 1;
  const int64_t lacking = (status.slots_wanted() + slots - 1) / slots;
  const int64_t limit = context_.config.options().taskmanager.max_instances;
  const int64_t room = limit - static_cast<int64_t>(task_managers_.size());
  const int64_t more = std::min(lacking, room);
  if (more <= 0) return;
  Say(absl::StrCat("A job waits for ", status.slots_wanted(), " slots: starting ", more,
                   " more TaskManager", more == 1 ? "" : "s"));
  for (int64_t i = 0; i < more; ++i) {
    const absl::Status added = AddTaskManager(true);
    if (!added.ok()) Say(std::string(added.message()));
  }
}

/// TaskManagers that came for a job go when none has needed them for a while.
void LocalCluster::DismissIdle(const proto::ClusterStatusReply& status) {
  const auto now = steady_clock::now();
  const milliseconds limit = context_.config.options().taskmanager.idle_timeout;
  for (auto& tm : task_managers_) {
    bool idle = false;
    for (const auto& registered : status.task_managers()) {
      idle = idle || (registered.tm_id() == tm->name && registered.job_ids().empty() &&
                      registered.free_slots() == registered.slots());
    }
    if (!idle || status.slots_wanted() > 0) tm->idle_since = now;
    if (!tm->surplus || now - tm->idle_since < limit || !tm->child) continue;
    Say(absl::StrCat(tm->name, " has run no job for ", FormatDuration(limit), ": ending it"));
    tm->child->Signal(SIGTERM);
    leaving_.push_back(std::move(tm));
  }
  std::erase(task_managers_, nullptr);
}

void LocalCluster::Stop() {
  std::error_code ignored;
  if (lock_.get() < 0) return;  // nothing here is ours
  fs::remove(files_.Cluster(), ignored);
  fs::remove(files_.Ready(), ignored);
  client_.reset();  // the JobManager waits for connections to end
  auto end = [](std::vector<Daemon*> daemons) {
    for (Daemon* daemon : daemons) {
      if (daemon->child) daemon->child->Signal(SIGTERM);
    }
    const auto limit = steady_clock::now() + kStopLimit;
    for (Daemon* daemon : daemons) {
      while (daemon->child && !daemon->child->Poll() && steady_clock::now() < limit) {
        // SIGCHLD is blocked: it ends the wait.
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        const timespec wait{0, std::chrono::nanoseconds(kStartPoll).count()};
        sigtimedwait(&child, nullptr, &wait);
      }
      daemon->child.reset();  // kills what is left
    }
  };
  end({&job_manager_});
  std::vector<Daemon*> rest;
  for (auto* tms : {&task_managers_, &leaving_}) {
    for (auto& tm : *tms) rest.push_back(tm.get());
  }
  end(rest);
  if (broker_ != nullptr) end({broker_.get()});
  for (const auto& entry : fs::directory_iterator(files_.TaskManagers(), ignored)) {
    fs::remove_all(entry.path(), ignored);
  }
  lock_ = UniqueFd();
}

}  // namespace

ExitCode BecomeBroker(const Context& context, const std::string& script,
                      const std::string& directory) {
  execl(script.c_str(), script.c_str(), directory.c_str(), "--foreground", nullptr);
  return context.Fail(absl::InternalError(absl::StrCat(script, ": ", strerror(errno))));
}

ExitCode RunLocal(const Context& context, const LocalOptions& options) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  WarnOfOverriddenByLocal(context);

  LocalCluster cluster(context, options);
  absl::Status status = cluster.Start();
  while (status.ok()) {
    const milliseconds poll = cluster.ready() ? kCalmPoll : kStartPoll;
    const timespec wait{0, std::chrono::nanoseconds(poll).count()};
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal > 0 && signal != SIGCHLD) {
      if (!context.json) *context.err << "\nStopping the cluster" << std::endl;
      return kDone;
    }
    status = cluster.Step();
  }
  return context.Fail(status);
}

}  // namespace weir::cli
