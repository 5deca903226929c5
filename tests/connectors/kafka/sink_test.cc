// The Kafka sink against a real broker, on a subtask that the test drives by hand. What the
// publisher alone has to endure (kill -9, fencing, time-outs) is in publisher_test.cc.

#include "connectors/kafka/sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "base/failpoint.h"
#include "connectors/format/text_format.h"
#include "tests/connectors/kafka/broker.h"
#include "tests/connectors/kafka/no_threads.h"
#include "tests/connectors/kafka/runtime_harness.h"
#include "tests/connectors/kafka/sink_harness.h"

namespace weir::kafka {
namespace {

using testing::Broker;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Isolation;
using testing::NoThreads;
using testing::Place;
using testing::RuntimeHarness;
using testing::States;
using testing::Storage;
using testing::Subtask;
using testing::TestRecord;
using ::testing::UnorderedElementsAre;

struct Total {
  std::string customer;
  int64_t cents = 0;
};

class SinkTest : public ::testing::Test {
 protected:
  SinkTest() {
    options_.brokers = broker_.address();
    options_.topic = broker_.CreateTopic("output", 1);
    options_.format = String();
  }
  std::vector<std::string> Committed() {
    return broker_.ReadValues(options_.topic, Isolation::kReadCommitted);
  }

  bool Takes(const std::string& value) {
    try {
      broker_.Produce(options_.topic, {{.value = value}});
      return true;
    } catch (const std::runtime_error&) {
      return false;
    }
  }

  Broker& broker_ = Broker::Instance();
  SinkOptions<std::string> options_;
  Storage storage_;
};

TEST_F(SinkTest, RowsBecomeRecordsWithKeyValueAndEventTime) {
  SinkOptions<Total> options{.brokers = broker_.address(),
                             .topic = broker_.CreateTopic("totals", 4),
                             .key = &Total::customer};
  Subtask<Total> subtask(options, {});
  subtask.Write({{"ann", 1}, {"bob", 2}, {"ann", 3}}, Timestamp{12345});
  ASSERT_TRUE(subtask.Checkpoint(1));
  const auto records = broker_.Read(options.topic, Isolation::kReadCommitted);
  ASSERT_EQ(records.size(), 3u);
  int32_t partition_of_ann = -1;
  for (const TestRecord& record : records) {
    EXPECT_EQ(record.timestamp_ms, 12345);
    if (record.key != "ann") continue;
    if (partition_of_ann < 0) {
      partition_of_ann = record.partition;
      EXPECT_EQ(record.value, R"({"customer":"ann","cents":1})");
    }
    EXPECT_EQ(record.partition, partition_of_ann);
  }
}

TEST_F(SinkTest, NothingIsVisibleBeforeItsCheckpointIsComplete) {
  Subtask<std::string> subtask(options_, {});
  subtask.Write({"a"});
  ASSERT_TRUE(subtask.Checkpoint(1));
  subtask.Write({"b"});
  subtask.Snapshot(2);
  ASSERT_TRUE(subtask.AwaitAcknowledge(2));
  EXPECT_FALSE(subtask.writer().PublishedUpTo(CheckpointId{2}));
  EXPECT_THAT(broker_.ReadValues(options_.topic, Isolation::kReadUncommitted), ElementsAre("a"));
  subtask.Complete(2);
  ASSERT_TRUE(subtask.AwaitPublished(2));
  EXPECT_THAT(Committed(), ElementsAre("a", "b"));
}

TEST_F(SinkTest, TheOutputOfAnAbortedCheckpointJoinsTheNext) {
  Subtask<std::string> subtask(options_, {});
  subtask.Write({"a"});
  subtask.Snapshot(1);
  subtask.writer().NotifyCheckpointAborted(CheckpointId{1});
  subtask.Write({"b"});
  const OperatorStateSnapshot second = subtask.Snapshot(2);
  EXPECT_EQ(second.files.size(), 2u) << "the checkpoint carries both epochs";
  ASSERT_TRUE(subtask.AwaitAcknowledge(2));
  subtask.Complete(2);
  ASSERT_TRUE(subtask.AwaitPublished(2));
  EXPECT_THAT(Committed(), ElementsAre("a", "b"));
}

TEST_F(SinkTest, ARestoredSinkPublishesWhatItsCheckpointCarriesOnce) {
  States state;
  {
    Subtask<std::string> first(options_, {});
    first.Write({"a"});
    ASSERT_TRUE(first.Checkpoint(1));
    first.Write({"b"});
    state.push_back(first.Store(storage_, 2));
    ASSERT_TRUE(first.AwaitAcknowledge(2));
    first.Write({"lost with the attempt"});
  }  // checkpoint 2 is durable, and nobody was told
  for (uint32_t attempt = 2; attempt <= 3; ++attempt) {
    Subtask<std::string> again(options_, {.attempt = attempt}, state);
    ASSERT_TRUE(again.AwaitPublished(2)) << again.AwaitFailure();
    EXPECT_THAT(Committed(), ElementsAre("a", "b"));
  }
  Subtask<std::string> last(options_, {.attempt = 4}, state);
  last.Write({"c"});
  ASSERT_TRUE(last.Checkpoint(3));
  EXPECT_THAT(Committed(), ElementsAre("a", "b", "c"));
}

TEST_F(SinkTest, AfterAChangeOfParallelismNothingIsLostOrRepeated) {
  States three;
  for (uint32_t i = 0; i < 3; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 3});
    subtask.Write({"of " + std::to_string(i)});
    three.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
    if (i == 1) {  // one of them was told, and published
      subtask.Complete(1);
      ASSERT_TRUE(subtask.AwaitPublished(1));
    }
  }
  States two;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 2, .attempt = 2}, three);
    two.push_back(subtask.Store(storage_, 2));
    ASSERT_TRUE(subtask.AwaitAcknowledge(2)) << subtask.AwaitFailure();
  }
  EXPECT_THAT(Committed(), UnorderedElementsAre("of 0", "of 1", "of 2"));
  for (uint32_t i = 0; i < 4; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 4, .attempt = 3}, two);
    ASSERT_TRUE(subtask.Checkpoint(3)) << subtask.AwaitFailure();
  }
  EXPECT_THAT(Committed(), UnorderedElementsAre("of 0", "of 1", "of 2"));
}

