// Several jobs that start from one checkpoint, against a real broker: who may publish past it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "connectors/format/text_format.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/lane_transactions.h"
#include "tests/connectors/kafka/broker.h"
#include "tests/connectors/kafka/sink_harness.h"

namespace weir::kafka {
namespace {

using testing::Broker;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Isolation;
using testing::States;
using testing::Storage;
using testing::Subtask;
using ::testing::UnorderedElementsAre;
using Row = std::string;

/// All subtasks of one job's sink.
class Job {
 public:
  Job(const SinkOptions<Row>& options, const std::string& name, uint32_t parallelism,
      const States& from = {}, const std::string& uid = "uid") {
    for (uint32_t i = 0; i < parallelism; ++i) {
      subtasks_.emplace_back(options,
                             testing::Place{.index = i,
                                            .parallelism = parallelism,
                                            .lineage = "lineage-" + options.marker_topic,
                                            .job = name,
                                            .uid = uid},
                             from);
    }
  }
  Subtask<Row>& operator[](uint32_t i) { return *std::next(subtasks_.begin(), i); }

  /// A checkpoint of all subtasks, from barriers to publication; what it holds.
  States Checkpoint(Storage& storage, uint64_t id) {
    States states;
    for (Subtask<Row>& subtask : subtasks_) states.push_back(subtask.Store(storage, id));
    for (Subtask<Row>& subtask : subtasks_) EXPECT_TRUE(subtask.AwaitAcknowledge(id));
    for (Subtask<Row>& subtask : subtasks_) subtask.Complete(id);
    for (Subtask<Row>& subtask : subtasks_) EXPECT_TRUE(subtask.AwaitPublished(id));
    return states;
  }
  bool AwaitReady(uint64_t checkpoint) {
    for (Subtask<Row>& subtask : subtasks_) {
      if (!subtask.AwaitAcknowledge(checkpoint)) return false;
    }
    return true;
  }

