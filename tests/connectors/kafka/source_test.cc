// The Kafka source against a real broker, on a subtask that the test drives by hand.

#include "connectors/kafka/source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "connectors/format/text_format.h"
#include "tests/connectors/kafka/broker.h"
#include "tests/connectors/kafka/runtime_harness.h"

namespace weir::kafka {
namespace {

using testing::Broker;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RuntimeHarness;
using testing::TestRecord;
using ::testing::UnorderedElementsAre;

struct Order {
  std::string customer;
  int64_t cents = 0;
};

/// One subtask of a source.
template <class T>
class Subtask : private SplitObserver {
 public:
  explicit Subtask(const SourceOptions<T>& options, uint32_t index = 0, uint32_t parallelism = 1,
                   std::vector<RestoredOperatorState> restored = {})
      : reader_(Source<T>(options).make_reader()) {
    harness_.context.subtask_index = index;
    harness_.context.parallelism = parallelism;
    harness_.context.restored = !restored.empty();
    harness_.context.restored_state = std::move(restored);
    reader_->Open(harness_.context, *this);
  }
  Subtask(const SourceOptions<T>& options, const SidePorts& side_outputs,
          std::vector<RestoredOperatorState> restored = {})
      : reader_(Source<T>(options).make_reader()) {
    harness_.context.restored = !restored.empty();
    harness_.context.restored_state = std::move(restored);
    reader_->OpenSideOutputs(side_outputs);
    reader_->Open(harness_.context, *this);
  }
  ~Subtask() override { reader_->Close(); }

  PollResult Poll() {
    RecordBatch<T> batch;
    SplitIndex split = 0;
    const PollResult result = reader_->Poll(batch, split);
    batch.ForEach([&](T& row, Timestamp t) {
      rows.push_back(row);
      timestamps.push_back(t);
      row_splits.insert(splits_.at(split));
    });
    end = result == PollResult::kEnd;
    return result;
  }
  /// Polls until `count` rows have come in all, or the end.
  bool Read(size_t count) {
    return harness_.RunUntil([&] {
      for (;;) {
        if (rows.size() >= count || end) return true;
        if (Poll() == PollResult::kNothing) return false;
      }
    });
  }
  bool ReadToEnd() { return Read(SIZE_MAX); }
  /// Polls until the source knows which partitions it owns; their first rows may come with that.
  bool AwaitPartitions() {
    return harness_.RunUntil([&] {
      Poll();
      return !splits_.contains(0) || !open_splits.contains(splits_.at(0));
    });
  }

  /// Polls until the source has partitions, and there are others beside them.
  bool AwaitShareBelow(double share) {
    return harness_.RunUntil([&] {
      Poll();
      return reader_->ShareOfRate() && *reader_->ShareOfRate() < share;
    });
  }

  RestoredOperatorState Snapshot(uint64_t checkpoint = 1) {
    OperatorStateSnapshot state;
    reader_->Snapshot(CheckpointId{checkpoint}, state);
    return {.former_subtask = harness_.context.subtask_index,
            .former_parallelism = harness_.context.parallelism,
            .values = state.values,
            .files = {}};
  }
  /// A checkpoint, to its end.
  RestoredOperatorState Complete(uint64_t checkpoint) {
    RestoredOperatorState state = Snapshot(checkpoint);
    reader_->NotifyCheckpointComplete(CheckpointId{checkpoint});
    return state;
  }
  SourceReader<T>& reader() { return *reader_; }
  RuntimeHarness& harness() { return harness_; }

  std::vector<T> rows;
  std::vector<Timestamp> timestamps;
  std::set<std::string> row_splits;
  std::set<std::string> open_splits;
  bool end = false;

 private:
  void SplitAdded(SplitIndex split, const std::string& name) override {
    splits_[split] = name;
    open_splits.insert(name);
  }
  void SplitFinished(SplitIndex split) override { open_splits.erase(splits_.at(split)); }
  void EmitWatermark(SplitIndex, Timestamp) override {}

