#include "connectors/kafka/reached_partitions.h"

#include <nlohmann/json.hpp>
#include <string>

namespace weir::kafka {
namespace {

using nlohmann::json;

template <class T>
T Get(const json& object, const char* name, T otherwise) {
  const auto found = object.find(name);
  if (found == object.end()) return otherwise;
  const T* value = found->get_ptr<const T*>();
  return value != nullptr ? *value : otherwise;
}

/// Numbers may be of either sign's type.
int64_t Number(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : -1;
}

const json& Part(const json& object, const char* name) {
  static const json kNone = json::object();
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : kNone;
}

}  // namespace

std::set<TopicPartition> ReachedPartitions(std::string_view statistics,
                                           std::chrono::milliseconds answered_within) {
  const json all = json::parse(statistics, nullptr, false);
  std::set<TopicPartition> reached;
  if (!all.is_object()) return reached;
  std::set<int64_t> answering;
  for (const json& broker : Part(all, "brokers")) {
    const std::chrono::microseconds silent(Number(broker, "rxidle"));
    if (Get<std::string>(broker, "state", "") == "UP" && silent.count() >= 0 &&
        silent <= answered_within) {
      answering.insert(Number(broker, "nodeid"));
    }
  }
  answering.erase(-1);  // an address to begin with; of a partition, that it has no leader
  for (const auto& [topic, of_topic] : Part(all, "topics").items()) {
    for (const json& partition : Part(of_topic, "partitions")) {
      if (Get<std::string>(partition, "fetch_state", "") != "active" ||
          !answering.contains(Number(partition, "broker"))) {
        continue;
      }
      reached.insert({topic, static_cast<int32_t>(Number(partition, "partition"))});
    }
  }
  return reached;
}

}  // namespace weir::kafka
