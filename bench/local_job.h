#pragma once

#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "runtime/exchange/process_start.h"
#include "runtime/task/deployment.h"
#include "state/checkpoint/directory_storage.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"
#include "taskmanager/checkpoint_writer.h"

namespace weir::bench {

/// A directory of one benchmark, removed with its contents.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "weir-bench-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A whole job in this process as a TaskManager runs it, but for the control
/// plane: real slots, channels, keyed backends and stores, and snapshots that
/// the CheckpointWriter makes durable in a directory. Every subtask is in one
/// slot.
///
/// Owned by the benchmark's main thread, which plays the coordinator and has called
/// PrepareProcess.
class LocalJob final : public SubtaskListener {
 public:
  struct Options {
    std::string directory;
    /// Null: the memory backend.
    RocksDbResources* rocksdb = nullptr;
    size_t cache_bytes = size_t{64} << 20;
  };

  /// Before there are threads: what a TaskManager does, too.
  static void PrepareProcess() { PrepareProcessForDataPlane(size_t{4} << 30); }

  LocalJob(const Environment& env, Options local)
      : local_(std::move(local)),
        graph_(BuildJobGraph(env.graph())),
        slot_(std::make_unique<Slot>("slot", Clock::System())) {
    graph_.settings.max_parallelism = 128;
    auto storage = DirectoryStorage::Open(local_.directory + "/checkpoints");
    if (!storage.ok()) Die(storage.status().ToString());
    storage_ = *std::move(storage);
    writer_ = std::make_unique<CheckpointWriter>(
        CheckpointWriter::Options{.storage = storage_.get(),
                                  .label = "bench",
                                  .epoch = LeaderEpoch(1),
                                  .attempt = AttemptId(1),
                                  .spill_directory = local_.directory + "/spill"},
        CheckpointWriter::Events{
            .on_done = [this](CheckpointId id, absl::StatusOr<CheckpointWriter::Result> result) {
              Note([&] {
                if (!result.ok() && !stopping_) Die(result.status().ToString());
                if (result.ok()) DeleteUnused(*result);
                done_ = id;
              });
            }});
    Deployment::Options options;
    options.graph = &graph_;
    options.slots = {slot_.get()};
    for (const JobVertex& vertex : graph_.vertices) {
      options.placements.push_back({.subtask = {vertex.id, 0}, .process = 0, .slot = 0});
      subtasks_.insert({vertex.id, 0});
    }
    options.clock = &Clock::System();
    options.listener = this;
    options.context_of = [this](SubtaskId id, uint32_t op) { return ContextOf(id, op); };
    options.wants_full_snapshot = [this](SubtaskId id, uint32_t op) {
      return writer_->WantsFull(id, graph_.vertex(id.vertex).operators[op].uid);
    };
    for (const JobVertex& vertex : graph_.vertices) {
      for (uint32_t op = 0; op < vertex.operators.size(); ++op) {
        if (vertex.operators[op].node.keyed) AddKeyed({vertex.id, 0}, op);
      }
    }
    deployment_ = std::make_unique<Deployment>(std::move(options));
    deployment_->Start();
  }

  ~LocalJob() override {
    bool gone = false;
    Note([&] { stopping_ = true; });
    deployment_->Stop([&] { Note([&] { gone = true; }); });
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return gone; });
    }
    slot_.reset();
    deployment_.reset();
    writer_.reset();
  }

  /// Begins a checkpoint; its barrier starts at the source.
  void Begin(CheckpointId id) {
    writer_->Begin(id, subtasks_);
    deployment_->Trigger({.id = id}, false);
  }
  bool Done(CheckpointId id) {
    std::lock_guard lock(mutex_);
    return done_ == id;
  }
  /// Until the checkpoint is durable.
  void Wait(CheckpointId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ == id; });
  }

 private:
  [[noreturn]] static void Die(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::abort();
  }
  template <class F>
  void Note(F&& f) {
    std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }

  // mutex_ held. As the JobManager does: what no retained checkpoint names goes.
  void DeleteUnused(const CheckpointWriter::Result& result) {
    std::set<std::string> used;
    for (const auto& [subtask, snapshot] : result) {
      for (const auto& handle : snapshot.keyed_state()) used.insert(handle.file());
    }
    for (const std::string& file : retained_) {
      if (!used.contains(file)) (void)storage_->Delete(file);
    }
    retained_ = std::move(used);
  }

  void AddKeyed(SubtaskId subtask, uint32_t op) {
    CheckpointWriter::KeyedOperator keyed;
    keyed.subtask = subtask;
    keyed.uid = graph_.vertex(subtask.vertex).operators[op].uid;
    keyed.max_parallelism = graph_.settings.max_parallelism;
    keyed.key_groups = {0, graph_.settings.max_parallelism};
    keyed.slot = slot_->parker();
    if (local_.rocksdb != nullptr) {
      RocksDbStoreOptions options;
      options.directory = local_.directory + "/" + keyed.uid;
      auto store = RocksDbStore::Open(local_.rocksdb, std::move(options));
      if (!store.ok()) Die(store.status().ToString());
      stores_[{subtask, op}] = store->get();
      keyed.store = *std::move(store);
    }
    sinks_[{subtask, op}] = writer_->AddOperator(std::move(keyed));
  }

  OperatorContext ContextOf(SubtaskId id, uint32_t op) {
    OperatorContext context;
    context.runtime.parallelism = 1;
    context.runtime.max_parallelism = graph_.settings.max_parallelism;
    context.runtime.clock = &Clock::System();
    context.runtime.local_directory = local_.directory;
    context.runtime.add_to_counter = [](const std::string&, int64_t) {};
    context.runtime.wake = [parker = slot_->shared_parker()] { parker->Wake(); };
    KeyedStateOptions& keyed = context.keyed_state;
    keyed.operator_uid = graph_.vertex(id.vertex).operators[op].uid;
    keyed.max_parallelism = graph_.settings.max_parallelism;
    keyed.key_groups = {0, graph_.settings.max_parallelism};
    keyed.cache_bytes = local_.cache_bytes;
    if (const auto sink = sinks_.find({id, op}); sink != sinks_.end()) keyed.sink = sink->second;
    if (const auto store = stores_.find({id, op}); store != stores_.end()) {
      keyed.store = store->second;
    }
    return context;
  }

  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& why) override { Die(why); }
  void OnSnapshot(SubtaskId subtask, SubtaskSnapshot snapshot) override {
    writer_->Deliver(subtask, std::move(snapshot));
  }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  const Options local_;
  JobGraph graph_;
  std::unique_ptr<Slot> slot_;
  std::unique_ptr<DirectoryStorage> storage_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::set<SubtaskId> subtasks_;
  std::map<std::pair<SubtaskId, uint32_t>, SnapshotSink*> sinks_;
  std::map<std::pair<SubtaskId, uint32_t>, StateStore*> stores_;
  std::mutex mutex_;
  std::condition_variable changed_;
  CheckpointId done_;               // mutex_
  std::set<std::string> retained_;  // mutex_: files of the newest checkpoint
  bool stopping_ = false;           // mutex_
  std::unique_ptr<Deployment> deployment_;
};

}  // namespace weir::bench
