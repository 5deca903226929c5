// Several checkpoints under way at one gate.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "runtime/channel/in_flight.h"
#include "runtime/channel/input_gate.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using Event = InputGate::Event;
using test::ScriptedChannel;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using Values = std::vector<int>;

constexpr CheckpointId kFirst{1};
constexpr CheckpointId kSecond{2};
constexpr CheckpointId kThird{3};

Values ValuesOf(Batch& batch) {
  Values values;
  static_cast<RecordBatch<int>&>(batch).ForEach(
      [&](int value, Timestamp) { values.push_back(value); });
  return values;
}

Values ValuesOf(const std::vector<InFlightRows>& rows) {
  Values values;
  for (const InFlightRows& one : rows) {
    RecordBatch<int> batch;
    DecodeInFlight(one, batch);
    for (const int value : ValuesOf(batch)) values.push_back(value);
  }
  return values;
}

InputGate::Channel Of(ScriptedChannel& channel) {
  return {.channel = &channel, .input = 0, .edge = 4, .type = &RecordTypeOf<int>()};
}

class OverlappingGateTest : public testing::Test {
 protected:
  OverlappingGateTest() : gate_({Of(a_), Of(b_)}, {}, /*max_concurrent=*/3) {}

  void Pull() {
    while (gate_.Pull()) {
    }
  }
  /// What the subtask reads until there is no more, and the barriers that it is given.
  Values Read() {
    Values values;
    for (;;) {
      const InputGate::Input in = gate_.Next();
      if (in.event == Event::kNothing) return values;
      if (in.event == Event::kBarrier) barriers_.push_back(in.barrier.id);
      if (in.event != Event::kBatch) continue;
      for (const int value : ValuesOf(*in.batch)) values.push_back(value);
      gate_.Release();
    }
  }
  std::optional<Values> Recorded(CheckpointId id) {
    const auto rows = gate_.TakeRecorded(id);
    if (!rows) return std::nullopt;
    return ValuesOf(*rows);
  }

  ScriptedChannel a_, b_;
  InputGate gate_;
  std::vector<CheckpointId> barriers_;
};

TEST_F(OverlappingGateTest, TheNextBarrierWaitsInItsChannelBehindItsRows) {
  a_.BarrierOf(1);
  a_.Values({1});
  a_.BarrierOf(2);
  b_.Values({2});
  EXPECT_THAT(Read(), ElementsAre(2));
  EXPECT_THAT(barriers_, IsEmpty());
  b_.BarrierOf(1);
  b_.Values({3});
  EXPECT_THAT(Read(), testing::UnorderedElementsAre(1, 3));
  EXPECT_THAT(barriers_, ElementsAre(kFirst));
  b_.BarrierOf(2);
  Read();
  EXPECT_THAT(barriers_, ElementsAre(kFirst, kSecond));
}

TEST_F(OverlappingGateTest, TheNewestIsGivenUpWhenTheyRecordTooMuchTogether) {
  InputGate gate({Of(a_), Of(b_)}, {.pulled_bytes = 1 << 20, .recorded_bytes = 30}, 3);
  const auto pull = [&gate] {
    while (gate.Pull()) {
    }
  };
  gate.TurnUnaligned(kFirst);
  a_.Values({1});
  a_.BarrierOf(1);
  pull();
  gate.TurnUnaligned(kSecond);
  for (const int value : {2, 3}) a_.Values({value});
  pull();
  EXPECT_FALSE(gate.RecordingOverran(kFirst));
  EXPECT_TRUE(gate.RecordingOverran(kSecond)) << "no more than a row is its own, and one shared";
  b_.BarrierOf(1);
  pull();
  EXPECT_THAT(ValuesOf(*gate.TakeRecorded(kFirst)), ElementsAre(1));
}

TEST_F(OverlappingGateTest, WhatTwoRecordCountsOnce) {
  InputGate gate({Of(a_), Of(b_)}, {.pulled_bytes = 1 << 20, .recorded_bytes = 30}, 3);
  gate.TurnUnaligned(kFirst);
  a_.Values({1});
  while (gate.Pull()) {
  }
  gate.TurnUnaligned(kSecond);
  gate.TurnUnaligned(kThird);
  for (const CheckpointId id : {kFirst, kSecond, kThird}) {
    EXPECT_FALSE(gate.RecordingOverran(id)) << id.value;
  }
}