  RuntimeHarness harness_;
  std::map<SplitIndex, std::string> splits_;
  std::unique_ptr<SourceReader<T>> reader_;
};

class SourceTest : public ::testing::Test {
 protected:
  void NewTopic(int partitions) {
    topic_ = broker_.CreateTopic("input", partitions);
    options_.brokers = broker_.address();
    options_.topic = topic_;
    options_.format = String();
  }
  void Produce(int32_t partition, const std::vector<std::string>& values) {
    std::vector<TestRecord> records;
    for (const std::string& value : values) {
      records.push_back({.partition = partition, .value = value, .timestamp_ms = ++time_});
    }
    broker_.Produce(topic_, records);
  }

  Broker& broker_ = Broker::Instance();
  std::string topic_;
  SourceOptions<std::string> options_;
  int64_t time_ = 1000;
};

TEST_F(SourceTest, ReadsAllPartitionsInOrderWithTheRecordsTimestamps) {
  NewTopic(2);
  Produce(0, {"a", "b"});
  Produce(1, {"c"});
  options_.bounded = Latest();
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.ReadToEnd());
  EXPECT_THAT(subtask.rows, UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(subtask.row_splits, UnorderedElementsAre(topic_ + "-0", topic_ + "-1"));
  EXPECT_THAT(subtask.open_splits, IsEmpty());
  EXPECT_EQ(subtask.timestamps[subtask.rows[0] == "c"], Timestamp{1001});
}

TEST_F(SourceTest, AnUnboundedSourceGoesOnWithWhatArrives) {
  NewTopic(1);
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.AwaitPartitions());
  Produce(0, {"a"});
  ASSERT_TRUE(subtask.Read(1));
  Produce(0, {"b"});
  ASSERT_TRUE(subtask.Read(2));
  EXPECT_THAT(subtask.rows, ElementsAre("a", "b"));
  EXPECT_FALSE(subtask.end);
}

TEST_F(SourceTest, EveryPartitionIsReadByExactlyOneSubtask) {
  NewTopic(5);
  for (int p = 0; p < 5; ++p) Produce(p, {std::to_string(p)});
  options_.bounded = Latest();
  std::multiset<std::string> all;
  for (uint32_t i = 0; i < 3; ++i) {
    Subtask<std::string> subtask(options_, i, 3);
    ASSERT_TRUE(subtask.ReadToEnd());
    all.insert(subtask.rows.begin(), subtask.rows.end());
  }
  EXPECT_THAT(all, ElementsAre("0", "1", "2", "3", "4"));
}

TEST_F(SourceTest, ARateIsSharedOutByPartitionsAlsoByThoseThatComeLater) {
  NewTopic(1);
  options_.discovery_interval = std::chrono::milliseconds(100);
  Subtask<std::string> one(options_, 0, 2);
  Subtask<std::string> other(options_, 1, 2);
  ASSERT_TRUE(one.AwaitPartitions() && other.AwaitPartitions());
  const bool first = one.reader().ShareOfRate().has_value();
  EXPECT_EQ((first ? one : other).reader().ShareOfRate(), 1.0);
  EXPECT_EQ((first ? other : one).reader().ShareOfRate(), std::nullopt) << "it reads nothing";
  constexpr int kPartitions = 8;
  broker_.AddPartitions(topic_, kPartitions);
  double sum = 0;
  for (Subtask<std::string>* subtask : {&one, &other}) {
    size_t owned = 0;
    EXPECT_TRUE(subtask->AwaitShareBelow(1.0));
    for (const std::string& split : subtask->open_splits) owned += split.starts_with(topic_);
    EXPECT_EQ(subtask->reader().ShareOfRate(), static_cast<double>(owned) / kPartitions);
    sum += *subtask->reader().ShareOfRate();
  }
  EXPECT_EQ(sum, 1.0);
}

TEST_F(SourceTest, ASubtaskWithoutPartitionsHoldsNoWatermarkBack) {
  NewTopic(1);
  Subtask<std::string> first(options_, 0, 2);
  Subtask<std::string> second(options_, 1, 2);
  ASSERT_TRUE(first.AwaitPartitions());
  ASSERT_TRUE(second.AwaitPartitions());
  EXPECT_EQ(first.open_splits.size() + second.open_splits.size(), 1u);
}

TEST_F(SourceTest, StartPositions) {
  NewTopic(1);
  Produce(0, {"a", "b", "c", "d"});  // at 1001 to 1004
  options_.bounded = Latest();
  const auto rows_from = [&](const Position& start) {
    SourceOptions<std::string> options = options_;
    options.start = start;
    options.group = "group-" + topic_;
    Subtask<std::string> subtask(options);
    EXPECT_TRUE(subtask.AwaitPartitions());
    if (start.kind == Position::Kind::kCommitted) subtask.Complete(1);  // it waits for one
    EXPECT_TRUE(subtask.ReadToEnd());
    return subtask.rows;
  };
  EXPECT_THAT(rows_from(Earliest()), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(rows_from(Latest()), IsEmpty());
  EXPECT_THAT(rows_from(AtTimestamp(Timestamp{1003})), ElementsAre("c", "d"));
  EXPECT_THAT(rows_from(AtTimestamp(Timestamp{9999})), IsEmpty());
  EXPECT_THAT(rows_from(AtOffsets({{{topic_, 0}, 1}})), ElementsAre("b", "c", "d"));
  EXPECT_THAT(rows_from(Committed()), ElementsAre("a", "b", "c", "d")) << "nothing is committed";
}

TEST_F(SourceTest, AStartThatDependsOnNowIsDurableBeforeItsRowsAreRead) {
  NewTopic(1);
  Produce(0, {"before"});
  const Position latest_if_new{.kind = Position::Kind::kOffsets,
                               .timestamp = {},
                               .offsets = {},
                               .otherwise = Position::Kind::kLatest};
  int group = 0;
  for (const Position& start :
       {Latest(), AtTimestamp(Timestamp{INT64_C(4'000'000'000'000)}), latest_if_new, Committed()}) {
    SCOPED_TRACE(++group);
    options_.start = start;
    options_.group = "group-" + topic_ + std::to_string(group);
    Subtask<std::string> subtask(options_);
    ASSERT_TRUE(subtask.AwaitPartitions());
    EXPECT_GE(subtask.harness().checkpoints_requested, 1) << "again, if it takes long";
    EXPECT_THAT(subtask.open_splits, ElementsAre(topic_ + "-0")) << "it holds the watermark back";
    EXPECT_LT(subtask.reader().NextPoll(), Timestamp::Max()) << "the request may be lost";
    Produce(0, {"first", "second"});
    {
      SourceOptions<std::string> options{
          .brokers = options_.brokers, .topic = topic_, .format = String(), .bounded = Latest()};
      Subtask<std::string> other(options);
      ASSERT_TRUE(other.ReadToEnd());
      EXPECT_THAT(other.rows, Contains("second")) << "rows are there to be read";
    }
    subtask.Poll();
    EXPECT_THAT(subtask.rows, IsEmpty());
    subtask.Snapshot(1);  // it fails
    subtask.Poll();
    EXPECT_THAT(subtask.rows, IsEmpty());
    const RestoredOperatorState state = subtask.Complete(2);
    const size_t expected = start.kind == Position::Kind::kCommitted ? 9 : 2;
    ASSERT_TRUE(subtask.Read(expected));
    EXPECT_EQ(subtask.rows[expected - 2], "first");
    EXPECT_EQ(subtask.rows[expected - 1], "second");
    EXPECT_EQ(subtask.reader().NextPoll(), Timestamp::Max());

    // It fails now: the next attempt reads them again, and at once.
    Subtask<std::string> next(options_, 0, 1, {state});
    ASSERT_TRUE(next.Read(expected));
    EXPECT_EQ(next.rows, subtask.rows);
    EXPECT_EQ(next.harness().checkpoints_requested, 0);
  }
}

TEST_F(SourceTest, AStartThatIsAlwaysTheSameWaitsForNoCheckpoint) {
  NewTopic(1);
  Produce(0, {"a", "b"});  // at 1001, 1002
  for (const Position& start :
       {Earliest(), AtTimestamp(Timestamp{1002}), AtOffsets({{{topic_, 0}, 1}})}) {
    options_.start = start;
    Subtask<std::string> subtask(options_);
    ASSERT_TRUE(subtask.Read(1));
    EXPECT_EQ(subtask.harness().checkpoints_requested, 0);
  }
}

TEST_F(SourceTest, ACheckpointForAStartIsAskedForAgainUntilThereIsOne) {
  NewTopic(1);
  options_.start = Latest();
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.AwaitPartitions());
  Timestamp due;
  while (subtask.harness().checkpoints_requested < 3) {
    due = subtask.reader().NextPoll();
    ASSERT_LE(due, Clock::System().Now() + std::chrono::milliseconds(1'000));
    subtask.Poll();
  }
  EXPECT_GT(subtask.reader().NextPoll(), due) << "less and less often";
}

TEST_F(SourceTest, BoundsByOffsetAndTime) {
  NewTopic(1);
  Produce(0, {"a", "b", "c", "d"});
  const auto rows_until = [&](const Position& stop) {
    options_.bounded = stop;
    Subtask<std::string> subtask(options_);
    EXPECT_TRUE(subtask.ReadToEnd());
    EXPECT_TRUE(subtask.end);
    return subtask.rows;
  };
  EXPECT_THAT(rows_until(AtOffsets({{{topic_, 0}, 3}})), ElementsAre("a", "b", "c"));
  EXPECT_THAT(rows_until(AtTimestamp(Timestamp{1003})), ElementsAre("a", "b"));
  EXPECT_THAT(rows_until(Earliest()), IsEmpty());
}

TEST_F(SourceTest, TheEndIsFixedWhenTheJobStarts) {
  NewTopic(1);
  Produce(0, {"a"});
  options_.bounded = Latest();
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.AwaitPartitions());
  const RestoredOperatorState state = subtask.Snapshot();
  std::vector<std::string> rows_of_both = subtask.rows;
  Produce(0, {"later"});
  ASSERT_TRUE(subtask.ReadToEnd());
  EXPECT_THAT(subtask.rows, ElementsAre("a"));
  Subtask<std::string> restored(options_, 0, 1, {state});
  ASSERT_TRUE(restored.ReadToEnd());
  rows_of_both.insert(rows_of_both.end(), restored.rows.begin(), restored.rows.end());
  EXPECT_THAT(rows_of_both, ElementsAre("a"));
  Subtask<std::string> at_end(options_, 0, 1, {subtask.Snapshot()});
  ASSERT_TRUE(at_end.ReadToEnd());
  EXPECT_THAT(at_end.rows, IsEmpty()) << "the end is said again";
}

TEST_F(SourceTest, ARestoredSourceGoesOnWhereItStoodAtAnyParallelism) {
  NewTopic(3);
  for (int p = 0; p < 3; ++p) Produce(p, {"1", "2"});
  options_.start = Latest();  // not asked again
  std::vector<RestoredOperatorState> states;
  {
    SourceOptions<std::string> first = options_;
    first.start = Earliest();
    Subtask<std::string> subtask(first);
    ASSERT_TRUE(subtask.Read(6));
    states.push_back(subtask.Snapshot());
  }
  for (int p = 0; p < 3; ++p) Produce(p, {"3-" + std::to_string(p)});
  options_.bounded = Latest();
  std::multiset<std::string> all;
  for (uint32_t i = 0; i < 2; ++i) {
    Subtask<std::string> subtask(options_, i, 2, states);
    ASSERT_TRUE(subtask.ReadToEnd());
    all.insert(subtask.rows.begin(), subtask.rows.end());
  }
  EXPECT_THAT(all, ElementsAre("3-0", "3-1", "3-2"));
}

TEST_F(SourceTest, NewPartitionsAreFoundAndReadFromTheirBeginning) {
  NewTopic(1);
  options_.start = Latest();
  options_.discovery_interval = std::chrono::milliseconds(100);
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.AwaitPartitions());
  const RestoredOperatorState before = subtask.Snapshot();
  broker_.AddPartitions(topic_, 2);
  Produce(1, {"early"});
  ASSERT_TRUE(subtask.Read(1));
  EXPECT_THAT(subtask.rows, ElementsAre("early"));
  EXPECT_THAT(subtask.row_splits, ElementsAre(topic_ + "-1"));
  // Also when the job was away while the partition came.
  Subtask<std::string> restored(options_, 0, 1, {before});
  ASSERT_TRUE(restored.Read(1));
  EXPECT_THAT(restored.rows, ElementsAre("early"));
}

TEST_F(SourceTest, OffsetsOfCompletedCheckpointsAreCommittedToTheGroup) {
  NewTopic(1);
  Produce(0, {"a", "b", "c"});
  options_.group = "group-" + topic_;
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.Read(3));
  subtask.Snapshot(1);
  Produce(0, {"d"});
  ASSERT_TRUE(subtask.Read(4));
  subtask.Snapshot(2);
  subtask.reader().NotifyCheckpointComplete(CheckpointId{1});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (broker_.CommittedOffset(options_.group, topic_, 0) != 3) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  EXPECT_GE(subtask.harness().gauges.count("kafka_lag/" + topic_ + "-0"), 1u);
}

