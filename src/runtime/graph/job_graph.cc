#include "runtime/graph/job_graph.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "runtime/graph/operator_name.h"

namespace weir {
namespace {

constexpr uint32_t kMaxParallelism = 32768;
constexpr uint32_t kMaxConcurrentCheckpoints = 16;
constexpr size_t kMaxNodes = 10'000;
constexpr size_t kMaxNameBytes = 1024;

[[noreturn]] void Refuse(const std::string& message) { ThrowError(ErrorKind::kUser, message); }

/// A number of subtasks. What a user wrote as -1 stands in an unsigned field.
bool IsCount(uint32_t n) { return static_cast<int32_t>(n) > 0; }
std::string AsWritten(uint32_t n) { return std::to_string(static_cast<int32_t>(n)); }

class Builder {
 public:
  explicit Builder(const StreamGraph& graph) : graph_(graph) {}

  JobGraph Build() {
    CheckSettings();
    result_.settings = graph_.settings;
    CheckNodes();
    AssignUids();
    AssignSlotSharingGroups();
    CountConsumers();
    WarnOfRepetition();
    for (const StreamNode& node : graph_.nodes) Place(node);
    for (JobVertex& vertex : result_.vertices) NameVertex(vertex);
    for (const StreamNode& node : graph_.nodes) Connect(node);
    result_.hash = Hash();
    return std::move(result_);
  }

 private:
  struct NodePlace {
    uint32_t vertex;
    uint32_t index;
  };

  uint32_t ParallelismOf(const StreamNode& node) const {
    const uint32_t wanted = node.parallelism.value_or(graph_.settings.parallelism);
    // A forced 1 (WindowAll, a collection source) wins over the job's default, not over the user.
    if (!node.parallelism && node.max_operator_parallelism) {
      return std::min(wanted, *node.max_operator_parallelism);
    }
    return wanted;
  }

  void CheckSettings() {
    const JobSettings& settings = graph_.settings;
    CheckText("the job's name", settings.name);
    if (!IsCount(settings.parallelism)) {
      Refuse("the job's parallelism is " + AsWritten(settings.parallelism) + "; use at least 1");
    }
    if (settings.max_parallelism > kMaxParallelism) {
      Refuse("the job's max_parallelism is " + AsWritten(settings.max_parallelism) +
             "; it must be 1 to " + std::to_string(kMaxParallelism) +
             ", or 0: derived from the parallelism");
    }
    CheckDurations();
    if (graph_.nodes.empty()) Refuse("the job has no operators; begin with env.From(source)");
    if (graph_.nodes.size() > kMaxNodes) {
      Refuse("the job has " + std::to_string(graph_.nodes.size()) + " operators; the most is " +
             std::to_string(kMaxNodes));
    }
    if (settings.checkpoints.max_concurrent < 1 ||
        settings.checkpoints.max_concurrent > kMaxConcurrentCheckpoints) {
      Refuse("the job's checkpoints.max_concurrent is " +
             AsWritten(settings.checkpoints.max_concurrent) + "; it must be 1 to " +
             std::to_string(kMaxConcurrentCheckpoints));
    }
  }

  void CheckDurations() {
    const JobSettings& settings = graph_.settings;
    const std::pair<const char*, std::chrono::milliseconds> durations[] = {
        {"checkpoints.interval", settings.checkpoints.interval},
        {"checkpoints.timeout", settings.checkpoints.timeout},
        {"checkpoints.min_pause", settings.checkpoints.min_pause},
        {"restart.delay", settings.restart.delay},
        {"restart.failure_interval", settings.restart.failure_interval},
        {"restart.initial_delay", settings.restart.initial_delay},
        {"restart.max_delay", settings.restart.max_delay},
        {"restart.reset_after", settings.restart.reset_after},
        {"watermark_interval", settings.watermark_interval}};
    for (const auto& [name, value] : durations) {
      if (value.count() >= 0) continue;
      Refuse("the job's " + std::string(name) + " is " + std::to_string(value.count()) +
             " ms; a duration is not negative");
    }
  }

  static void CheckText(const std::string& what, const std::string& text) {
    if (text.size() > kMaxNameBytes) {
      Refuse(what + " has " + std::to_string(text.size()) + " bytes; at most " +
             std::to_string(kMaxNameBytes) + " are allowed");
    }
    if (const size_t at = FirstInvalidUtf8(text); at != text.size()) {
      Refuse(what + " '" + ToUtf8(text) + "' is not UTF-8 (byte " + std::to_string(at) + ")");
    }
  }

