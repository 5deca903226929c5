// Files that an earlier build has written are read by this one: README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "connectors/kafka/epoch_file.h"
#include "ha/directory_metadata_store.h"
#include "jobmanager/job_storage.h"
#include "jobmanager/lineage_records.h"
#include "state/checkpoint/checkpoint_log.h"
#include "state/checkpoint/directory_storage.h"
#include "state/checkpoint/manifest.h"
#include "state/checkpoint/savepoint.h"
#include "state/checkpoint/snapshot_file_writer.h"
#include "state/checkpoint/state_file.h"
#include "testing/operator_harness.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
using testing::HarnessOptions;
using testing::HarnessSnapshot;
using testing::OperatorHarness;
using ::testing::UnorderedElementsAre;

std::string Golden(const std::string& name) { return std::string(WEIR_GOLDEN_DIR) + "/" + name; }

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::string& path, const std::string& content) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

/// A copy that may be written to: opening a store proves that it can be.
class Copy {
 public:
  explicit Copy(const std::string& name) {
    fs::copy(Golden(name), directory_ / name, fs::copy_options::recursive);
    path_ = directory_ / name;
  }
  const std::string& path() const { return path_; }

 private:
  TemporaryDirectory directory_;
  std::string path_;
};

// --- Keyed state

struct Visit {
  std::string who;
  int64_t page = 0;
  std::optional<double> score;
};

/// State of every kind, with keys and values of several types.
class Visits : public KeyedProcessFunction<std::string, Visit, std::string> {
 public:
  void Open(KeyedContext& context) override {
    count_ = context.GetValueState<uint64_t>("count");
    last_ = context.GetValueState<Visit>("last");
    pages_ = context.GetListState<int64_t>("pages");
    scores_ = context.GetMapState<int64_t, std::string>("scores");
  }
  void ProcessElement(const Visit& visit, Context& context, Collector<std::string>& out) override {
    if (visit.page < 0) return Forget();
    if (visit.page > 0) {
      ++count_.Mutable();
      last_.Mutable() = visit;
      pages_.Add(visit.page);
      scores_.Put(visit.page, visit.score ? std::to_string(*visit.score) : "none");
      context.RegisterEventTimeTimer(Timestamp{visit.page * 1000});
      return;
    }
    std::ostringstream all;
    all << context.key() << " " << count_.GetOr(0) << " last " << last_.GetOr({}).page;
    pages_.ForEach([&](int64_t page) { all << " p" << page; });
    scores_.ForEach(
        [&](int64_t page, const std::string& score) { all << " s" << page << "=" << score; });
    out.Collect(all.str());
  }
  void OnTimer(Timestamp time, TimeDomain, Context& context, Collector<std::string>& out) override {
    out.Collect(context.key() + "@" + std::to_string(time.ms));
  }

 private:
  void Forget() {
    count_.Clear();
    last_.Clear();
    pages_.Clear();
    scores_.Clear();
  }
  ValueState<uint64_t> count_;
  ValueState<Visit> last_;
  ListState<int64_t> pages_;
  MapState<int64_t, std::string> scores_;
};

using Harness = OperatorHarness<Visit, std::string>;

DataStream<std::string> BuildVisits(DataStream<Visit> visits) {
  return visits.KeyBy(&Visit::who).Process(Visits());
}

HarnessSnapshot MakeState() {
  Harness harness(&BuildVisits, {.parallelism = 2});
  harness.Push({"ann", 3, 0.5}, Timestamp{1});
  harness.Push({"bob", 4, std::nullopt}, Timestamp{2});
  harness.Push({"cid", 5, -1e9}, Timestamp{3});
  harness.Snapshot();  // the segments that follow hold what has changed since
  harness.Push({"ann", 7, std::nullopt}, Timestamp{4});
  harness.Push({"bob", -1, std::nullopt}, Timestamp{5});
  return harness.Snapshot();
}

void WriteState(const HarnessSnapshot& snapshot) {
  for (size_t i = 0; i < snapshot.subtasks.size(); ++i) {
    const auto& subtask = snapshot.subtasks[i];
    const std::string dir = Golden("state/subtask-" + std::to_string(i) + "/");
    for (const auto& [name, value] : subtask.values) WriteFile(dir + "values/" + name, value);
    for (size_t s = 0; s < subtask.segments.size(); ++s) {
      WriteFile(dir + "segment-" + std::to_string(s), subtask.segments[s].bytes);
    }
  }
}

