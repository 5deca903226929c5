// When a partition without rows is taken for silent, against a real broker: SourceReader::LookInto.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "connectors/kafka/client.h"
#include "connectors/kafka/source_backend.h"
#include "tests/connectors/kafka/broker.h"
#include "tests/connectors/kafka/runtime_harness.h"

namespace weir::kafka {
namespace {

using testing::Broker;
using testing::RuntimeHarness;
using testing::TestRecord;

/// A source subtask with one partition, which has been read as far as there is anything to read.
class SilenceTest : public ::testing::Test, private SplitObserver {
 protected:
  void SetUp() override {
    topic_ = broker_.CreateTopic("silence", 1);
    broker_.ProduceInTransaction(topic_, {{.value = "a"}}, true);
    broker_.ProduceInTransaction(topic_, {{.value = "aborted"}}, false);
    source_ = MakeSourceBackend({.client = {.brokers = broker_.address()},
                                 .topics = {topic_},
                                 .start = Earliest(),
                                 .silence_notice = std::chrono::milliseconds(0)});
    source_->Open(harness_.context, *this);
    EXPECT_EQ(source_->LookInto(0), SplitSilence::kUnknown) << "which partitions there are";
    ASSERT_TRUE(Reads(1));
    ASSERT_TRUE(Hears(SplitSilence::kReal)) << "behind markers and what was aborted";
  }
  void TearDown() override { source_->Close(); }

  void Poll() {
    while (source_->Poll(100, messages_, split_) != PollResult::kNothing) {
      rows_ += messages_.size();
    }
  }
  bool Reads(size_t rows) {
    return harness_.RunUntil([&] {
      Poll();
      return rows_ >= rows;
    });
  }
  bool Hears(SplitSilence wanted) {
    return harness_.RunUntil([&] {
      Poll();
      return source_->LookInto(1) == wanted;
    });
  }
  /// The next that is not unknown.
  SplitSilence Next() {
    SplitSilence next = SplitSilence::kUnknown;
    EXPECT_TRUE(harness_.RunUntil([&] {
      Poll();
      next = source_->LookInto(1);
      return next != SplitSilence::kUnknown;
    }));
    return next;
  }
  /// In the log, from now on, of this partition.
  bool Says(const std::string& words) {
    const size_t from = harness_.log().size();
    return harness_.RunUntil([&] {
      Poll();
      source_->LookInto(1);
      return harness_.log().find(topic_ + "-0 " + words, from) != std::string::npos;
    });
  }

  Broker& broker_ = Broker::Instance();
  std::string topic_;
  RuntimeHarness harness_;
  std::unique_ptr<SourceBackend> source_;
  std::vector<Message> messages_;
  SplitIndex split_ = 0;
  size_t rows_ = 0;

 private:
  void SplitAdded(SplitIndex, const std::string&) override {}
  void SplitFinished(SplitIndex) override {}
  void EmitWatermark(SplitIndex, Timestamp) override {}
  bool LooksForIdleSplits() const override { return true; }
};

// What a broker that is away has for a silent partition when it is back would be late.
TEST_F(SilenceTest, BeginsAnewWhenABrokerThatDidNotAnswerIsBack) {
  broker_.Suspend();
  EXPECT_TRUE(Says("has records: it"));
  broker_.Resume();
  EXPECT_EQ(Next(), SplitSilence::kBroken);
  EXPECT_TRUE(Hears(SplitSilence::kReal));

  broker_.Kill();
  EXPECT_TRUE(Says("has records: it"));
  broker_.Start();
  EXPECT_EQ(Next(), SplitSilence::kBroken);
  EXPECT_TRUE(Hears(SplitSilence::kReal));
}

// A request waits until the broker is back, and is then answered before anybody has written.
TEST_F(SilenceTest, BeginsAnewBehindAnAnswerThatTookLong) {
  broker_.Suspend();
  // Longer than a prompt answer takes, shorter than until a request is given up.
  std::this_thread::sleep_for(std::chrono::milliseconds(3'500));
  broker_.Resume();
  EXPECT_EQ(Next(), SplitSilence::kBroken);
  EXPECT_TRUE(Hears(SplitSilence::kReal));
}

// Rows that are there and not committed would be late, and their producer may write them again.
TEST_F(SilenceTest, IsNoneWhileATransactionIsOpen) {
  for (const bool commits : {false, true}) {
    const Owned<rd_kafka_t> writer =
        MakeClient({.brokers = broker_.address()},
                   {.type = RD_KAFKA_PRODUCER, .fixed = {{"transactional.id", "w-" + topic_}}},
                   [](const std::string&) {});
    ASSERT_EQ(rd_kafka_init_transactions(writer.get(), 30'000), nullptr);
    ASSERT_EQ(rd_kafka_begin_transaction(writer.get()), nullptr);
    char value[] = "open";
    ASSERT_EQ(
        rd_kafka_producev(writer.get(), RD_KAFKA_V_TOPIC(topic_.c_str()), RD_KAFKA_V_PARTITION(0),
                          RD_KAFKA_V_VALUE(value, 4), RD_KAFKA_V_END),
        RD_KAFKA_RESP_ERR_NO_ERROR);
    ASSERT_EQ(rd_kafka_flush(writer.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    EXPECT_TRUE(Says("has records of a transaction"));
    ASSERT_EQ(commits ? rd_kafka_commit_transaction(writer.get(), 30'000)
                      : rd_kafka_abort_transaction(writer.get(), 30'000),
              nullptr);
    if (commits) {
      EXPECT_TRUE(Reads(2));
    } else {
      EXPECT_EQ(Next(), SplitSilence::kBroken);
    }
    EXPECT_TRUE(Hears(SplitSilence::kReal));
  }
}

}  // namespace
}  // namespace weir::kafka
