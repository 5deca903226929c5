#include "taskmanager/local_attempt.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/exception_text.h"
#include "base/utf8.h"
#include "log/log.h"
#include "taskmanager/checkpoint_ack.h"
#include "taskmanager/network_need.h"
#include "taskmanager/slot_watchdog.h"
#include "taskmanager/subtask_metrics.h"

namespace weir {
namespace {

/// Of a failure or reason, for people.
constexpr size_t kMaxTextBytes = size_t{16} << 10;
// Of one connector: below, its queues run dry; above, nothing is gained.
constexpr uint64_t kLeastConnectorBytes = uint64_t{1} << 20;
constexpr uint64_t kMostConnectorBytes = uint64_t{64} << 20;
// Of one operator: below, sorting makes very many small files.
constexpr size_t kLeastSnapshotBytes = size_t{1} << 20;
// Of one subtask: below, a few buffers that are full of large records would not fit; above, the
// checkpoint takes longer to write than it saves.
constexpr size_t kLeastInFlightBytes = size_t{4} << 20;
constexpr size_t kMostInFlightBytes = size_t{64} << 20;
// Of an attempt with keyed operators: with less it would fail at its first windows.
constexpr size_t kLeastStateBytes = size_t{4} << 20;

SubtaskId FromProto(const proto::SubtaskRef& ref) { return {VertexId(ref.vertex()), ref.index()}; }

proto::SubtaskRef ToProto(SubtaskId subtask) {
  proto::SubtaskRef ref;
  ref.set_vertex(subtask.vertex.value);
  ref.set_index(subtask.index);
  return ref;
}

proto::FailureKind ToProto(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUser:
      return proto::FAILURE_KIND_USER;
    case ErrorKind::kExternal:
      return proto::FAILURE_KIND_EXTERNAL;
    case ErrorKind::kInternal:
      return proto::FAILURE_KIND_INTERNAL;
    case ErrorKind::kFatal:
      return proto::FAILURE_KIND_FATAL;
  }
  return proto::FAILURE_KIND_INTERNAL;
}

bool IsKeyed(const StreamNode& node) { return node.keyed; }
bool IsConnector(const StreamNode& node) { return node.is_source || node.is_sink; }

}  // namespace

LocalAttempt::LocalAttempt(AttemptEnvironment env, proto::DeployJob deploy, uint64_t leader_epoch,
                           std::function<void()> on_released)
    : env_(std::move(env)),
      deploy_(std::move(deploy)),
      leader_epoch_(leader_epoch),
      on_released_(std::move(on_released)),
      directory_(env_.directory + "/attempts/" + deploy_.attempt().job_id() + "-" +
                 std::to_string(deploy_.attempt().attempt())),
      copies_(env_.copies.empty() ? "" : env_.copies + "/" + deploy_.attempt().job_id()) {
  for (const auto& placement : deploy_.placements()) {
    if (placement.task_manager() == deploy_.your_index()) {
      local_.insert(FromProto(placement.subtask()));
    }
  }
  for (const auto& rate : deploy_.source_rates()) source_rates_[rate.vertex()] = rate;
}

LocalAttempt::~LocalAttempt() = default;

proto::ToJobManager LocalAttempt::NewMessage() const {
  proto::ToJobManager message;
  message.set_leader_epoch(leader_epoch_);
  return message;
}

void LocalAttempt::SendTaskState(SubtaskId subtask, proto::TaskState state) {
  proto::ToJobManager message = NewMessage();
  proto::TaskStateChanged& changed = *message.mutable_task_state_changed();
  *changed.mutable_attempt() = deploy_.attempt();
  *changed.mutable_subtask() = ToProto(subtask);
  changed.set_state(state);
  env_.send(std::move(message));
}

void LocalAttempt::SendFailure(SubtaskId subtask, const proto::Failure& failure) {
  log::Warn("task failed", {{"job", deploy_.attempt().job_id()},
                            {"attempt", deploy_.attempt().attempt()},
                            {"vertex", subtask.vertex.value},
                            {"subtask", subtask.index},
                            {"operator", failure.operator_name()},
                            {"reason", failure.message()}});
  proto::ToJobManager message = NewMessage();
  proto::TaskStateChanged& changed = *message.mutable_task_state_changed();
  *changed.mutable_attempt() = deploy_.attempt();
  *changed.mutable_subtask() = ToProto(subtask);
  changed.set_state(proto::TASK_STATE_FAILED);
  *changed.mutable_failure() = failure;
  env_.send(std::move(message));
}

