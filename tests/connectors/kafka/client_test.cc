// What a job makes of Kafka's errors, and what librdkafka itself refuses.

#include "connectors/kafka/client.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace weir::kafka
