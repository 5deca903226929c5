#include "connectors/kafka/transaction_publisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::kafka {
namespace {

using P = TransactionPublisher;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const WriterId kSelf{.run = "job", .leader_epoch = LeaderEpoch{2}, .attempt = AttemptId{5}};
const WriterId kEarlier{.run = "job", .leader_epoch = LeaderEpoch{2}, .attempt = AttemptId{4}};
const WriterId kLater{.run = "job", .leader_epoch = LeaderEpoch{3}, .attempt = AttemptId{1}};
const WriterId kOtherJob{.run = "other", .leader_epoch = LeaderEpoch{9}, .attempt = AttemptId{9}};

P::Lane LaneOf(std::optional<P::Restored> restored = {}) {
  return {.id = {"lineage", "sink", 0}, .parallelism = 2, .writer = kSelf, .restored = restored};
}

P::MarkerFound MarkerOf(const WriterId& writer, uint64_t published) {
  return {Marker{.lane = {"lineage", "sink", 0},
                 .parallelism = 2,
                 .writer = writer,
                 .published = CheckpointId{published}}};
}

P::Epoch EpochOf(uint64_t checkpoint, uint64_t bytes = 10) {
  return {.checkpoint = CheckpointId{checkpoint}, .bytes = bytes};
}

P::Restored RestoredFrom(uint64_t checkpoint, std::optional<uint64_t> published = {},
                         const std::string& run = "job") {
  return {.checkpoint = CheckpointId{checkpoint},
          .run = run,
          .published = published ? std::optional(CheckpointId{*published}) : std::nullopt};
}

template <class A>
const A* Find(const P::Actions& actions) {
  for (const auto& action : actions) {
    if (const A* found = std::get_if<A>(&action)) return found;
  }
  return nullptr;
}

std::vector<uint64_t> EpochsOf(const P::Actions& actions) {
  std::vector<uint64_t> ids;
  if (const auto* work = Find<P::Transact>(actions)) {
    for (const CheckpointId id : work->epochs) ids.push_back(id.value);
  }
  return ids;
}

std::optional<CheckpointId> PublishedUpTo(const P::Actions& actions) {
  const auto* published = Find<P::Published>(actions);
  return published == nullptr ? std::nullopt : std::optional(published->up_to);
}

/// Up to the reading of the first marker.
P::Actions Start(P& publisher, const P::MarkerFound& found) {
  EXPECT_TRUE(Find<P::InitProducer>(publisher.Step(P::Begin{})));
  EXPECT_TRUE(Find<P::ReadMarker>(publisher.Step(P::ProducerReady{})));
  return publisher.Step(found);
}

/// A publisher that has claimed its lane.
P Claimed() {
  P publisher(LaneOf());
  EXPECT_TRUE(Find<P::Transact>(Start(publisher, {})));
  const P::Actions claimed = publisher.Step(P::Committed{});
  EXPECT_EQ(EpochsOf(claimed), std::vector<uint64_t>{});
  EXPECT_EQ(PublishedUpTo(claimed), CheckpointId{0});
  return publisher;
}

TEST(TransactionPublisherTest, TheFirstTransactionHoldsOnlyTheMarker) {
  P publisher(LaneOf());
  const P::Actions actions = Start(publisher, {});
  const auto* claim = Find<P::Transact>(actions);
  ASSERT_TRUE(claim);
  EXPECT_THAT(claim->epochs, IsEmpty());
  EXPECT_EQ(claim->marker.writer, kSelf);
  EXPECT_EQ(claim->marker.published, CheckpointId{0});
}

TEST(TransactionPublisherTest, AnEpochIsPublishedWhenItsCheckpointIsComplete) {
  P publisher = Claimed();
  EXPECT_THAT(publisher.Step(P::EpochClosed{EpochOf(1)}), IsEmpty());
  const P::Actions actions = publisher.Step(P::CheckpointCompleted{CheckpointId{1}});
  EXPECT_THAT(EpochsOf(actions), ElementsAre(1));
  EXPECT_EQ(PublishedUpTo(actions), std::nullopt);
  EXPECT_EQ(PublishedUpTo(publisher.Step(P::Committed{})), CheckpointId{1});
}

TEST(TransactionPublisherTest, TheOutputOfAnAbortedCheckpointJoinsTheNext) {
  P publisher = Claimed();
  (void)publisher.Step(P::EpochClosed{EpochOf(1)});
  (void)publisher.Step(P::EpochClosed{EpochOf(2)});
  (void)publisher.Step(P::EpochClosed{EpochOf(3)});
  const P::Actions actions = publisher.Step(P::CheckpointCompleted{CheckpointId{2}});
  EXPECT_THAT(EpochsOf(actions), ElementsAre(1, 2));
  EXPECT_EQ(Find<P::Transact>(actions)->marker.published, CheckpointId{2});
}

TEST(TransactionPublisherTest, WhatCompletesMeanwhileFollowsInOneTransaction) {
  P publisher = Claimed();
  for (uint64_t id = 1; id <= 4; ++id) (void)publisher.Step(P::EpochClosed{EpochOf(id)});
  EXPECT_THAT(EpochsOf(publisher.Step(P::CheckpointCompleted{CheckpointId{1}})), ElementsAre(1));
  for (uint64_t id = 2; id <= 4; ++id) {
    EXPECT_THAT(publisher.Step(P::CheckpointCompleted{CheckpointId{id}}), IsEmpty());
  }
  EXPECT_THAT(EpochsOf(publisher.Step(P::Committed{})), ElementsAre(2, 3, 4));
}

TEST(TransactionPublisherTest, ATransactionHasALimitButTakesAtLeastOneEpoch) {
  P::Lane lane = LaneOf();
  lane.max_transaction_bytes = 100;
  P publisher(lane);
  (void)Start(publisher, {});
  (void)publisher.Step(P::Committed{});
  for (uint64_t id = 1; id <= 3; ++id) (void)publisher.Step(P::EpochClosed{EpochOf(id, 60)});
  (void)publisher.Step(P::EpochClosed{EpochOf(4, 500)});
  EXPECT_THAT(EpochsOf(publisher.Step(P::CheckpointCompleted{CheckpointId{4}})), ElementsAre(1));
  EXPECT_THAT(EpochsOf(publisher.Step(P::Committed{})), ElementsAre(2));
  EXPECT_THAT(EpochsOf(publisher.Step(P::Committed{})), ElementsAre(3));
  EXPECT_THAT(EpochsOf(publisher.Step(P::Committed{})), ElementsAre(4));
}

TEST(TransactionPublisherTest, ABacklogGoesInTransactionsThatEndInTime) {
  P::Lane lane = LaneOf();
  lane.first_transaction_bytes = 100;
  lane.min_transaction_bytes = 50;
  lane.max_transaction_bytes = 300;
  lane.quick = std::chrono::milliseconds(10);
  const P::Committed quick{lane.quick}, slow{lane.quick * 2};
  P publisher(lane);
  (void)Start(publisher, {});
  (void)publisher.Step(quick);  // the claim says nothing of how much fits
  for (uint64_t id = 1; id <= 40; ++id) (void)publisher.Step(P::EpochClosed{EpochOf(id, 50)});
  EXPECT_THAT(EpochsOf(publisher.Step(P::CheckpointCompleted{CheckpointId{40}})),
              ElementsAre(1, 2));
  EXPECT_THAT(EpochsOf(publisher.Step(quick)), ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(EpochsOf(publisher.Step(quick)), ElementsAre(7, 8, 9, 10, 11, 12)) << "the most";
  EXPECT_THAT(EpochsOf(publisher.Step(slow)), ElementsAre(13, 14, 15, 16, 17, 18));
  const auto after_an_abort = [&](uint64_t published) {
    (void)publisher.Step(P::OutcomeUnknown{"aborted for its age"});
    (void)publisher.Step(P::ProducerReady{});
    return EpochsOf(publisher.Step(MarkerOf(kSelf, published)));
  };
  EXPECT_THAT(after_an_abort(12), ElementsAre(13, 14, 15));
  EXPECT_THAT(after_an_abort(12), ElementsAre(13));
  EXPECT_THAT(after_an_abort(12), ElementsAre(13)) << "no less than one epoch";
  EXPECT_THAT(EpochsOf(publisher.Step(slow)), ElementsAre(14));
  EXPECT_THAT(EpochsOf(publisher.Step(quick)), ElementsAre(15, 16));
}

TEST(TransactionPublisherTest, AnEmptyEpochNeedsNoTransaction) {
  P publisher = Claimed();
  (void)publisher.Step(P::EpochClosed{EpochOf(1, 0)});
  const P::Actions actions = publisher.Step(P::CheckpointCompleted{CheckpointId{1}});
  EXPECT_FALSE(Find<P::Transact>(actions));
  EXPECT_EQ(PublishedUpTo(actions), CheckpointId{1});
  EXPECT_EQ(publisher.published(), CheckpointId{0}) << "the marker was not touched";
}

TEST(TransactionPublisherTest, AfterARestartWhatIsMissingIsPublishedAndWhatIsThereSkipped) {
  P publisher(LaneOf(RestoredFrom(9, 6)));
  for (uint64_t id = 7; id <= 9; ++id) (void)publisher.Step(P::EpochClosed{EpochOf(id)});
  const P::Actions claim = Start(publisher, MarkerOf(kEarlier, 8));
  EXPECT_THAT(EpochsOf(claim), IsEmpty());
  ASSERT_TRUE(Find<P::Transact>(claim));
  EXPECT_EQ(Find<P::Transact>(claim)->marker.published, CheckpointId{8});
  EXPECT_THAT(EpochsOf(publisher.Step(P::Committed{})), ElementsAre(9));
}

TEST(TransactionPublisherTest, AnUnknownOutcomeIsResolvedByTheMarker) {
  for (const bool committed : {true, false}) {
    P publisher = Claimed();
    (void)publisher.Step(P::EpochClosed{EpochOf(1)});
    (void)publisher.Step(P::CheckpointCompleted{CheckpointId{1}});
    EXPECT_TRUE(Find<P::InitProducer>(publisher.Step(P::OutcomeUnknown{"timed out"})));
    EXPECT_TRUE(Find<P::ReadMarker>(publisher.Step(P::ProducerReady{})));
    const P::Actions actions = publisher.Step(MarkerOf(kSelf, committed ? 1 : 0));
    EXPECT_EQ(EpochsOf(actions).empty(), committed);
    EXPECT_EQ(PublishedUpTo(actions), committed ? std::optional(CheckpointId{1}) : std::nullopt);
  }
}

TEST(TransactionPublisherTest, AnUnknownClaimIsResolvedByTheMarker) {
  for (const bool committed : {true, false}) {
    P publisher(LaneOf(RestoredFrom(3, 2)));
    (void)publisher.Step(P::EpochClosed{EpochOf(3)});
    (void)Start(publisher, MarkerOf(kEarlier, 2));
    (void)publisher.Step(P::OutcomeUnknown{"timed out"});
    (void)publisher.Step(P::ProducerReady{});
    const P::Actions actions = publisher.Step(MarkerOf(committed ? kSelf : kEarlier, 2));
    EXPECT_EQ(PublishedUpTo(actions), committed ? std::optional(CheckpointId{2}) : std::nullopt)
        << "told when the lane is claimed";
    EXPECT_EQ(EpochsOf(actions), committed ? std::vector<uint64_t>{3} : std::vector<uint64_t>{});
    EXPECT_TRUE(Find<P::Transact>(actions));
  }
}

TEST(TransactionPublisherTest, FailuresInARowAreCountedForTheBackOff) {
  P publisher(LaneOf());
  (void)publisher.Step(P::Begin{});
  for (uint32_t n = 1; n <= 3; ++n) {
    const P::Actions actions = publisher.Step(P::OutcomeUnknown{"no broker"});
    ASSERT_TRUE(Find<P::InitProducer>(actions));
    EXPECT_EQ(Find<P::InitProducer>(actions)->failures, n);
  }
}

struct StopCase {
  std::string name;
  std::optional<P::Restored> restored;
  P::MarkerFound found;
  ErrorKind kind;
  std::string reason;
};

TEST(TransactionPublisherTest, RefusesWhatItCannotContinueExactlyOnce) {
  const StopCase cases[] = {
      {"marker ahead", RestoredFrom(5, 5), MarkerOf(kEarlier, 6), ErrorKind::kFatal,
       "published up to checkpoint 6"},
      {"marker ahead of nothing", {}, MarkerOf(kEarlier, 1), ErrorKind::kFatal, "--new-lineage"},
      {"marker gone", RestoredFrom(5, 5), {}, ErrorKind::kFatal, "no marker is found"},
      {"marker gone although only claimed",
       RestoredFrom(5, 0),
       {},
       ErrorKind::kFatal,
       "no marker is found"},
      {"marker went back", RestoredFrom(5, 5), MarkerOf(kEarlier, 4), ErrorKind::kFatal,
       "lost what it had acknowledged"},
      {"later attempt", RestoredFrom(5, 5), MarkerOf(kLater, 5), ErrorKind::kExternal,
       "superseded"},
      {"another job took over", RestoredFrom(5, 5), MarkerOf(kOtherJob, 5), ErrorKind::kFatal,
       "start again from the newest checkpoint of job " + kSelf.run},
      {"another job on a first start",
       {},
       MarkerOf(kOtherJob, 0),
       ErrorKind::kFatal,
       "another job"},
  };
  for (const StopCase& c : cases) {
    SCOPED_TRACE(c.name);
    P publisher(LaneOf(c.restored));
    const P::Actions actions = Start(publisher, c.found);
    const auto* stop = Find<P::Stop>(actions);
    ASSERT_TRUE(stop);
    EXPECT_EQ(stop->kind, c.kind);
    EXPECT_THAT(stop->reason, HasSubstr(c.reason));
    EXPECT_TRUE(publisher.stopped());
    EXPECT_THAT(publisher.Step(P::CheckpointCompleted{CheckpointId{9}}), IsEmpty());
  }
}

TEST(TransactionPublisherTest, AnotherJobsSavepointIsTakenOverWhoeverTriedBefore) {
  P publisher(LaneOf(RestoredFrom(5, 5, "first job")));
  EXPECT_TRUE(Find<P::Transact>(Start(publisher, MarkerOf(kOtherJob, 5))));
}

TEST(TransactionPublisherTest, HowManyLanesThereWereIsHandedDownThroughEveryClaim) {
  P::MarkerFound found = MarkerOf(kOtherJob, 5);
  found.marker->lanes = 8;
  P publisher(LaneOf(RestoredFrom(5, 5, "first job")));
  const P::Actions claim = Start(publisher, found);
  ASSERT_TRUE(Find<P::Transact>(claim));
  EXPECT_EQ(Find<P::Transact>(claim)->marker.parallelism, 2u);
  EXPECT_EQ(Find<P::Transact>(claim)->marker.lanes, 8u);
  EXPECT_EQ(publisher.lanes(), 8u);
}

TEST(TransactionPublisherTest, ALaneThatTheCheckpointDidNotHaveMayHaveAMarkerFromLongAgo) {
  P publisher(LaneOf(RestoredFrom(5)));
  EXPECT_TRUE(Find<P::Transact>(Start(publisher, MarkerOf(kEarlier, 2))));
}

TEST(TransactionPublisherTest, WhoWasSupersededStopsEvenIfItFencedTheOther) {
  for (const WriterId& other : {kLater, kEarlier, kOtherJob}) {
    P publisher = Claimed();
    (void)publisher.Step(P::EpochClosed{EpochOf(1)});
    (void)publisher.Step(P::CheckpointCompleted{CheckpointId{1}});
    (void)publisher.Step(P::OutcomeUnknown{"timed out"});
    (void)publisher.Step(P::ProducerReady{});
    EXPECT_TRUE(Find<P::Stop>(publisher.Step(MarkerOf(other, 0))));
  }
}

TEST(TransactionPublisherTest, FencedAndRefusedEndTheAttempt) {
  P fenced = Claimed();
  EXPECT_TRUE(Find<P::Stop>(fenced.Step(P::Fenced{})));
  P refused = Claimed();
  const P::Actions actions = refused.Step(P::Refused{"topic totals does not exist"});
  ASSERT_TRUE(Find<P::Stop>(actions));
  EXPECT_THAT(Find<P::Stop>(actions)->reason, HasSubstr("topic totals does not exist"));
}

}  // namespace
}  // namespace weir::kafka
