#pragma once

#include <chrono>
#include <set>
#include <string_view>

#include "connectors/kafka/position.h"

namespace weir::kafka {

/// The partitions that a consumer is in touch with, from librdkafka's statistics (its
/// STATISTICS.md): they are fetched from a broker that is up and has said something within
/// `answered_within`. One that has nothing new answers each fetch after fetch.wait.max.ms.
std::set<TopicPartition> ReachedPartitions(std::string_view statistics,
                                           std::chrono::milliseconds answered_within);

}  // namespace weir::kafka
