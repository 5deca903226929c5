#include "connectors/kafka/take_over.h"

#include <algorithm>

namespace weir::kafka {

std::optional<Marker> FurthestPast(const std::vector<Marker>& markers, CheckpointId base) {
  const auto furthest = std::ranges::max_element(markers, {}, &Marker::published);
  if (furthest == markers.end() || furthest->published <= base) return std::nullopt;
  return *furthest;
}

std::string AlreadyPublished(const Marker& marker, CheckpointId base) {
  const std::string published = std::to_string(marker.published.value);
  return "output lane " + MarkerKey(marker.lane) +
         ": output is already published up to checkpoint " + published +
         ", later than checkpoint " + std::to_string(base.value) +
         " from which this attempt starts. Start from checkpoint " + published +
         " or later, or with --new-lineage; then results will be repeated";
}

uint32_t LanesOf(const std::vector<Marker>& markers, const std::string& sink) {
  uint32_t lanes = 0;
  for (const Marker& marker : markers) {
    if (marker.lane.sink == sink) lanes = std::max({lanes, marker.lanes, marker.lane.subtask + 1});
  }
  return lanes;
}

std::optional<uint32_t> LaneBehind(const std::vector<Marker>& markers, const std::string& sink,
                                   const std::vector<uint32_t>& lanes, CheckpointId published) {
  const auto behind = std::ranges::find_if(lanes, [&](uint32_t lane) {
    return std::ranges::none_of(markers, [&](const Marker& marker) {
      return marker.lane.sink == sink && marker.lane.subtask == lane &&
             marker.published >= published;
    });
  });
  return behind == lanes.end() ? std::nullopt : std::optional(*behind);
}

std::optional<Marker> ClaimedByAnother(const std::vector<Marker>& markers, const std::string& sink,
                                       const std::string& run) {
  const auto found = std::ranges::find_if(markers, [&](const Marker& marker) {
    return marker.lane.sink == sink && marker.writer.run != run;
  });
  return found == markers.end() ? std::nullopt : std::optional(*found);
}

}  // namespace weir::kafka
