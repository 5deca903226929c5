#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "runtime/task/subtask.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using test::ScriptedChannel;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;
using Values = std::vector<int>;

constexpr int kBarrier = -1;

/// Keeps what is sent, and has room for so many rows.
class CapturingChannel final : public ChannelWriter {
 public:
  void Append(Batch& from, const uint16_t* rows, uint32_t count, bool) override {
    for (uint32_t i = 0; i < count; ++i) {
      sent.push_back(static_cast<RecordBatch<int>&>(from).Row(rows[i]));
    }
  }
  void EmitControl(const ControlElement& element) override {
    if (element.kind == ControlElement::Kind::kBarrier) sent.push_back(kBarrier);
  }
  void EmitMarker(const LatencyMarker&) override {}
  bool Flush() override { return true; }
  bool HasRoom(bool) override { return sent.size() < room; }

  Values sent;
  size_t room = SIZE_MAX;
};

/// A sink that tells of which checkpoints it was asked whether they may be acknowledged.
class AskedWriter final : public SinkWriter<int> {
 public:
  explicit AskedWriter(std::vector<uint64_t>* asked) : asked_(asked) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<int>&) override {}
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}
  bool ReadyToAcknowledge(CheckpointId id) override {
    if (asked_->empty() || asked_->back() != id.value) asked_->push_back(id.value);
    return true;
  }

 private:
  std::vector<uint64_t>* const asked_;
};

/// One subtask in the test's own thread, with two channels before it: hands rows on, one channel is
/// behind it; or is the sink.
class RelaySubtask final : public SubtaskListener {
 public:
  explicit RelaySubtask(InputGate::InFlightLimits limits = {}, bool is_sink = false) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    Sink<int> sink;
    sink.name = "sink";
    sink.make_writer = [this] { return std::make_unique<AskedWriter>(&asked); };
    env.From(source).Rebalance().Map([](int x) { return x; }).Rebalance().To(sink);
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[is_sink ? 2 : 1];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock;
    options.listener = this;
    options.operator_uids = {vertex.operators.front().uid};
    options.context_of = [this](uint32_t) {
      OperatorContext context;
      context.runtime.clock = &clock;
      return context;
    };
    const RecordType* const type = &RecordTypeOf<int>();
    auto gate =
        std::make_unique<InputGate>(std::vector<InputGate::Channel>{{.channel = &a, .type = type},
                                                                    {.channel = &b, .type = type}},
                                    limits);
    std::vector<std::unique_ptr<EdgeOutput>> edges;
    std::vector<OperatorChain::Edge> chain_edges;
    if (!is_sink) {
      edges.push_back(std::make_unique<EdgeOutput>(Partitioning::kForward, nullptr,
                                                   std::vector<ChannelWriter*>{&out}, 0));
      chain_edges.push_back(
          {.source_operator = 0, .tag = "", .type = type, .output = edges[0].get()});
    }
    subtask = std::make_unique<Subtask>(std::move(options), vertex, std::move(gate),
                                        std::move(edges), std::move(chain_edges));
  }

  void RunWhileBusy() {
    while (subtask->Run(0ns) == SlotTask::Progress::kBusy) {
    }
  }
  /// Of the newest snapshot.
  Values InFlight() const {
    RecordBatch<int> batch;
    for (const InFlightRows& rows : snapshots.back().in_flight) DecodeInFlight(rows, batch);
    Values values;
    batch.ForEach([&](int value, Timestamp) { values.push_back(value); });
    return values;
  }
  /// Of rows 0 to 99 some are sent, then there is no room, in the middle of a batch.
  void FillUp() {
    for (int i = 0; i < 8; ++i) {  // each of them overruns the room, so that steps get shorter
      a.Values({i});
      out.room = out.sent.size() + 1;
      RunWhileBusy();
    }
    Values values(92);
    std::iota(values.begin(), values.end(), 8);
    a.Values(values);
    out.room = out.sent.size() + 1;
    RunWhileBusy();
    EXPECT_LT(out.sent.size(), 20u);
    EXPECT_GT(out.sent.size(), 8u);
  }

  ManualClock clock;
  ScriptedChannel a, b;
  CapturingChannel out;
  std::vector<SubtaskSnapshot> snapshots;
  std::vector<std::string> failed_snapshots;
  std::vector<uint64_t> asked;  // of the sink
  std::unique_ptr<Subtask> subtask;

 private:
  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& message) override {
    ADD_FAILURE() << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot snapshot) override {
    snapshots.push_back(std::move(snapshot));
  }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string& reason) override {
    failed_snapshots.push_back(reason);
  }
  void OnPublished(SubtaskId, CheckpointId) override {}

  JobGraph graph_;
};

