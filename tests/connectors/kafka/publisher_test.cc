// The publisher against a real broker: killed at every step, fenced, cut off, and judged by what
// readers of the topic see.

#include "connectors/kafka/publisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <mutex>

#include "base/failpoint.h"
#include "tests/connectors/kafka/broker.h"

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using testing::Broker;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Isolation;
using ::testing::Not;
using P = TransactionPublisher;

constexpr milliseconds kLimit{60'000};

/// Where an attempt runs and what its checkpoint carries.
struct AttemptOptions {
  std::string brokers;
  std::string topic;
  std::string lineage;
  std::string directory;
  uint32_t attempt = 1;
  std::optional<P::Restored> restored = {};
  int64_t marker_offset = 0;
  std::vector<Publisher::Epoch> epochs = {};
  std::vector<uint32_t> inherited_lanes = {};  // their epochs are `epochs`, not the own lane's
  std::string marker_topic = "weir-output-markers";
  milliseconds send_limit{20'000};
  milliseconds commit_limit{20'000};
  milliseconds marker_limit{20'000};
  milliseconds marker_notice{5'000};
};

/// One attempt of one sink subtask, as the sink's writer would drive it.
class Attempt {
 public:
  explicit Attempt(const AttemptOptions& options) : options_(options) {
    std::vector<Publisher::LaneStart> lanes;
    lanes.push_back(LaneOf(0));
    if (options.inherited_lanes.empty()) lanes[0].epochs = options.epochs;
    for (const uint32_t lane : options.inherited_lanes) {
      lanes.push_back(LaneOf(lane));
      lanes.back().epochs = options.epochs;
    }
    publisher_ = std::make_unique<Publisher>(
        PublicationOptions{.client = {.brokers = options.brokers},
                           .topic = options.topic,
                           .marker_topic = options.marker_topic,
                           .send_limit = options.send_limit,
                           .commit_limit = options.commit_limit,
                           .marker_limit = options.marker_limit,
                           .marker_notice = options.marker_notice},
        lanes, std::nullopt,
        Publisher::Environment{.log = [this](const std::string& line) { Log(line); },
                               .wake = [this] { Wake(); }});
    publisher_->Start();
  }

  /// Writes an epoch with these values and closes it.
  Publisher::Epoch Write(uint64_t checkpoint, const std::vector<std::string>& values) {
    EpochWriter writer(options_.directory + "/" + std::to_string(options_.attempt) + "-" +
                       std::to_string(checkpoint));
    for (const std::string& value : values) writer.Append({.value = value, .partition = 0});
    const Publisher::Epoch epoch{CheckpointId{checkpoint}, writer.Close()};
    publisher_->CloseEpoch(epoch);
    return epoch;
  }
  void Complete(uint64_t checkpoint) { publisher_->CompleteCheckpoint(CheckpointId{checkpoint}); }

  /// Waits until the status is as wished; false when it does not come to that, or on a failure.
  template <class F>
  bool Await(F&& wished) {
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_for(lock, kLimit, [&] {
      const Publisher::Status status = publisher_->status();
      return wished(status) || status.failure;
    });
    return in_time && wished(publisher_->status());
  }
  bool AwaitReady() {
    return Await([](const auto& status) { return status.ready; });
  }
  bool AwaitPublished(uint64_t checkpoint) {
    return Await([&](const auto& status) { return status.published_up_to.value >= checkpoint; });
  }
  std::string AwaitFailure() {
    Await([](const auto& status) { return status.failure.has_value(); });
    const auto failure = publisher_->status().failure;
    return failure ? failure->what() : "";
  }
  bool AwaitLogLine(const std::string& part) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [&] {
      for (const std::string& line : log_) {
        if (line.find(part) != std::string::npos) return true;
      }
      return false;
    });
  }
  Publisher& publisher() { return *publisher_; }

 private:
  P::Lane MachineLane(uint32_t subtask) const {
    return {.id = {options_.lineage, "sink", subtask},
            .parallelism = 1,
            .writer = {.run = "job",
                       .leader_epoch = LeaderEpoch{1},
                       .attempt = AttemptId{options_.attempt}},
            .restored = options_.restored};
  }
  Publisher::LaneStart LaneOf(uint32_t subtask) const {
    return {.lane = MachineLane(subtask), .marker_offset = options_.marker_offset, .epochs = {}};
  }
  void Log(const std::string& line) {
    std::lock_guard lock(mutex_);
    log_.push_back(line);
    changed_.notify_all();
  }
  void Wake() {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  const AttemptOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;
  std::unique_ptr<Publisher> publisher_;
};

const std::vector<std::string> kFirst = {"a1", "a2"};
const std::vector<std::string> kSecond = {"b1"};

class PublisherTest : public ::testing::Test {
 protected:
  PublisherTest() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-publisher-XXXXXX").string();
    root_ = mkdtemp(path.data());
    options_.directory = root_;
    options_.brokers = broker_.address();
    NewTopic();
  }
  ~PublisherTest() override {
    for (const char* name : {"produced", "commit", "answer_lost"}) {
      SetFailpoint(std::string("kafka.publish.") + name, "");
    }
    std::filesystem::remove_all(root_);
  }

  void NewTopic() {
    options_.topic = broker_.CreateTopic("output", 1);
    options_.lineage = "lineage-of-" + options_.topic;
    options_.directory += "/d";
    std::filesystem::create_directory(options_.directory);
  }
  std::vector<std::string> Committed() {
    return broker_.ReadValues(options_.topic, Isolation::kReadCommitted);
  }

  /// Of one transaction: the first epoch is in the topic, and the second is about to be sent.
  void BeginOverTwoEpochs(Attempt& attempt) {
    SetFailpoint("kafka.publish.produced", "hold");
    attempt.Write(1, kFirst);
    attempt.Write(2, kSecond);
    attempt.Complete(2);
    const auto limit = std::chrono::steady_clock::now() + kLimit;
    while (broker_.ReadValues(options_.topic, Isolation::kReadUncommitted).size() < 2) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit) << "the first epoch is not in the topic";
    }
  }

  Broker& broker_ = Broker::Instance();
  std::string root_;
  AttemptOptions options_;
};

/// What the child process of the kill test does: an attempt that publishes two epochs.
int PublishTwoEpochs(const AttemptOptions& options) {
  Attempt attempt(options);
  attempt.Write(1, kFirst);
  attempt.Write(2, kSecond);
  if (!attempt.AwaitReady()) return 3;
  attempt.Complete(2);
  return attempt.AwaitPublished(2) ? 0 : 4;
}

/// Runs PublishTwoEpochs in a process of its own, with a failpoint. Its wait status.
int RunChild(const AttemptOptions& options, const std::string& failpoint) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("WEIR_FAILPOINTS", failpoint.c_str(), 1);
    execl("/proc/self/exe", "publisher_child", "--child", options.brokers.c_str(),
          options.topic.c_str(), options.lineage.c_str(), options.directory.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST_F(PublisherTest, PublishesEpochsOfCompletedCheckpointsOnly) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  attempt.Write(1, kFirst);
  attempt.Write(2, kSecond);
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  EXPECT_THAT(broker_.ReadValues(options_.topic, Isolation::kReadUncommitted),
              ElementsAre("a1", "a2"));
  attempt.Complete(2);
  ASSERT_TRUE(attempt.AwaitPublished(2));
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2", "b1"));
}

TEST_F(PublisherTest, KilledAnywhereTheNextAttemptCompletesWhatIsMissing) {
  const std::string places[] = {
      "initialised=crash:1", "marker_read=crash:1", "begin=crash:1",  // before the claim
      "commit=crash:1",                                               // the claim is open
      "committed=crash:1",                                            // claimed
      "begin=crash:2",       "produced=crash:1",    "produced=crash:2",
      "commit=crash:2",      "committed=crash:2"};
  bool aborted_data_was_there = false;
  for (const std::string& place : places) {
    SCOPED_TRACE(place);
    NewTopic();
    const int status = RunChild(options_, "kafka.publish." + place);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the failpoint was not reached: " << status;

    AttemptOptions second = options_;
    second.attempt = 2;
    second.restored = P::Restored{.checkpoint = CheckpointId{2}, .run = "job", .published = {}};
    for (const uint64_t id : {1, 2}) {
      const std::string path = options_.directory + "/1-" + std::to_string(id);
      second.epochs.push_back(
          {CheckpointId{id}, {.path = path, .length = std::filesystem::file_size(path)}});
    }
    Attempt attempt(second);
    ASSERT_TRUE(attempt.AwaitReady()) << attempt.AwaitFailure();
    EXPECT_THAT(Committed(), ElementsAre("a1", "a2", "b1"));
    aborted_data_was_there |=
        broker_.ReadValues(options_.topic, Isolation::kReadUncommitted).size() > 3;
    attempt.Write(3, {"c1"});
    attempt.Complete(3);
    ASSERT_TRUE(attempt.AwaitPublished(3));
    EXPECT_THAT(Committed(), ElementsAre("a1", "a2", "b1", "c1"));
  }
  EXPECT_TRUE(aborted_data_was_there) << "else no kill fell into a transaction with data";
}

TEST_F(PublisherTest, ALaterAttemptFencesAnEarlierOne) {
  Attempt first(options_);
  ASSERT_TRUE(first.AwaitReady());
  AttemptOptions later = options_;
  later.attempt = 2;
  Attempt second(later);
  ASSERT_TRUE(second.AwaitReady());
  first.Write(1, {"of the zombie"});
  first.Complete(1);
  EXPECT_THAT(first.AwaitFailure(), HasSubstr("another producer"));
  second.Write(1, kFirst);
  second.Complete(1);
  ASSERT_TRUE(second.AwaitPublished(1));
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2"));
}

TEST_F(PublisherTest, AnEarlierAttemptThatStartsLateStops) {
  options_.attempt = 2;
  Attempt second(options_);
  ASSERT_TRUE(second.AwaitReady());
  AttemptOptions earlier = options_;
  earlier.attempt = 1;
  Attempt first(earlier);
  EXPECT_THAT(first.AwaitFailure(), HasSubstr("superseded by a later attempt"));
}

TEST_F(PublisherTest, AForeignProducerWithOurIdEndsTheAttemptInClearWords) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  const Owned<rd_kafka_t> foreign = MakeClient(
      {.brokers = options_.brokers},
      {.type = RD_KAFKA_PRODUCER,
       .fixed = {{"transactional.id", TransactionalId("weir", {options_.lineage, "sink", 0})}}},
      [](const std::string&) {});
  ASSERT_EQ(rd_kafka_init_transactions(foreign.get(), 30'000), nullptr);
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  EXPECT_THAT(attempt.AwaitFailure(), HasSubstr("the same transaction prefix"));
  EXPECT_THAT(Committed(), ElementsAre());
}

TEST_F(PublisherTest, ALostAnswerToACommitDoesNotRepeatOutput) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  SetFailpoint("kafka.publish.answer_lost", "error:1");
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  EXPECT_EQ(attempt.publisher().status().retries, 1u);
  EXPECT_THAT(broker_.ReadValues(options_.topic, Isolation::kReadUncommitted),
              ElementsAre("a1", "a2"));
}

TEST_F(PublisherTest, OutlivesARestartOfTheBroker) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  broker_.Kill();
  attempt.Write(2, kSecond);
  attempt.Complete(2);
  broker_.Start();
  ASSERT_TRUE(attempt.AwaitPublished(2)) << attempt.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2", "b1"));
}

