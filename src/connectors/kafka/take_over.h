#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/marker.h"

/// What a job that begins from another job's checkpoint asks of the lineage's markers, all of them:
/// its own lanes may be idle ones, or fewer than there were. Pure.
namespace weir::kafka {

/// The marker that says most, if that is more than what `base` holds: no start from there may
/// publish.
std::optional<Marker> FurthestPast(const std::vector<Marker>& markers, CheckpointId base);

/// Why it may not, and from where it may.
std::string AlreadyPublished(const Marker& marker, CheckpointId base);

/// How many lanes of the sink may hold something.
uint32_t LanesOf(const std::vector<Marker>& markers, const std::string& sink);

/// One of these lanes of the sink whose marker does not say that it is published up to there.
std::optional<uint32_t> LaneBehind(const std::vector<Marker>& markers, const std::string& sink,
                                   const std::vector<uint32_t>& lanes, CheckpointId published);

/// A lane of the sink that another run has claimed last.
std::optional<Marker> ClaimedByAnother(const std::vector<Marker>& markers, const std::string& sink,
                                       const std::string& run);

}  // namespace weir::kafka