  void CheckNodes() {
    bool any_source = false;
    for (const StreamNode& node : graph_.nodes) {
      CheckText("the name of a " + node.kind, node.name);
      CheckText("the uid of " + DescribeOperator(node), node.uid);
      CheckText("the slot sharing group of " + DescribeOperator(node), node.slot_sharing_group);
      any_source = any_source || node.is_source;
      if (!node.is_source && node.inputs.empty()) Refuse(DescribeOperator(node) + " has no input");
      for (const StreamInput& input : node.inputs) {
        // The API can only refer backwards; a graph from elsewhere could hold a cycle.
        if (input.node >= node.id) Refuse(DescribeOperator(node) + " is part of a cycle");
        CheckText("the tag of a side output that " + DescribeOperator(node) + " reads", input.tag);
        CheckType(node, input);
      }
      const uint32_t parallelism = ParallelismOf(node);
      if (!IsCount(parallelism)) {
        Refuse("parallelism of " + DescribeOperator(node) + " is " + AsWritten(parallelism) +
               "; use at least 1");
      }
      const uint32_t max =
          graph_.settings.max_parallelism != 0 ? graph_.settings.max_parallelism : kMaxParallelism;
      if (parallelism > max) {
        const uint32_t wanted = node.parallelism.value_or(graph_.settings.parallelism);
        Refuse("parallelism " + std::to_string(wanted) + " of " + DescribeOperator(node) +
               (wanted == parallelism ? ""
                                      : ", which runs with " + std::to_string(parallelism) +
                                            " at most whatever is asked for,") +
               " is above the job's max parallelism " + std::to_string(max) +
               "; lower it, or raise the maximum (only possible without old state)");
      }
      if (node.max_operator_parallelism && parallelism > *node.max_operator_parallelism) {
        Refuse(DescribeOperator(node) + " can run with parallelism " +
               std::to_string(*node.max_operator_parallelism) + " at most, not " +
               std::to_string(parallelism));
      }
    }
    if (!any_source) Refuse("the job has no source; begin with env.From(source)");
  }

  // Types are checked where the job is compiled, but a graph's edges do not know them any more:
  // what has come past the compiler all the same must not be read as something else.
  void CheckType(const StreamNode& node, const StreamInput& input) const {
    const StreamNode& from = graph_.nodes[input.node];
    const RecordType* given = from.type;
    if (!input.tag.empty()) {
      const auto side = from.side_outputs.find(input.tag);
      if (side == from.side_outputs.end() && !from.any_side_output) {
        Refuse(DescribeOperator(from) + " has no side output '" + input.tag + "', which " +
               DescribeOperator(node) + " reads");
      }
      given = side == from.side_outputs.end() ? nullptr : side->second;
    }
    for (const RecordType* other : {given, node.inputs[0].type}) {
      if (other == nullptr || input.type == nullptr || other->Is(*input.type)) continue;
      Refuse(DescribeOperator(node) + " reads rows of " + std::string(input.type->TypeName()) +
             " from " + DescribeOperator(from) +
             (input.tag.empty() ? "" : ", side output '" + input.tag + "'") +
             ", which are rows of " + std::string(other->TypeName()));
    }
  }

  void AssignUids() {
    std::map<std::string, const StreamNode*> seen;
    for (const StreamNode& node : graph_.nodes) {
      if (node.uid.empty()) continue;
      const auto [it, fresh] = seen.emplace(node.uid, &node);
      if (!fresh) {
        Refuse("uid '" + node.uid + "' is used by " + DescribeOperator(*it->second) + " and by " +
               DescribeOperator(node) + "; give each its own");
      }
    }
    for (const StreamNode& node : graph_.nodes) {
      std::string uid = node.uid;
      if (uid.empty()) uid = kDerivedUid + std::to_string(node.id) + "-" + node.kind;
      if (node.uid.empty() && seen.contains(uid)) uid += "-" + std::to_string(graph_.nodes.size());
      uids_.push_back(uid);
    }
  }

  // Inputs come before the node that reads them.
  void AssignSlotSharingGroups() {
    for (const StreamNode& node : graph_.nodes) {
      std::string group = node.slot_sharing_group;
      if (group.empty() && !node.inputs.empty()) {
        group = groups_[node.inputs[0].node];
        for (const StreamInput& input : node.inputs) {
          if (groups_[input.node] != group) group.clear();
        }
      }
      groups_.push_back(group.empty() ? kDefaultSlotSharingGroup : group);
    }
  }

  void CountConsumers() {
    for (const StreamNode& node : graph_.nodes) {
      for (const StreamInput& input : node.inputs) consumed_.insert(input.node);
    }
    for (const StreamNode& node : graph_.nodes) {
      if (!node.is_sink && !consumed_.contains(node.id)) {
        result_.warnings.push_back("the output of " + DescribeOperator(node) + " goes nowhere");
      }
    }
  }

