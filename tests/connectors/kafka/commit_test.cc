// The request to commit against a real broker, when its answer comes at the wrong time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>

#include "base/failpoint.h"
#include "connectors/kafka/lane_transactions.h"
#include "tests/connectors/kafka/broker.h"
#include "tests/connectors/kafka/held_threads.h"

namespace weir::kafka {
namespace {

using std::chrono::milliseconds;
using testing::Broker;
using ::testing::HasSubstr;
using testing::HeldThreads;
using testing::Isolation;
using P = TransactionPublisher;

constexpr milliseconds kLimit{60'000};

/// Bytes that have arrived at connections to this port of the machine, and that nobody has read.
uint64_t UnreadBytes(const std::string& address) {
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  uint64_t bytes = 0;
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);  // the heading
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues;
      fields >> slot >> local >> remote >> state >> queues;
      if (state != "01" || std::stoi(local.substr(local.rfind(':') + 1), nullptr, 16) != port) {
        continue;
      }
      bytes += std::stoull(queues.substr(queues.find(':') + 1), nullptr, 16);
    }
  }
  return bytes;
}

class CommitTest : public ::testing::Test {
 protected:
  CommitTest() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-commit-XXXXXX").string();
    directory_ = mkdtemp(path.data());
  }
  ~CommitTest() override {
    SetFailpoint("kafka.publish.commit", "");
    std::filesystem::remove_all(directory_);
  }

  template <class F>
  static bool Eventually(F&& wished) {
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    while (!wished()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
    }
    return true;
  }
  size_t Count(Isolation isolation) { return broker_.ReadValues(options_.topic, isolation).size(); }
  size_t Markers() {
    return broker_.ReadValues(options_.marker_topic, Isolation::kReadUncommitted).size();
  }

  Broker& broker_ = Broker::Instance();
  std::string directory_;
  PublicationOptions options_{
      .client = {.brokers = broker_.address()},
      .topic = broker_.CreateTopic("output", 1),
      .marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "compact"}}),
      .commit_limit = milliseconds(1'500)};
  const LaneId lane_{"lineage-of-" + options_.topic, "sink", 0};
  std::atomic<bool> stop_{false};
};

// The thread of librdkafka that keeps the state of the transaction is held up beyond the limit,
// with the broker's answer before it: by a machine without time for it, or because the process was
// stopped. Of a commit that is resumed librdkafka no longer knows then that it is one, and aborts
// the process.
TEST_F(CommitTest, WhoseAnswerComesAfterItWasGivenUpIsFoundByItsMarker) {
  const LogFunction quiet = [](const std::string&) {};
  const int32_t partitions = EnsureMarkerTopic(options_, quiet);
  LaneTransactions lane(options_, {.lane = lane_, .marker_partitions = partitions}, stop_, quiet);
  const auto ready = [&] { return std::holds_alternative<P::ProducerReady>(lane.InitProducer()); };
  ASSERT_TRUE(Eventually(ready));
  ASSERT_TRUE(std::holds_alternative<P::MarkerFound>(lane.ReadMarker()));

  EpochWriter writer(directory_ + "/epoch");
  for (const char* value : {"a1", "a2"}) writer.Append({.value = value, .partition = 0});
  const EpochFile file = writer.Close();
  const Marker marker{.lane = lane_,
                      .parallelism = 1,
                      .writer = {.run = "job", .leader_epoch = LeaderEpoch{1}},
                      .published = CheckpointId{1}};
  SetFailpoint("kafka.publish.commit", "hold");
  std::future<P::Event> outcome = std::async(std::launch::async, [&] {
    return lane.Transact({.epochs = {CheckpointId{1}}, .marker = marker},
                         [&](CheckpointId) { return file; });
  });
  const bool written = Eventually([&] { return Markers() == 1; });  // the last before the commit
  broker_.Suspend();
  SetFailpoint("kafka.publish.commit", "");
  const bool asked = Eventually([&] { return UnreadBytes(broker_.address()) > 0; });
  {
    const HeldThreads held("rdk:main");
    broker_.Resume();
    ASSERT_TRUE(written);
    ASSERT_TRUE(asked) << "the request to commit has not come";
    EXPECT_TRUE(Eventually([&] { return Count(Isolation::kReadCommitted) == 2; }));
    const P::Event event = outcome.get();
    ASSERT_TRUE(std::holds_alternative<P::OutcomeUnknown>(event));
    EXPECT_THAT(std::get<P::OutcomeUnknown>(event).reason, HasSubstr("committing to topic"));
  }
  ASSERT_TRUE(Eventually(ready));
  const P::Event found = lane.ReadMarker();
  ASSERT_TRUE(std::holds_alternative<P::MarkerFound>(found));
  ASSERT_TRUE(std::get<P::MarkerFound>(found).marker.has_value());
  EXPECT_EQ(std::get<P::MarkerFound>(found).marker->published, CheckpointId{1});
  EXPECT_EQ(Count(Isolation::kReadUncommitted), 2u);
}

}  // namespace
}  // namespace weir::kafka
