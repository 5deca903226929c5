#include "jobmanager/submission.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {
namespace {

using Limits = SubmissionLimits;

template <class... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckText(const std::string& what, const std::string& text, size_t limit) {
  if (text.empty()) return Invalid(what, " is empty; give it a value");
  if (text.size() > limit) {
    return Invalid(what, " has ", text.size(), " bytes; at most ", limit, " are allowed");
  }
  return absl::OkStatus();
}

std::string NameOf(const proto::Vertex& vertex) {
  return absl::StrCat("vertex ", vertex.id(), " '", vertex.name(), "'");
}

absl::Status CheckVertices(const proto::JobGraph& graph) {
  if (graph.vertices().empty()) {
    return Invalid("the job has no operators; add a source and a sink");
  }
  if (static_cast<uint32_t>(graph.vertices_size()) > Limits::kMaxVertices) {
    return Invalid("the job has ", graph.vertices_size(), " vertices; at most ",
                   Limits::kMaxVertices, " are allowed: split it into several jobs");
  }
  std::map<std::string, std::string> uids;  // uid -> operator name
  uint64_t subtasks = 0;
  uint64_t operators = 0;
  for (int i = 0; i < graph.vertices_size(); ++i) {
    const proto::Vertex& vertex = graph.vertices(i);
    if (vertex.id() != static_cast<uint32_t>(i)) {
      return Invalid("vertex ids must count from 0; at position ", i, " stands ", vertex.id());
    }
    if (auto s = CheckText(absl::StrCat("the name of vertex ", i), vertex.name(),
                           Limits::kMaxNameBytes * 16);
        !s.ok()) {
      return s;  // a chain's name holds those of its operators
    }
    if (vertex.parallelism() == 0) {
      return Invalid(NameOf(vertex), " has parallelism 0; give it 1 or more");
    }
    if (vertex.parallelism() > graph.max_parallelism()) {
      return Invalid(NameOf(vertex), " has parallelism ", vertex.parallelism(),
                     ", above the job's max parallelism ", graph.max_parallelism(),
                     "; lower it, or raise max parallelism (which a job with state cannot)");
    }
    if (auto s = CheckText(absl::StrCat("the slot sharing group of ", NameOf(vertex)),
                           vertex.slot_sharing_group(), Limits::kMaxNameBytes);
        !s.ok()) {
      return s;
    }
    if (!std::isfinite(vertex.rate_per_second()) || vertex.rate_per_second() < 0) {
      return Invalid(NameOf(vertex), " has a rate limit of ", vertex.rate_per_second(),
                     " records per second; give 0 or a number above it");
    }
    if (vertex.operators().empty()) return Invalid(NameOf(vertex), " has no operators");
    subtasks += vertex.parallelism();
    operators += static_cast<uint64_t>(vertex.operators_size());
    for (const proto::Operator& op : vertex.operators()) {
      const std::string who = absl::StrCat("operator '", op.name(), "' of ", NameOf(vertex));
      if (auto s = CheckText(absl::StrCat("the name of operator ", op.id()), op.name(),
                             Limits::kMaxNameBytes);
          !s.ok()) {
        return s;
      }
      if (auto s = CheckText(absl::StrCat("the uid of ", who), op.uid(), Limits::kMaxUidBytes);
          !s.ok()) {
        return s;
      }
      auto [at, fresh] = uids.emplace(op.uid(), op.name());
      if (!fresh) {
        return Invalid("operators '", at->second, "' and '", op.name(), "' have the same uid '",
                       op.uid(), "'; give each a uid of its own");
      }
    }
    if (vertex.uid() != vertex.operators(0).uid()) {
      return Invalid(NameOf(vertex), " has uid '", vertex.uid(), "', but its head operator has '",
                     vertex.operators(0).uid(), "'");
    }
  }
  if (subtasks > Limits::kMaxSubtasks) {
    return Invalid("the job has ", subtasks, " subtasks; at most ", Limits::kMaxSubtasks,
                   " are allowed: lower its parallelism");
  }
  if (operators > Limits::kMaxOperators) {
    return Invalid("the job has ", operators, " operators; at most ", Limits::kMaxOperators,
                   " are allowed: split it into several jobs");
  }
  return absl::OkStatus();
}

absl::Status CheckEdges(const proto::JobGraph& graph) {
  const auto vertices = static_cast<uint32_t>(graph.vertices_size());
  if (static_cast<uint32_t>(graph.edges_size()) > Limits::kMaxEdges) {
    return Invalid("the job has ", graph.edges_size(), " edges; at most ", Limits::kMaxEdges,
                   " are allowed");
  }
  std::vector<uint32_t> inputs(vertices, 0);
  std::vector<std::vector<uint32_t>> consumers(vertices);
  for (int i = 0; i < graph.edges_size(); ++i) {
    const proto::Edge& edge = graph.edges(i);
    if (edge.id() != static_cast<uint32_t>(i)) {
      return Invalid("edge ids must count from 0; at position ", i, " stands ", edge.id());
    }
    for (uint32_t end : {edge.source_vertex(), edge.target_vertex()}) {
      if (end >= vertices) {
        return Invalid("edge ", i, " leads from vertex ", edge.source_vertex(), " to vertex ",
                       edge.target_vertex(), ", but there is no vertex ", end);
      }
    }
    const proto::Vertex& source = graph.vertices(static_cast<int>(edge.source_vertex()));
    const proto::Vertex& target = graph.vertices(static_cast<int>(edge.target_vertex()));
    if (edge.partitioning() == proto::PARTITIONING_UNSPECIFIED) {
      return Invalid("edge ", i, " from ", NameOf(source), " to ", NameOf(target),
                     " has no partitioning");
    }
    if (edge.partitioning() == proto::PARTITIONING_FORWARD &&
        source.parallelism() != target.parallelism()) {
      return Invalid("the forward edge from ", NameOf(source), " (parallelism ",
                     source.parallelism(), ") to ", NameOf(target), " (parallelism ",
                     target.parallelism(), ") needs equal parallelism; use rebalance");
    }
    ++inputs[edge.target_vertex()];
    consumers[edge.source_vertex()].push_back(edge.target_vertex());
  }
  for (const proto::Vertex& vertex : graph.vertices()) {
    if (!vertex.is_source() && inputs[vertex.id()] == 0) {
      return Invalid(NameOf(vertex), " has no input and is no source; connect it");
    }
    if (vertex.is_source() && inputs[vertex.id()] > 0) {
      return Invalid(NameOf(vertex), " is a source and has an input");
    }
  }
  // Take away vertices without inputs; what is left lies on a cycle, or behind one.
  std::vector<uint32_t> ready;
  for (uint32_t v = 0; v < vertices; ++v) {
    if (inputs[v] == 0) ready.push_back(v);
  }
  uint32_t taken = 0;
  while (!ready.empty()) {
    const uint32_t v = ready.back();
    ready.pop_back();
    ++taken;
    for (uint32_t consumer : consumers[v]) {
      if (--inputs[consumer] == 0) ready.push_back(consumer);
    }
  }
  if (taken == vertices) return absl::OkStatus();
  for (uint32_t v = 0; v < vertices; ++v) {
    if (inputs[v] == 0) continue;
    return Invalid("the graph has a cycle through or before ",
                   NameOf(graph.vertices(static_cast<int>(v))), "; remove it");
  }
  return absl::OkStatus();
}

// Names as in RestartSettings of the job. What the strategy does not use may be anything.
absl::Status CheckRestart(const proto::RestartSettings& restart) {
  const bool rate = restart.kind() == proto::RESTART_STRATEGY_FAILURE_RATE;
  if (rate && restart.has_failure_interval_ms() && restart.failure_interval_ms() == 0) {
    return Invalid("restart.failure_interval is 0 ms; it must be at least 1 ms");
  }
  if (restart.kind() != proto::RESTART_STRATEGY_EXPONENTIAL_DELAY &&
      restart.kind() != proto::RESTART_STRATEGY_UNSPECIFIED) {
    return absl::OkStatus();
  }
  const double multiplier = restart.backoff_multiplier();
  if (restart.has_backoff_multiplier() && !(multiplier >= 1.0 && multiplier <= 100.0)) {
    return Invalid("restart.multiplier is ", multiplier, "; it must lie between 1 and 100");
  }
  const double jitter = restart.jitter_fraction();
  if (restart.has_jitter_fraction() && !(jitter >= 0.0 && jitter <= 1.0)) {
    return Invalid("restart.jitter is ", jitter, "; it must lie between 0 and 1");
  }
  if (restart.has_initial_backoff_ms() && restart.initial_backoff_ms() == 0) {
    return Invalid("restart.initial_delay is 0 ms; it must be at least 1 ms");
  }
  if (restart.has_max_backoff_ms() && restart.max_backoff_ms() == 0) {
    return Invalid("restart.max_delay is 0 ms; it must be at least 1 ms");
  }
  return absl::OkStatus();
}

absl::Status CheckSettings(const proto::JobSettings& settings) {
  const proto::CheckpointSettings& checkpoint = settings.checkpoint();
  if (checkpoint.max_concurrent() > CheckpointPolicy::kMostConcurrent) {
    return Invalid("checkpoints.max_concurrent is ", checkpoint.max_concurrent(), "; the most is ",
                   CheckpointPolicy::kMostConcurrent);
  }
  if (checkpoint.interval_ms() > 0 && checkpoint.interval_ms() < 10) {
    return Invalid("the checkpoint interval is ", checkpoint.interval_ms(),
                   " ms; the least is 10 ms");
  }
  constexpr uint64_t kLongestMs = uint64_t{366} * 24 * 3'600 * 1'000;
  for (const auto& [name, value] :
       {std::pair{"interval", checkpoint.interval_ms()},
        {"timeout", checkpoint.timeout_ms()},
        {"min_pause", checkpoint.min_pause_ms()},
        {"aligned_timeout", checkpoint.aligned_timeout_ms()},
        {"restart.delay", settings.restart().delay_ms()},
        {"restart.failure_interval", settings.restart().failure_interval_ms()},
        {"restart.max_delay", settings.restart().max_backoff_ms()},
        {"restart.initial_delay", settings.restart().initial_backoff_ms()}}) {
    if (value > kLongestMs) return Invalid(name, " is ", value, " ms, above a year");
  }
  return CheckRestart(settings.restart());
}

template <class T>
T Or(T value, T standard) {
  return value == T{} ? standard : value;
}

milliseconds Millis(uint64_t value, milliseconds standard) {
  return value == 0 ? standard : milliseconds(value);
}

RestartOptions RestartOf(const proto::JobSettings& settings) {
  const proto::RestartSettings& from = settings.restart();
  RestartOptions to;
  switch (from.kind()) {
    case proto::RESTART_STRATEGY_NONE:
      to.kind = RestartKind::kNone;
      break;
    case proto::RESTART_STRATEGY_FIXED_DELAY:
      to.kind = RestartKind::kFixedDelay;
      break;
    case proto::RESTART_STRATEGY_EXPONENTIAL_DELAY:
      to.kind = RestartKind::kExponentialDelay;
      break;
    case proto::RESTART_STRATEGY_FAILURE_RATE:
      to.kind = RestartKind::kFailureRate;
      break;
    default:
      to.kind = settings.checkpoint().interval_ms() > 0 ? RestartKind::kExponentialDelay
                                                        : RestartKind::kNone;
  }
  if (from.has_attempts()) to.attempts = from.attempts();
  if (from.has_delay_ms()) to.delay = milliseconds(from.delay_ms());
  if (from.has_max_failures()) to.max_failures = from.max_failures();
  if (from.has_failure_interval_ms()) to.interval = milliseconds(from.failure_interval_ms());
  if (from.has_initial_backoff_ms()) to.initial = milliseconds(from.initial_backoff_ms());
  if (from.has_max_backoff_ms()) to.maximum = milliseconds(from.max_backoff_ms());
  if (from.has_backoff_multiplier()) to.multiplier = from.backoff_multiplier();
  if (from.has_jitter_fraction()) to.jitter = from.jitter_fraction();
  if (from.has_reset_after_ms()) to.reset = milliseconds(from.reset_after_ms());
  return to;
}

}  // namespace

