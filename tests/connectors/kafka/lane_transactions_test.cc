#include "connectors/kafka/lane_transactions.h"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <atomic>
#include <chrono>
#include <variant>

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using P = TransactionPublisher;

constexpr int16_t kInitProducerId = 22;  // by Kafka's protocol

/// librdkafka's own broker, which answers what it is told to.
class LaneTransactionsTest : public ::testing::Test {
 protected:
  LaneTransactionsTest()
      : client_(rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), nullptr, 0)),
        cluster_(rd_kafka_mock_cluster_new(client_.get(), 1)) {
    options_.client.brokers = rd_kafka_mock_cluster_bootstraps(cluster_);
    options_.topic = "output";
  }
  ~LaneTransactionsTest() override { rd_kafka_mock_cluster_destroy(cluster_); }

  /// It answers so to the next requests for a producer's id, half a second apart.
  template <size_t n>
  void CoordinatorAnswers(rd_kafka_resp_err_t error) {
    std::array<rd_kafka_resp_err_t, n> errors;
    errors.fill(error);
    rd_kafka_mock_push_request_errors_array(cluster_, kInitProducerId, n, errors.data());
  }
  P::Event Init() {
    LaneTransactions lane(options_, {.lane = {"lineage", "sink", 0}, .marker_partitions = 1}, stop_,
                          [](const std::string&) {});
    return lane.InitProducer();
  }

  const Owned<rd_kafka_t> client_;
  rd_kafka_mock_cluster_t* const cluster_;
  PublicationOptions options_;
  std::atomic<bool> stop_{false};
};

TEST_F(LaneTransactionsTest, ACoordinatorThatStillLoadsIsWaitedFor) {
  CoordinatorAnswers<3>(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  const P::Event event = Init();
  EXPECT_TRUE(std::holds_alternative<P::ProducerReady>(event))
      << std::get<P::OutcomeUnknown>(event).reason;
}

TEST_F(LaneTransactionsTest, WhatACoordinatorAnswersIsNamedWhenTheTimeIsOver) {
  CoordinatorAnswers<100>(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  options_.init_limit = milliseconds(1'200);
  const auto started = std::chrono::steady_clock::now();
  const P::Event event = Init();
  EXPECT_GE(std::chrono::steady_clock::now() - started, milliseconds(1'100));
  ASSERT_TRUE(std::holds_alternative<P::OutcomeUnknown>(event));
  EXPECT_NE(std::get<P::OutcomeUnknown>(event).reason.find("oordinator"), std::string::npos)
      << std::get<P::OutcomeUnknown>(event).reason;
}

TEST_F(LaneTransactionsTest, AStopIsNotKeptWaiting) {
  CoordinatorAnswers<100>(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  stop_ = true;
  EXPECT_TRUE(std::holds_alternative<P::OutcomeUnknown>(Init()));
}

}  // namespace
}  // namespace weir::kafka