HarnessSnapshot StoredState() {
  HarnessSnapshot snapshot{.max_parallelism = 128, .subtasks = {}};
  for (uint32_t i = 0; i < 2; ++i) {
    const std::string dir = Golden("state/subtask-" + std::to_string(i) + "/");
    testing::SubtaskState subtask;
    subtask.key_groups = {FirstKeyGroup(i, 128, 2), FirstKeyGroup(i + 1, 128, 2)};
    for (const char* segment : {"segment-0", "segment-1"}) {
      subtask.segments.push_back({ReadFile(dir + segment), subtask.key_groups});
    }
    if (fs::exists(dir + "values")) {
      for (const auto& value : fs::directory_iterator(dir + "values")) {
        subtask.values[value.path().filename()] = ReadFile(value.path());
      }
    }
    snapshot.subtasks.push_back(subtask);
  }
  return snapshot;
}

TEST(GoldenTest, KeyedStateIsRestored) {
  const HarnessSnapshot stored = StoredState();
  for (const bool rocksdb : {false, true}) {
    Harness harness(&BuildVisits, {.parallelism = 3,
                                   .restore = &stored,
                                   .processing_time = Timestamp{0},
                                   .backend = {.rocksdb = rocksdb}});
    for (const char* who : {"ann", "bob", "cid", "dan"}) harness.Push({who, 0, {}});
    EXPECT_THAT(harness.TakeRows(),
                UnorderedElementsAre("ann 2 last 7 p3 p7 s3=0.500000 s7=none", "bob 0 last 0",
                                     "cid 1 last 5 p5 s5=-1000000000.000000", "dan 0 last 0"));
    harness.Watermark(Timestamp{6000});
    EXPECT_THAT(harness.TakeRows(), UnorderedElementsAre("ann@3000", "bob@4000", "cid@5000"));
    harness.Watermark(Timestamp{7000});
    EXPECT_THAT(harness.TakeRows(), UnorderedElementsAre("ann@7000"));
  }
}

// --- Checkpoints and savepoints

constexpr char kContent[] = "forty-two bytes of state that nobody reads";

void WriteCheckpoint() {
  const auto job = *DirectoryStorage::Open(Golden("job"));
  const auto log = *CheckpointLog::TakeOver(*job, LeaderEpoch(3), "host:1", "incarnation",
                                            RestorePolicy::kNewest);
  const std::string path =
      DataFileName{log->first_checkpoint_id(), LeaderEpoch(3), AttemptId(2)}.NewPath("tm-1");
  SnapshotFileWriter writer(*job, path, {});
  absl::StatusOr<std::vector<proto::StateHandle>> handles;
  std::thread snapshot([&] { handles = writer.Run(); });
  proto::StateHandle handle;
  handle.set_kind(proto::StateHandle::DELTA);
  handle.set_operator_uid("totals");
  handle.mutable_key_groups()->set_end(128);
  handle.set_checkpoint_id(log->first_checkpoint_id().value);
  handle.set_format_version(1);
  proto::StateSchema* state = handle.add_states();
  state->set_state_name("sum");
  state->set_serde_name("i64");
  state->set_schema_hash(77);
  const auto section = writer.Open(handle);
  std::string slice = kContent;
  while (!writer.Append(section, slice)) std::this_thread::yield();
  writer.Close(section, 5);
  writer.Seal();
  snapshot.join();
  ASSERT_TRUE(handles.ok()) << handles.status();

  proto::Manifest manifest;
  manifest.set_job_id("0123456789abcdef");
  manifest.set_job_name("shop");
  manifest.set_checkpoint_id(log->first_checkpoint_id().value);
  manifest.set_leader_epoch(3);
  manifest.set_attempt(2);
  manifest.set_kind(proto::Manifest::CHECKPOINT);
  manifest.set_output_lineage("lineage");
  manifest.set_job_graph_hash(99);
  proto::VertexSnapshot* vertex = manifest.add_vertices();
  vertex->set_uid("totals");
  vertex->add_operator_uids("totals");
  vertex->set_parallelism(1);
  vertex->set_max_parallelism(128);
  proto::SubtaskSnapshot* subtask = vertex->add_subtasks();
  subtask->mutable_key_groups()->set_end(128);
  subtask->set_watermark(-5);
  *subtask->add_keyed_state() = (*handles)[0];
  proto::OperatorState* positions = subtask->add_operator_state();
  positions->set_operator_uid("totals");
  positions->set_name("positions");
  positions->set_redistribution(proto::OperatorState::UNION);
  positions->add_entries()->set_value("17");
  ASSERT_TRUE(log->Commit(manifest).ok());
  const auto savepoint = *DirectoryStorage::Open(Golden("savepoint"));
  ASSERT_TRUE(ExportSavepoint(*job, manifest, *savepoint).ok());
}

