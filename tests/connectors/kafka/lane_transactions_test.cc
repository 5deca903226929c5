#include "connectors/kafka/lane_transactions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka_mock.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <variant>
#include <vector>

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using P = TransactionPublisher;

constexpr int16_t kProduce = 0;  // by Kafka's protocol
constexpr int16_t kInitProducerId = 22;

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

  /// One transaction.
  P::Event Publish(const std::vector<std::string>& values = {"a", "b"}) {
    rd_kafka_mock_topic_create(cluster_, options_.marker_topic.c_str(), 1, 1);
    const LaneId id{"lineage", "sink", 0};
    LaneTransactions lane(options_,
                          {.lane = id, .marker_partitions = 1, .output = {.partitions = 4}}, stop_,
                          [](const std::string&) {});
    EXPECT_TRUE(std::holds_alternative<P::ProducerReady>(lane.InitProducer()));
    EpochWriter writer(::testing::TempDir() + "lane-transactions-" + std::to_string(getpid()));
    for (const std::string& value : values) writer.Append({.value = value, .partition = 0});
    const EpochFile file = writer.Close();
    const P::Event event = lane.Transact({.epochs = {CheckpointId{1}}, .marker = {.lane = id}},
                                         [&](CheckpointId) { return file; });
    unlink(file.path.c_str());
    return event;
  }

  /// The values in the output's first partition as they lie there.
  std::vector<std::string> Output(size_t count) {
    const Owned<rd_kafka_t> consumer =
        MakeClient(options_.client, {.type = RD_KAFKA_CONSUMER, .defaults = {{"group.id", "test"}}},
                   [](const std::string&) {});
    rd_kafka_poll_set_consumer(consumer.get());
    const Owned<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), "output", 0)->offset = 0;
    rd_kafka_assign(consumer.get(), list.get());
    std::vector<std::string> values;
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (values.size() < count && std::chrono::steady_clock::now() < end) {
      const Owned<rd_kafka_message_t> message(rd_kafka_consumer_poll(consumer.get(), 100));
      if (message == nullptr || message->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      values.emplace_back(static_cast<const char*>(message->payload), message->len);
    }
    return values;
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

// A broker that does not know the producer takes what comes second as the first, and the first as a
// repetition: docs/decisions/kafka-failures.md.
TEST_F(LaneTransactionsTest, NothingIsSentBehindABatchThatIsNotTakenYet) {
  rd_kafka_mock_topic_create(cluster_, "output", 4, 1);
  options_.client.properties["batch.num.messages"] = "1";
  const rd_kafka_resp_err_t refused[] = {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION};
  rd_kafka_mock_push_request_errors_array(cluster_, kProduce, 1, refused);
  std::vector<std::string> values;
  for (int i = 0; i < 20; ++i) values.push_back(std::to_string(i));
  EXPECT_TRUE(std::holds_alternative<P::Committed>(Publish(values)));
  options_.client.properties.clear();
  EXPECT_EQ(Output(values.size()), values);
}

TEST_F(LaneTransactionsTest, AStopIsNotKeptWaiting) {
  CoordinatorAnswers<100>(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  stop_ = true;
  EXPECT_TRUE(std::holds_alternative<P::OutcomeUnknown>(Init()));
}

TEST_F(LaneTransactionsTest, ATopicThatIsGoneIsNamedThoughTheClientStillWaitsForIt) {
  options_.deleted_after = milliseconds(300);
  options_.send_limit = milliseconds(5'000);  // the client's own patience is 30 s
  rd_kafka_mock_topic_create(cluster_, "output", 4, 1);
  rd_kafka_mock_topic_set_error(cluster_, "output", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  for (const char* room_for : {"1000", "1"}) {
    options_.client.properties["queue.buffering.max.messages"] = room_for;
    const P::Event event = Publish();
    ASSERT_TRUE(std::holds_alternative<P::Refused>(event)) << "room for " << room_for;
    EXPECT_EQ(std::get<P::Refused>(event).kind, ErrorKind::kUser);
    EXPECT_THAT(std::get<P::Refused>(event).reason,
                AllOf(HasSubstr("topic output no longer exists"), HasSubstr("with 4 partitions")));
  }
}

TEST_F(LaneTransactionsTest, ATopicThatKafkaDoesNotKnowForAMomentIsWaitedFor) {
  rd_kafka_mock_topic_create(cluster_, "output", 4, 1);
  rd_kafka_mock_topic_set_error(cluster_, "output", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  options_.deleted_after = std::chrono::minutes(1);
  std::future<P::Event> event = std::async(std::launch::async, [&] { return Publish(); });
  // Longer than it takes until anybody asks whether the topic is gone.
  EXPECT_EQ(event.wait_for(milliseconds(3'500)), std::future_status::timeout);
  rd_kafka_mock_topic_set_error(cluster_, "output", RD_KAFKA_RESP_ERR_NO_ERROR);
  EXPECT_TRUE(std::holds_alternative<P::Committed>(event.get()));
}

}  // namespace
}  // namespace weir::kafka
