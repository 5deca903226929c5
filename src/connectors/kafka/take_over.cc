#include "connectors/kafka/take_over.h"

#include <algorithm>

namespace weir::kafka {

bool HoldsInItsPast(const Restored& base, const std::string& run, const Marker& marker) {
  if (marker.published == CheckpointId{0}) return true;
  const bool by_number = base.run.empty() || base.run == run || !base.ancestors ||
                         marker.published_by.empty() || marker.published_by == base.run;
  if (by_number) return marker.published <= base.checkpoint;
  const auto ancestor = base.ancestors->find(marker.published_by);
  return ancestor != base.ancestors->end() && marker.published <= ancestor->second;
}

std::optional<Marker> FurthestPast(const std::vector<Marker>& markers, const Restored& base,
                                   const std::string& run) {
  std::optional<Marker> furthest;
  for (const Marker& marker : markers) {
    if (HoldsInItsPast(base, run, marker)) continue;
    if (!furthest || furthest->published < marker.published) furthest = marker;
  }
  return furthest;
}

std::string AlreadyPublished(const Marker& marker, const Restored& base) {
  const std::string published = std::to_string(marker.published.value);
  const std::string start = std::to_string(base.checkpoint.value);
  const std::string lane =
      "output lane " + MarkerKey(marker.lane) + ": output is already published up to checkpoint ";
  const std::string or_repeat = " or later, or with --new-lineage; then results will be repeated";
  if (marker.published > base.checkpoint) {
    // Markers of former versions do not say whose.
    const std::string whose =
        published + (marker.published_by.empty() ? "" : " of job " + marker.published_by);
    return lane + whose + ", later than checkpoint " + start +
           " from which this attempt starts. Start from checkpoint " + whose + or_repeat;
  }
  return lane + published + " of job " + marker.published_by + ", which is not in the past of " +
         "checkpoint " + start + " of job " + base.run +
         " from which this attempt starts: both jobs went on from an earlier one. Start from "
         "checkpoint " +
         published + " of job " + marker.published_by + or_repeat;
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
