#include "runtime/task/deployment.h"

#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <numeric>
#include <semaphore>
#include <thread>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "connectors/collection/collect.h"
#include "connectors/collection/from_collection.h"
#include "connectors/generator/generate.h"
#include "runtime/task/operator_failure.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAreArray;
using namespace std::chrono_literals;

using Snapshots = std::map<SubtaskId, SubtaskSnapshot>;

/// Runs a whole job in this process, over real slots, and keeps what its subtasks report.
class LocalJob final : public SubtaskListener {
 public:
  /// `on_open` is called on the slot's thread before an operator is opened.
  explicit LocalJob(
      const Environment& env, uint32_t slots = 2, std::function<void()> on_open = [] {},
      const Snapshots* restore = nullptr)
      : graph_(BuildJobGraph(env.graph())) {
    graph_.settings.max_parallelism = 128;
    Deployment::Options options;
    options.graph = &graph_;
    for (uint32_t i = 0; i < slots; ++i) {
      slots_.push_back(std::make_unique<Slot>("slot", Clock::System()));
      options.slots.push_back(slots_.back().get());
    }
    for (const JobVertex& vertex : graph_.vertices) {
      for (uint32_t i = 0; i < vertex.parallelism; ++i) {
        options.placements.push_back({.subtask = {vertex.id, i}, .process = 0, .slot = i % slots});
        ++subtasks_;
      }
    }
    options.clock = &Clock::System();
    options.listener = this;
    if (restore != nullptr) {
      options.in_flight = [restore](SubtaskId id) { return restore->at(id).in_flight; };
    }
    options.context_of = [this, on_open, restore](SubtaskId id, uint32_t index) {
      on_open();
      OperatorContext context;
      context.runtime.subtask_index = id.index;
      context.runtime.parallelism = graph_.vertex(id.vertex).parallelism;
      context.runtime.clock = &Clock::System();
      if (restore != nullptr) {
        const OperatorSnapshot& of = restore->at(id).operators[index];
        context.runtime.restored = true;
        context.runtime.restored_state = {{.former_subtask = id.index,
                                           .former_parallelism = context.runtime.parallelism,
                                           .values = of.state.values,
                                           .files = {}}};
      }
      context.runtime.wake = [parker = slots_[id.index % slots_.size()]->shared_parker()] {
        parker->Wake();
      };
      return context;
    };
    options.latency_interval = 1ms;
    options.note_latency = [this](SubtaskId sink, VertexId source, std::chrono::milliseconds age) {
      EXPECT_GE(age, 0ms);
      Note([&] { ++markers_[{sink, source}]; });
    };
    deployment_ = std::make_unique<Deployment>(std::move(options));
    deployment_->Start();
  }

  ~LocalJob() override {
    if (!stopping_) Stop();
    WaitUntilGone();
    slots_.clear();
  }

  void Stop() {
    stopping_ = true;
    deployment_->Stop([this] { Note([this] { gone_ = true; }); });
  }
  void WaitUntilGone() {
    Wait([this] { return gone_; });
  }

  /// Until all subtasks are at their end, or one failed.
  void RunToEnd() {
    Wait([this] { return at_end_ == subtasks_ || !failure_.empty(); });
  }
  /// Until so many ways from a source's vertex to a sink's subtask have been measured, each often.
  void WaitForMarkers(size_t ways) {
    Wait([&] {
      return markers_.size() == ways &&
             std::ranges::all_of(markers_, [](const auto& way) { return way.second >= 5; });
    });
  }
  void WaitForFailure() {
    Wait([this] { return !failure_.empty(); });
  }
  void Checkpoint(uint64_t id) {
    deployment_->Trigger({.id = CheckpointId(id)}, false);
    WaitFor(id);
  }
  Snapshots UnalignedCheckpoint(uint64_t id) {
    deployment_->Trigger({.id = CheckpointId(id)}, false);
    deployment_->TurnUnaligned(CheckpointId(id));
    WaitFor(id);
    std::lock_guard lock(mutex_);
    return snapshots_[id];
  }
  void WaitFor(uint64_t id) {
    Wait([&] { return snapshots_[id].size() == subtasks_ || !failure_.empty(); });
  }

  /// Until rows wait before every subtask that reads a gate, and before its output.
  void WaitUntilFull() {
    const auto full = [](const Deployment::LocalSubtask& local) {
      return local.counters->input_queued > 2;
    };
    const auto reads_a_gate = [](const Deployment::LocalSubtask& local) {
      return local.id.vertex.value > 0;
    };
    const auto& all = deployment_->subtasks();
    while (!std::ranges::all_of(all, [&](auto& one) { return !reads_a_gate(one) || full(one); })) {
      std::this_thread::yield();
    }
  }