Values UpTo(int end) {
  Values values(static_cast<size_t>(end));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST(UnalignedSubtask, TheBarrierLeavesAtOnceAndWhatIsBeforeItsGateIsInFlight) {
  RelaySubtask relay;
  relay.FillUp();
  relay.a.Values({100, 101});
  relay.RunWhileBusy();
  ASSERT_THAT(relay.out.sent, testing::Not(testing::Contains(kBarrier)));
  const Values before = relay.out.sent;
  relay.subtask->TurnUnaligned(CheckpointId(1));
  ASSERT_EQ(relay.out.sent.size(), before.size() + 1) << "without room";
  EXPECT_EQ(relay.out.sent.back(), kBarrier);
  relay.RunWhileBusy();
  EXPECT_THAT(relay.snapshots, IsEmpty()) << "the barriers may have rows before them";
  relay.a.BarrierOf(1);
  relay.b.BarrierOf(1);
  relay.RunWhileBusy();
  ASSERT_THAT(relay.snapshots, SizeIs(1));
  EXPECT_TRUE(relay.snapshots[0].unaligned);
  Values all = before;
  for (const int value : relay.InFlight()) all.push_back(value);
  EXPECT_EQ(all, UpTo(102)) << "what was sent before the cut, and what was in flight";

  // The one that goes on sends the same.
  relay.out.sent = before;
  relay.out.room = SIZE_MAX;
  relay.RunWhileBusy();
  EXPECT_EQ(relay.out.sent, UpTo(102));
}

TEST(UnalignedSubtask, WhenItsLastBarrierComesTheSnapshotGoesOutAtOnce) {
  RelaySubtask relay;
  relay.RunWhileBusy();
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.a.Values({1});
  relay.a.BarrierOf(1);
  relay.b.BarrierOf(1);
  relay.RunWhileBusy();
  ASSERT_THAT(relay.snapshots, SizeIs(1));
  EXPECT_THAT(relay.InFlight(), ElementsAre(1));
}

TEST(UnalignedSubtask, ASnapshotThatWasTakenByAlignmentStaysAsItIs) {
  RelaySubtask relay;
  relay.RunWhileBusy();
  relay.a.BarrierOf(1);
  relay.b.BarrierOf(1);
  relay.RunWhileBusy();
  ASSERT_THAT(relay.snapshots, SizeIs(1));
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.RunWhileBusy();
  EXPECT_THAT(relay.snapshots, SizeIs(1));
  EXPECT_FALSE(relay.snapshots[0].unaligned);
  EXPECT_THAT(relay.out.sent, ElementsAre(kBarrier)) << "once";
}

TEST(UnalignedSubtask, ACheckpointThatIsGivenUpLosesNoRow) {
  RelaySubtask relay;
  relay.FillUp();
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.RunWhileBusy();
  relay.subtask->NotifyCheckpointAborted(CheckpointId(1));
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.a.BarrierOf(1);
  relay.b.BarrierOf(1);
  relay.a.Values({100});
  relay.out.room = SIZE_MAX;
  relay.RunWhileBusy();
  EXPECT_THAT(relay.snapshots, IsEmpty());
  std::erase(relay.out.sent, kBarrier);
  EXPECT_EQ(relay.out.sent, UpTo(101));
}

TEST(UnalignedSubtask, TheNextCheckpointHasWhatWasNotReadSinceTheLast) {
  RelaySubtask relay;
  relay.FillUp();
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.a.BarrierOf(1);
  relay.b.BarrierOf(1);
  relay.RunWhileBusy();
  relay.out.room += 20;
  relay.RunWhileBusy();
  Values before = relay.out.sent;
  std::erase(before, kBarrier);
  relay.subtask->TurnUnaligned(CheckpointId(2));
  relay.a.BarrierOf(2);
  relay.b.BarrierOf(2);
  relay.RunWhileBusy();
  ASSERT_THAT(relay.snapshots, SizeIs(2));
  for (const int value : relay.InFlight()) before.push_back(value);
  EXPECT_EQ(before, UpTo(100));
}

// Then it may hold rows back until the checkpoint has ended.
TEST(UnalignedSubtask, ASinkIsAskedWhenTheBarrierHasPassedAllThatFeedsIt) {
  RelaySubtask relay({}, /*is_sink=*/true);
  relay.RunWhileBusy();
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.a.BarrierOf(1);
  relay.b.Values({1});
  relay.RunWhileBusy();
  EXPECT_THAT(relay.asked, IsEmpty()) << "a barrier may stand behind rows";
  relay.b.BarrierOf(1);
  relay.RunWhileBusy();
  EXPECT_THAT(relay.asked, ElementsAre(1));
  ASSERT_THAT(relay.snapshots, SizeIs(1));
  EXPECT_THAT(relay.InFlight(), ElementsAre(1));
  relay.a.BarrierOf(2);
  relay.b.BarrierOf(2);
  relay.RunWhileBusy();
  EXPECT_THAT(relay.asked, ElementsAre(1, 2)) << "aligned: at once";
}

TEST(UnalignedSubtask, MoreThanACheckpointMayHoldIsAFailureOfTheCheckpointAlone) {
  RelaySubtask relay({.pulled_bytes = 100, .recorded_bytes = 100});
  relay.FillUp();
  relay.subtask->TurnUnaligned(CheckpointId(1));
  relay.RunWhileBusy();
  EXPECT_THAT(relay.failed_snapshots, ElementsAre(testing::HasSubstr("on their way")));
  relay.out.room = SIZE_MAX;
  relay.RunWhileBusy();
  std::erase(relay.out.sent, kBarrier);
  EXPECT_EQ(relay.out.sent, UpTo(100));
}

}  // namespace
}  // namespace weir
