#include "job/graph_proto.h"

#include <algorithm>
#include <cstdio>

#include "job/job_library.h"

namespace weir {
namespace {

proto::Partitioning ToProto(Partitioning partitioning) {
  switch (partitioning) {
    case Partitioning::kForward:
      return proto::PARTITIONING_FORWARD;
    case Partitioning::kHash:
      return proto::PARTITIONING_HASH;
    case Partitioning::kRebalance:
      return proto::PARTITIONING_REBALANCE;
    case Partitioning::kRescale:
      return proto::PARTITIONING_RESCALE;
    case Partitioning::kShuffle:
      return proto::PARTITIONING_SHUFFLE;
    case Partitioning::kBroadcast:
      return proto::PARTITIONING_BROADCAST;
    case Partitioning::kGlobal:
      return proto::PARTITIONING_GLOBAL;
    case Partitioning::kCustom:
      return proto::PARTITIONING_CUSTOM;
  }
  return proto::PARTITIONING_UNSPECIFIED;
}

uint64_t Count(std::chrono::milliseconds d) { return static_cast<uint64_t>(d.count()); }

void FillSettings(const JobSettings& from, proto::JobSettings& to) {
  const CheckpointSettings& c = from.checkpoints;
  proto::CheckpointSettings& checkpoint = *to.mutable_checkpoint();
  checkpoint.set_interval_ms(Count(c.interval));
  checkpoint.set_mode(c.mode == CheckpointingMode::kExactlyOnce
                          ? proto::CHECKPOINT_MODE_EXACTLY_ONCE
                          : proto::CHECKPOINT_MODE_AT_LEAST_ONCE);
  checkpoint.set_timeout_ms(Count(c.timeout));
  checkpoint.set_min_pause_ms(Count(c.min_pause));
  checkpoint.set_max_concurrent(c.max_concurrent);
  checkpoint.set_tolerable_failures(c.tolerable_failures);
  checkpoint.set_always_aligned(!c.unaligned);
  checkpoint.set_aligned_timeout_ms(Count(c.aligned_timeout));
  checkpoint.set_retained(c.retained);
  checkpoint.set_retention(c.retain_on_cancel ? proto::CHECKPOINT_RETENTION_RETAIN_ON_CANCEL
                                              : proto::CHECKPOINT_RETENTION_DELETE_ON_CANCEL);
  const RestartSettings& r = from.restart;
  proto::RestartSettings& restart = *to.mutable_restart();
  switch (r.kind) {
    case RestartSettings::Kind::kNone:
      restart.set_kind(proto::RESTART_STRATEGY_NONE);
      break;
    case RestartSettings::Kind::kFixedDelay:
      restart.set_kind(proto::RESTART_STRATEGY_FIXED_DELAY);
      break;
    case RestartSettings::Kind::kExponentialDelay:
      restart.set_kind(proto::RESTART_STRATEGY_EXPONENTIAL_DELAY);
      break;
    case RestartSettings::Kind::kFailureRate:
      restart.set_kind(proto::RESTART_STRATEGY_FAILURE_RATE);
      break;
  }
  restart.set_attempts(r.attempts);
  restart.set_delay_ms(Count(r.delay));
  restart.set_max_failures(r.max_failures);
  restart.set_failure_interval_ms(Count(r.failure_interval));
  restart.set_initial_backoff_ms(Count(r.initial_delay));
  restart.set_max_backoff_ms(Count(r.max_delay));
  restart.set_backoff_multiplier(r.multiplier);
  restart.set_jitter_fraction(r.jitter);
  restart.set_reset_after_ms(Count(r.reset_after));
  to.set_state_backend(from.state_backend == StateBackendKind::kMemory
                           ? proto::STATE_BACKEND_MEMORY
                           : proto::STATE_BACKEND_ROCKSDB);
  to.set_buffer_timeout_ms(from.buffer_timeout.count());
  to.set_watermark_interval_ms(Count(from.watermark_interval));
}

void FillVertex(const JobVertex& from, const std::vector<bool>& bounded, uint32_t& next_operator,
                proto::Vertex& to) {
  to.set_id(from.id.value);
  to.set_name(from.name);
  to.set_uid(from.operators.front().uid);
  to.set_parallelism(from.parallelism);
  to.set_slot_sharing_group(from.slot_sharing_group);
  to.set_is_bounded(bounded[from.id.value]);
  if (const auto rate = from.operators.front().node.rate_per_second) to.set_rate_per_second(*rate);
  for (const OperatorSpec& spec : from.operators) {
    proto::Operator& op = *to.add_operators();
    op.set_id(next_operator++);
    op.set_name(spec.node.name);
    op.set_uid(spec.uid);
    op.set_kind(spec.node.kind);
    op.set_uid_generated(spec.node.uid.empty());
    op.set_stateful(spec.node.keyed || spec.node.is_source || spec.node.is_sink);
    op.set_unguarded_lineage(spec.node.transactional && !spec.node.guards_lineage);
    if (spec.node.is_source) to.set_is_source(true);
    if (spec.node.is_sink) to.set_is_sink(true);
    if (spec.node.transactional) to.set_is_transactional(true);
  }
}

}  // namespace

std::string GraphHashText(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

proto::JobGraph ToProto(const JobGraph& graph, const std::vector<std::string>& arguments) {
  proto::JobGraph result;
  result.set_job_name(graph.settings.name);
  uint32_t widest = 1;
  for (const JobVertex& vertex : graph.vertices) widest = std::max(widest, vertex.parallelism);
  result.set_max_parallelism(graph.settings.max_parallelism != 0 ? graph.settings.max_parallelism
                                                                 : DefaultMaxParallelism(widest));
  result.set_default_parallelism(graph.settings.parallelism);
  std::vector<bool> bounded(graph.vertices.size(), true);
  for (const JobVertex& vertex : graph.vertices) {
    const StreamNode& head = vertex.operators.front().node;
    if (head.is_source) bounded[vertex.id.value] = head.bounded;
  }
  uint32_t next_operator = 0;
  std::vector<uint32_t> first_operator;
  for (const JobVertex& vertex : graph.vertices) {
    first_operator.push_back(next_operator);
    FillVertex(vertex, bounded, next_operator, *result.add_vertices());
  }
  for (const JobEdge& from : graph.edges) {
    proto::Edge& edge = *result.add_edges();
    edge.set_id(from.id);
    edge.set_source_vertex(from.source.value);
    edge.set_target_vertex(from.target.value);
    edge.set_target_input(from.target_input);
    edge.set_partitioning(ToProto(from.partitioning));
    edge.set_side_output(from.tag);
    edge.set_source_operator(first_operator[from.source.value] + from.source_operator);
  }
  FillSettings(graph.settings, *result.mutable_settings());
  result.set_graph_hash(GraphHashText(graph.hash));
  for (const std::string& argument : arguments) result.add_arguments(argument);
  return result;
}

JobOverrides OverridesFrom(const proto::JobGraph& graph) {
  JobOverrides overrides;
  overrides.name = graph.job_name();
  overrides.parallelism = graph.default_parallelism();
  overrides.max_parallelism = graph.max_parallelism();
  return overrides;
}

void ApplySettings(const proto::JobGraph& from, JobGraph& graph) {
  JobSettings& settings = graph.settings;
  settings.max_parallelism = from.max_parallelism();
  settings.state_backend = from.settings().state_backend() == proto::STATE_BACKEND_MEMORY
                               ? StateBackendKind::kMemory
                               : StateBackendKind::kRocksDb;
  settings.checkpoints.mode =
      from.settings().checkpoint().mode() == proto::CHECKPOINT_MODE_AT_LEAST_ONCE
          ? CheckpointingMode::kAtLeastOnce
          : CheckpointingMode::kExactlyOnce;
  settings.checkpoints.interval =
      std::chrono::milliseconds(from.settings().checkpoint().interval_ms());
  settings.buffer_timeout = std::chrono::milliseconds(from.settings().buffer_timeout_ms());
  settings.watermark_interval = std::chrono::milliseconds(from.settings().watermark_interval_ms());
}

}  // namespace weir