TEST_F(SourceTest, OnlyCommittedTransactionsAreRead) {
  NewTopic(1);
  broker_.ProduceInTransaction(topic_, {{.value = "aborted"}}, false);
  broker_.ProduceInTransaction(topic_, {{.value = "committed"}}, true);
  options_.bounded = Latest();
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.ReadToEnd());
  EXPECT_THAT(subtask.rows, ElementsAre("committed"));
}

TEST_F(SourceTest, ABadRecordFailsTheJobNamingItOrIsSkippedAndCounted) {
  NewTopic(1);
  Produce(
      0, {R"({"customer":"a","cents":1})", R"({"customer":"b"})", R"({"customer":"c","cents":3})"});
  SourceOptions<Order> options{.brokers = broker_.address(), .topic = topic_};
  options.bounded = Latest();
  Subtask<Order> failing(options);
  const std::string error = ErrorOf([&] { failing.ReadToEnd(); });
  EXPECT_THAT(error, HasSubstr("offset 1 of " + topic_ + "-0"));
  EXPECT_THAT(error, HasSubstr("cents"));
  EXPECT_THAT(error, HasSubstr("on_bad_record"));

  options.on_bad_record = Skip;
  Subtask<Order> skipping(options);
  ASSERT_TRUE(skipping.ReadToEnd());
  ASSERT_EQ(skipping.rows.size(), 2u);
  EXPECT_EQ(skipping.rows[1].customer, "c");
  EXPECT_EQ(skipping.harness().counters["kafka_bad_records"], 1);
}

