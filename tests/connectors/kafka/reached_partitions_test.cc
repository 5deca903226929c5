#include "connectors/kafka/reached_partitions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Broker(const std::string& state, int id, int64_t silent_us) {
  return "\"b" + std::to_string(id) + state + "\": {\"nodeid\": " + std::to_string(id) +
         ", \"state\": \"" + state + "\", \"rxidle\": " + std::to_string(silent_us) + "}";
}
std::string Partition(int id, int broker, const std::string& fetches = "active") {
  return "\"" + std::to_string(id) + "\": {\"partition\": " + std::to_string(id) +
         ", \"broker\": " + std::to_string(broker) + ", \"fetch_state\": \"" + fetches + "\"}";
}

TEST(ReachedPartitions, AreFetchedFromABrokerThatAnswers) {
  const std::string statistics =
      "{\"brokers\": {" + Broker("UP", 1, 100'000) + ", " + Broker("UP", 2, 2'000'000) + ", " +
      Broker("DOWN", 3, 100'000) + ", " + Broker("UP", 4, -1) + ", " + Broker("UP", -1, 5) +
      "}, \"topics\": {\"a\": {\"partitions\": {" + Partition(0, 1) + ", " + Partition(1, 2) +
      ", " + Partition(2, 3) + ", " + Partition(3, 1, "offset-wait") + ", " + Partition(4, -1) +
      "}}, \"b\": {\"partitions\": {" + Partition(7, 1) + ", " + Partition(8, 4) + "}}}}";
  EXPECT_THAT(ReachedPartitions(statistics, milliseconds(1'000)),
              ElementsAre(TopicPartition{"a", 0}, TopicPartition{"b", 7}));
  EXPECT_THAT(ReachedPartitions(statistics, milliseconds(2'000)),
              ElementsAre(TopicPartition{"a", 0}, TopicPartition{"a", 1}, TopicPartition{"b", 7}));
}

TEST(ReachedPartitions, AreNoneWhereTheStatisticsAreOtherThanExpected) {
  for (const char* text : {"", "{", "[]", "{\"brokers\": [1], \"topics\": 3}",
                           "{\"topics\": {\"a\": {\"partitions\": {\"0\": {}}}}}",
                           "{\"brokers\": {\"b\": 1}, \"topics\": {\"a\": {\"partitions\": "
                           "{\"0\": 5}}}}"}) {
    EXPECT_THAT(ReachedPartitions(text, milliseconds(1'000)), IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace weir::kafka