  void WarnOfRepetition() {
    if (graph_.settings.checkpoints.mode != CheckpointingMode::kAtLeastOnce) return;
    for (const StreamNode& node : graph_.nodes) {
      if (!node.transactional) continue;
      result_.warnings.push_back(
          DescribeOperator(node) +
          " commits each checkpoint's rows exactly once, but checkpoints are "
          "at-least-once: rows that are processed again after a failure are committed again");
    }
  }

  bool Chains(const StreamNode& node) const {
    if (!node.chaining || node.inputs.size() != 1) return false;
    const StreamInput& input = node.inputs[0];
    const StreamNode& source = graph_.nodes[input.node];
    return input.partitioning == Partitioning::kForward &&
           ParallelismOf(source) == ParallelismOf(node) && groups_[source.id] == groups_[node.id];
  }

  void Place(const StreamNode& node) {
    OperatorSpec spec{.node = node, .uid = uids_[node.id], .upstream = -1, .upstream_tag = {}};
    spec.node.name = ToUtf8(ShownName(node), kMaxNameBytes);
    if (Chains(node)) {
      const NodePlace upstream = places_[node.inputs[0].node];
      JobVertex& vertex = result_.vertices[upstream.vertex];
      spec.upstream = static_cast<int32_t>(upstream.index);
      spec.upstream_tag = node.inputs[0].tag;
      places_.push_back({upstream.vertex, static_cast<uint32_t>(vertex.operators.size())});
      vertex.operators.push_back(std::move(spec));
      return;
    }
    JobVertex vertex;
    vertex.id = VertexId(static_cast<uint32_t>(result_.vertices.size()));
    vertex.parallelism = ParallelismOf(node);
    vertex.slot_sharing_group = groups_[node.id];
    vertex.operators.push_back(std::move(spec));
    places_.push_back({vertex.id.value, 0});
    result_.vertices.push_back(std::move(vertex));
  }

  static void NameVertex(JobVertex& vertex) {
    for (const OperatorSpec& op : vertex.operators) {
      if (!vertex.name.empty()) vertex.name += " -> ";
      vertex.name += op.node.name;
      if (vertex.name.size() > kMaxNameBytes) {
        vertex.name = ToUtf8(vertex.name, kMaxNameBytes);
        return;
      }
    }
  }

  void Connect(const StreamNode& node) {
    if (Chains(node)) return;
    const NodePlace target = places_[node.id];
    for (const StreamInput& input : node.inputs) {
      const NodePlace source = places_[input.node];
      Partitioning partitioning = input.partitioning;
      // Forward needs equal parallelism; where it is not, the rows are spread.
      if (partitioning == Partitioning::kForward &&
          result_.vertices[source.vertex].parallelism !=
              result_.vertices[target.vertex].parallelism) {
        partitioning = Partitioning::kRebalance;
      }
      result_.edges.push_back({.id = static_cast<uint32_t>(result_.edges.size()),
                               .source = VertexId(source.vertex),
                               .source_operator = source.index,
                               .tag = input.tag,
                               .target = VertexId(target.vertex),
                               .target_input = input.input,
                               .partitioning = partitioning,
                               .router = input.router,
                               .type = input.type});
    }
  }

  // Everything that two processes must agree on to run parts of one job.
  uint64_t Hash() const {
    ByteWriter w;
    for (const JobVertex& vertex : result_.vertices) {
      w.Put(vertex.id.value);
      w.Put(vertex.parallelism);
      w.PutString(vertex.slot_sharing_group);
      for (const OperatorSpec& op : vertex.operators) {
        w.PutString(op.uid);
        w.PutString(op.node.kind);
        w.PutString(graph_.nodes[op.node.id].name);  // as the job has it, however it is shown
        w.Put(op.upstream);
        w.PutString(op.upstream_tag);
      }
    }
    for (const JobEdge& edge : result_.edges) {
      w.Put(edge.source.value);
      w.Put(edge.source_operator);
      w.PutString(edge.tag);
      w.Put(edge.target.value);
      w.Put(edge.target_input);
      w.Put(static_cast<uint8_t>(edge.partitioning));
      w.Put(edge.type->SchemaHash());
    }
    return StableHash(w.bytes());
  }

  const StreamGraph& graph_;
  JobGraph result_;
  std::vector<std::string> uids_;
  std::vector<std::string> groups_;  // slot sharing, by node
  std::vector<NodePlace> places_;
  std::set<uint32_t> consumed_;
};

}  // namespace

JobGraph BuildJobGraph(const StreamGraph& graph) { return Builder(graph).Build(); }

uint32_t DefaultMaxParallelism(uint32_t parallelism) {
  return std::clamp(std::bit_ceil(parallelism + parallelism / 2), 128u, kMaxParallelism);
}

}  // namespace weir
