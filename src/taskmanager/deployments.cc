#include "taskmanager/task_manager.h"

#include <malloc.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "log/log.h"

namespace weir {
namespace {

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

LocalAttempt* TaskManager::Find(const proto::AttemptRef& ref) {
  for (const auto& [key, attempt] : attempts_) {
    if (key.first == ref.job_id() && attempt->ref().attempt() == ref.attempt()) {
      return attempt.get();
    }
  }
  return nullptr;
}

proto::DeployJob* TaskManager::FindWaiting(const proto::AttemptRef& ref) {
  for (auto& [key, deploy] : waiting_) {
    if (key.first == ref.job_id() && deploy.attempt().attempt() == ref.attempt()) return &deploy;
  }
  return nullptr;
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
  const auto running = attempts_.find(KeyOf(deploy));
  if (running != attempts_.end()) {
    waiting_[KeyOf(deploy)] = deploy;
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
  env.removals = removals_.get();
  for (const auto& slot : slots_) env.slots.push_back(slot.get());
  env.exchange = exchange_.get();
  env.network = network_.get();
  env.black_box = black_box_.get();
  env.watchdog_timeout = options_.watchdog_timeout;
  env.artifacts = artifacts_.get();
  env.metrics = &metrics_;
  env.metrics_scope = options_.metrics_scope;
  env.metrics_interval = options_.metrics_interval;
  env.latency_interval = options_.latency_interval;
  env.clock = &Clock::System();
  env.directory = options_.directory;
  if (options_.local_recovery) env.copies = CopiesDirectory();
  env.copy_report = &copy_report_;
  env.label = Label(options_.id);
  env.task_manager = options_.id;
  env.fetch_artifact = [this, leader_epoch](const std::string& hash, const std::string& path,
                                            const std::atomic<bool>& stop) {
    return link_->FetchArtifact(leader_epoch, hash, path, stop);
  };
  const std::string& job = deploy.attempt().job_id();
  // Of all of this job's regions, though some may run elsewhere: each keeps the share it began
  // with.
  const size_t attempts =
      std::max<size_t>(deploy.regions(), 1) +
      static_cast<size_t>(std::count_if(attempts_.begin(), attempts_.end(),
                                        [&](const auto& a) { return a.first.first != job; }));
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
  log::Info("deploying", {{"job", deploy.job_name()},
                          {"job_id", job},
                          {"attempt", deploy.attempt().attempt()},
                          {"region", deploy.region()}});
  const RegionKey key = KeyOf(deploy);
  auto& slot = attempts_[key];
  slot = std::make_unique<LocalAttempt>(std::move(env), deploy, leader_epoch, [this, key] {
    loop_->Post([this, key] { OnReleased(key); });
  });
  SweepCopies();
  slot->Start();
  ShareStateCache();
}

void TaskManager::SweepCopies() {
  std::set<std::string> here;
  for (const auto& [key, attempt] : attempts_) here.insert(key.first);
  io_->Post([here, directory = CopiesDirectory()] {
    std::error_code error;
    std::vector<std::filesystem::path> others;
    for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
         at.increment(error)) {
      if (!here.contains(at->path().filename())) others.push_back(at->path());
    }
    for (const auto& path : others) std::filesystem::remove_all(path, error);
  });
}

void TaskManager::OnStreamFailure(const std::string& job, uint32_t attempt,
                                  const std::string& what) {
  for (const auto& [key, running] : attempts_) {
    const JobAttempt there = running->DataPlaneAttempt();
    if (there.job.value == job && there.attempt.value == attempt) running->PeerFailed(what);
  }
}

}  // namespace weir
