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

std::map<uint64_t, uint64_t> RemoteChannelEnds(
    const std::vector<EdgeShape>& edges, const std::function<uint64_t(SubtaskId)>& process_of) {
  std::map<uint64_t, uint64_t> ends;
  for (const EdgeShape& edge : edges) {
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