TEST_F(PublisherTest, ATransactionThatTakesTooLongIsResolvedNotGuessed) {
  options_.send_limit = milliseconds(2'000);
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  broker_.Suspend();
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  const bool delayed = attempt.AwaitLogLine("is delayed");
  broker_.Resume();
  ASSERT_TRUE(delayed);
  ASSERT_TRUE(attempt.AwaitPublished(1)) << attempt.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2"));
}

TEST_F(PublisherTest, AnEndTxnThatArrivesLateIsNoticed) {
  // The request to commit lies in the stopped broker's socket while we give the producer up.
  options_.commit_limit = milliseconds(1'500);
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  SetFailpoint("kafka.publish.commit", "hold");
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  const auto written = [&] {
    return broker_.ReadValues(options_.topic, Isolation::kReadUncommitted).size() == 2;
  };
  bool all_written = written();
  while (!all_written && std::chrono::steady_clock::now() < deadline) all_written = written();
  broker_.Suspend();
  SetFailpoint("kafka.publish.commit", "");
  const bool delayed = attempt.AwaitLogLine("committing to topic");
  broker_.Resume();
  ASSERT_TRUE(all_written);
  ASSERT_TRUE(delayed);
  ASSERT_TRUE(attempt.AwaitPublished(1)) << attempt.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2"));
}

TEST_F(PublisherTest, ANeighboursOpenTransactionDelaysTheStartAndThePartitionIsNamed) {
  const LaneId lane{options_.lineage, "sink", 0};
  {
    Attempt attempt(options_);
    ASSERT_TRUE(attempt.AwaitReady());
    attempt.Write(1, kFirst);
    attempt.Complete(1);
    ASSERT_TRUE(attempt.AwaitPublished(1));
  }
  const int32_t partition = MarkerPartition(lane, 16);
  Owned<rd_kafka_t> neighbour = MakeClient(
      {.brokers = options_.brokers},
      {.type = RD_KAFKA_PRODUCER, .fixed = {{"transactional.id", "neighbour-" + options_.topic}}},
      [](const std::string&) {});
  ASSERT_EQ(rd_kafka_init_transactions(neighbour.get(), 30'000), nullptr);
  ASSERT_EQ(rd_kafka_begin_transaction(neighbour.get()), nullptr);
  char value[] = "{}";
  ASSERT_EQ(rd_kafka_producev(neighbour.get(), RD_KAFKA_V_TOPIC("weir-output-markers"),
                              RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY("neighbour", 9),
                              RD_KAFKA_V_VALUE(value, 2), RD_KAFKA_V_END),
            RD_KAFKA_RESP_ERR_NO_ERROR);
  ASSERT_EQ(rd_kafka_flush(neighbour.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);

  options_.attempt = 2;
  options_.marker_limit = milliseconds(1'500);
  options_.marker_notice = milliseconds(200);
  options_.restored = P::Restored{.checkpoint = CheckpointId{1}, .run = "job", .published = {}};
  const std::string path = options_.directory + "/1-1";
  options_.epochs = {{CheckpointId{1}, {path, std::filesystem::file_size(path)}}};
  Attempt second(options_);
  EXPECT_TRUE(second.AwaitLogLine("partition " + std::to_string(partition) + " takes long"));
  EXPECT_TRUE(second.AwaitLogLine("(attempt 1): reading marker topic")) << "it is tried again";
  EXPECT_TRUE(second.AwaitLogLine("kafka-transactions.sh")) << "the mend is told";
  EXPECT_FALSE(second.publisher().status().ready);
  EXPECT_THAT(second.AwaitFailure(), HasSubstr("partition " + std::to_string(partition)))
      << "whoever looks at the job sees it, too";
  EXPECT_EQ(second.publisher().status().failure->kind(), ErrorKind::kExternal);

  options_.attempt = 3;
  options_.marker_limit = AttemptOptions().marker_limit;
  Attempt third(options_);
  EXPECT_TRUE(third.AwaitLogLine("takes long"));
  ASSERT_EQ(rd_kafka_abort_transaction(neighbour.get(), 30'000), nullptr);
  ASSERT_TRUE(third.AwaitReady()) << third.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("a1", "a2")) << "the old marker was found, nothing repeated";
}

TEST_F(PublisherTest, InheritedLanesArePublishedBeforeTheSubtaskIsReady) {
  EpochWriter writer(options_.directory + "/inherited");
  writer.Append({.value = "of lane 2", .partition = 0});
  options_.epochs = {{CheckpointId{4}, writer.Close()}};
  options_.restored = P::Restored{.checkpoint = CheckpointId{4}, .run = "job", .published = {}};
  options_.inherited_lanes = {2};
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady()) << attempt.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("of lane 2"));
}

TEST_F(PublisherTest, WhatAnInheritedLaneLeftOpenDoesNotHideOurOwnMarker) {
  // Lanes share the partitions of the marker topic; here there is only one.
  options_.marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "compact"}});
  const Owned<rd_kafka_t> dead = MakeClient(
      {.brokers = options_.brokers},
      {.type = RD_KAFKA_PRODUCER,
       .fixed = {{"transactional.id", TransactionalId("weir", {options_.lineage, "sink", 2})},
                 {"transaction.timeout.ms", "600000"}}},
      [](const std::string&) {});
  ASSERT_EQ(rd_kafka_init_transactions(dead.get(), 30'000), nullptr);
  ASSERT_EQ(rd_kafka_begin_transaction(dead.get()), nullptr);
  char value[] = "{}";
  ASSERT_EQ(rd_kafka_producev(dead.get(), RD_KAFKA_V_TOPIC(options_.marker_topic.c_str()),
                              RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("lane 2", 6),
                              RD_KAFKA_V_VALUE(value, 2), RD_KAFKA_V_END),
            RD_KAFKA_RESP_ERR_NO_ERROR);
  ASSERT_EQ(rd_kafka_flush(dead.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);

  options_.restored = P::Restored{.checkpoint = CheckpointId{4}, .run = "job", .published = {}};
  options_.inherited_lanes = {2};
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady()) << attempt.AwaitFailure();
  EXPECT_EQ(attempt.publisher().status().retries, 0u);
}

TEST_F(PublisherTest, RefusesToStartBehindTheMarker) {
  {
    Attempt attempt(options_);
    ASSERT_TRUE(attempt.AwaitReady());
    attempt.Write(7, kFirst);
    attempt.Complete(7);
    ASSERT_TRUE(attempt.AwaitPublished(7));
  }
  options_.attempt = 2;
  options_.restored = P::Restored{.checkpoint = CheckpointId{6}, .run = "job", .published = {}};
  Attempt second(options_);
  EXPECT_THAT(second.AwaitFailure(), HasSubstr("already published up to checkpoint 7"));
  EXPECT_EQ(second.publisher().status().failure->kind(), ErrorKind::kFatal);
}

TEST_F(PublisherTest, RefusesAMarkerTopicThatHasLostItsEnd) {
  options_.restored = P::Restored{.checkpoint = CheckpointId{6}, .run = "job", .published = {}};
  options_.marker_offset = 1'000'000;
  Attempt attempt(options_);
  EXPECT_THAT(attempt.AwaitFailure(), HasSubstr("knows of a marker at or after 1000000"));
}

TEST_F(PublisherTest, AMissingTopicIsNamed) {
  options_.topic = "no-such-topic";
  Attempt attempt(options_);
  EXPECT_THAT(attempt.AwaitFailure(), HasSubstr("topic no-such-topic"));
  EXPECT_EQ(attempt.publisher().status().failure->kind(), ErrorKind::kUser);
}

TEST_F(PublisherTest, AnOutputTopicThatIsDeletedMeanwhileIsNamed) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  broker_.DeleteTopic(options_.topic);
  attempt.Write(2, kSecond);
  attempt.Complete(2);
  EXPECT_THAT(attempt.AwaitFailure(),
              AllOf(HasSubstr("topic " + options_.topic + " no longer exists"),
                    HasSubstr("create it again")));
  EXPECT_EQ(attempt.publisher().status().failure->kind(), ErrorKind::kUser);
}

// Kafka numbers its topics, but tells the producers of this protocol only their names.
TEST_F(PublisherTest, OfATransactionWhoseTopicIsDeletedAndCreatedAgainTheRestIsPublished) {
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  BeginOverTwoEpochs(attempt);
  broker_.DeleteTopic(options_.topic);
  broker_.CreateTopicAgain(options_.topic, 1);
  SetFailpoint("kafka.publish.produced", "");
  ASSERT_TRUE(attempt.AwaitPublished(2)) << attempt.AwaitFailure();
  attempt.Write(3, {"c1"});
  attempt.Complete(3);
  ASSERT_TRUE(attempt.AwaitPublished(3)) << attempt.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("b1", "c1"));
}

TEST_F(PublisherTest, AMarkerTopicThatIsDeletedMeanwhileIsNamed) {
  options_.marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "compact"}});
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  attempt.Write(1, kFirst);
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  broker_.DeleteTopic(options_.marker_topic);
  attempt.Write(2, kSecond);
  attempt.Complete(2);
  EXPECT_THAT(attempt.AwaitFailure(),
              AllOf(HasSubstr("marker topic " + options_.marker_topic + " no longer exists"),
                    HasSubstr("--new-lineage"), Not(HasSubstr("topic " + options_.topic + " "))));
}