TEST_F(SinkTest, AnOlderCheckpointThanWasPublishedIsRefusedUnlessTheLineageIsNew) {
  EXPECT_TRUE(Sink(options_).guards_lineage) << "so nobody else has to refuse it";
  States first;
  {
    Subtask<std::string> subtask(options_, {});
    subtask.Write({"a"});
    first.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
    subtask.Complete(1);
    subtask.Write({"b"});
    ASSERT_TRUE(subtask.Checkpoint(2));
  }
  Subtask<std::string> refused(options_, {.attempt = 2}, first);
  EXPECT_THAT(refused.AwaitFailure(), HasSubstr("already published up to checkpoint 2"));
  Subtask<std::string> anew(options_, {.attempt = 2, .lineage = "new-" + options_.topic}, first);
  ASSERT_TRUE(anew.Checkpoint(2)) << anew.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("a", "b", "a")) << "results are repeated, as was asked";
}

TEST_F(SinkTest, AChangedTransactionPrefixStillFencesTheOldIds) {
  States state;
  Subtask<std::string> zombie(options_, {});
  zombie.Write({"a"});
  state.push_back(zombie.Store(storage_, 1));
  ASSERT_TRUE(zombie.AwaitAcknowledge(1));
  options_.transaction_prefix = "other";
  Subtask<std::string> next(options_, {.attempt = 2}, state);
  ASSERT_TRUE(next.AwaitPublished(1)) << next.AwaitFailure();
  zombie.Complete(1);
  EXPECT_THAT(zombie.AwaitFailure(), HasSubstr("another producer"));
  EXPECT_THAT(Committed(), ElementsAre("a"));
}

TEST_F(SinkTest, EpochFilesGoWhenNobodyNeedsThemAnyMore) {
  Subtask<std::string> subtask(options_, {});
  const auto files = [&] {
    const std::filesystem::directory_iterator all(subtask.harness().context.local_directory);
    return std::distance(begin(all), end(all));
  };
  subtask.Write({"a"});
  subtask.Snapshot(1);
  ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  subtask.Snapshot(2);  // carries epoch 1 as well
  subtask.Complete(1);
  ASSERT_TRUE(subtask.AwaitPublished(1));
  EXPECT_EQ(files(), 1) << "checkpoint 2 may still be copying it";
  subtask.Complete(2);
  ASSERT_TRUE(subtask.AwaitPublished(2));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (files() > 0) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
}