  size_t running() {
    std::lock_guard lock(mutex_);
    return running_;
  }
  std::string failure() {
    std::lock_guard lock(mutex_);
    return failure_;
  }
  bool AllAtEnd(uint64_t checkpoint) {
    std::lock_guard lock(mutex_);
    return std::ranges::all_of(snapshots_[checkpoint],
                               [](auto& s) { return s.second.at_end_of_data; });
  }

 private:
  template <class Done>
  void Wait(Done&& done) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, 30s, done));
  }
  template <class F>
  void Note(F&& f) {
    std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }
  void OnRunning(SubtaskId) override {
    Note([this] { ++running_; });
  }
  void OnEndOfData(SubtaskId) override {
    Note([this] { ++at_end_; });
  }
  void OnFailed(SubtaskId, OperatorPlace op, ErrorKind kind, const std::string& text) override {
    Note([&] {
      failure_ = graph_.vertex(op.vertex).operators[op.index].node.name + ": " + ToString(kind) +
                 ": " + text;
    });
  }
  void OnSnapshot(SubtaskId subtask, SubtaskSnapshot snapshot) override {
    Note([&] { snapshots_[snapshot.id.value].emplace(subtask, std::move(snapshot)); });
  }
  void OnSnapshotFailed(SubtaskId, CheckpointId, const std::string&) override {}
  void OnPublished(SubtaskId, CheckpointId) override {}

  JobGraph graph_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t subtasks_ = 0;
  size_t running_ = 0;
  size_t at_end_ = 0;
  bool stopping_ = false;
  bool gone_ = false;
  std::string failure_;
  std::map<std::pair<SubtaskId, VertexId>, int> markers_;
  std::map<uint64_t, Snapshots> snapshots_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Deployment> deployment_;
};

std::vector<int> Numbers(int count) {
  std::vector<int> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST(Deployment, AChainComputesWhatALoopWould) {
  Environment env;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(5000)))
      .Map([](int x) { return x * 2; })
      .Filter([](int x) { return x % 3 == 0; })
      .FlatMap([](const int& x, Collector<int>& c) {
        c.Collect(x);
        c.Collect(-x);
      })
      .To(CollectSink(out));
  LocalJob job(env);
  job.RunToEnd();
  std::vector<int> expected;
  for (int i = 0; i < 5000; ++i) {
    if (i * 2 % 3 == 0) expected.insert(expected.end(), {i * 2, -i * 2});
  }
  EXPECT_EQ(job.failure(), "");
  EXPECT_EQ(out->Rows(), expected);
}

TEST(Deployment, EveryRowCrossesAHashEdgeOnceAndKeysKeepTheirOrder) {
  Environment env;
  env.settings().parallelism = 3;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(100'000)))
      .PartitionCustom([](int x, uint32_t channels) { return static_cast<uint32_t>(x) % channels; })
      .Map([](int x) { return x; })
      .To(CollectSink(out));
  LocalJob job(env);
  job.RunToEnd();
  EXPECT_EQ(job.failure(), "");
  std::vector<int> last(3, -1);
  const std::vector<int> rows = out->Rows();
  EXPECT_EQ(rows.size(), 100'000u);
  for (int row : rows) {
    EXPECT_GT(row, last[static_cast<size_t>(row % 3)]);
    last[static_cast<size_t>(row % 3)] = row;
  }
}

TEST(Deployment, SeveralConsumersOfOneStreamEachGetEverything) {
  Environment env;
  auto doubled = std::make_shared<Collected<int>>();
  auto plain = std::make_shared<Collected<int>>();
  auto numbers = env.From(FromCollection(Numbers(3000)));
  numbers.Filter([](int x) { return x % 2 == 0; })
      .Map([](int x) { return 2 * x; })
      .To(CollectSink(doubled));
  numbers.To(CollectSink(plain));
  LocalJob job(env);
  job.RunToEnd();
  EXPECT_EQ(doubled->size(), 1500u);
  EXPECT_EQ(plain->Rows(), Numbers(3000));
}

TEST(Deployment, UnionBringsTheRowsOfAllStreams) {
  Environment env;
  auto out = std::make_shared<Collected<int>>();
  auto a = env.From(FromCollection(std::vector<int>{1, 2}));
  auto b = env.From(FromCollection(std::vector<int>{3}));
  a.Union(b).To(CollectSink(out));
  LocalJob job(env);
  job.RunToEnd();
  EXPECT_THAT(out->Rows(), UnorderedElementsAreArray({1, 2, 3}));
}

TEST(Deployment, MarkersTellOfTheWayFromEachSourceToEachSinkBehindIt) {
  Environment env;
  env.settings().parallelism = 2;
  const auto endless = [] {
    return Generate<int>([](uint64_t i) { return static_cast<int>(i); },
                         {.count = {}, .rate_per_second = 1000, .name = "endless"});
  };
  auto a = env.From(endless());
  auto b = env.From(endless());
  a.Union(b)
      .Rebalance()
      .Map([](int x) { return x; })
      .Rebalance()
      .To(CollectSink(std::make_shared<Collected<int>>()));
  b.Rebalance().To(CollectSink(std::make_shared<Collected<int>>()));
  LocalJob job(env);
  // Two sources to two subtasks of the first sink, one to two of the second.
  job.WaitForMarkers(6);
  EXPECT_EQ(job.failure(), "");
}

TEST(Deployment, AnExceptionNamesItsOperator) {
  Environment env;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(10)))
      .Map([](int x) {
        if (x == 7) throw std::runtime_error("seven is not allowed");
        return x;
      })
      .Name("check")
      .To(CollectSink(out));
  LocalJob job(env);
  job.WaitForFailure();
  EXPECT_THAT(job.failure(), HasSubstr("check: user: seven is not allowed"));
}