TEST_F(PublisherTest, ARecordThatTheClientDoesNotTakeIsNamed) {
  Attempt attempt(options_);
  attempt.Write(1, {"small", std::string(1'000'000, 'x')});
  attempt.Complete(1);
  EXPECT_THAT(attempt.AwaitFailure(),
              AllOf(HasSubstr("message.max.bytes"), HasSubstr("record of 1000000 bytes"),
                    HasSubstr("savepoint from before the record")));
}

TEST_F(PublisherTest, BatchesAreNoLargerThanTheTopicTakes) {
  options_.topic = broker_.CreateTopic("output", 1, {{"max.message.bytes", "20000"}});
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  attempt.Write(1, std::vector<std::string>(1'000, std::string(100, 'x')));
  attempt.Complete(1);
  ASSERT_TRUE(attempt.AwaitPublished(1));
  EXPECT_EQ(attempt.publisher().status().retries, 0u);
  EXPECT_EQ(Committed().size(), 1'000u);
}

TEST_F(PublisherTest, TheRecordThatIsTooLargeForTheTopicIsNamedAmongOthers) {
  options_.topic = broker_.CreateTopic("output", 1, {{"max.message.bytes", "20000"}});
  Attempt attempt(options_);
  ASSERT_TRUE(attempt.AwaitReady());
  std::vector<std::string> values(100, std::string(100, 'x'));
  values[50] = std::string(30'000, 'y');
  attempt.Write(1, values);
  attempt.Complete(1);
  EXPECT_THAT(attempt.AwaitFailure(),
              AllOf(HasSubstr("larger than allowed"), HasSubstr("max.message.bytes of the topic"),
                    HasSubstr("the record of 30000 bytes")));
  EXPECT_THAT(Committed(), ElementsAre());
}

TEST_F(PublisherTest, RefusesAMarkerTopicThatForgets) {
  options_.marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "delete"}});
  Attempt attempt(options_);
  EXPECT_THAT(attempt.AwaitFailure(), HasSubstr("set it to compact"));
}

}  // namespace
}  // namespace weir::kafka

int main(int argc, char** argv) {
  if (argc == 6 && std::string(argv[1]) == "--child") {
    return weir::kafka::PublishTwoEpochs(
        {.brokers = argv[2], .topic = argv[3], .lineage = argv[4], .directory = argv[5]});
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
