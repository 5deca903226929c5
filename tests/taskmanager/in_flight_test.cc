// Rows in flight from the snapshots of subtasks into a checkpoint, and from there to the subtasks
// of the job that begins from it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "api/environment.h"
#include "api/keyed_stream.h"
#include "base/failpoint.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/state_file.h"
#include "taskmanager/checkpoint_writer.h"
#include "taskmanager/prepared_attempt.h"
#include "taskmanager/restore.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using Values = std::vector<int>;

constexpr uint32_t kParallelism = 2;
constexpr VertexId kReader{1};

Values Range(int begin, int end) {
  Values values(static_cast<size_t>(end - begin));
  std::iota(values.begin(), values.end(), begin);
  return values;
}

/// numbers -> (by key) -> totals, checkpointed at parallelism 2.
class InFlightTest : public testing::Test {
 protected:
  InFlightTest() : storage_(*DirectoryStorage::Open(directory_ / "job")) {
    graph_ = GraphAt(kParallelism);
  }

  template <class T = int>
  static JobGraph GraphAt(uint32_t parallelism) {
    Environment env;
    env.settings().parallelism = parallelism;
    env.settings().max_parallelism = 128;
    Source<T> source;
    source.name = "numbers";
    Sink<T> sink;
    sink.name = "sink";
    env.From(source)
        .Uid("numbers")
        .KeyBy([](const T& x) { return x; })
        .Reduce([](const T& a, const T&) { return a; })
        .Uid("totals")
        .To(sink);
    return BuildJobGraph(env.graph());
  }

  std::vector<InFlightRows> RowsOf(const Values& values) const {
    std::vector<InFlightRows> rows;
    for (size_t begin = 0; begin < values.size(); begin += Batch::kCapacity) {
      RecordBatch<int> batch;
      for (size_t i = begin; i < std::min(begin + Batch::kCapacity, values.size()); ++i) {
        batch.Append(values[i], Timestamp{values[i]});
      }
      rows.push_back(EncodeInFlight(graph_.edges[0].id, *graph_.edges[0].type, batch));
    }
    return rows;
  }

  /// Makes a checkpoint of what the subtasks of the reading operator have in flight; its manifest
  /// becomes log/1.
  void Write(const std::vector<Values>& in_flight) {
    std::promise<absl::StatusOr<CheckpointWriter::Result>> done;
    CheckpointWriter writer({.storage = storage_.get(),
                             .label = "test",
                             .epoch = LeaderEpoch(1),
                             .attempt = AttemptId(1),
                             .spill_directory = directory_ / "spill",
                             .edges = InFlightHandles(graph_)},
                            {.on_done = [&](CheckpointId, auto r) { done.set_value(std::move(r)); },
                             .on_failed = [](const absl::Status&) {}});
    const auto deliver = [&](uint32_t i) {
      SubtaskSnapshot snapshot;
      snapshot.id = CheckpointId(1);
      snapshot.unaligned = true;
      snapshot.in_flight = RowsOf(in_flight[i]);
      writer.Deliver({kReader, i}, std::move(snapshot));
    };
    deliver(0);  // before this process has heard of the checkpoint
    writer.Begin(CheckpointId(1), {{kReader, 0}, {kReader, 1}});
    deliver(1);
    const auto result = done.get_future().get();
    ASSERT_TRUE(result.ok()) << result.status();
    proto::LogEntry entry;
    proto::Manifest& manifest = *entry.mutable_manifest();
    manifest.set_job_id("job");
    manifest.set_checkpoint_id(1);
    manifest.set_leader_epoch(1);
    manifest.set_kind(proto::Manifest::CHECKPOINT);
    proto::VertexSnapshot* vertex = manifest.add_vertices();
    vertex->set_uid("totals");
    vertex->add_operator_uids("totals");
    vertex->set_parallelism(kParallelism);
    vertex->set_max_parallelism(128);
    for (uint32_t i = 0; i < kParallelism; ++i) {
      const proto::SubtaskSnapshot& snapshot = result->at({kReader, i});
      EXPECT_TRUE(snapshot.statistics().unaligned());
      *vertex->add_subtasks() = snapshot;
      for (const proto::StateHandle& handle : snapshot.channel_state()) file_ = handle.file();
    }
    bytes_ = EncodeLogEntry(entry);
    ASSERT_TRUE(storage_->CreateIfAbsent("log/1", bytes_).ok());
  }

