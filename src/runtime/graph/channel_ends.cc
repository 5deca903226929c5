#include "runtime/graph/channel_ends.h"

namespace weir {

std::vector<uint32_t> ConsumersOf(Partitioning partitioning, uint32_t producer, uint32_t producers,
                                  uint32_t consumers) {
  std::vector<uint32_t> result;
  switch (partitioning) {
    case Partitioning::kForward:
      return {producer};
    case Partitioning::kRescale: {
      if (consumers <= producers) {
        return {static_cast<uint32_t>(uint64_t{producer} * consumers / producers)};
      }
      const uint64_t begin = uint64_t{producer} * consumers / producers;
      const uint64_t end = uint64_t{producer + 1} * consumers / producers;
      for (uint64_t c = begin; c < end; ++c) result.push_back(static_cast<uint32_t>(c));
      return result;
    }
    default:
      for (uint32_t c = 0; c < consumers; ++c) result.push_back(c);
      return result;
  }
}

namespace {

bool IsAllToAll(Partitioning partitioning) {
  return partitioning != Partitioning::kForward && partitioning != Partitioning::kRescale;
}

// By process, as the pairs of subtasks are too many to look at each.
void AddAllToAll(const EdgeShape& edge, const std::function<uint64_t(SubtaskId)>& process_of,
                 std::map<uint64_t, uint64_t>* ends) {
  struct Here {
    uint64_t producers = 0;
    uint64_t consumers = 0;
  };
  std::map<uint64_t, Here> processes;
  for (uint32_t p = 0; p < edge.producers; ++p) ++processes[process_of({edge.source, p})].producers;
  for (uint32_t c = 0; c < edge.consumers; ++c) ++processes[process_of({edge.target, c})].consumers;
  for (const auto& [process, here] : processes) {
    const uint64_t count = here.producers * (edge.consumers - here.consumers) +
                           here.consumers * (edge.producers - here.producers);
    if (count > 0) (*ends)[process] += count;
  }
}

}  // namespace

std::map<uint64_t, uint64_t> RemoteChannelEnds(
    const std::vector<EdgeShape>& edges, const std::function<uint64_t(SubtaskId)>& process_of) {
  std::map<uint64_t, uint64_t> ends;
  for (const EdgeShape& edge : edges) {
    if (IsAllToAll(edge.partitioning)) {
      AddAllToAll(edge, process_of, &ends);
      continue;
    }
    for (uint32_t p = 0; p < edge.producers; ++p) {
      const uint64_t from = process_of({edge.source, p});
      for (uint32_t c : ConsumersOf(edge.partitioning, p, edge.producers, edge.consumers)) {
        const uint64_t to = process_of({edge.target, c});
        if (from == to) continue;
        ++ends[from];
        ++ends[to];
      }
    }
  }
  return ends;
}

}  // namespace weir
