#include "connectors/kafka/marker.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hash.h"

namespace weir::kafka {
namespace {

constexpr int kVersion = 1;
constexpr char kSeparator = '/';

}  // namespace

std::string MarkerKey(const LaneId& lane) {
  return LineagePrefix(lane.lineage) + lane.sink + kSeparator + std::to_string(lane.subtask);
}

std::string LineagePrefix(const std::string& lineage) { return lineage + kSeparator; }

int32_t MarkerPartition(const LaneId& lane, int32_t partitions) {
  return static_cast<int32_t>(StableHash(std::string_view(MarkerKey(lane))) %
                              static_cast<uint64_t>(partitions));
}

std::string EncodeMarker(const Marker& marker) {
  const nlohmann::json json = {{"weir_marker", kVersion},
                               {"lineage", marker.lane.lineage},
                               {"sink", marker.lane.sink},
                               {"subtask", marker.lane.subtask},
                               {"parallelism", marker.parallelism},
                               {"lanes", marker.lanes},
                               {"run", marker.writer.run},
                               {"leader_epoch", marker.writer.leader_epoch.value},
                               {"attempt", marker.writer.attempt.value},
                               {"checkpoint", marker.published.value},
                               {"checkpoint_of", marker.published_by}};
  return json.dump();
}

std::optional<Marker> DecodeMarker(std::string_view bytes) {
  const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    if (json.at("weir_marker").get<int>() != kVersion) return std::nullopt;
    Marker marker;
    json.at("lineage").get_to(marker.lane.lineage);
    json.at("sink").get_to(marker.lane.sink);
    json.at("subtask").get_to(marker.lane.subtask);
    json.at("parallelism").get_to(marker.parallelism);
    // Not in markers of former versions.
    marker.lanes = std::max(marker.parallelism, json.value("lanes", uint32_t{0}));
    json.at("run").get_to(marker.writer.run);
    json.at("leader_epoch").get_to(marker.writer.leader_epoch.value);
    json.at("attempt").get_to(marker.writer.attempt.value);
    json.at("checkpoint").get_to(marker.published.value);
    marker.published_by = json.value("checkpoint_of", std::string());
    return marker;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace weir::kafka