 private:
  std::list<Subtask<Row>> subtasks_;
};

class SecondStartTest : public ::testing::Test {
 protected:
  SecondStartTest() {
    options_.brokers = broker_.address();
    options_.topic = broker_.CreateTopic("output", 1);
    options_.marker_topic = broker_.CreateTopic("markers", 4, {{"cleanup.policy", "compact"}});
    options_.format = String();
  }
  std::vector<std::string> Committed() {
    return broker_.ReadValues(options_.topic, Isolation::kReadCommitted);
  }
  /// A producer of the lane that has a transaction open, whose process will not end it.
  Owned<rd_kafka_t> Orphan(uint32_t lane) {
    Owned<rd_kafka_t> producer = MakeClient(
        {.brokers = options_.brokers},
        {.type = RD_KAFKA_PRODUCER,
         .fixed = {{"transactional.id",
                    TransactionalId("weir", {"lineage-" + options_.marker_topic, "uid", lane})},
                   {"transaction.timeout.ms", "600000"}}},
        [](const std::string&) {});
    EXPECT_EQ(rd_kafka_init_transactions(producer.get(), 30'000), nullptr);
    EXPECT_EQ(rd_kafka_begin_transaction(producer.get()), nullptr);
    for (const std::string& topic : {options_.topic, options_.marker_topic}) {
      char value[] = "of an orphan";
      EXPECT_EQ(rd_kafka_producev(producer.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                                  RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("key", 3),
                                  RD_KAFKA_V_VALUE(value, sizeof value - 1), RD_KAFKA_V_END),
                RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    EXPECT_EQ(rd_kafka_flush(producer.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    return producer;
  }

  Broker& broker_ = Broker::Instance();
  SinkOptions<Row> options_;
  Storage storage_;
};

TEST_F(SecondStartTest, AtALowerParallelismItIsRefusedThoughItsOwnLanesAreIdle) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  {
    Job wide(options_, "wide", 4, from);
    wide[3].Write({"once"});
    wide.Checkpoint(storage_, 2);
  }
  Job narrow(options_, "narrow", 1, from);
  narrow[0].Write({"once"});
  EXPECT_THAT(narrow[0].AwaitEnd(), HasSubstr("already published up to checkpoint 2"));
  Job again(options_, "again", 1, from);
  EXPECT_THAT(again[0].AwaitEnd(), HasSubstr("already published up to checkpoint 2"))
      << "the start that was refused left no trace";
  EXPECT_THAT(Committed(), ElementsAre("once"));
}

TEST_F(SecondStartTest, FromAJobThatDidNotPublishItIsRefusedThoughItsNumberIsHigher) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  const States idle = Job(options_, "idle", 2, from).Checkpoint(storage_, 22);
  States published;
  {
    Job busy(options_, "busy", 2, from);
    busy[1].Write({"once"});
    published = busy.Checkpoint(storage_, 7);
  }
  Job again(options_, "again", 1, idle);
  again[0].Write({"once"});
  EXPECT_THAT(again[0].AwaitEnd(), HasSubstr("already published up to checkpoint 7 of job busy"));
  EXPECT_THAT(Committed(), ElementsAre("once"));

  Job next(options_, "next", 2, published);
  next[0].Write({"next"});
  next.Checkpoint(storage_, 8);
  EXPECT_THAT(Committed(), ElementsAre("once", "next")) << "the branch that was published goes on";
}

TEST_F(SecondStartTest, AnEpochWithTheNumberThatAnotherJobHasPublishedIsNotTakenForIt) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  States unpublished;
  {
    Job one(options_, "one", 1, from);
    one[0].Write({"a", "b"});
    unpublished.push_back(one[0].Store(storage_, 14));
    ASSERT_TRUE(one[0].AwaitAcknowledge(14));
  }
  {
    Job other(options_, "other", 1, from);
    other[0].Write({"a"});
    other.Checkpoint(storage_, 14);
  }
  Job again(options_, "again", 1, unpublished);
  EXPECT_THAT(again[0].AwaitEnd(), HasSubstr("already published up to checkpoint 14 of job other"));
}

TEST_F(SecondStartTest, AJobThatTookOverAndPublishedNothingIsNoObstacle) {
  const States from = Job(options_, "first", 2).Checkpoint(storage_, 1);
  States second;
  {
    Job one(options_, "one", 2, from);
    one[0].Write({"once"});
    second = one.Checkpoint(storage_, 2);
  }
  { EXPECT_TRUE(Job(options_, "idle", 2, second).Checkpoint(storage_, 3).size() == 2); }
  Job again(options_, "again", 2, second);
  again[1].Write({"more"});
  const States third = again.Checkpoint(storage_, 3);
  EXPECT_THAT(Committed(), ElementsAre("once", "more"));
  Job wide(options_, "wide", 3, third);
  wide[2].Write({"last"});
  wide.Checkpoint(storage_, 4);
  EXPECT_THAT(Committed(), ElementsAre("once", "more", "last"))
      << "lane 0 was published last by the first of these jobs";
}

TEST_F(SecondStartTest, ItIsRefusedThroughAChainOfParallelisms) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  States second, third;
  {
    Job wide(options_, "wide", 4, from);
    wide[3].Write({"once"});
    second = wide.Checkpoint(storage_, 2);
  }
  third = Job(options_, "two", 2, second).Checkpoint(storage_, 3);
  (void)Job(options_, "one", 1, third).Checkpoint(storage_, 4);
  Job again(options_, "again", 1, from);
  EXPECT_THAT(again[0].AwaitEnd(), HasSubstr("already published up to checkpoint 2"));
}

TEST_F(SecondStartTest, FromBelowAWiderJobThatHasPublishedNothingItTakesAllItsLanes) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  Job wide(options_, "wide", 3, from);
  ASSERT_TRUE(wide.AwaitReady(2));
  Job narrow(options_, "narrow", 1, from);
  ASSERT_TRUE(narrow.AwaitReady(2));
  wide[2].Write({"of the job that was taken over"});
  wide[2].Snapshot(2);
  wide[2].Complete(2);
  EXPECT_THAT(wide[2].AwaitFailure(), HasSubstr("another"));
  narrow[0].Write({"once"});
  narrow.Checkpoint(storage_, 2);
  EXPECT_THAT(Committed(), ElementsAre("once"));
}

TEST_F(SecondStartTest, WhatAWiderJobLeftOpenIsEndedAndHidesNothing) {
  options_.marker_topic = broker_.CreateTopic("markers", 1, {{"cleanup.policy", "compact"}});
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  Owned<rd_kafka_t> orphan;
  {
    Job wide(options_, "wide", 4, from);
    ASSERT_TRUE(wide.AwaitReady(2));
    orphan = Orphan(2);
    wide[3].Write({"once"});
    wide.Checkpoint(storage_, 2);
  }
  Job narrow(options_, "narrow", 1, from);
  EXPECT_THAT(narrow[0].AwaitEnd(), HasSubstr("already published up to checkpoint 2"));
  EXPECT_THAT(Committed(), ElementsAre("once"))
      << "else the topic's readers wait behind the orphan";
}

TEST_F(SecondStartTest, OfTwoThatMixTheirClaimsNoneOrOnePublishes) {
  const States from = Job(options_, "first", 1).Checkpoint(storage_, 1);
  const auto narrow_at = [&](uint32_t i) {
    return testing::Place{.index = i,
                          .parallelism = 2,
                          .lineage = "lineage-" + options_.marker_topic,
                          .job = "narrow"};
  };
  // The wide one has lane 1 last, the narrow one lanes 0 and 2; lane 3 it never saw.
  Subtask<Row> narrow_1(options_, narrow_at(1), from);
  ASSERT_TRUE(narrow_1.AwaitAcknowledge(2));
  Job wide(options_, "wide", 4, from);
  ASSERT_TRUE(wide.AwaitReady(2));
  Subtask<Row> narrow_0(options_, narrow_at(0), from);
  ASSERT_TRUE(narrow_0.AwaitAcknowledge(2));
  narrow_0.Write({"once"});
  wide[3].Write({"once"});
  for (Subtask<Row>* subtask : {&narrow_0, &wide[3]}) {
    subtask->Snapshot(2);
    subtask->Complete(2);
    EXPECT_THAT(subtask->AwaitEnd(), HasSubstr("has taken over this output lineage"));
  }
  EXPECT_THAT(Committed(), ElementsAre());
}

TEST_F(SecondStartTest, OneThatIsRefusedDoesNotDisturbTheJobThatRuns) {
  Job running(options_, "running", 2);
  Job dead_letters(options_, "running", 1, {}, "dead letters");
  const States from = running.Checkpoint(storage_, 1);
  const States letters_from = dead_letters.Checkpoint(storage_, 1);
  running[0].Write({"a"});  // the other lane is idle, and so is the other sink
  running.Checkpoint(storage_, 2);
  {
    Job mistake(options_, "mistake", 2, from);
    Job letters(options_, "mistake", 1, letters_from, "dead letters");
    for (Subtask<Row>* subtask : {&mistake[0], &mistake[1], &letters[0]}) {
      EXPECT_THAT(subtask->AwaitEnd(), HasSubstr("already published up to checkpoint 2"));
    }
  }
  running[0].Write({"b"});
  running[1].Write({"c"});
  dead_letters[0].Write({"d"});
  running.Checkpoint(storage_, 3);
  dead_letters.Checkpoint(storage_, 3);
  EXPECT_THAT(Committed(), UnorderedElementsAre("a", "b", "c", "d"));
}

}  // namespace
}  // namespace weir::kafka