// Both are called in the subtask of the operator before, which has nothing to do with them.
TEST(Deployment, AKeySelectorOrPartitionerThatThrowsNamesTheOperatorBehindIt) {
  const auto out = CollectSink(std::make_shared<Collected<int>>());
  const auto refuse_seven = [](int x) {
    if (x == 7) throw std::runtime_error("seven is not allowed");
    return x;
  };
  for (const uint32_t parallelism : {1u, 2u}) {
    Environment env;
    env.settings().parallelism = parallelism;
    env.From(FromCollection(Numbers(10)))
        .Map([](int x) { return x; })
        .Name("before")
        .KeyBy(refuse_seven)
        .Reduce([](int a, int b) { return a + b; })
        .Name("behind")
        .To(out);
    LocalJob job(env);
    job.WaitForFailure();
    EXPECT_EQ(job.failure(), "behind: user: its key selector failed: seven is not allowed");
  }
  Environment env;
  env.From(FromCollection(Numbers(10)))
      .Name("before")
      .PartitionCustom([=](int x, uint32_t) { return static_cast<uint32_t>(refuse_seven(x)) & 0; })
      .Map([](int x) { return x; })
      .Name("behind")
      .To(out);
  LocalJob job(env);
  job.WaitForFailure();
  EXPECT_EQ(job.failure(), "behind: user: its custom partitioner failed: seven is not allowed");
}

/// What a job that cannot be deployed says, with the operator that is to blame.
std::string RefusedBecause(const Environment& env) {
  const JobGraph graph = BuildJobGraph(env.graph());
  try {
    LocalJob job(env);
  } catch (const OperatorFailure& e) {
    const auto [vertex, index] = e.place();
    return graph.vertex(vertex).operators[index].node.name + ": " + ToString(e.kind()) + ": " +
           e.what();
  }
  return "it was deployed";
}

TEST(Deployment, AReaderOrWriterThatCannotBeMadeNamesItsOperator) {
  const auto out = CollectSink(std::make_shared<Collected<int>>());
  const auto source = FromCollection(Numbers(10));
  {
    Sink<int> sink = out;
    sink.name = "table";
    sink.make_writer = []() -> std::unique_ptr<SinkWriter<int>> {
      ThrowError(ErrorKind::kExternal, "no server at there:1");
    };
    Environment env;
    env.From(source).Map([](int x) { return x; }).To(sink);
    EXPECT_EQ(RefusedBecause(env), "table: external: no server at there:1");
    sink.make_writer = [] { return nullptr; };
    Environment other;
    other.From(source).Map([](int x) { return x; }).To(sink);
    EXPECT_EQ(RefusedBecause(other), "table: user: make_writer returned no writer");
  }
  Source<int> queue = source;
  queue.name = "queue";
  queue.make_reader = []() -> std::unique_ptr<SourceReader<int>> { throw 42; };
  Environment env;
  env.From(queue).Rebalance().Map([](int x) { return x; }).To(out);
  EXPECT_EQ(RefusedBecause(env), "queue: user: threw something that is not a std::exception");
}