void LocalAttempt::FailAll(proto::FailureKind kind, const std::string& text) {
  proto::Failure failure;
  failure.set_kind(kind);
  failure.set_message(ToUtf8(text, kMaxTextBytes));
  FailAll(failure);
}

void LocalAttempt::FailAll(const proto::Failure& failure) {
  if (std::exchange(failed_, true)) return;
  // One report is enough: the whole attempt ends by it. An echo that was told before does not
  // stand for it: its subtask is heard once more.
  if (!local_.empty()) SendFailure(*local_.begin(), failure);
}

void LocalAttempt::Start() {
  for (const SubtaskId& subtask : local_) SendTaskState(subtask, proto::TASK_STATE_DEPLOYING);
  preparing_ = true;
  env_.io->Post([this, taken = preparation_taken_] {
    if (taken->exchange(true)) return;  // released meanwhile: it may be gone
    auto prepared = std::make_shared<absl::StatusOr<PreparedAttempt>>(
        PrepareAttempt({.artifacts = env_.artifacts,
                        .fetch_artifact =
                            [this](const std::string& hash, const std::string& path) {
                              return env_.fetch_artifact(hash, path, *stop_);
                            },
                        .rocksdb = env_.rocksdb,
                        .tuning = env_.rocksdb_tuning,
                        .deploy = &deploy_,
                        .local = &local_,
                        .directory = directory_,
                        .copies = copies_,
                        .copy_report = env_.copy_report,
                        .task_manager = env_.task_manager,
                        .stop = stop_}));
    env_.loop->Post([this, prepared] { OnPrepared(std::move(*prepared)); });
  });
}

void LocalAttempt::OnPrepared(absl::StatusOr<PreparedAttempt> prepared) {
  preparing_ = false;
  if (releasing_) {
    MaybeReleased();
    return;
  }
  if (!prepared.ok()) {
    FailAll(FailureKindOf(prepared.status()), std::string(prepared.status().message()));
    return;
  }
  prepared_ = *std::move(prepared);
  try {
    Deploy();
  } catch (const OperatorFailure& e) {
    FailAll(FailureOf(e.place(), e.kind(), e.what()));
  } catch (const Error& e) {
    FailAll(ToProto(e.kind()), e.what());
  } catch (const std::exception& e) {
    FailAll(proto::FAILURE_KIND_USER, TextOf(e));
  }
}

JobAttempt LocalAttempt::DataPlaneAttempt() const {
  // A newer attempt of a job ends the streams of its older ones, and must not those of others.
  const std::string region = deploy_.region() == 0 ? "" : "/" + std::to_string(deploy_.region());
  return {.job = JobId(deploy_.attempt().job_id() + region),
          .attempt = AttemptId(deploy_.attempt().attempt()),
          .epoch = LeaderEpoch(leader_epoch_)};
}

RunningMark LocalAttempt::MarkOf(SubtaskId subtask, uint32_t slot) {
  const JobVertex& vertex = prepared_.graph->vertex(subtask.vertex);
  BlackBox::Subtask entry{.job_id = deploy_.attempt().job_id(),
                          .attempt = deploy_.attempt().attempt(),
                          .id = subtask,
                          .vertex_name = vertex.name};
  for (const OperatorSpec& op : vertex.operators) {
    entry.operators.emplace_back(op.uid, op.node.name);
  }
  return marks_[subtask] = env_.black_box->Add(slot, entry);
}

