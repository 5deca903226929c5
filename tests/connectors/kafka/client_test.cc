// What a job makes of Kafka's errors.

#include "connectors/kafka/client.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace weir::kafka