TEST_F(OverlappingGateTest, AtLeastOnceCountsTheBarriersOfEach) {
  for (const uint64_t id : {1, 2}) a_.BarrierOf(id, /*aligned=*/false);
  Read();
  b_.BarrierOf(1, false);
  Read();
  EXPECT_THAT(barriers_, ElementsAre(kFirst)) << "the second one's did not end it";
  b_.BarrierOf(2, false);
  Read();
  EXPECT_THAT(barriers_, ElementsAre(kFirst, kSecond));
}

TEST_F(OverlappingGateTest, AtLeastOnceTheOneThatAChannelLeavesOutIsNotWaitedFor) {
  for (const uint64_t id : {1, 2, 3}) a_.BarrierOf(id, false);
  for (const uint64_t id : {1, 3}) b_.BarrierOf(id, false);
  Read();
  EXPECT_THAT(barriers_, ElementsAre(kFirst, kThird));
  EXPECT_EQ(gate_.aligning(), std::nullopt);
}

TEST_F(OverlappingGateTest, AnAbortOfTheNextBeforeItsBarriersLeavesTheFirstAlone) {
  gate_.Abort(kSecond);
  a_.BarrierOf(1);
  b_.BarrierOf(1);
  a_.BarrierOf(2);
  b_.Values({1});
  Read();
  EXPECT_THAT(barriers_, ElementsAre(kFirst));
  EXPECT_EQ(gate_.aligning(), std::nullopt) << "2 was given up";
  EXPECT_FALSE(gate_.MayTurnUnaligned(kSecond));
  EXPECT_TRUE(gate_.MayTurnUnaligned(kThird));
}

TEST_F(OverlappingGateTest, AnAbortOfTheFirstLetsTheNextBarrierThrough) {
  a_.BarrierOf(1);
  a_.Values({1});
  a_.BarrierOf(2);
  b_.BarrierOf(2);
  Read();
  gate_.Abort(kFirst);
  EXPECT_THAT(Read(), IsEmpty()) << "b showed 2 without 1, which was known to be over by then";
  EXPECT_THAT(barriers_, ElementsAre(kSecond));
}

TEST_F(OverlappingGateTest, RowsBetweenTwoBarriersAreInFlightForTheSecondAlone) {
  gate_.TurnUnaligned(kFirst);
  a_.Values({1});
  Pull();
  gate_.TurnUnaligned(kSecond);
  EXPECT_EQ(gate_.recording(), 2u);
  a_.BarrierOf(1);
  a_.Values({2});
  b_.BarrierOf(1);
  Pull();
  EXPECT_EQ(gate_.recording(), 1u);
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1)));
  a_.BarrierOf(2);
  a_.Values({3});
  b_.BarrierOf(2);
  Pull();
  EXPECT_THAT(Recorded(kSecond), Optional(ElementsAre(1, 2)));
  EXPECT_THAT(Read(), ElementsAre(1, 2, 3));
}

TEST_F(OverlappingGateTest, WhatWasReadBeforeTheSecondTurnedIsNotInItsFlight) {
  gate_.TurnUnaligned(kFirst);
  a_.Values({1});
  EXPECT_THAT(Read(), ElementsAre(1));
  gate_.TurnUnaligned(kSecond);
  a_.Values({2});
  for (const uint64_t id : {1, 2}) {
    a_.BarrierOf(id);
    b_.BarrierOf(id);
  }
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(1, 2)));
  EXPECT_THAT(Recorded(kSecond), Optional(ElementsAre(2)));
}

TEST_F(OverlappingGateTest, TheSecondIsAlignedWhileTheFirstIsRecorded) {
  gate_.TurnUnaligned(kFirst);
  a_.BarrierOf(1);
  a_.BarrierOf(2);
  a_.Values({1});
  Pull();
  EXPECT_THAT(Read(), IsEmpty()) << "a waits for the second";
  EXPECT_THAT(gate_.aligning(), Optional(kSecond));
  EXPECT_EQ(gate_.recording(), 1u);
  b_.Values({2});
  b_.BarrierOf(1);
  b_.Values({3});
  b_.BarrierOf(2);
  Pull();
  EXPECT_THAT(Recorded(kFirst), Optional(ElementsAre(2)));
  EXPECT_THAT(Read(), testing::UnorderedElementsAre(1, 2, 3));
  EXPECT_THAT(barriers_, ElementsAre(kSecond));
}