void ExpectTheCheckpoint(CheckpointStorage& storage, const proto::Manifest& manifest) {
  EXPECT_EQ(manifest.job_id(), "0123456789abcdef");
  EXPECT_EQ(manifest.leader_epoch(), 3u);
  EXPECT_EQ(manifest.attempt(), 2u);
  EXPECT_EQ(manifest.output_lineage(), "lineage");
  EXPECT_EQ(manifest.job_graph_hash(), 99u);
  ASSERT_EQ(manifest.vertices_size(), 1);
  EXPECT_EQ(manifest.vertices(0).uid(), "totals");
  EXPECT_EQ(manifest.vertices(0).max_parallelism(), 128u);
  ASSERT_EQ(manifest.vertices(0).subtasks_size(), 1);
  const proto::SubtaskSnapshot& subtask = manifest.vertices(0).subtasks(0);
  EXPECT_EQ(subtask.watermark(), -5);
  EXPECT_EQ(subtask.operator_state(0).redistribution(), proto::OperatorState::UNION);
  EXPECT_EQ(subtask.operator_state(0).entries(0).value(), "17");
  const proto::StateHandle& handle = subtask.keyed_state(0);
  EXPECT_EQ(handle.kind(), proto::StateHandle::DELTA);
  EXPECT_EQ(handle.states(0).schema_hash(), 77u);
  EXPECT_EQ(handle.entries(), 5u);
  EXPECT_TRUE(VerifyChecksums(storage, manifest).ok()) << VerifyChecksums(storage, manifest);
  const auto content = ReadState(storage, handle, 1000);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(*content, kContent);
}

TEST(GoldenTest, TheCheckpointLogAndItsDataFileAreRead) {
  const Copy copy("job");
  const auto storage = *DirectoryStorage::Open(copy.path());
  const auto log =
      CheckpointLog::TakeOver(*storage, LeaderEpoch(4), "", "2", RestorePolicy::kNewest);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ((*log)->contents_at_takeover().highest_epoch, LeaderEpoch(3));
  EXPECT_EQ((*log)->contents_at_takeover().entries.size(), 2u);
  EXPECT_EQ((*log)->first_checkpoint_id(), CheckpointId(CheckpointLog::kIdBlock));
  ASSERT_EQ((*log)->checkpoints().size(), 1u);
  ExpectTheCheckpoint(*storage, (*log)->checkpoints()[0].entry.manifest());
}

TEST(GoldenTest, ASavepointIsRead) {
  const auto storage = *DirectoryStorage::OpenExisting(Golden("savepoint"));
  const auto manifest = ReadSavepoint(*storage);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->kind(), proto::Manifest::SAVEPOINT);
  EXPECT_EQ(manifest->exported_from(), 1u);
  ExpectTheCheckpoint(*storage, *manifest);
}

// --- The metadata store

void WriteMetadata() {
  const auto store = *DirectoryMetadataStore::Open(Golden("metadata"));
  ASSERT_TRUE(store->Fence(LeaderEpoch(3)).ok());
  proto::JobRecord record;
  record.set_format(1);
  record.set_job_id("0123456789abcdef");
  record.mutable_graph()->set_output_lineage("lineage");
  record.set_artifact_hash("abc");
  record.set_artifact_bytes(1000);
  record.set_artifact_name("libshop.so");
  record.set_checkpoint_directory("/shared/checkpoints/0123456789abcdef");
  record.set_attempt(2);
  record.add_task_managers("tm-1");
  record.set_last_checkpoint_id(1);
  const auto put = store->Put("jobs/0123456789abcdef", MetadataStore::kAbsent,
                              record.SerializeAsString(), LeaderEpoch(3));
  ASSERT_TRUE(put.ok()) << put.status();
  const auto other = store->Put("other", MetadataStore::kAbsent, "x", LeaderEpoch(3));
  ASSERT_TRUE(store->Delete("other", *other, LeaderEpoch(3)).ok());
}

