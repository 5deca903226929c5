#include "jobmanager/values.h"

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

std::vector<SubtaskId> JobPlan::TransactionalSubtasks() const {
  std::vector<SubtaskId> all;
  for (const VertexPlan& vertex : vertices) {
    if (!vertex.transactional) continue;
    for (uint32_t i = 0; i < vertex.parallelism; ++i) all.push_back({vertex.id, i});
  }
  return all;
}

}  // namespace weir::jobmanager