TEST(Deployment, ASubtaskThatIsStoppedBeforeItsTurnIsNeverOpened) {
  Environment env;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(10)))
      .Rebalance()
      .Map([](int x) { return x; })
      .To(CollectSink(out));
  std::atomic<int> opened = 0;
  std::binary_semaphore entered(0);
  std::binary_semaphore go_on(0);
  LocalJob job(env, /*slots=*/1, [&] {
    if (opened++ > 0) return;
    entered.release();
    go_on.acquire();
  });
  entered.acquire();
  job.Stop();
  go_on.release();
  job.WaitUntilGone();
  EXPECT_EQ(opened, 1) << "the source's subtask alone";
  EXPECT_EQ(job.running(), 0u);
  EXPECT_EQ(job.failure(), "");
}

TEST(Deployment, SubtasksAtTheirEndStillAnswerBarriers) {
  Environment env;
  env.settings().parallelism = 2;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(10)))
      .Rebalance()
      .Map([](int x) { return x; })
      .To(CollectSink(out));
  LocalJob job(env);
  job.RunToEnd();
  job.Checkpoint(1);
  EXPECT_TRUE(job.AllAtEnd(1));
  job.Checkpoint(2);
  EXPECT_TRUE(job.AllAtEnd(2));
}

TEST(Deployment, AnEndlessSourceIsCheckpointedWhileItRuns) {
  Environment env;
  env.settings().parallelism = 2;
  auto out = std::make_shared<Collected<uint64_t>>();
  env.From(Generate<uint64_t>([](uint64_t i) { return i; }))
      .Rebalance()
      .Filter([](uint64_t x) { return x % 1'000'000 == 0; })
      .To(CollectSink(out));
  LocalJob job(env);
  for (uint64_t id = 1; id <= 20; ++id) job.Checkpoint(id);
  EXPECT_EQ(job.failure(), "");
  EXPECT_FALSE(job.AllAtEnd(20));
}

