// What a job makes of Kafka's errors, and what librdkafka itself refuses.

#include "connectors/kafka/client.h"

#include <gtest/gtest.h>

#include "connectors/kafka/at_least_once_sink.h"
#include "connectors/kafka/lane_transactions.h"
#include "connectors/kafka/output_record.h"
#include "connectors/kafka/produce.h"

namespace weir::kafka {
namespace {

TEST(KindOfTest, OnlyWhatNoFurtherTryCanMendEndsTheJobAtOnce) {
  for (const auto code : {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_RECORD,
                          RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP}) {
    EXPECT_EQ(KindOf(nullptr, code), ErrorKind::kFatal) << rd_kafka_err2name(code);
  }
  for (const auto code : {RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TIMED_OUT,
                          RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS}) {
    EXPECT_EQ(KindOf(nullptr, code), ErrorKind::kExternal) << rd_kafka_err2name(code);
  }
}

TEST(KindOfTest, CredentialsAndRightsMayComeBackAsATopicMay) {
  for (const auto code :
       {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__AUTHENTICATION,
        RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED}) {
    EXPECT_EQ(KindOf(nullptr, code), ErrorKind::kUser) << rd_kafka_err2name(code);
  }
}

TEST(SentSizeTest, IsWhatTheClientComparesWithItsLimit) {
  constexpr size_t kLimit = 20'000;
  const ClientOptions options{.brokers = "127.0.0.1:1",
                              .properties = {{"message.max.bytes", std::to_string(kLimit)}}};
  ASSERT_EQ(MessageLimit(options), kLimit);
  EXPECT_EQ(MessageLimit({}), 1'000'000u);
  const Owned<rd_kafka_t> producer = MakeClient(options, {}, [](const std::string&) {});
  const Owned<rd_kafka_topic_t> topic(rd_kafka_topic_new(producer.get(), "t", nullptr));
  std::string headers;
  AppendHeader("none", std::nullopt, headers);
  AppendHeader("", "", headers);
  for (const size_t length : {63, 64, 127, 128, 8191, 8192}) {  // where its length grows by a byte
    AppendHeader("name", std::string(length, 'v'), headers);
    for (const std::string_view some : {std::string_view(), std::string_view(headers)}) {
      for (const auto& key :
           {std::optional<std::string_view>(), std::optional<std::string_view>("k")}) {
        OutputRecord record{.key = key, .headers = some};
        const size_t rest = SentSize(record);
        if (rest > kLimit) continue;
        for (const int more : {-1, 0, 1}) {
          const std::string value(kLimit - rest + more, 'v');
          record.value = value;
          EXPECT_EQ(SentSize(record), kLimit + more);
          EXPECT_EQ(Produce(producer.get(), topic.get(), record, true, nullptr),
                    more > 0 ? RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE : RD_KAFKA_RESP_ERR_NO_ERROR)
              << more << " with headers of " << some.size();
        }
      }
    }
  }
}

// However small the share of memory: librdkafka refuses a record beyond its whole queue with
// QUEUE_FULL, which looks as if waiting helped.
class QueueTest : public testing::TestWithParam<bool> {
 protected:
  static constexpr size_t kLimit = 5'000'000;

  static Owned<rd_kafka_t> Make(const ClientOptions& client) {
    const auto quiet = [](const std::string&) {};
    if (!GetParam()) return MakeAtLeastOnceProducer({.client = client}, nullptr, nullptr, quiet);
    return MakeTransactionalProducer({.client = client}, "id", nullptr, nullptr, quiet);
  }
  static ClientOptions Client(std::map<std::string, std::string> more) {
    ClientOptions client{.brokers = "127.0.0.1:1", .memory_bytes = 1 << 20};
    client.properties = std::move(more);
    client.properties["message.max.bytes"] = std::to_string(kLimit);
    return client;
  }
};

TEST_P(QueueTest, HasRoomForTheLargestRecord) {
  // A plain one of the same settings: a transactional producer takes nothing outside transactions.
  const ClientOptions client = Client({});
  EXPECT_NO_THROW(Make(client));
  const auto queue_of = [&](Settings defaults) {
    return MakeClient(client, {.defaults = std::move(defaults)}, [](const std::string&) {});
  };
  const std::string value(kLimit - 100, 'v');
  const OutputRecord record{.value = value};
  const auto send = [&](const Owned<rd_kafka_t>& producer) {
    const Owned<rd_kafka_topic_t> topic(rd_kafka_topic_new(producer.get(), "t", nullptr));
    return Produce(producer.get(), topic.get(), record, true, nullptr);
  };
  EXPECT_EQ(send(queue_of(QueueDefaults(client))), RD_KAFKA_RESP_ERR_NO_ERROR);
  EXPECT_EQ(send(queue_of({{"queue.buffering.max.kbytes", "1024"}})), RD_KAFKA_RESP_ERR__QUEUE_FULL)
      << "an empty queue";
}

TEST_P(QueueTest, ThatTheUserMadeTooSmallIsRefusedByName) {
  try {
    Make(Client({{"queue.buffering.max.kbytes", "1024"}}));
    ADD_FAILURE() << "a queue of 1 MiB for records of 5 MB";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFatal);
    EXPECT_NE(std::string(e.what()).find("queue.buffering.max.kbytes to 9766"), std::string::npos)
        << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Kafka, QueueTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Transactional" : "Plain"; });

}  // namespace
}  // namespace weir::kafka