TEST_F(OverlappingGateTest, AnAbortOfOneRecordingLeavesTheOtherWhole) {
  a_.Values({1});
  gate_.TurnUnaligned(kFirst);
  Pull();
  gate_.TurnUnaligned(kSecond);
  gate_.Abort(kFirst);
  a_.Values({2});
  for (ScriptedChannel* channel : {&a_, &b_}) {
    channel->BarrierOf(1);
    channel->BarrierOf(2);
  }
  Pull();
  EXPECT_EQ(Recorded(kFirst), std::nullopt);
  EXPECT_THAT(Recorded(kSecond), Optional(ElementsAre(1, 2)));
}

TEST_F(OverlappingGateTest, AChannelThatLeavesABarrierOutEndsThatRecordingAlone) {
  gate_.TurnUnaligned(kFirst);
  gate_.TurnUnaligned(kSecond);
  a_.BarrierOf(2);
  b_.BarrierOf(1);
  b_.BarrierOf(2);
  Pull();
  EXPECT_EQ(Recorded(kFirst), std::nullopt);
  EXPECT_THAT(Recorded(kSecond), Optional(IsEmpty()));
}

// Random histories against what a checkpoint is: what was read before its cut, and what was in
// flight, are the rows before its barriers, each once.
class History {
 public:
  explicit History(uint64_t seed)
      : random_(seed),
        exactly_once_(Below(4) != 0),
        gate_({Of(channels_[0].channel), Of(channels_[1].channel), Of(channels_[2].channel)},
              {.pulled_bytes = Below(2) == 0 ? size_t{40} : size_t{1} << 20}, kUnderWay) {}

  void Run() {
    for (int step = 0; step < 400 && !testing::Test::HasFailure(); ++step) Step(Below(12));
    // What is left comes to its end.
    for (int step = 0; step < 2000 && !testing::Test::HasFailure(); ++step) {
      constexpr uint64_t kAll[] = {1, 4, 6, 7, 8, 9};
      Step(kAll[Below(std::size(kAll))]);
    }
    EXPECT_TRUE(under_way_.empty())
        << "checkpoint " << under_way_.begin()->first << " never comes to pass";
  }

  int completed = 0;
  int overlapped = 0;
  int unaligned = 0;

 private:
  static constexpr size_t kUnderWay = 3;
  struct Channel {
    ScriptedChannel channel;
    uint64_t brought = 0;             // the last barrier
    std::map<uint64_t, size_t> cuts;  // rows before the barrier
    Values rows;
  };
  struct Checkpoint {
    bool turns = false;  // the coordinator's word is on its way, or has come
    bool turned = false;
    std::optional<size_t> cut;  // rows read before it
  };

  uint64_t Below(uint64_t n) { return random_() % n; }

  void Step(uint64_t what) {
    switch (what) {
      case 0:
        if (under_way_.size() == kUnderWay) return;
        overlapped += under_way_.empty() ? 0 : 1;
        under_way_[++last_id_];
        return;
      case 1:
      case 2:
        return BringBarrier(channels_[Below(3)]);
      case 3:
        return BringRows(channels_[Below(3)]);
      case 4:
      case 5:
      case 6:
        return ReadOne();
      case 7:
        gate_.Pull();
        return TakeRecorded();
      case 8:
        return Turn();
      case 9:
        if (!late_words_.empty() && Below(3) == 0) {
          gate_.Abort(CheckpointId(late_words_.front()));
          late_words_.erase(late_words_.begin());
        }
        return;
      default:
        if (Below(4) == 0) GiveUp();
    }
  }

