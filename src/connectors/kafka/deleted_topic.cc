#include "connectors/kafka/deleted_topic.h"

#include <algorithm>
#include <thread>

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kRequest{1'000};
constexpr milliseconds kPause{250};

}  // namespace

std::optional<std::string> DeletedTopic(rd_kafka_t* consumer,
                                        const std::vector<std::string>& topics,
                                        milliseconds certain_after, const std::atomic<bool>& stop) {
  const auto is_missing = [&](const std::string& topic) {
    return !stop &&
           AskForTopic(consumer, topic, kRequest).error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
  };
  const auto missing = std::ranges::find_if(topics, is_missing);
  if (missing == topics.end()) return std::nullopt;
  const auto since = SteadyClock::now();
  while (SteadyClock::now() - since < certain_after) {
    std::this_thread::sleep_for(kPause);
    if (!is_missing(*missing)) return std::nullopt;
  }
  return *missing;
}

std::string ExplainDeleted(const std::string& brokers, const std::string& topic,
                           int32_t partitions) {
  return "topic " + topic + " no longer exists at " + brokers +
         (partitions > 0 ? "" : ", or has fewer partitions than it had") +
         ": it was deleted while the job ran, and what was published into it is gone; create it "
         "again" +
         (partitions > 0 ? " with " + std::to_string(partitions) +
                               (partitions == 1 ? " partition" : " partitions")
                         : "") +
         ", and results go on from there";
}

std::string ExplainDeletedMarkers(const std::string& brokers, const std::string& topic) {
  return "marker topic " + topic + " no longer exists at " + brokers +
         ": it was deleted while the job ran, and nothing else tells what is published; start from "
         "the last checkpoint with --new-lineage to go on; results will be repeated";
}

}  // namespace weir::kafka