void LocalAttempt::Deploy() {
  // Before the first channel is opened: the refusal names the whole need, and nothing waits for
  // buffers that never come.
  CheckNetworkBuffers(*prepared_.graph, deploy_, env_.exchange->exclusive_per_channel(),
                      *env_.network);
  std::vector<std::string> addresses;
  for (const auto& peer : deploy_.task_managers()) addresses.push_back(peer.data_address());
  channels_ =
      std::make_unique<ExchangeChannels>(env_.exchange, DataPlaneAttempt(), std::move(addresses));
  const size_t keyed = std::max<size_t>(CountLocal(IsKeyed), 1);
  const size_t connectors = std::max<size_t>(CountLocal(IsConnector), 1);
  connector_bytes_each_ =
      std::clamp(env_.connector_bytes / connectors, kLeastConnectorBytes, kMostConnectorBytes);
  const bool stores = prepared_.graph->settings.state_backend == StateBackendKind::kRocksDb;
  bound_.emplace(stores ? env_.pinned_bytes : env_.state_bytes, env_.state_account);
  CheckStateMemory();
  ApplyCacheBytes();
  writer_ = std::make_unique<CheckpointWriter>(
      CheckpointWriter::Options{
          .storage = prepared_.storage.get(),
          .label = env_.label,
          .epoch = LeaderEpoch(leader_epoch_),
          .attempt = AttemptId(deploy_.attempt().attempt()),
          .spill_directory = directory_ + "/spill",
          .operator_bytes = std::clamp(env_.snapshot_bytes / (2 * keyed), kLeastSnapshotBytes,
                                       SegmentBuilder::kDefaultMemoryLimit),
          .max_concurrent = MaxConcurrentCheckpoints(),
          .edges = InFlightHandles(*prepared_.graph)},
      CheckpointWriter::Events{
          .on_done =
              [this](CheckpointId id, absl::StatusOr<CheckpointWriter::Result> result) {
                auto shared =
                    std::make_shared<absl::StatusOr<CheckpointWriter::Result>>(std::move(result));
                env_.loop->Post([this, id, shared] { OnCheckpointDone(id, std::move(*shared)); });
              },
          .on_failed =
              [this](const absl::Status& status) {
                env_.loop->Post([this, text = std::string(status.message())] {
                  FailAll(proto::FAILURE_KIND_EXTERNAL, text);
                });
              }});
  Deployment::Options options;
  options.graph = &*prepared_.graph;
  for (const auto& placement : deploy_.placements()) {
    options.placements.push_back({.subtask = FromProto(placement.subtask()),
                                  .process = placement.task_manager(),
                                  .slot = placement.slot()});
  }
  options.process = deploy_.your_index();
  options.slots = env_.slots;
  options.clock = env_.clock;
  options.listener = this;
  options.remote = channels_.get();
  options.context_of = [this](SubtaskId subtask, uint32_t op) { return ContextOf(subtask, op); };
  options.wants_full_snapshot = [this](SubtaskId subtask, uint32_t op) {
    const OperatorSpec& spec = prepared_.graph->vertex(subtask.vertex).operators[op];
    return writer_->WantsFull(subtask, spec.uid);
  };
  options.mark_of = [this](SubtaskId subtask, uint32_t slot) { return MarkOf(subtask, slot); };
  options.latency_interval = env_.latency_interval;
  options.note_latency = [this](SubtaskId sink, VertexId source, std::chrono::milliseconds age) {
    latencies_.Note(sink, source, age);
  };
  options.in_flight = [this](SubtaskId subtask) {
    const auto restored = prepared_.in_flight.find(subtask);
    return restored == prepared_.in_flight.end() ? std::vector<InFlightRows>()
                                                 : std::move(restored->second);
  };
  options.in_flight_limits = {
      .pulled_bytes = std::clamp(env_.snapshot_bytes / (4 * std::max<size_t>(local_.size(), 1)),
                                 kLeastInFlightBytes, kMostInFlightBytes)};
  options.in_flight_limits.recorded_bytes = 4 * options.in_flight_limits.pulled_bytes;
  options.max_concurrent_checkpoints = MaxConcurrentCheckpoints();
  options.stands_still = deploy_.stands_still();
  deployment_ = std::make_unique<Deployment>(std::move(options));
  AddSinksOfKeyedOperators();
  for (const Deployment::LocalSubtask& local : deployment_->subtasks()) {
    AddSubtaskMetrics(local, deploy_.job_name(), prepared_.graph->vertex(local.id.vertex).name,
                      env_.metrics_scope, env_.metrics_interval, env_.metrics, &registrations_);
    AddChannelMetrics(local.id, ChannelsOf(local.id), deploy_.job_name(),
                      prepared_.graph->vertex(local.id.vertex).name, env_.metrics, &registrations_);
    if (env_.latency_interval.count() != 0) {
      latencies_.Add(*prepared_.graph, local.id, deploy_.job_name(), env_.metrics);
    }
  }
  // Before the start, so that no row is read at another rate.
  for (const auto& [vertex, rate] : source_rates_) ApplySourceRate(rate);
  deployment_->Start();
}