TEST_F(SourceTest, DeletedRecordsAreNotSkippedSilently) {
  NewTopic(1);
  Produce(0, {"a"});
  options_.start = AtOffsets({{{topic_, 0}, 77}});
  Subtask<std::string> subtask(options_);
  EXPECT_THAT(ErrorOf([&] { subtask.Read(1); }), HasSubstr(topic_ + "-0 cannot be read"));
}

TEST_F(SourceTest, ValidationNamesWhatIsWrong) {
  NewTopic(2);
  const auto validate = [&](uint32_t parallelism) {
    return Source<std::string>(options_).validate(parallelism);
  };
  EXPECT_EQ(validate(2), "");
  EXPECT_THAT(validate(3), HasSubstr("1 subtasks have nothing to read"));
  options_.properties = {{"fetch.colour", "red"}};
  EXPECT_THAT(ErrorOf([&] { validate(1); }), HasSubstr("fetch.colour"));
  options_.properties = {{"enable.auto.commit", "true"}};
  EXPECT_THAT(ErrorOf([&] { validate(1); }), HasSubstr("set by Weir itself"));
  options_.properties = {};
  options_.start = Committed();
  EXPECT_THAT(ErrorOf([&] { validate(1); }), HasSubstr("set .group"));
  options_.start = Earliest();
  options_.topic = "nowhere";
  EXPECT_THAT(ErrorOf([&] { validate(1); }), HasSubstr("topic nowhere"));
  options_.topic = topic_;
  options_.brokers = "127.0.0.1:1";
  EXPECT_THAT(ErrorOf([&] { validate(1); }), HasSubstr("no Kafka broker answers at 127.0.0.1:1"));
}

