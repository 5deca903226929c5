#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace weir::kafka {

/// How to reach a Kafka cluster; common to sources and sinks.
struct ClientOptions {
  /// "host:port,host:port"
  std::string brokers;
  /// Handed through to librdkafka (security.protocol, compression.codec, linger.ms ...). An unknown
  /// name, a bad value, and a property that Weir sets itself are refused by name.
  std::map<std::string, std::string> properties = {};
  /// What the client may hold in its queues; librdkafka's own defaults are above 1 GB. 0: its share
  /// of the TaskManager's memory, at most 64 MiB.
  uint64_t memory_bytes = 0;

  /// In an operator that may hold `share`.
  uint64_t MemoryIn(uint64_t share) const { return memory_bytes != 0 ? memory_bytes : share; }
};

/// A job that starts from nothing waits this long for its brokers before the attempt fails and says
/// so. One that goes on from a checkpoint has found them before, and waits.
inline constexpr std::chrono::milliseconds kStartLimit{15'000};

}  // namespace weir::kafka