SubtaskChannels LocalAttempt::ChannelsOf(SubtaskId subtask) const {
  SubtaskChannels channels;
  for (const JobEdge& edge : prepared_.graph->edges) {
    for (const auto& [id, metrics] : channels_->senders()) {
      if (id.edge == edge.id && edge.source == subtask.vertex && id.producer == subtask.index) {
        channels.out.push_back(metrics);
      }
    }
    for (const auto& [id, metrics] : channels_->receivers()) {
      if (id.edge == edge.id && edge.target == subtask.vertex && id.consumer == subtask.index) {
        channels.in.push_back(metrics);
      }
    }
  }
  return channels;
}

void LocalAttempt::AddSinksOfKeyedOperators() {
  for (const Deployment::LocalSubtask& local : deployment_->subtasks()) {
    const JobVertex& vertex = prepared_.graph->vertex(local.id.vertex);
    for (uint32_t i = 0; i < vertex.operators.size(); ++i) {
      if (!vertex.operators[i].node.keyed) continue;
      CheckpointWriter::KeyedOperator op;
      op.subtask = local.id;
      op.uid = vertex.operators[i].uid;
      op.max_parallelism = deploy_.graph().max_parallelism();
      op.key_groups = KeyGroupsOf(deploy_.graph(), local.id);
      op.slot = local.slot->parker();
      const auto restored = prepared_.restored.find({local.id, i});
      if (restored != prepared_.restored.end()) op.restored = restored->second.keyed_handles;
      const auto store = prepared_.stores.find({local.id, i});
      if (store != prepared_.stores.end()) {
        stores_[{local.id, i}] = store->second.get();
        op.store = std::move(store->second);
      }
      sinks_[{local.id, i}] = writer_->AddOperator(std::move(op));
    }
  }
}

// Slot thread, before the subtask's first record; what it reads stands still from Deploy on.
OperatorContext LocalAttempt::ContextOf(SubtaskId subtask, uint32_t index) {
  const JobVertex& vertex = prepared_.graph->vertex(subtask.vertex);
  const OperatorSpec& spec = vertex.operators[index];
  OperatorContext context;
  RuntimeContext& runtime = context.runtime;
  runtime.job_name = deploy_.job_name();
  runtime.job_id = JobId(deploy_.attempt().job_id());
  runtime.operator_name = spec.node.name;
  runtime.operator_uid = spec.uid;
  runtime.vertex = subtask.vertex;
  runtime.subtask_index = subtask.index;
  runtime.parallelism = vertex.parallelism;
  runtime.max_parallelism = deploy_.graph().max_parallelism();
  runtime.attempt = AttemptId(deploy_.attempt().attempt());
  runtime.leader_epoch = LeaderEpoch(leader_epoch_);
  runtime.output_lineage = prepared_.lineage;
  runtime.local_directory = OperatorDirectory(directory_, subtask, index);
  std::error_code ignored;
  std::filesystem::create_directories(runtime.local_directory, ignored);
  runtime.connector_bytes = connector_bytes_each_;
  runtime.clock = env_.clock;

  const auto restored = prepared_.restored.find({subtask, index});
  runtime.restored = deploy_.has_restore();
  runtime.restored_checkpoint = CheckpointId(deploy_.restore().checkpoint_id());
  if (restored != prepared_.restored.end()) {
    runtime.restored_state = std::move(restored->second.operator_state);
  }
  for (const Deployment::LocalSubtask& local : deployment_->subtasks()) {
    if (local.id == subtask) {
      runtime.wake = [parker = local.slot->shared_parker()] { parker->Wake(); };
    }
  }
  runtime.request_checkpoint = [this, subtask, name = spec.node.name] {
    proto::ToJobManager message = NewMessage();
    proto::EarlyCheckpointRequest& request = *message.mutable_early_checkpoint_request();
    *request.mutable_attempt() = deploy_.attempt();
    *request.mutable_subtask() = ToProto(subtask);
    request.set_reason(name + " asks for one");
    env_.send(std::move(message));
  };
  const std::string job = deploy_.job_name();
  const std::string task = vertex.name;
  runtime.log_warning = [job, task, subtask](const std::string& text) {
    const log::Scope scope(job, task);
    log::Warn(text, {{"subtask", subtask.index}});
  };
  const metrics::Labels labels = {{"job", job},
                                  {"task", task},
                                  {"operator", spec.node.name},
                                  {"subtask", std::to_string(subtask.index)}};
  auto counters = std::make_shared<OperatorMetrics>(env_.metrics, labels);
  runtime.add_to_counter = [counters](const std::string& name, int64_t delta) {
    counters->Add(name, delta);
  };
  runtime.set_gauge = [counters](const std::string& name, const std::string& label, double value) {
    counters->Set(name, label, value);
  };

  KeyedStateOptions& keyed = context.keyed_state;
  keyed.operator_uid = spec.uid;
  keyed.max_parallelism = runtime.max_parallelism;
  keyed.key_groups = KeyGroupsOf(deploy_.graph(), subtask);
  const auto sink = sinks_.find({subtask, index});
  if (sink != sinks_.end()) keyed.sink = sink->second;
  if (restored != prepared_.restored.end()) keyed.restored = restored->second.keyed_state.get();
  const auto store = stores_.find({subtask, index});
  if (store != stores_.end()) {
    keyed.store = store->second;
    keyed.cache_bytes = cache_bytes_each_.load();
  }
  keyed.bound = &*bound_;
  keyed.allow_unclaimed_state = deploy_.restore().allow_non_restored_state();
  return context;
}