TEST_F(SourceTest, OutlivesARestartOfTheBroker) {
  NewTopic(1);
  Subtask<std::string> subtask(options_);
  ASSERT_TRUE(subtask.AwaitPartitions());
  Produce(0, {"a"});
  ASSERT_TRUE(subtask.Read(1));
  broker_.Kill();
  broker_.Start();
  Produce(0, {"b"});
  ASSERT_TRUE(subtask.Read(2));
  EXPECT_THAT(subtask.rows, ElementsAre("a", "b"));
}

TEST_F(SourceTest, ABrokerThatDoesNotAnswerHoldsNobodyUpInClose) {
  NewTopic(1);
  Produce(0, {"a"});
  options_.discovery_interval = std::chrono::milliseconds(1);
  Subtask<std::string> reading(options_);
  ASSERT_TRUE(reading.Read(1));
  broker_.Suspend();
  Subtask<std::string> starting(options_);
  const auto begin = std::chrono::steady_clock::now();
  reading.reader().Close();
  starting.reader().Close();
  // The client's own time limits are of half a minute and more.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  broker_.Resume();
}

TEST_F(SourceTest, RowsMayBringKeyHeadersTimePartitionAndOffset) {
  NewTopic(2);
  broker_.Produce(topic_, {{.partition = 1,
                            .key = "ann",
                            .value = R"({"customer":"ann","cents":7})",
                            .headers = {{"trace", "t1"}},
                            .timestamp_ms = 1234},
                           {.partition = 1, .key = "bob"}});
  SourceOptions<Record<std::optional<Order>>> options{.brokers = broker_.address(),
                                                      .topic = topic_};
  Subtask<Record<std::optional<Order>>> subtask(options);
  ASSERT_TRUE(subtask.Read(2));
  const auto& ann = subtask.rows[0];
  ASSERT_TRUE(ann.value);
  EXPECT_EQ(ann.value->cents, 7);
  EXPECT_EQ(ann.key, "ann");
  ASSERT_EQ(ann.headers.size(), 1u);
  EXPECT_EQ(ann.headers[0].name, "trace");
  EXPECT_EQ(ann.headers[0].value, "t1");
  EXPECT_EQ(ann.timestamp, Timestamp{1234});
  EXPECT_EQ(ann.topic, topic_);
  EXPECT_EQ(ann.partition, 1);
  EXPECT_EQ(ann.offset, 0);
  const auto& bob = subtask.rows[1];
  EXPECT_FALSE(bob.value) << "a tombstone";
  EXPECT_EQ(bob.key, "bob");
  EXPECT_EQ(bob.offset, 1);
  EXPECT_THAT(bob.headers, IsEmpty());
}