TEST(Deployment, ManyRowsOfOneRecordAreHeldWithoutLoss) {
  Environment env;
  auto out = std::make_shared<Collected<int>>();
  env.From(FromCollection(Numbers(20)))
      .FlatMap([](const int& x, Collector<int>& c) {
        for (int i = 0; i < 50'000; ++i) c.Collect(x);
      })
      .Rebalance()
      .Map([](int x) { return x; })
      .DisableChaining()
      .To(CollectSink(out));
  LocalJob job(env);
  job.RunToEnd();
  EXPECT_EQ(job.failure(), "");
  EXPECT_EQ(out->size(), 1'000'000u);
}

/// A sink that takes so many rows in each subtask, and notes what came before a checkpoint.
struct Throttled {
  explicit Throttled(size_t limit) : limit(limit) {}
  /// Both subtasks have taken what they take.
  bool AllAtLimit() {
    std::lock_guard lock(mutex);
    return rows.size() == 2 &&
           std::ranges::all_of(rows, [this](auto& r) { return r.second.size() >= limit; });
  }
  const size_t limit;
  std::mutex mutex;
  std::map<uint32_t, std::vector<int>> rows;  // by subtask
  std::map<CheckpointId, std::vector<int>> before_cut;
};

class ThrottledWriter final : public SinkWriter<int> {
 public:
  explicit ThrottledWriter(std::shared_ptr<Throttled> to) : to_(std::move(to)) {}
  void Open(const RuntimeContext& context) override { subtask_ = context.subtask_index; }
  void Write(RecordBatch<int>& batch) override {
    std::lock_guard lock(to_->mutex);
    batch.ForEach([&](int row, Timestamp) { to_->rows[subtask_].push_back(row); });
  }
  bool HasRoom() override {
    std::lock_guard lock(to_->mutex);
    return to_->rows[subtask_].size() < to_->limit;
  }
  void Snapshot(CheckpointId id, OperatorStateSnapshot&) override {
    std::lock_guard lock(to_->mutex);
    const std::vector<int>& rows = to_->rows[subtask_];
    std::vector<int>& cut = to_->before_cut[id];
    cut.insert(cut.end(), rows.begin(), rows.end());
  }

 private:
  const std::shared_ptr<Throttled> to_;
  uint32_t subtask_ = 0;
};

void AcrossTwoEdges(Environment& env, const std::shared_ptr<Throttled>& to) {
  env.settings().parallelism = 2;
  Sink<int> sink;
  sink.name = "sink";
  sink.make_writer = [to] { return std::make_unique<ThrottledWriter>(to); };
  env.From(FromCollection(Numbers(200'000)))
      .Rebalance()
      .Map([](int x) { return x; })
      .PartitionCustom([](int x, uint32_t channels) { return static_cast<uint32_t>(x) % channels; })
      .To(sink);
}

TEST(Deployment, ACheckpointThatTurnsUnalignedPassesFullChannelsAndHasEveryRowOnce) {
  auto stuck = std::make_shared<Throttled>(1'500);
  Snapshots cut;
  {
    Environment env;
    AcrossTwoEdges(env, stuck);
    LocalJob job(env, /*slots=*/3);
    job.WaitUntilFull();
    cut = job.UnalignedCheckpoint(1);
    ASSERT_EQ(job.failure(), "");
  }
  size_t in_flight = 0;
  for (const auto& [subtask, snapshot] : cut) {
    for (const InFlightRows& rows : snapshot.in_flight) in_flight += rows.rows;
    EXPECT_EQ(snapshot.unaligned, subtask.vertex.value > 0);
  }
  EXPECT_GT(in_flight, 10'000u) << "several batches before each of four subtasks";

  auto open = std::make_shared<Throttled>(SIZE_MAX);
  Environment env;
  AcrossTwoEdges(env, open);
  LocalJob job(
      env, /*slots=*/3, [] {}, &cut);
  job.RunToEnd();
  ASSERT_EQ(job.failure(), "");
  std::vector<int> all = stuck->before_cut.at(CheckpointId(1));
  for (const auto& [subtask, rows] : open->rows) all.insert(all.end(), rows.begin(), rows.end());
  std::ranges::sort(all);
  EXPECT_EQ(all, Numbers(200'000));
}

TEST(Deployment, UnalignedCheckpointsBehindOneAnotherHoldNoMoreAndMore) {
  auto stuck = std::make_shared<Throttled>(1'500);
  Environment env;
  AcrossTwoEdges(env, stuck);
  LocalJob job(env, /*slots=*/3);
  job.WaitUntilFull();
  std::vector<size_t> in_flight;
  for (uint64_t id = 1; id <= 20; ++id) {
    size_t& rows = in_flight.emplace_back();
    for (const auto& [subtask, snapshot] : job.UnalignedCheckpoint(id)) {
      for (const InFlightRows& some : snapshot.in_flight) rows += some.rows;
    }
  }
  ASSERT_EQ(job.failure(), "");
  EXPECT_GT(in_flight.front(), 10'000u);
  EXPECT_LT(in_flight.back(), 2 * in_flight.front()) << "of 200,000";
}

TEST(Deployment, WhatIsRestoredInFlightPassesThroughFurtherUnalignedCheckpoints) {
  Snapshots cut;
  std::vector<int> all;
  for (uint64_t id = 1; id <= 4; ++id) {
    auto slow = std::make_shared<Throttled>(1'500);
    Environment env;
    AcrossTwoEdges(env, slow);
    LocalJob job(
        env, /*slots=*/2, [] {}, id == 1 ? nullptr : &cut);
    // The channels before may be empty by now: the source is at its end in the later rounds.
    while (!slow->AllAtLimit()) std::this_thread::yield();
    Snapshots next = job.UnalignedCheckpoint(id);
    ASSERT_EQ(job.failure(), "");
    const std::vector<int>& before = slow->before_cut.at(CheckpointId(id));
    EXPECT_GE(before.size(), 3'000u);
    all.insert(all.end(), before.begin(), before.end());
    job.Stop();
    job.WaitUntilGone();
    cut = std::move(next);
  }
  auto open = std::make_shared<Throttled>(SIZE_MAX);
  Environment env;
  AcrossTwoEdges(env, open);
  LocalJob job(
      env, /*slots=*/2, [] {}, &cut);
  job.RunToEnd();
  for (const auto& [subtask, rows] : open->rows) all.insert(all.end(), rows.begin(), rows.end());
  std::ranges::sort(all);
  EXPECT_EQ(all, Numbers(200'000));
}

TEST(ConsumersOf, RescaleGivesEveryConsumerAProducerAndViceVersa) {
  EXPECT_THAT(ConsumersOf(Partitioning::kRescale, 0, 2, 4), ElementsAre(0, 1));
  EXPECT_THAT(ConsumersOf(Partitioning::kRescale, 1, 2, 4), ElementsAre(2, 3));
  EXPECT_THAT(ConsumersOf(Partitioning::kRescale, 3, 4, 2), ElementsAre(1));
  EXPECT_THAT(ConsumersOf(Partitioning::kForward, 3, 4, 4), ElementsAre(3));
}

}  // namespace
}  // namespace weir