TEST_F(SinkTest, ABigEpochAsksForACheckpointAndABacklogStopsTheRecords) {
  RuntimeHarness harness;
  harness.context.output_lineage = "lineage-" + options_.topic;
  const auto sink = MakeExactlyOnceSink({.client = {.brokers = options_.brokers},
                                         .topic = options_.topic,
                                         .epoch_bytes = 1'000'000,
                                         .backlog_bytes = 1'500'000});
  sink->Open(harness.context);
  const auto await = [&](const std::function<bool()>& wished) {
    return harness.RunUntil([&] {
      sink->CheckFailure();
      return wished();
    });
  };
  ASSERT_TRUE(await([&] { return sink->ReadyToAcknowledge(CheckpointId{1}); }));
  const std::string value(1000, 'x');
  for (int i = 0; i < 2000; ++i) sink->Append({.value = value});
  EXPECT_EQ(harness.checkpoints_requested, 2) << "once for each epoch_bytes";
  EXPECT_TRUE(sink->HasRoom()) << "only a checkpoint frees the open epoch";
  OperatorStateSnapshot state;
  sink->Snapshot(CheckpointId{1}, state);
  EXPECT_FALSE(sink->HasRoom()) << "checkpoint 1 will end";
  EXPECT_THAT(harness.log(), HasSubstr("checkpoint 1 is under way"));
  EXPECT_GE(harness.gauges["kafka_unpublished_bytes/" + options_.topic], 2'000'000);
  sink->NotifyCheckpointAborted(CheckpointId{1});
  EXPECT_TRUE(sink->HasRoom()) << "the next checkpoint stands behind the records";
  sink->Snapshot(CheckpointId{2}, state);
  broker_.Suspend();
  sink->NotifyCheckpointComplete(CheckpointId{2});
  EXPECT_FALSE(sink->HasRoom()) << "Kafka does not take it";
  broker_.Resume();
  EXPECT_TRUE(await([&] { return sink->HasRoom(); }));
  EXPECT_EQ(Committed().size(), 2000u);
  for (int i = 0; i < 3000; ++i) sink->Append({.value = value});
  EXPECT_THAT(ErrorOf([&] { sink->HasRoom(); }),
              AllOf(HasSubstr("no checkpoint completes"), HasSubstr(".backlog_bytes")));
  sink->Close();
}

// As an unaligned one may be: the sink has taken its snapshot, the barrier stands behind rows.
TEST_F(SinkTest, ABacklogDoesNotWaitForACheckpointThatWaitsForTheRows) {
  RuntimeHarness harness;
  harness.context.output_lineage = "lineage-" + options_.topic;
  const auto sink = MakeExactlyOnceSink({.client = {.brokers = options_.brokers},
                                         .topic = options_.topic,
                                         .backlog_bytes = 1'500'000});
  sink->Open(harness.context);
  const std::string value(1000, 'x');
  for (int i = 0; i < 2000; ++i) sink->Append({.value = value});
  OperatorStateSnapshot state;
  sink->Snapshot(CheckpointId{1}, state);
  EXPECT_TRUE(sink->HasRoom()) << "nobody has asked yet whether it may be acknowledged";
  ASSERT_TRUE(harness.RunUntil([&] { return sink->ReadyToAcknowledge(CheckpointId{1}); }));
  EXPECT_FALSE(sink->HasRoom()) << "now it ends by itself";
  sink->NotifyCheckpointComplete(CheckpointId{1});
  EXPECT_TRUE(harness.RunUntil([&] {
    sink->CheckFailure();
    return sink->HasRoom();
  }));
  sink->Close();
}