  void BringRows(Channel& to) {
    Values values;
    for (uint64_t n = 1 + Below(4); n > 0; --n) values.push_back(++last_row_);
    to.channel.Values(values);
    to.rows.insert(to.rows.end(), values.begin(), values.end());
  }
  // Whoever feeds the channel may not have heard yet that a checkpoint was given up.
  void BringBarrier(Channel& to) {
    for (uint64_t id = to.brought + 1; id <= last_id_; ++id) {
      if (!under_way_.contains(id) && Below(2) == 0) continue;
      to.brought = id;
      to.cuts[id] = to.rows.size();
      to.channel.BarrierOf(id, exactly_once_);
      return;
    }
  }
  void ReadOne() {
    const InputGate::Input in = gate_.Next();
    if (in.event == Event::kBarrier) return Cut(in.barrier.id.value, /*turned=*/false);
    if (in.event != Event::kBatch) return;
    const Values values = ValuesOf(*in.batch);
    size_t used = values.size();
    if (exactly_once_ && Below(5) == 0) used = Below(used + 1);  // a barrier overtakes the rest
    read_.insert(read_.end(), values.begin(), values.begin() + static_cast<ptrdiff_t>(used));
    if (used == values.size()) return gate_.Release();
    gate_.PutBack(static_cast<uint32_t>(used));
    Turn();
  }
  // In the order of their ids.
  void Turn() {
    if (!exactly_once_) return;
    for (auto& [id, checkpoint] : under_way_) {
      if (checkpoint.turns) continue;
      checkpoint.turns = true;
      if (!gate_.MayTurnUnaligned(CheckpointId(id))) return;
      gate_.TurnUnaligned(CheckpointId(id));
      return Cut(id, /*turned=*/true);
    }
  }
  void Cut(uint64_t id, bool turned) {
    if (!under_way_.contains(id)) return;  // given up, and the gate does not know yet
    EXPECT_GT(id, last_cut_) << "snapshots are in the order of their ids";
    last_cut_ = id;
    under_way_[id].cut = read_.size();
    under_way_[id].turned = turned;
    if (turned) return;
    TakeRecorded();
    Complete(id, {});
  }
  void TakeRecorded() {
    std::vector<uint64_t> turned;
    for (const auto& [id, checkpoint] : under_way_) {
      if (checkpoint.turned) turned.push_back(id);
    }
    for (const uint64_t id : turned) {
      EXPECT_FALSE(gate_.RecordingOverran(CheckpointId(id)));
      const auto rows = gate_.TakeRecorded(CheckpointId(id));
      if (!rows) return;
      ++unaligned;
      Complete(id, ValuesOf(*rows));
    }
  }
  void Complete(uint64_t id, const Values& in_flight) {
    ASSERT_EQ(under_way_.begin()->first, id) << "one before it was left behind";
    const size_t cut = *under_way_.at(id).cut;
    std::multiset<int> has(read_.begin(), read_.begin() + static_cast<ptrdiff_t>(cut));
    has.insert(in_flight.begin(), in_flight.end());
    std::multiset<int> wanted;
    for (const Channel& c : channels_) {
      ASSERT_TRUE(c.cuts.contains(id)) << "checkpoint " << id << " without all its barriers";
      wanted.insert(c.rows.begin(), c.rows.begin() + static_cast<ptrdiff_t>(c.cuts.at(id)));
      Values of_channel;
      for (const int row : in_flight) {
        if (std::ranges::find(c.rows, row) != c.rows.end()) of_channel.push_back(row);
      }
      EXPECT_TRUE(std::ranges::is_sorted(of_channel));
    }
    if (exactly_once_) {
      EXPECT_EQ(has, wanted) << "checkpoint " << id;
    } else {
      EXPECT_TRUE(std::ranges::includes(has, wanted)) << "checkpoint " << id;
    }
    ++completed;
    under_way_.erase(id);
  }
  void GiveUp() {
    if (under_way_.empty()) return;
    const auto some =
        std::next(under_way_.begin(), static_cast<ptrdiff_t>(Below(under_way_.size())));
    late_words_.push_back(some->first);
    under_way_.erase(some);
  }

  std::mt19937_64 random_;
  const bool exactly_once_;
  std::array<Channel, 3> channels_;
  InputGate gate_;
  uint64_t last_id_ = 0;
  int last_row_ = 0;
  uint64_t last_cut_ = 0;
  std::map<uint64_t, Checkpoint> under_way_;
  std::vector<uint64_t> late_words_;  // that one was given up
  Values read_;
};

TEST(OverlappingGateHistories, ACheckpointIsWhatCameBeforeItsBarriers) {
  int completed = 0;
  int overlapped = 0;
  int unaligned = 0;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    History history(seed);
    history.Run();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
    completed += history.completed;
    overlapped += history.overlapped;
    unaligned += history.unaligned;
  }
  EXPECT_GT(completed, 10'000);
  EXPECT_GT(overlapped, 10'000);
  EXPECT_GT(unaligned, 5'000);
}

}  // namespace
}  // namespace weir
