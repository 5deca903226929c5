#include "jobmanager/values.h"

#include <algorithm>

#include "runtime/graph/operator_name.h"

namespace weir::jobmanager {

const char* ToString(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kCheckpoint:
      return "checkpoint";
    case CheckpointKind::kSavepoint:
      return "savepoint";
    case CheckpointKind::kStop:
      return "stop savepoint";
    case CheckpointKind::kStopAndDrain:
      return "stop savepoint after draining";
    case CheckpointKind::kFinal:
      return "final checkpoint";
  }
  return "?";
}

std::vector<SubtaskId> JobPlan::Subtasks() const {
  std::vector<SubtaskId> all;
  for (const VertexPlan& vertex : vertices) {
    for (uint32_t i = 0; i < vertex.parallelism; ++i) all.push_back({vertex.id, i});
  }
  return all;
}

std::map<VertexId, uint32_t> JobPlan::Regions() const {
  std::map<VertexId, VertexId> joined;  // towards the lowest id of the same component
  for (const VertexPlan& vertex : vertices) joined[vertex.id] = vertex.id;
  const auto root = [&](VertexId id) {
    while (joined.at(id) != id) id = joined[id] = joined.at(joined.at(id));
    return id;
  };
  for (const EdgeShape& edge : edges) {
    const auto [low, high] = std::minmax({root(edge.source), root(edge.target)});
    joined[high] = low;
  }
  std::map<VertexId, uint32_t> numbers;  // of components, by their root
  std::map<VertexId, uint32_t> regions;
  for (const auto& [id, next] : joined) {
    const auto count = static_cast<uint32_t>(numbers.size());
    const uint32_t number = numbers.emplace(root(id), count).first->second;
    // Several components may fail together: no edge leaves the union either.
    regions[id] = number % kMaxRegions;
  }
  return regions;
}

std::string Failure::Told() const {
  if (operator_name.empty() || message.find("operator '" + operator_name + "'") == 0) {
    return message;
  }
  return NameWithUid(operator_name, operator_uid) + ": " + message;
}

std::vector<SubtaskId> JobPlan::TransactionalSubtasks() const {
  std::vector<SubtaskId> all;
  for (const VertexPlan& vertex : vertices) {
    if (!vertex.transactional) continue;
    for (uint32_t i = 0; i < vertex.parallelism; ++i) all.push_back({vertex.id, i});
  }
  return all;
}

}  // namespace weir::jobmanager
