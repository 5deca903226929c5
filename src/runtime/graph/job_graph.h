#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/graph/stream_graph.h"

namespace weir {

/// One operator inside a vertex.
struct OperatorSpec {
  StreamNode node;
  std::string uid;  ///< explicit or derived; never empty, unique in the job
  /// The operator in the same vertex that feeds it; -1 for the head.
  int32_t upstream = -1;
  std::string upstream_tag;
};

/// A chain (a tree where an output has several consumers) of operators that run as one subtask.
struct JobVertex {
  VertexId id;
  std::string name;
  uint32_t parallelism = 1;
  std::string slot_sharing_group;
  std::vector<OperatorSpec> operators;  ///< head first; every operator after its upstream
};

/// Rows of one operator's output that go to another vertex.
struct JobEdge {
  uint32_t id = 0;
  VertexId source;
  uint32_t source_operator = 0;  ///< index in the source vertex
  std::string tag;
  VertexId target;
  uint32_t target_input = 0;
  Partitioning partitioning = Partitioning::kForward;
  RouterFactory router;
  const RecordType* type = nullptr;
};

/// What is deployed. Built anew in every process that runs the job (it holds the operators'
/// factories); processes make sure by `hash` that they hold the same one.
struct JobGraph {
  JobSettings settings;
  std::vector<JobVertex> vertices;  ///< sources first, every vertex after its inputs
  std::vector<JobEdge> edges;
  uint64_t hash = 0;
  std::vector<std::string> warnings;

  const JobVertex& vertex(VertexId id) const { return vertices[id.value]; }
};

/// Chains the nodes and checks the job: at least one source, no cycle, unique uids, parallelism
/// between 1 and the maximum. Throws weir::Error (kUser) naming the operator and the mend.
/// Deterministic: the same stream graph gives the same job graph and hash.
JobGraph BuildJobGraph(const StreamGraph& graph);

/// The default maximum parallelism for a job that first runs with `parallelism`: the next power of
/// two above one and a half times it, between 128 and 32768 (Flink's rule).
uint32_t DefaultMaxParallelism(uint32_t parallelism);

}  // namespace weir
