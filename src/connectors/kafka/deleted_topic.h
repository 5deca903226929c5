#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/client.h"

/// Private: topics that were there when the job began, and are no more. librdkafka waits for such a
/// one as for one whose leader is away.
namespace weir::kafka {

/// The first of these topics that is gone: Kafka says so whenever it is asked for `certain_after`,
/// for a broker that has just started may not know its topics for a moment. Nothing if all are
/// there, no broker answers, or `stop` is set. Blocks, so long only where one seems to be gone.
/// `consumer`: a producer would have the broker create it.
std::optional<std::string> DeletedTopic(rd_kafka_t* consumer,
                                        const std::vector<std::string>& topics,
                                        std::chrono::milliseconds certain_after,
                                        const std::atomic<bool>& stop);

/// In words, with the mend. `partitions`: that it had; 0: not known.
std::string ExplainDeleted(const std::string& brokers, const std::string& topic,
                           int32_t partitions);

/// The same of the topic that holds the markers.
std::string ExplainDeletedMarkers(const std::string& brokers, const std::string& topic);

}  // namespace weir::kafka
