#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "connectors/kafka/lane_transactions.h"
#include "connectors/kafka/marker.h"

namespace weir::kafka {

/// The newest marker of every lane of the lineage, of all sinks that have this marker topic, as far
/// as Kafka shows them now: what stands behind a transaction that is open is not waited for.
/// Blocks. Throws weir::Error: kExternal when trying again may help, or when `stop` was set
/// meanwhile.
std::vector<Marker> ReadLineageMarkers(const PublicationOptions& options,
                                       const std::string& lineage, int32_t partitions,
                                       const std::atomic<bool>& stop, const LogFunction& log);

}  // namespace weir::kafka