size_t LocalAttempt::CountLocal(bool (*is)(const StreamNode&)) const {
  size_t count = 0;
  for (const SubtaskId& subtask : local_) {
    for (const OperatorSpec& op : prepared_.graph->vertex(subtask.vertex).operators) {
      count += is(op.node) ? 1 : 0;
    }
  }
  return count;
}

// Other attempts keep what they have: what they leave has to do for this one.
void LocalAttempt::CheckStateMemory() const {
  if (CountLocal(IsKeyed) == 0 || bound_->Free() >= kLeastStateBytes) return;
  const auto mib = [](size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  ThrowError(ErrorKind::kExternal,
             "TaskManager " + env_.task_manager + " has no memory left for this job's state: of " +
                 mib(bound_->limit) + ", the state's share, other operators have all but " +
                 mib(bound_->Free()) + ", and at least " + mib(kLeastStateBytes) +
                 " are needed; raise taskmanager.memory, or run the job on other TaskManagers");
}

bool LocalAttempt::UsesStateCache() const {
  if (releasing_) return false;
  if (!prepared_.graph) return true;
  return prepared_.graph->settings.state_backend == StateBackendKind::kRocksDb &&
         CountLocal(IsKeyed) > 0;
}

void LocalAttempt::SetCacheBytes(size_t bytes) {
  cache_bytes_ = bytes;
  if (deployment_ != nullptr && !releasing_) ApplyCacheBytes();
}

void LocalAttempt::ApplyCacheBytes() {
  const size_t each = cache_bytes_ / std::max<size_t>(CountLocal(IsKeyed), 1);
  const bool changed = cache_bytes_each_.exchange(each) != each;
  const bool stores = prepared_.graph->settings.state_backend == StateBackendKind::kRocksDb;
  if (changed && stores && deployment_ != nullptr) deployment_->SetStateCacheBytes(each);
}

proto::MetricsSnapshot LocalAttempt::Metrics() const {
  proto::MetricsSnapshot snapshot;
  if (deployment_ == nullptr) return snapshot;
  for (const Deployment::LocalSubtask& local : deployment_->subtasks()) {
    proto::SubtaskMetrics& m = *snapshot.add_subtasks();
    *m.mutable_attempt() = deploy_.attempt();
    *m.mutable_subtask() = ToProto(local.id);
    ReadSubtaskMetrics(local, &m);
    const auto stuck =
        StuckFor(local.slot->busy_since(), env_.clock->Monotonic(), env_.watchdog_timeout);
    if (stuck.count() == 0) continue;
    const auto running = env_.black_box->WhatRuns(local.slot_index);
    if (!running || running->id != local.id || running->job_id != deploy_.attempt().job_id()) {
      continue;
    }
    m.set_stuck_ms(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(stuck).count()));
    m.set_stuck_operator(running->operator_name);
  }
  return snapshot;
}