  static Values ValuesOf(const std::vector<InFlightRows>& rows) {
    Values values;
    for (const InFlightRows& one : rows) {
      RecordBatch<int> batch;
      DecodeInFlight(one, batch);
      batch.ForEach([&](int value, Timestamp t) {
        EXPECT_EQ(t.ms, value);
        values.push_back(value);
      });
    }
    return values;
  }
  /// What a subtask of the job gets.
  absl::StatusOr<Values> Restored(const JobGraph& graph, uint32_t index) {
    auto plan = RestorePlan::Load(*storage_, "log/1", graph, allow_);
    if (!plan.ok()) return plan.status();
    auto rows = (*plan)->InFlight({kReader, index});
    if (!rows.ok()) return rows.status();
    return ValuesOf(*rows);
  }
  /// Every row goes to the subtask that the edge sends its key to, and stays in order.
  void ExpectRouted(const JobGraph& graph) {
    const uint32_t parallelism = graph.vertex(kReader).parallelism;
    Values all;
    for (uint32_t i = 0; i < parallelism; ++i) {
      const absl::StatusOr<Values> got = Restored(graph, i);
      ASSERT_TRUE(got.ok()) << got.status();
      std::map<uint32_t, int> last;  // by key group
      for (const int value : *got) {
        const uint32_t group = KeyGroupOf(KeyHash(value), 128);
        EXPECT_EQ(SubtaskOfKeyGroup(group, 128, parallelism), i);
        const auto before = last.emplace(group, -1).first;
        EXPECT_LT(std::exchange(before->second, value), value) << "of key group " << group;
        all.push_back(value);
      }
    }
    std::ranges::sort(all);
    EXPECT_EQ(all, Range(0, 3'000));
  }
  /// As the subtasks of a job at parallelism 2 would have it.
  void WriteByKey() {
    std::vector<Values> of(kParallelism);
    for (const int value : Range(0, 3'000)) {
      of[SubtaskOfKeyGroup(KeyGroupOf(KeyHash(value), 128), 128, kParallelism)].push_back(value);
    }
    Write(of);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DirectoryStorage> storage_;
  JobGraph graph_;
  std::string bytes_;  // of the manifest
  std::string file_;   // that has rows
  bool allow_ = false;
};

TEST_F(InFlightTest, AtTheSameParallelismEverySubtaskGetsItsOwn) {
  Write({Range(0, 5'000), {}});
  const auto first = Restored(graph_, 0);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(*first, ElementsAreArray(Range(0, 5'000)));
  EXPECT_THAT(*Restored(graph_, 1), IsEmpty());
}

TEST_F(InFlightTest, AtAnotherParallelismRowsFollowTheirKeys) {
  WriteByKey();
  for (const uint32_t parallelism : {1u, 2u, 3u, 8u}) ExpectRouted(GraphAt(parallelism));
}

TEST_F(InFlightTest, AnEdgeThatSpreadsRowsInAnyOrderGetsThemAnyhow) {
  graph_.edges[0].partitioning = Partitioning::kRebalance;
  graph_.edges[0].router = nullptr;
  Write({Range(0, 10), Range(10, 30)});
  JobGraph one = GraphAt(1);
  one.edges[0].partitioning = Partitioning::kRebalance;
  one.edges[0].router = nullptr;
  EXPECT_THAT(*Restored(one, 0), ElementsAreArray(Range(0, 30)));
}

TEST_F(InFlightTest, WhereNobodyCanSayWhoseRowsTheyAreItIsRefusedByNameWithTheMend) {
  for (const Partitioning partitioning : {Partitioning::kForward, Partitioning::kBroadcast}) {
    std::filesystem::remove_all(directory_ / "job");
    storage_ = *DirectoryStorage::Open(directory_ / "job");
    graph_.edges[0].partitioning = partitioning;
    graph_.edges[0].router = nullptr;
    Write({Range(0, 10), Range(10, 30)});
    EXPECT_THAT(*Restored(graph_, 1), ElementsAreArray(Range(10, 30)));
    JobGraph other = GraphAt(3);
    other.edges[0].partitioning = partitioning;
    other.edges[0].router = nullptr;
    const absl::Status s = Restored(other, 0).status();
    EXPECT_EQ(FailureKindOf(s), proto::FAILURE_KIND_FATAL);
    EXPECT_THAT(std::string(s.message()),
                HasSubstr("from operator 'numbers' to operator 'totals'"));
    EXPECT_THAT(std::string(s.message()), HasSubstr("savepoint"));
  }
}

TEST_F(InFlightTest, AnEdgeThatNowGoesByKeySendsRowsByKey) {
  const JobGraph by_key = GraphAt(kParallelism);
  graph_.edges[0].partitioning = Partitioning::kRebalance;
  Write({Range(0, 1'500), Range(1'500, 3'000)});
  ExpectRouted(by_key);
}

TEST_F(InFlightTest, AnEdgeThatIsNoMoreIsToldAndItsRowsMayBeDropped) {
  Write({Range(0, 10), {}});
  JobGraph other = GraphAt(kParallelism);
  other.vertices[0].operators[0].uid = "figures";
  const absl::Status s = Restored(other, 0).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("'numbers'"));
  allow_ = true;
  EXPECT_THAT(*Restored(other, 0), IsEmpty());
}

TEST_F(InFlightTest, RowsOfAnotherTypeAreRefused) {
  Write({Range(0, 10), {}});
  const absl::Status s = Restored(GraphAt<std::string>(kParallelism), 0).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition) << s;
  EXPECT_THAT(std::string(s.message()), HasSubstr("of the type"));
}

TEST_F(InFlightTest, DamagedRowsAreDamage) {
  Write({Range(0, 1'000), {}});
  const std::filesystem::path path = directory_ / ("job/" + file_);
  std::FILE* file = std::fopen(path.c_str(), "r+");
  ASSERT_NE(file, nullptr);
  std::fseek(file, 5'000, SEEK_SET);
  std::fputc(0x55, file);
  std::fputc(0x66, file);
  std::fclose(file);
  EXPECT_EQ(Restored(graph_, 0).status().code(), absl::StatusCode::kDataLoss);
}

// What a checkpoint of an earlier Weir holds must stay readable.
TEST_F(InFlightTest, TheBytesAreThoseOfVersion1) {
  Write({{7, 8}, {}});
  const auto entry = DecodeLogEntry(bytes_, "log/1");
  ASSERT_TRUE(entry.ok()) << entry.status();
  const proto::StateHandle& handle = entry->manifest().vertices(0).subtasks(0).channel_state(0);
  EXPECT_EQ(handle.kind(), proto::StateHandle::CHANNEL);
  EXPECT_EQ(handle.format_version(), 1u);
  EXPECT_EQ(handle.entries(), 2u);
  const std::string expected(
      "\x18\0\0\0"
      "\x02\0\0\0"
      "\x01\0\0\0"
      "\x07\0\0\0\0\0\0\0"
      "\x07\0\0\0"
      "\x08\0\0\0\0\0\0\0"
      "\x08\0\0\0",
      36);
  EXPECT_EQ(*ReadState(*storage_, handle, 1'000), expected);
}

TEST_F(InFlightTest, AManifestWithRowsInFlightSaysSoToReadersThatKnowNoneOfThem) {
  Write({Range(0, 10), {}});
  EXPECT_EQ(bytes_[12], static_cast<char>(kInFlightFeature)) << "the features come behind 12 bytes";
  proto::LogEntry without;
  ASSERT_TRUE(DecodeLogEntry(bytes_, "log/1").ok());
  without = *DecodeLogEntry(bytes_, "log/1");
  for (auto& subtask : *without.mutable_manifest()->mutable_vertices(0)->mutable_subtasks()) {
    subtask.clear_channel_state();
  }
  EXPECT_EQ(EncodeLogEntry(without)[12], 0);
}

}  // namespace
}  // namespace weir
