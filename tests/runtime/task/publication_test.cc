// When a subtask reports what its sinks have published.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "runtime/task/subtask.h"
#include "tests/runtime/channel/scripted_channel.h"

namespace weir {
namespace {

using test::ScriptedChannel;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

/// Has published what the test says.
class PublishingWriter final : public SinkWriter<int> {
 public:
  PublishingWriter(const CheckpointId* published, int* told) : published_(published), told_(told) {}
  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<int>&) override {}
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}
  void NotifyCheckpointComplete(CheckpointId) override { ++*told_; }
  bool PublishedUpTo(CheckpointId id) override { return id <= *published_; }

 private:
  const CheckpointId* const published_;
  int* const told_;
};

/// A subtask of two sinks that publish at their own pace, in the test's own thread.
class PublishingSubtask final : public SubtaskListener {
 public:
  explicit PublishingSubtask(bool stands_still = false) {
    Environment env;
    Source<int> source;
    source.name = "numbers";
    source.make_reader = [] { return std::unique_ptr<SourceReader<int>>(); };
    const auto sink = [this](const std::string& name, const CheckpointId* published) {
      Sink<int> sink;
      sink.name = name;
      sink.make_writer = [this, published] {
        return std::make_unique<PublishingWriter>(published, &told);
      };
      return sink;
    };
    auto rows = env.From(source).KeyBy([](int row) { return row; }).Reduce([](const int& a, int) {
      return a;
    });
    rows.Uid("first");
    rows.To(sink("one", &first));
    rows.To(sink("other", &second));
    graph_ = BuildJobGraph(env.graph());
    const JobVertex& vertex = graph_.vertices[1];
    Subtask::Options options;
    options.id = {vertex.id, 0};
    options.clock = &clock_;
    options.listener = this;
    options.stands_still = stands_still;
    options.operator_uids = {"first", "one", "other"};
    options.context_of = [this](uint32_t index) {
      OperatorContext context;
      context.runtime.clock = &clock_;
      if (index == 0) context.keyed_state.operator_uid = "first";
      return context;
    };
    auto gate = std::make_unique<InputGate>(
        std::vector<InputGate::Channel>{{.channel = &input_, .type = &RecordTypeOf<int>()}});
    subtask_ = std::make_unique<Subtask>(std::move(options), vertex, std::move(gate),
                                         std::vector<std::unique_ptr<EdgeOutput>>(),
                                         std::vector<OperatorChain::Edge>());
    subtask_->Run(0ns);
  }

  void Complete(uint64_t id) { subtask_->NotifyCheckpointComplete(CheckpointId(id)); }
  /// Both sinks have; then the subtask looks.
  void Publish(uint64_t id) {
    first = second = CheckpointId(id);
    Run();
  }
  void Run() { subtask_->Run(0ns); }

  CheckpointId first, second;
  int told = 0;  // the sinks, of checkpoints
  std::vector<uint64_t> reported;

 private:
  void OnRunning(SubtaskId) override {}
  void OnEndOfData(SubtaskId) override {}
  void OnFailed(SubtaskId, OperatorPlace, ErrorKind, const std::string& message) override {
    ADD_FAILURE() << message;
  }
  void OnSnapshot(SubtaskId, SubtaskSnapshot) override {}
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId id) override { reported.push_back(id.value); }

  ManualClock clock_;
  ScriptedChannel input_;
  JobGraph graph_;
  std::unique_ptr<Subtask> subtask_;
};

TEST(Publication, WhatIsPublishedIsReportedThoughTheNextCheckpointIsCompleteByThen) {
  PublishingSubtask subtask;
  subtask.Complete(1);
  subtask.Run();
  EXPECT_THAT(subtask.reported, IsEmpty());
  // Each transaction takes longer than the interval: one more is complete whenever one ends.
  for (uint64_t id = 1; id <= 3; ++id) {
    subtask.Complete(id + 1);
    subtask.Publish(id);
  }
  EXPECT_THAT(subtask.reported, ElementsAre(1, 2, 3));
}

TEST(Publication, OfSeveralTheHighestIsReported) {
  PublishingSubtask subtask;
  for (const uint64_t id : {1, 2, 3, 4}) subtask.Complete(id);
  subtask.Publish(3);
  subtask.Run();
  EXPECT_THAT(subtask.reported, ElementsAre(3)) << "and once";
  subtask.Publish(4);
  EXPECT_THAT(subtask.reported, ElementsAre(3, 4));
}

TEST(Publication, IsThatOfTheSinkThatIsBehind) {
  PublishingSubtask subtask;
  for (const uint64_t id : {1, 2}) subtask.Complete(id);
  subtask.first = CheckpointId(2);
  subtask.Run();
  EXPECT_THAT(subtask.reported, IsEmpty());
  subtask.second = CheckpointId(1);
  subtask.Run();
  EXPECT_THAT(subtask.reported, ElementsAre(1));
}

TEST(Publication, OneThatStandsStillReportsWhatItWasRestoredWithAndTellsNobodyOfItAgain) {
  PublishingSubtask subtask(/*stands_still=*/true);
  subtask.Complete(7);
  subtask.Run();
  EXPECT_THAT(subtask.reported, IsEmpty());
  subtask.Publish(7);
  EXPECT_THAT(subtask.reported, ElementsAre(7));
  EXPECT_EQ(subtask.told, 0) << "that checkpoint is another attempt's";
}

TEST(Publication, WhatWaitsBehindASinkThatStandsStillIsBoundedAndReportedInTheEnd) {
  PublishingSubtask subtask;
  for (uint64_t id = 1; id <= 10'000; ++id) subtask.Complete(id);
  subtask.Publish(1);
  subtask.Publish(9'999);
  EXPECT_THAT(subtask.reported, ElementsAre(1, 63)) << "those that are remembered one by one";
  subtask.Publish(10'000);
  EXPECT_THAT(subtask.reported, ElementsAre(1, 63, 10'000));
}

}  // namespace
}  // namespace weir