absl::Status CheckGraph(const proto::JobGraph& graph) {
  if (auto s = CheckText("the job's name", graph.job_name(), Limits::kMaxNameBytes); !s.ok()) {
    return s;
  }
  if (graph.max_parallelism() == 0 || graph.max_parallelism() > Limits::kMaxParallelism) {
    return Invalid("max parallelism is ", graph.max_parallelism(), "; it must be 1 to ",
                   Limits::kMaxParallelism);
  }
  if (auto s = CheckVertices(graph); !s.ok()) return s;
  if (auto s = CheckEdges(graph); !s.ok()) return s;
  if (auto s = CheckSettings(graph.settings()); !s.ok()) return s;
  if (auto s = CheckText("the graph's hash", graph.graph_hash(), Limits::kMaxNameBytes); !s.ok()) {
    return s;
  }
  size_t arguments = 0;
  for (const std::string& argument : graph.arguments()) arguments += argument.size();
  if (arguments > Limits::kMaxArgumentsBytes) {
    return Invalid("the job's arguments have ", arguments, " bytes; at most ",
                   Limits::kMaxArgumentsBytes, " are allowed: put the rest into a file");
  }
  if (graph.ByteSizeLong() > Limits::kMaxGraphBytes) {
    return Invalid("the job graph has ", graph.ByteSizeLong(), " bytes; at most ",
                   Limits::kMaxGraphBytes, " are allowed: shorten names, or split the job");
  }
  return absl::OkStatus();
}