// ---------------------------------------------------------------- checkpoints

void LocalAttempt::TriggerCheckpoint(const proto::TriggerCheckpoint& trigger) {
  if (deployment_ == nullptr || releasing_) return;
  const CheckpointId id(trigger.checkpoint_id());
  running_checkpoints_.insert(id);
  while (running_checkpoints_.size() > MaxConcurrentCheckpoints()) {
    running_checkpoints_.erase(running_checkpoints_.begin());
  }
  writer_->Begin(id, local_);
  Barrier barrier;
  barrier.id = id;
  barrier.aligned = trigger.mode() != proto::CHECKPOINT_MODE_AT_LEAST_ONCE;
  const bool drain = trigger.kind() == proto::CHECKPOINT_KIND_STOP_AND_DRAIN;
  if (drain || trigger.kind() == proto::CHECKPOINT_KIND_STOP) barrier.kind = CheckpointKind::kStop;
  if (trigger.kind() == proto::CHECKPOINT_KIND_SAVEPOINT) {
    barrier.kind = CheckpointKind::kSavepoint;
  }
  deployment_->Trigger(barrier, drain);
}

void LocalAttempt::TurnUnaligned(CheckpointId id) {
  if (deployment_ != nullptr && !releasing_) deployment_->TurnUnaligned(id);
}

void LocalAttempt::SetSourceRate(const proto::SourceRate& rate) {
  source_rates_[rate.vertex()] = rate;
  if (deployment_ != nullptr && !releasing_) ApplySourceRate(rate);
}

void LocalAttempt::ApplySourceRate(const proto::SourceRate& rate) {
  std::optional<double> per_second;
  if (rate.has_records_per_second()) per_second = rate.records_per_second();
  deployment_->SetSourceRate(VertexId(rate.vertex()), per_second);
}

void LocalAttempt::CheckpointCompleted(CheckpointId id) {
  running_checkpoints_.erase(running_checkpoints_.begin(), running_checkpoints_.upper_bound(id));
  if (deployment_ != nullptr && !releasing_) deployment_->NotifyCheckpointComplete(id);
}

void LocalAttempt::CheckpointAborted(CheckpointId id, const std::string& reason) {
  if (deployment_ == nullptr || releasing_) return;
  running_checkpoints_.erase(id);
  writer_->Cancel(id, "aborted by the coordinator: " + reason);
  deployment_->NotifyCheckpointAborted(id);
}

void LocalAttempt::OnCheckpointDone(CheckpointId id,
                                    absl::StatusOr<CheckpointWriter::Result> result) {
  if (releasing_) return;
  using Acks = std::vector<proto::CheckpointAck>;
  absl::StatusOr<Acks> acks =
      result.ok() ? AcksOf(deploy_.attempt(), id, *result) : absl::StatusOr<Acks>(result.status());
  if (acks.ok()) {
    for (proto::CheckpointAck& ack : *acks) {
      proto::ToJobManager message = NewMessage();
      *message.mutable_checkpoint_ack() = std::move(ack);
      env_.send(std::move(message));
    }
    return;
  }
  if (running_checkpoints_.erase(id) == 0) return;  // the coordinator gave it up itself
  proto::ToJobManager message = NewMessage();
  proto::CheckpointDecline& decline = *message.mutable_checkpoint_decline();
  *decline.mutable_attempt() = deploy_.attempt();
  decline.set_checkpoint_id(id.value);
  if (!local_.empty()) *decline.mutable_subtask() = ToProto(*local_.begin());
  decline.set_reason(ToUtf8(std::string(acks.status().message()), kMaxTextBytes));
  env_.send(std::move(message));
}

// ---------------------------------------------------------------- what slots report

void LocalAttempt::OnRunning(SubtaskId subtask) {
  SendTaskState(subtask, proto::TASK_STATE_RUNNING);
}

void LocalAttempt::OnEndOfData(SubtaskId subtask) {
  SendTaskState(subtask, proto::TASK_STATE_FINISHED);
}