TEST_F(SinkTest, ARecordThatIsTooLargeDoesNotReachACheckpoint) {
  Subtask<std::string> subtask(options_, {});
  EXPECT_THAT(ErrorOf([&] { subtask.Write({std::string(3'000'000, 'x')}); }),
              AllOf(HasSubstr("message.max.bytes"), HasSubstr("record of 3000000 bytes")));
  // The protocol adds up to 36 bytes; librdkafka's own limit is 1000000.
  EXPECT_THAT(ErrorOf([&] { subtask.Write({std::string(999'990, 'x')}); }),
              HasSubstr("1000026 as sent"));
  EXPECT_THAT(ErrorOf([&] { subtask.Write({std::string(999'965, 'x')}); }),
              HasSubstr("1000001 as sent"));
  subtask.Write({std::string(999'964, 'x')});
  ASSERT_TRUE(subtask.Checkpoint(1));
  EXPECT_EQ(Committed().size(), 1u);
}

TEST_F(SinkTest, ARowWithoutAKeyForACompactedTopicDoesNotReachACheckpoint) {
  options_.topic = broker_.CreateTopic("compacted", 1, {{"cleanup.policy", "compact,delete"}});
  const auto words = AllOf(HasSubstr("cleanup.policy=compact"), HasSubstr("set the sink's .key"),
                           HasSubstr("record of 5 bytes with no key"));
  {
    Subtask<std::string> early(options_, {});
    early.Write({"early"});  // before it is known what the topic is like
    EXPECT_THAT(early.AwaitEnd(), words);
    EXPECT_THAT(ErrorOf([&] { early.writer().ReadyToAcknowledge(CheckpointId{1}); }), words);
  }
  Subtask<std::string> late(options_, {.attempt = 2});
  ASSERT_TRUE(late.AwaitAcknowledge(1));
  EXPECT_THAT(ErrorOf([&] { late.Write({"later"}); }), words);
  options_.key = [](const std::string& row) { return row; };
  Subtask<std::string> with_key(options_, {.attempt = 3});
  with_key.Write({"row"});
  EXPECT_TRUE(with_key.Checkpoint(1)) << with_key.AwaitFailure();
}

TEST_F(SinkTest, OutputOfFormerSubtasksCountsUntilItIsPublished) {
  options_.backlog_bytes = 1'500'000;
  options_.epoch_bytes = 64u << 20;
  States two;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 2});
    if (i == 1) subtask.Write(std::vector<std::string>(1000, std::string(2000, 'x')));
    two.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  }
  broker_.Suspend();
  Subtask<std::string> one(options_, {.attempt = 2}, two);
  EXPECT_FALSE(one.writer().HasRoom());
  one.Snapshot(2);
  const std::string gauge = "kafka_unpublished_bytes/" + options_.topic;
  EXPECT_GE(one.harness().gauges[gauge], 2'000'000);
  broker_.Resume();
  ASSERT_TRUE(one.AwaitAcknowledge(2)) << one.AwaitFailure();
  one.Complete(2);
  EXPECT_TRUE(one.Await([&] { return one.writer().HasRoom(); }));
  one.Snapshot(3);
  EXPECT_EQ(one.harness().gauges[gauge], 0);
  EXPECT_EQ(Committed().size(), 1000u);
}

TEST_F(SinkTest, WhatTheBrokerRefusesEndsTheJobAndNamesTheRecord) {
  const Timestamp now{std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count()};
  const Timestamp far{now.ms + 7'200'000};
  for (const Delivery delivery : {ExactlyOnce, AtLeastOnce}) {
    SCOPED_TRACE(delivery == ExactlyOnce ? "exactly once" : "at least once");
    const auto end = [&](SinkOptions<Total> options, Timestamp t, const Total& bad) {
      options.delivery = delivery;
      Subtask<Total> subtask(options, {});
      subtask.Write({{"ann", 1}}, now);
      subtask.Write({bad}, t);
      subtask.Write({{"cyd", 3}}, now);
      subtask.Snapshot(1);
      subtask.Complete(1);
      return subtask.AwaitEnd();
    };
    const SinkOptions<Total> base{.brokers = broker_.address(), .key = &Total::customer};

    SinkOptions<Total> ahead = base;
    ahead.topic = broker_.CreateTopic("ahead", 1);
    EXPECT_THAT(end(ahead, far, {"bob", 2}),
                AllOf(HasSubstr("topic " + ahead.topic), HasSubstr(std::to_string(far.ms)),
                      HasSubstr("key 'bob'"), HasSubstr("message.timestamp.after.max.ms"),
                      HasSubstr(".event_time = false"),
                      HasSubstr(delivery == ExactlyOnce ? "savepoint from before the record"
                                                        : "; or correct")));

    SinkOptions<Total> small = base;
    small.topic = broker_.CreateTopic("small", 1, {{"max.message.bytes", "500"}});
    const Total large{std::string(1000, 'x'), 1};
    EXPECT_THAT(end(small, now, large),
                AllOf(HasSubstr("message.max.bytes"), HasSubstr("key 'xxx")));

    SinkOptions<Total> compacted = base;
    compacted.key = [](const Total& t) {
      return t.customer == "bob" ? std::nullopt : std::optional(t.customer);
    };
    compacted.topic = broker_.CreateTopic("compacted", 1, {{"cleanup.policy", "compact"}});
    EXPECT_THAT(end(compacted, now, {"bob", 2}),
                AllOf(HasSubstr("compacted topic"), HasSubstr("with no key"), HasSubstr(".key")));
  }
}

TEST_F(SinkTest, ValidationNamesWhatIsWrong) {
  for (const Delivery delivery : {ExactlyOnce, AtLeastOnce}) {
    SinkOptions<std::string> options = options_;
    options.delivery = delivery;
    const auto error = [&] { return ErrorOf([&] { Sink<std::string>(options).validate(1); }); };
    EXPECT_EQ(error(), "");
    options.properties = {{"linger.colour", "red"}};
    EXPECT_THAT(error(), HasSubstr("linger.colour"));
    options.properties = {{"compression.codec", "best"}};
    EXPECT_THAT(error(), HasSubstr("compression.codec=best"));
    options.properties = {};
    options.topic = "nowhere";
    EXPECT_THAT(error(), HasSubstr("topic nowhere"));
    options.topic = "";
    EXPECT_THAT(error(), HasSubstr(".topic"));
  }
  options_.properties = {{"transactional.id", "mine"}};
  EXPECT_THAT(ErrorOf([&] { Sink<std::string>(options_).validate(1); }),
              HasSubstr("set by Weir itself"));
}

TEST_F(SinkTest, AtLeastOnceIsSentAtOnceAndAcknowledgedWhenDelivered) {
  options_.delivery = AtLeastOnce;
  Subtask<std::string> subtask(options_, {});
  subtask.Write({"a", "b"});
  subtask.Snapshot(1);
  ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  EXPECT_THAT(Committed(), ElementsAre("a", "b"));
  broker_.Suspend();
  subtask.Write({"c"});
  subtask.Snapshot(2);
  EXPECT_FALSE(subtask.writer().ReadyToAcknowledge(CheckpointId{2}));
  broker_.Resume();
  ASSERT_TRUE(subtask.AwaitAcknowledge(2));
  EXPECT_THAT(Committed(), ElementsAre("a", "b", "c"));
}

TEST_F(SinkTest, WhatAnExactlyOnceCheckpointCarriesIsPublishedFirstThoughTheSinkIsAtLeastOnceNow) {
  States two;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 2});
    subtask.Write({"of " + std::to_string(i)});
    two.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
    if (i == 0) {  // one of them was told, and published
      subtask.Complete(1);
      ASSERT_TRUE(subtask.AwaitPublished(1));
    }
  }
  options_.delivery = AtLeastOnce;
  options_.marker_topic = "markers-of-nobody";
  for (uint32_t attempt = 2; attempt <= 3; ++attempt) {
    Subtask<std::string> one(options_, {.attempt = attempt}, two);
    one.Snapshot(2);
    ASSERT_TRUE(one.AwaitAcknowledge(2)) << one.AwaitFailure();
    EXPECT_THAT(Committed(), ElementsAre("of 0", "of 1")) << "each once, as the markers say";
  }
  Subtask<std::string> last(options_, {.attempt = 4}, two);
  EXPECT_FALSE(last.writer().HasRoom()) << "what comes now would stand before it";
  last.Write({"new"});  // as the rest of a batch may
  last.Snapshot(2);
  ASSERT_TRUE(last.AwaitAcknowledge(2)) << last.AwaitFailure();
  EXPECT_TRUE(last.writer().HasRoom());
  EXPECT_THAT(Committed(), ElementsAre("of 0", "of 1", "new"));

  Subtask<std::string> none(options_, {.index = 2, .parallelism = 3, .attempt = 5}, two);
  EXPECT_TRUE(none.Await([&] { return none.writer().HasRoom(); })) << "it inherits nothing";
}

TEST_F(SinkTest, AtLeastOnceRefusesAnOlderCheckpointThanWasPublishedExactlyOnce) {
  States first;
  {
    Subtask<std::string> subtask(options_, {});
    subtask.Write({"a"});
    first.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
    subtask.Complete(1);
    subtask.Write({"b"});
    ASSERT_TRUE(subtask.Checkpoint(2));
  }
  options_.delivery = AtLeastOnce;
  Subtask<std::string> refused(options_, {.attempt = 2}, first);
  EXPECT_THAT(refused.AwaitEnd(), HasSubstr("already published up to checkpoint 2"));
}

// Keys go by ranges, former subtasks by their numbers: their newer rows may come to a subtask that
// inherits nothing.
TEST_F(SinkTest, AtLeastOnceAtAnotherParallelismIsRefusedWhileOutputOfOneFormerSubtaskWaits) {
  States two;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> subtask(options_, {.index = i, .parallelism = 2});
    if (i == 1) subtask.Write({"older"});
    two.push_back(subtask.Store(storage_, 1));
    ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  }
  options_.delivery = AtLeastOnce;
  const Place third{.index = 2, .parallelism = 3, .attempt = 2, .job = "next"};
  for (const uint32_t index : {2u, 1u, 0u}) {
    Place place = third;
    place.index = index;
    Subtask<std::string> refused(options_, place, two);
    EXPECT_FALSE(refused.writer().HasRoom());
    EXPECT_THAT(refused.AwaitEnd(),
                AllOf(HasSubstr("operator uid"), HasSubstr("has parallelism 3"),
                      HasSubstr("Start once with parallelism 2"), HasSubstr("subtask 1")));
  }
  EXPECT_THAT(Committed(), IsEmpty());
  {
    Place place = third;
    place.lineage = "new-" + options_.topic;
    Subtask<std::string> anew(options_, place, two);
    EXPECT_THAT(anew.AwaitEnd(), HasSubstr("parallelism 2")) << "then all is published again";
  }
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> same(options_, {.index = i, .parallelism = 2, .attempt = 2, .job = "same"},
                              two);
    ASSERT_TRUE(same.AwaitAcknowledge(2)) << same.AwaitFailure();
  }
  EXPECT_THAT(Committed(), ElementsAre("older"));
  Subtask<std::string> wider(options_, third, two);
  wider.Write({"newer"});
  wider.Snapshot(2);
  ASSERT_TRUE(wider.AwaitAcknowledge(2)) << "all is published by now: " << wider.AwaitFailure();
  EXPECT_THAT(Committed(), ElementsAre("older", "newer"));
}

// For some checkpoints it is at-least-once, and they hold nothing of it.
TEST_F(SinkTest, ExactlyOnceAgainItGoesOnFromTheCheckpointWhateverWasPublishedBefore) {
  {
    Subtask<std::string> before(options_, {.job = "before"});
    before.Write({"a"});
    ASSERT_TRUE(before.Checkpoint(1));
    before.Write({"b"});
    ASSERT_TRUE(before.Checkpoint(2));
  }
  const States nothing(1);
  {
    Subtask<std::string> again(options_, {.job = "again", .restored_checkpoint = 5}, nothing);
    again.Write({"c"});
    ASSERT_TRUE(again.Checkpoint(6)) << again.AwaitFailure();
  }
  EXPECT_THAT(Committed(), ElementsAre("a", "b", "c"));
  Subtask<std::string> older(options_, {.job = "older", .restored_checkpoint = 5}, nothing);
  EXPECT_THAT(older.AwaitEnd(), AllOf(HasSubstr("already published up to checkpoint 6"),
                                      HasSubstr("later than checkpoint 5")));
}

TEST_F(SinkTest, AtLeastOnceSendsAgainWhatTimedOut) {
  options_.delivery = AtLeastOnce;
  options_.properties = {{"message.timeout.ms", "5000"}, {"socket.timeout.ms", "5000"}};
  Subtask<std::string> subtask(options_, {});
  subtask.Write({"a"});
  subtask.Snapshot(1);
  ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  broker_.Suspend();
  subtask.Write({"b"}, Timestamp{12345});
  subtask.Snapshot(2);
  const bool sent_again =
      subtask.Await([&] { return subtask.harness().counters["kafka_send_retries"] > 0; });
  broker_.Resume();
  ASSERT_TRUE(sent_again);
  EXPECT_THAT(subtask.harness().log(), HasSubstr("sent again"));
  ASSERT_TRUE(subtask.AwaitAcknowledge(2));
  const auto records = broker_.Read(options_.topic, Isolation::kReadCommitted);
  const auto b = std::ranges::find(records, "b", &TestRecord::value);
  ASSERT_NE(b, records.end());
  EXPECT_EQ(b->timestamp_ms, 12345) << "its own time, again";
}

TEST_F(SinkTest, AtLeastOnceGivesUpWithTheReason) {
  options_.delivery = AtLeastOnce;
  Subtask<std::string> subtask(options_, {});
  EXPECT_THAT(ErrorOf([&] {
                subtask.Write({std::string(3'000'000, 'x')});
                subtask.Await([] { return false; });
              }),
              HasSubstr("message.max.bytes"));
}

TEST_F(SinkTest, AtLeastOnceNamesATopicThatIsDeletedMeanwhile) {
  options_.delivery = AtLeastOnce;
  Subtask<std::string> subtask(options_, {});
  subtask.Write({"a"});
  ASSERT_TRUE(subtask.Checkpoint(1));
  broker_.DeleteTopic(options_.topic);
  EXPECT_THAT(ErrorOf([&] {
                subtask.Write({"b"});
                subtask.Await([] { return false; });
              }),
              AllOf(HasSubstr("topic " + options_.topic + " no longer exists"),
                    HasSubstr("create it again")));
}

TEST_F(SinkTest, AtLeastOnceHasRoomAgainWhenTheQueueHas) {
  options_.delivery = AtLeastOnce;
  options_.memory_bytes = 1 << 20;
  Subtask<std::string> subtask(options_, {});
  const std::string value(1000, 'x');
  size_t written = 0;
  ASSERT_TRUE(subtask.Await([&] { return subtask.writer().HasRoom(); })) << "the topic is known";
  broker_.Suspend();
  while (subtask.writer().HasRoom() && written < 100'000) {
    subtask.Write(std::vector<std::string>(1000, value));
    written += 1000;
  }
  broker_.Resume();
  EXPECT_GT(written, 0u);
  EXPECT_LT(written, 100'000u);
  EXPECT_TRUE(subtask.Await([&] { return subtask.writer().HasRoom(); }));
  subtask.Snapshot(1);
  ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  EXPECT_EQ(Committed().size(), written);
}

TEST_F(SinkTest, AtLeastOnceMakesNoLargerBatchesThanTheTopicTakes) {
  options_.delivery = AtLeastOnce;
  options_.topic = broker_.CreateTopic("small", 1, {{"max.message.bytes", "20000"}});
  const std::vector<std::string> rows(1000, std::string(100, 'x'));
  Subtask<std::string> subtask(options_, {});
  subtask.Write(rows);  // before the topic is known
  subtask.Snapshot(1);
  ASSERT_TRUE(subtask.AwaitAcknowledge(1));
  EXPECT_EQ(Committed().size(), 1000u);

  broker_.SetTopicProperties(options_.topic, {{"max.message.bytes", "5000"}});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Takes(std::string(6'000, 'x'))) {  // the broker's log hears of it later
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  subtask.Write(rows);
  EXPECT_THAT(subtask.AwaitFailure(), HasSubstr("takes batches of up to 5000 bytes by now"));
  Subtask<std::string> next(options_, {.attempt = 2});
  next.Write(rows);
  next.Snapshot(2);
  EXPECT_TRUE(next.AwaitAcknowledge(2));
}

template <class F>
std::chrono::milliseconds TimeOf(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               begin);
}

TEST_F(SinkTest, ABrokerThatDoesNotAnswerHoldsNobodyUpInClose) {
  for (const Delivery delivery : {ExactlyOnce, AtLeastOnce}) {
    options_.delivery = delivery;
    Subtask<std::string> working(options_, {.index = 0});
    working.Write({"a"});
    ASSERT_TRUE(working.Checkpoint(1)) << working.harness().log();
    broker_.Suspend();
    Subtask<std::string> starting(options_, {.index = 1});  // asks for the topic
    working.Write({"b"});
    working.Snapshot(2);
    working.Complete(2);  // begins a transaction
    for (Subtask<std::string>* subtask : {&working, &starting}) {
      // The client's own time limits are of half a minute and more.
      EXPECT_LT(TimeOf([&] { subtask->writer().Close(); }), std::chrono::seconds(15));
    }
    broker_.Resume();
    Subtask<std::string> next(options_, {.attempt = 2, .lineage = "next-" + options_.topic});
    next.Write({"c"});
    EXPECT_TRUE(next.Checkpoint(1));
  }
}

TEST_F(SinkTest, AtLeastOnceIsHeldUpByNobodyInCloseAlsoAfterItsProducerCouldNotBeMadeAgain) {
  options_.marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "compact"}});
  options_.topic = broker_.CreateTopic("small", 1, {{"max.message.bytes", "20000"}});
  States state;
  {
    Subtask<std::string> before(options_, {});
    before.Write({"a"});
    state.push_back(before.Store(storage_, 1));
    ASSERT_TRUE(before.AwaitAcknowledge(1));
  }
  options_.delivery = AtLeastOnce;
  SetFailpoint("kafka.publish.commit", "sleep:15000");
  std::optional<Subtask<std::string>> subtask(std::in_place, options_, Place{.attempt = 2}, state);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (broker_.Read(options_.marker_topic, Isolation::kReadUncommitted).size() < 2) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it is about to commit its claim";
  }
  std::string failure;
  {
    const NoThreads none;
    while (failure.empty() && std::chrono::steady_clock::now() < deadline) {
      failure = ErrorOf([&] { subtask->writer().CheckFailure(); });
    }
  }
  EXPECT_NE(failure, "") << "there is no thread for another producer";
  EXPECT_LT(TimeOf([&] { subtask.reset(); }), std::chrono::seconds(8));
  SetFailpoint("kafka.publish.commit", "");
}

TEST_F(SinkTest, ARowGoesWhereItsKeySaysUnlessItIsToKeepItsPartition) {
  using Row = Record<std::string>;
  const Row row{.value = "v", .key = "k", .partition = 7};  // read from a larger topic
  for (const Delivery delivery : {ExactlyOnce, AtLeastOnce}) {
    SinkOptions<Row> options{.brokers = broker_.address(),
                             .topic = broker_.CreateTopic("smaller", 3),
                             .format = String(),
                             .delivery = delivery};
    Subtask<Row> by_key(options, {});
    by_key.Write({row});
    ASSERT_TRUE(by_key.Checkpoint(1));
    EXPECT_EQ(broker_.Read(options.topic, Isolation::kReadCommitted).size(), 1u);
  }
  SinkOptions<Row> keeping{.brokers = broker_.address(),
                           .topic = broker_.CreateTopic("keeping", 3),
                           .format = String(),
                           .keep_partition = true};
  Subtask<Row> subtask(keeping, {});
  subtask.Write({row});
  EXPECT_THAT(subtask.AwaitFailure(), AllOf(HasSubstr("names partition 7"), HasSubstr("has 3"),
                                            HasSubstr(".keep_partition")));
  EXPECT_NE(ErrorOf([&] { subtask.writer().ReadyToAcknowledge(CheckpointId{1}); }), "");
}

TEST_F(SinkTest, RowsMaySayKeyHeadersTimeAndPartition) {
  using Row = Record<std::optional<Total>>;
  for (const Delivery delivery : {ExactlyOnce, AtLeastOnce}) {
    SinkOptions<Row> options{.brokers = broker_.address(),
                             .topic = broker_.CreateTopic("records", 3),
                             .keep_partition = true,
                             .delivery = delivery};
    Subtask<Row> subtask(options, {});
    subtask.Write({{.value = Total{"ann", 1},
                    .key = "k",
                    .headers = {{"trace", "t1"}},
                    .timestamp = Timestamp{1234},
                    .partition = 2},
                   {.key = "gone", .partition = 2}},
                  Timestamp{99});
    ASSERT_TRUE(subtask.Checkpoint(1));
    const auto records = broker_.Read(options.topic, Isolation::kReadCommitted);
    ASSERT_EQ(records.size(), 2u);
    EXPECT_EQ(records[0].partition, 2);
    EXPECT_EQ(records[0].key, "k");
    EXPECT_EQ(records[0].value, R"({"customer":"ann","cents":1})");
    EXPECT_EQ(records[0].headers.at("trace"), "t1");
    EXPECT_EQ(records[0].timestamp_ms, 1234);
    EXPECT_EQ(records[1].value, std::nullopt) << "a tombstone";
    EXPECT_EQ(records[1].timestamp_ms, 99) << "the row's event time";
  }
}

TEST_F(SinkTest, DeadLettersAreWrittenAsTheyCameAndSayWhereFromAndWhy) {
  const SinkOptions<DeadLetter> options{.brokers = broker_.address(), .topic = options_.topic};
  auto writer = DeadLetterSink(options).make_writer();
  RuntimeHarness harness;
  harness.context.output_lineage = "lineage-" + options_.topic;
  writer->Open(harness.context);
  RecordBatch<DeadLetter> batch;
  batch.Append({.record = {.value = "no \xff json",
                           .key = "k",
                           .headers = {{"trace", "t1"}},
                           .timestamp = Timestamp{1234},
                           .topic = "orders",
                           .partition = 7,
                           .offset = 42},
                .reason = "not json"},
               Timestamp{1234});
  batch.Append({.record = {.value = std::nullopt, .key = "gone"}, .reason = "not json"},
               kNoTimestamp);
  batch.Append({.record = {.value = "", .key = "empty"}, .reason = "not json"}, kNoTimestamp);
  writer->Write(batch);
  OperatorStateSnapshot state;
  writer->Snapshot(CheckpointId{1}, state);
  ASSERT_TRUE(harness.RunUntil([&] { return writer->ReadyToAcknowledge(CheckpointId{1}); }));
  writer->NotifyCheckpointComplete(CheckpointId{1});
  ASSERT_TRUE(harness.RunUntil([&] { return writer->PublishedUpTo(CheckpointId{1}); }));
  const auto records = broker_.Read(options_.topic, Isolation::kReadCommitted);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[1].value, std::nullopt) << "a tombstone";
  EXPECT_EQ(records[2].value, "");
  EXPECT_EQ(records[0].value, "no \xff json");
  EXPECT_EQ(records[0].key, "k");
  EXPECT_EQ(records[0].timestamp_ms, 1234);
  const std::map<std::string, std::string> headers = {{"trace", "t1"},
                                                      {"weir.reason", "not json"},
                                                      {"weir.topic", "orders"},
                                                      {"weir.partition", "7"},
                                                      {"weir.offset", "42"}};
  EXPECT_EQ(records[0].headers, headers);
  writer->Close();
}

TEST_F(SinkTest, ABrokerThatIsNotThereFailsAFirstStartByName) {
  RuntimeHarness harness;
  const auto sink = MakeExactlyOnceSink({.client = {.brokers = "127.0.0.1:1"},
                                         .topic = options_.topic,
                                         .start_limit = std::chrono::milliseconds(1)});
  sink->Open(harness.context);
  EXPECT_THAT(ErrorOf([&] {
                harness.RunUntil([&] {
                  sink->CheckFailure();
                  return false;
                });
              }),
              HasSubstr("no Kafka broker answers at 127.0.0.1:1"));
  sink->Close();
}

}  // namespace
}  // namespace weir::kafka
