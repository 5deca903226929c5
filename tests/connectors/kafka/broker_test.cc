#include "tests/connectors/kafka/broker.h"

#include <sys/wait.h>

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::kafka::testing {
namespace {

using ::testing::ElementsAre;

TEST(BrokerTest, RecordsComeBackWithAllTheirParts) {
  Broker& broker = Broker::Instance();
  const std::string topic = broker.CreateTopic("parts", 2);
  broker.Produce(topic, {{.partition = 0, .key = "k", .value = "v", .timestamp_ms = 1000},
                         {.partition = 1, .value = "w", .headers = {{"h", "x"}}},
                         {.partition = 1, .key = "deleted"}});
  const auto records = broker.Read(topic, Isolation::kReadCommitted);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].key, "k");
  EXPECT_EQ(records[0].value, "v");
  EXPECT_EQ(records[0].timestamp_ms, 1000);
  EXPECT_EQ(records[1].key, std::nullopt);
  EXPECT_EQ(records[1].headers.at("h"), "x");
  EXPECT_EQ(records[2].value, std::nullopt);
  EXPECT_EQ(records[2].offset, 1);
}

TEST(BrokerTest, DataOutliveAKill) {
  Broker& broker = Broker::Instance();
  const std::string topic = broker.CreateTopic("kill", 1);
  broker.Produce(topic, {{.value = "before"}});
  const std::string address = broker.address();
  broker.Kill();
  broker.Start();
  EXPECT_EQ(broker.address(), address);
  broker.Produce(topic, {{.value = "after"}});
  EXPECT_THAT(broker.ReadValues(topic, Isolation::kReadCommitted), ElementsAre("before", "after"));
  EXPECT_EQ(broker.Offsets(topic, 0, Isolation::kReadUncommitted),
            std::pair(int64_t{0}, int64_t{2}));
}

/// What tools/kafka/verify_reader.py says of these payloads, all in one partition.
int Verdict(const std::vector<std::string>& payloads) {
  Broker& broker = Broker::Instance();
  const std::string topic = broker.CreateTopic("verdict", 1);
  std::vector<TestRecord> records;
  for (const std::string& payload : payloads) records.push_back({.value = payload});
  broker.Produce(topic, records);
  std::string command = WEIR_SOURCE_DIR "/tools/kafka/verify_reader.py ";
  command += broker.address() + " " + topic + " --sequences --keys 2 --last 2";
  return WEXITSTATUS(std::system(command.c_str()));
}

TEST(VerifyReaderTest, CatchesWhatItIsForAndNothingElse) {
  const std::string a1 = R"({"key":"a","seq":1})", a2 = R"({"key":"a","seq":2})";
  const std::string b1 = R"({"key":"b","seq":1})", b2 = R"({"key":"b","seq":2})";
  EXPECT_EQ(Verdict({a1, b1, b2, a2}), 0);
  EXPECT_EQ(Verdict({a1, b1, b2}), 1) << "lost at the end";
  EXPECT_EQ(Verdict({a2, b1, b2}), 1) << "lost at the beginning";
  EXPECT_EQ(Verdict({a1, b1, a2, b2, a1}), 1) << "repeated";
  EXPECT_EQ(Verdict({a2, b1, a1, b2}), 1) << "out of order";
  EXPECT_EQ(Verdict({a1, a2}), 1) << "a whole key lost";
}

}  // namespace
}  // namespace weir::kafka::testing