void LocalAttempt::OnFailed(SubtaskId subtask, OperatorPlace op, ErrorKind kind,
                            const std::string& text) {
  SendFailure(subtask, FailureOf(op, kind, text));
}

proto::Failure LocalAttempt::FailureOf(OperatorPlace op, ErrorKind kind,
                                       const std::string& text) const {
  const OperatorSpec& spec = prepared_.graph->vertex(op.vertex).operators[op.index];
  proto::Failure failure;
  failure.set_kind(ToProto(kind));
  failure.set_operator_uid(spec.uid);
  failure.set_operator_name(spec.node.name);
  failure.set_message(ToUtf8(text, kMaxTextBytes));
  return failure;
}

void LocalAttempt::OnSnapshot(SubtaskId subtask, SubtaskSnapshot snapshot) {
  writer_->Deliver(subtask, std::move(snapshot));
}

void LocalAttempt::OnSnapshotFailed(SubtaskId, CheckpointId id, const std::string& reason) {
  writer_->Cancel(id, reason);
}

void LocalAttempt::OnPublished(SubtaskId subtask, CheckpointId id) {
  proto::ToJobManager message = NewMessage();
  proto::PublicationDone& done = *message.mutable_publication_done();
  *done.mutable_attempt() = deploy_.attempt();
  *done.mutable_subtask() = ToProto(subtask);
  done.set_checkpoint_id(id.value);
  env_.send(std::move(message));
}

void LocalAttempt::PeerFailed(const std::string& text) {
  if (releasing_ || failed_ || std::exchange(echoed_, true) || local_.empty()) return;
  proto::Failure failure;
  failure.set_kind(proto::FAILURE_KIND_EXTERNAL);
  failure.set_message(ToUtf8(text, kMaxTextBytes));
  failure.set_secondary(true);
  SendFailure(*local_.begin(), failure);
}

// ---------------------------------------------------------------- the end

void LocalAttempt::Release(proto::CancelReason reason) {
  if (std::exchange(releasing_, true)) return;
  stop_->store(true);
  if (preparing_ && !preparation_taken_->exchange(true)) preparing_ = false;
  keeps_copies_ = reason == proto::CANCEL_REASON_FAILED || reason == proto::CANCEL_REASON_UNKNOWN;
  const bool in_order =
      reason == proto::CANCEL_REASON_FINISHED || reason == proto::CANCEL_REASON_STOPPED;
  env_.exchange->CloseAttempt(DataPlaneAttempt(), /*drain=*/in_order);
  if (deployment_ == nullptr) {
    MaybeReleased();
    return;
  }
  stopping_subtasks_ = true;
  deployment_->Stop([this] {
    env_.loop->Post([this] {
      stopping_subtasks_ = false;
      MaybeReleased();
    });
  });
}

void LocalAttempt::MaybeReleased() {
  if (preparing_ || stopping_subtasks_) return;
  // What it came to in the end: `describe` shows it ever after.
  proto::ToJobManager figures = NewMessage();
  *figures.mutable_metrics() = Metrics();
  if (figures.metrics().subtasks_size() > 0) env_.send(std::move(figures));
  registrations_.clear();
  deployment_.reset();
  for (const auto& [subtask, mark] : marks_) env_.black_box->Remove(mark);
  channels_.reset();
  // What the disk or the storage may hold up, in the order in which they use one another.
  struct Remains {
    PreparedAttempt prepared;
    std::unique_ptr<CheckpointWriter> writer;
  };
  auto remains = std::make_shared<Remains>();
  remains->prepared = std::exchange(prepared_, PreparedAttempt());
  remains->writer = std::move(writer_);
  env_.ends->Post([this, remains] {
    remains->writer.reset();  // waits for its threads
    remains->prepared = PreparedAttempt();
    env_.loop->Post([this] {
      // Beside the next attempt, which the job waits for: not on the thread that prepares it.
      env_.removals->Post([directory = directory_] {
        std::error_code ignored;
        std::filesystem::remove_all(directory, ignored);
      });
      env_.io->Post(
          [copies = keeps_copies_ ? "" : copies_, give_back_memory = env_.give_back_memory] {
            std::error_code ignored;
            if (!copies.empty()) std::filesystem::remove_all(copies, ignored);
            give_back_memory();
          });
      on_released_();
    });
  });
}

}  // namespace weir
