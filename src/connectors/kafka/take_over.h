#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/marker.h"
#include "connectors/kafka/transaction_publisher.h"

/// What a job that begins from another job's checkpoint asks of the lineage's markers, all of them:
/// its own lanes may be idle ones, or fewer than there were. Pure.
namespace weir::kafka {

using Restored = TransactionPublisher::Restored;

/// Whether what the marker says to be published lies in the past of the checkpoint that the job
/// `run` is restored from. A number alone does not say: jobs that begin from one checkpoint each go
/// on from its number. Of a former version's markers and states it is all that there is.
bool HoldsInItsPast(const Restored& base, const std::string& run, const Marker& marker);

/// Of the markers that do not lie in the past of `base` the one that says most: no start from there
/// may publish.
std::optional<Marker> FurthestPast(const std::vector<Marker>& markers, const Restored& base,
                                   const std::string& run);

/// Why it may not, and from where it may.
std::string AlreadyPublished(const Marker& marker, const Restored& base);

/// How many lanes of the sink may hold something.
uint32_t LanesOf(const std::vector<Marker>& markers, const std::string& sink);

/// One of these lanes of the sink whose marker does not say that it is published up to there.
std::optional<uint32_t> LaneBehind(const std::vector<Marker>& markers, const std::string& sink,
                                   const std::vector<uint32_t>& lanes, CheckpointId published);

/// A lane of the sink that another run has claimed last.
std::optional<Marker> ClaimedByAnother(const std::vector<Marker>& markers, const std::string& sink,
                                       const std::string& run);

}  // namespace weir::kafka
