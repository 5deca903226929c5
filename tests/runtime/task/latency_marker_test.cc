#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "connectors/collection/collect.h"
#include "connectors/generator/generate.h"
#include "runtime/task/subtask.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// A channel whose room the test gives.
class MarkerChannel final : public ChannelWriter {
 public:
  void Append(Batch&, const uint16_t*, uint32_t, bool) override {}
  void EmitControl(const ControlElement&) override {}
  void EmitMarker(const LatencyMarker& marker) override { markers.push_back(marker); }
  bool Flush() override { return true; }
  bool HasRoom(bool) override { return room; }

  std::vector<LatencyMarker> Take() { return std::exchange(markers, {}); }

  std::vector<LatencyMarker> markers;
  bool room = true;
};

/// A source, a map and a sink, none chained: one subtask of one of them, in the test's own thread.
class LatencyMarkerTest : public testing::Test, private SubtaskListener {
 protected:
  LatencyMarkerTest() {
    Environment env;
    env.From(Generate<int>([](uint64_t i) { return static_cast<int>(i); }, {}))
        .Rebalance()
        .Map([](int i) { return i; })
        .Rebalance()
        .To(CollectSink(std::make_shared<Collected<int>>()));
    graph_ = BuildJobGraph(env.graph());
    EXPECT_EQ(graph_.vertices.size(), 3u);
    clock_.Advance(1s);
  }

  /// The i-th vertex: reads from in_ if it has an input, writes to out_ if it has an output.
  std::unique_ptr<Subtask> Make(size_t i, milliseconds interval = 1000ms) {
    const JobVertex& vertex = graph_.vertices[i];
    std::vector<std::unique_ptr<EdgeOutput>> edges;
    std::vector<OperatorChain::Edge> chain_edges;
    if (i < 2) {
      edges.push_back(std::make_unique<EdgeOutput>(
          Partitioning::kForward, nullptr, std::vector<ChannelWriter*>{&out_}, uint32_t{0}));
      chain_edges.push_back({.source_operator = 0,
                             .tag = "",
                             .type = graph_.edges[i].type,
                             .output = edges[0].get()});
    }
    std::unique_ptr<InputGate> gate;
    if (i > 0) {
      gate = std::make_unique<InputGate>(std::vector<InputGate::Channel>{{.channel = &in_}});
    }
    Subtask::Options options = Options(vertex);
    options.latency_interval = interval;
    options.note_latency = [this](VertexId source, milliseconds age) {
      noted_.emplace_back(source, age);
    };
    return std::make_unique<Subtask>(std::move(options), vertex, std::move(gate), std::move(edges),
                                     std::move(chain_edges));
  }
  std::unique_ptr<Subtask> Source(milliseconds interval) { return Make(0, interval); }

  Subtask::Options Options(const JobVertex& vertex) {
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.watermark_interval = 1h;
    options.clock = &clock_;
    options.listener = this;
    for (const OperatorSpec& op : vertex.operators) options.operator_uids.push_back(op.uid);
    options.context_of = [this](uint32_t) {
      OperatorContext context;
      context.runtime.clock = &clock_;
      context.runtime.wake = [] {};
      return context;
    };
    return options;
  }

  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& message) override {
    ADD_FAILURE() << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot) override {}
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  ManualClock clock_;
  JobGraph graph_;
  test::ScriptedChannel in_;
  MarkerChannel out_;
  std::vector<std::pair<VertexId, milliseconds>> noted_;
};

/// Long enough for every step that is due.
void Steps(Subtask& subtask) {
  for (int i = 0; i < 4; ++i) subtask.Run(0ns);
}

TEST_F(LatencyMarkerTest, ASourceEmitsOneEachInterval) {
  const auto source = Source(1000ms);
  Steps(*source);
  std::vector<LatencyMarker> markers = out_.Take();
  ASSERT_EQ(markers.size(), 1u);
  EXPECT_EQ(markers[0].source, graph_.vertices[0].id);
  EXPECT_EQ(markers[0].due, clock_.Now());
  clock_.Advance(999ms);
  Steps(*source);
  EXPECT_TRUE(out_.Take().empty());
  clock_.Advance(1ms);
  Steps(*source);
  EXPECT_EQ(out_.Take().size(), 1u);
}

TEST_F(LatencyMarkerTest, TheWaitForRoomIsPartOfTheWay) {
  const auto source = Source(1000ms);
  Steps(*source);
  out_.Take();
  out_.room = false;
  clock_.Advance(3500ms);
  Steps(*source);
  EXPECT_TRUE(out_.Take().empty());
  out_.room = true;
  Steps(*source);
  const std::vector<LatencyMarker> markers = out_.Take();
  ASSERT_EQ(markers.size(), 1u) << "those that were due meanwhile are not made up for";
  EXPECT_EQ(clock_.Now() - markers[0].due, 2500ms);
  EXPECT_EQ(source->NextWakeup(), clock_.Monotonic() + 1000ms);
}

TEST_F(LatencyMarkerTest, NoneAreEmittedUnlessWanted) {
  const auto source = Source(0ms);
  for (int i = 0; i < 5; ++i) {
    Steps(*source);
    clock_.Advance(10s);
  }
  EXPECT_TRUE(out_.Take().empty());
}

TEST_F(LatencyMarkerTest, IsPassedOnAsItCameAndItsAgeIsTold) {
  const LatencyMarker marker{.source = VertexId(7), .due = clock_.Now()};
  for (const int vertex : {1, 2}) {
    const auto subtask = Make(static_cast<size_t>(vertex));
    in_.Rows(10);
    in_.Marker(marker);
    clock_.Advance(40ms);
    Steps(*subtask);
    ASSERT_EQ(noted_.size(), static_cast<size_t>(vertex));
    EXPECT_EQ(noted_.back(), std::pair(VertexId(7), milliseconds(vertex * 40)));
  }
  const std::vector<LatencyMarker> passed_on = out_.Take();
  ASSERT_EQ(passed_on.size(), 1u);
  EXPECT_EQ(passed_on[0].source, marker.source);
  EXPECT_EQ(passed_on[0].due, marker.due);
}

}  // namespace
}  // namespace weir