namespace {

EdgeShape ShapeOf(const proto::Edge& edge, const proto::JobGraph& graph) {
  EdgeShape shape{.source = VertexId(edge.source_vertex()),
                  .target = VertexId(edge.target_vertex())};
  shape.producers = graph.vertices(static_cast<int>(edge.source_vertex())).parallelism();
  shape.consumers = graph.vertices(static_cast<int>(edge.target_vertex())).parallelism();
  switch (edge.partitioning()) {
    case proto::PARTITIONING_FORWARD:
      shape.partitioning = Partitioning::kForward;
      break;
    case proto::PARTITIONING_RESCALE:
      shape.partitioning = Partitioning::kRescale;
      break;
    default:  // the others have the same channels: everybody to everybody
      shape.partitioning = Partitioning::kHash;
  }
  return shape;
}

}  // namespace

JobPlan PlanOf(const proto::JobGraph& graph, const std::string& artifact_hash) {
  JobPlan plan{.name = graph.job_name(), .artifact_hash = artifact_hash};
  for (const proto::Vertex& vertex : graph.vertices()) {
    plan.vertices.push_back({.id = VertexId(vertex.id()),
                             .name = vertex.name(),
                             .parallelism = vertex.parallelism(),
                             .slot_sharing_group = vertex.slot_sharing_group(),
                             .transactional = vertex.is_transactional()});
  }
  for (const proto::Edge& edge : graph.edges()) plan.edges.push_back(ShapeOf(edge, graph));
  const proto::CheckpointSettings& from = graph.settings().checkpoint();
  CheckpointPolicy& to = plan.checkpoint;
  to.interval = milliseconds(from.interval_ms());
  to.timeout = Millis(from.timeout_ms(), to.timeout);
  to.min_pause = milliseconds(from.min_pause_ms());
  to.max_concurrent = Or(from.max_concurrent(), to.max_concurrent);
  to.mode = from.mode() == proto::CHECKPOINT_MODE_AT_LEAST_ONCE ? CheckpointMode::kAtLeastOnce
                                                                : CheckpointMode::kExactlyOnce;
  if (!from.always_aligned()) {
    constexpr uint64_t kAlignedMs = 30'000;
    to.aligned_timeout =
        milliseconds(from.has_aligned_timeout_ms() ? from.aligned_timeout_ms() : kAlignedMs);
  }
  if (from.has_tolerable_failures()) to.tolerable_failures = from.tolerable_failures();
  to.retained = Or(from.retained(), to.retained);
  to.retain_on_cancel = from.retention() != proto::CHECKPOINT_RETENTION_DELETE_ON_CANCEL;
  plan.restart = RestartOf(graph.settings());
  return plan;
}

}  // namespace weir::jobmanager