/// What goes into a side output.
class Letters final : public Output {
 public:
  void Emit(Batch& batch) override {
    static_cast<RecordBatch<DeadLetter>&>(batch).ForEach(
        [&](const DeadLetter& letter, Timestamp) { all.push_back(letter); });
  }
  void EmitWatermark(Timestamp) override {}
  void EmitIdle() override {}
  std::vector<DeadLetter> all;
};

TEST_F(SourceTest, BadRecordsMayGoToASideOutputAsTheyCame) {
  NewTopic(1);
  broker_.Produce(
      topic_,
      {{.value = R"({"customer":"ann","cents":7})"},
       {.key = "k", .value = "no \xff json", .headers = {{"trace", "t1"}}, .timestamp_ms = 1234},
       {.value = R"({"customer":"bob","cents":8})"}});
  const SourceOptions<Order> options{
      .brokers = broker_.address(), .topic = topic_, .on_bad_record = SideOutput};
  EXPECT_THAT(ErrorOf([&] { Source<Order>(options).make_reader()->OpenSideOutputs({}); }),
              HasSubstr("kafka::BadRecords"));
  Letters letters;
  Subtask<Order> subtask(options, {{BadRecords.name, {&letters, &RecordTypeOf<DeadLetter>()}}});
  ASSERT_TRUE(subtask.Read(2));
  EXPECT_EQ(subtask.rows[1].customer, "bob");
  ASSERT_EQ(letters.all.size(), 1u);
  const DeadLetter& letter = letters.all[0];
  EXPECT_THAT(letter.reason, Not(IsEmpty()));
  EXPECT_EQ(letter.record.value, "no \xff json");
  EXPECT_EQ(letter.record.key, "k");
  EXPECT_EQ(letter.record.headers.size(), 1u);
  EXPECT_EQ(letter.record.topic, topic_);
  EXPECT_EQ(letter.record.partition, 0);
  EXPECT_EQ(letter.record.offset, 1);
  EXPECT_EQ(letter.record.timestamp, Timestamp{1234});
  EXPECT_EQ(subtask.harness().counters["kafka_bad_records"], 1);
}