TEST(GoldenTest, TheMetadataStoreIsRead) {
  const Copy copy("metadata");
  const auto store = *DirectoryMetadataStore::Open(copy.path());
  EXPECT_TRUE(absl::IsAborted(store->Fence(LeaderEpoch(2)))) << "a higher epoch was here";
  const auto jobs = jobmanager::ReadJobs(*store);
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 1u);
  const proto::JobRecord& record = (*jobs)[0].record;
  EXPECT_EQ(record.job_id(), "0123456789abcdef");
  EXPECT_EQ(record.graph().output_lineage(), "lineage");
  EXPECT_EQ(record.artifact_hash(), "abc");
  EXPECT_EQ(record.artifact_bytes(), 1000u);
  EXPECT_EQ(record.checkpoint_directory(), "/shared/checkpoints/0123456789abcdef");
  EXPECT_EQ(record.attempt(), 2u);
  EXPECT_EQ(record.task_managers(0), "tm-1");
  EXPECT_EQ(record.last_checkpoint_id(), 1u);
  EXPECT_GT(*store->Put("other", MetadataStore::kAbsent, "y", LeaderEpoch(3)), 1u)
      << "the fence holds the version of a deleted key";
}

// In a store of its own: it came later.
void WriteLineages() {
  const auto store = *DirectoryMetadataStore::Open(Golden("lineages"));
  proto::LineageRecord record;
  record.set_format(1);
  record.set_job_id("0123456789abcdef");
  record.set_published(9);
  record.set_checkpoint_directory("/shared/checkpoints/0123456789abcdef");
  record.set_ended_ms(1'700'000'000'000);
  ASSERT_TRUE(jobmanager::StoreLineage(*store, "lineage", record, LeaderEpoch(3)).ok());
}

TEST(GoldenTest, TheRecordOfALineageIsRead) {
  const Copy copy("lineages");
  const auto lineages = jobmanager::ReadLineages(**DirectoryMetadataStore::Open(copy.path()));
  ASSERT_TRUE(lineages.ok()) << lineages.status();
  ASSERT_EQ(lineages->size(), 1u);
  const proto::LineageRecord& record = lineages->at("lineage");
  EXPECT_EQ(record.job_id(), "0123456789abcdef");
  EXPECT_EQ(record.published(), 9u);
  EXPECT_EQ(record.checkpoint_directory(), "/shared/checkpoints/0123456789abcdef");
  EXPECT_EQ(record.ended_ms(), 1'700'000'000'000);
}

// --- The Kafka sink

void WriteEpoch() {
  std::string headers;
  kafka::AppendHeader("trace", "abc", headers);
  kafka::AppendHeader("empty", std::nullopt, headers);
  const std::string path = Golden("epoch");
  kafka::EpochWriter writer(path);
  writer.Append({.key = "k", .value = "v", .headers = headers, .timestamp_ms = 5, .partition = 3});
  writer.Append({.value = ""});
  writer.Append({.key = "deleted"});
  writer.Close();
}

TEST(GoldenTest, AnEpochFileIsRead) {
  const std::string path = Golden("epoch");
  std::vector<std::string> records;
  kafka::EpochReader({.path = path, .length = fs::file_size(path)})
      .ForEach([&](const kafka::OutputRecord& r) {
        std::ostringstream text;
        text << r.key.value_or("null") << "=" << r.value.value_or("null");
        std::string_view rest = r.headers, name;
        std::optional<std::string_view> value;
        while (kafka::NextHeader(rest, name, value)) {
          text << " " << name << ":" << value.value_or("null");
        }
        if (r.timestamp_ms >= 0) text << " at " << r.timestamp_ms;
        if (r.partition >= 0) text << " in " << r.partition;
        records.push_back(text.str());
        return true;
      });
  EXPECT_EQ(records, (std::vector<std::string>{"k=v trace:abc empty:null at 5 in 3",
                                               "null=", "deleted=null"}));
}

// Not a test: README.md says when it may be run.
TEST(GoldenFiles, DISABLED_Write) {
  fs::remove_all(WEIR_GOLDEN_DIR);
  fs::create_directories(WEIR_GOLDEN_DIR);
  WriteState(MakeState());
  WriteCheckpoint();
  WriteMetadata();
  WriteLineages();
  WriteEpoch();
  // Folders for temporary files, which nothing reads.
  for (const char* store : {"job", "savepoint"}) fs::remove_all(Golden(store) + "/.tmp");
}

}  // namespace
}  // namespace weir