TEST_F(SourceTest, ABadRecordWithoutValueIsALetterWithoutOne) {
  NewTopic(1);
  broker_.Produce(topic_, {{.key = "gone", .value = std::nullopt},
                           {.key = "empty", .value = ""},
                           {.value = R"({"customer":"bob","cents":8})"}});
  const SourceOptions<Order> options{
      .brokers = broker_.address(), .topic = topic_, .on_bad_record = SideOutput};
  Letters letters;
  Subtask<Order> subtask(options, {{BadRecords.name, {&letters, &RecordTypeOf<DeadLetter>()}}});
  ASSERT_TRUE(subtask.Read(1));
  ASSERT_EQ(letters.all.size(), 2u);
  EXPECT_EQ(letters.all[0].record.value, std::nullopt) << "a tombstone";
  EXPECT_EQ(letters.all[0].record.key, "gone");
  EXPECT_EQ(letters.all[1].record.value, "");
}

TEST_F(SourceTest, LargeBadRecordsGoOutInManySteps) {
  NewTopic(1);
  const std::string large(300'000, 'x');
  std::vector<std::string> values;
  for (int i = 0; i < 40; ++i) values.push_back(std::to_string(i) + " " + large);
  values.push_back(R"({"customer":"bob","cents":8})");
  Produce(0, values);
  SourceOptions<Order> options{
      .brokers = broker_.address(), .topic = topic_, .on_bad_record = SideOutput};
  options.bounded = Latest();
  Letters letters;
  Subtask<Order> subtask(options, {{BadRecords.name, {&letters, &RecordTypeOf<DeadLetter>()}}});
  size_t most = 0;
  std::optional<RestoredOperatorState> middle;
  size_t letters_before_middle = 0;
  ASSERT_TRUE(subtask.harness().RunUntil([&] {
    for (;;) {
      const size_t before = letters.all.size();
      RecordBatch<Order> batch;
      SplitIndex split = 0;
      const PollResult result = subtask.reader().Poll(batch, split);
      most = std::max(most, letters.all.size() - before);
      // A checkpoint stands behind the letters that went out, and not behind others.
      if (letters.all.size() > before && !middle && letters.all.size() < 40) {
        middle = subtask.Snapshot();
        letters_before_middle = letters.all.size();
      }
      if (result == PollResult::kEnd) return true;
      if (result == PollResult::kNothing) return false;
    }
  }));
  EXPECT_EQ(letters.all.size(), 40u) << "each once";
  EXPECT_LE(most, kLetterBytesPerPoll / large.size() + 1);
  ASSERT_TRUE(middle);
  Letters rest;
  Subtask<Order> restored(options, {{BadRecords.name, {&rest, &RecordTypeOf<DeadLetter>()}}},
                          {*middle});
  ASSERT_TRUE(restored.ReadToEnd());
  EXPECT_EQ(restored.rows.size(), 1u);
  EXPECT_EQ(rest.all.size(), 40 - letters_before_middle);
}

class NoSplits final : public SplitObserver {
  void SplitAdded(SplitIndex, const std::string&) override {}
  void SplitFinished(SplitIndex) override {}
  void EmitWatermark(SplitIndex, Timestamp) override {}
};

TEST_F(SourceTest, ABrokerThatIsNotThereFailsAFirstStartByNameAndIsWaitedForLater) {
  const SourceSettings settings{.client = {.brokers = "127.0.0.1:1"},
                                .topics = {"orders"},
                                .start_limit = std::chrono::milliseconds(1)};
  std::vector<Message> messages;
  SplitIndex split = 0;
  NoSplits splits;
  RuntimeHarness harness;
  const auto first = MakeSourceBackend(settings);
  first->Open(harness.context, splits);
  EXPECT_THAT(ErrorOf([&] {
                harness.RunUntil([&] {
                  first->Poll(Batch::kCapacity, messages, split);
                  return false;
                });
              }),
              HasSubstr("no Kafka broker answers at 127.0.0.1:1"));
  first->Close();

  RuntimeHarness later;
  later.context.restored = true;
  const auto second = MakeSourceBackend(settings);
  second->Open(later.context, splits);
  EXPECT_TRUE(later.RunUntil([&] { return later.log().find("is delayed") != std::string::npos; }));
  EXPECT_EQ(second->Poll(Batch::kCapacity, messages, split), PollResult::kNothing);
  second->Close();
}

}  // namespace
}  // namespace weir::kafka
