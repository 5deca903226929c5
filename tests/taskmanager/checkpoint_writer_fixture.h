#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "state/checkpoint/directory_storage.h"
#include "state/keyed_state.h"
#include "state/rocksdb/rocksdb_resources.h"
#include "state/rocksdb/rocksdb_store.h"
#include "state/value_table.h"
#include "taskmanager/checkpoint_writer.h"
#include "tests/base/file/temporary_directory.h"

namespace weir {

using namespace std::chrono_literals;

inline constexpr uint32_t kMax = 16;
using Values = std::map<uint64_t, std::string>;

inline KeyedStateOptions OptionsOf(SnapshotSink* sink, StateStore* store) {
  return {.operator_uid = "op",
          .max_parallelism = kMax,
          .key_groups = {0, kMax},
          .sink = sink,
          .store = store,
          .cache_bytes = 16 << 10};
}

/// The test's thread is the slot and the control loop. The parameter says whether there is a store.
class CheckpointWriterTest : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr SubtaskId kSubtask{VertexId(1), 0};
  static constexpr SubtaskId kOther{VertexId(0), 0};

  void SetUp() override {
    auto storage = DirectoryStorage::Open(directory_ / "storage");
    ASSERT_TRUE(storage.ok());
    storage_ = *std::move(storage);
    writer_ = std::make_unique<CheckpointWriter>(
        CheckpointWriter::Options{.storage = &UsedStorage(),
                                  .label = "test",
                                  .epoch = LeaderEpoch(1),
                                  .attempt = AttemptId(1),
                                  .spill_directory = directory_ / "spill",
                                  .operator_bytes = OperatorBytes(),
                                  .max_concurrent = MaxConcurrent()},
        CheckpointWriter::Events{
            .on_done =
                [this](CheckpointId id, absl::StatusOr<CheckpointWriter::Result> result) {
                  Note([&] { done_.emplace(id.value, std::move(result)); });
                },
            .on_failed =
                [this](absl::Status status) { Note([&] { failed_.push_back(status); }); }});
    CheckpointWriter::KeyedOperator op;
    op.subtask = kSubtask;
    op.uid = "op";
    op.max_parallelism = kMax;
    op.key_groups = {0, kMax};
    op.slot = &parker_;
    StateStore* store = nullptr;
    if (GetParam()) {
      auto opened = RocksDbStore::Open(&resources_, {.directory = directory_ / "rocksdb"});
      ASSERT_TRUE(opened.ok()) << opened.status();
      store = opened->get();
      op.store = *std::move(opened);
    }
    SnapshotSink* sink = writer_->AddOperator(std::move(op));
    state_ = std::make_unique<KeyedState<uint64_t>>(OptionsOf(sink, store));
    table_ = ValueTable<uint64_t, std::string>::Open(*state_, "values");
    state_->FinishOpen();
  }
  virtual CheckpointStorage& UsedStorage() { return *storage_; }
  virtual uint32_t MaxConcurrent() const { return 1; }
  virtual size_t OperatorBytes() const { return SegmentBuilder::kDefaultMemoryLimit; }
  void TearDown() override {
    for (const char* point :
         {"storage.create", "storage.write", "storage.sync", "rocksdb.apply", "snapshot.merge"}) {
      SetFailpoint(point, "");
    }
    state_.reset();
    writer_.reset();
  }

  template <class F>
  void Note(F&& f) {
    std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }

  void Change(int count) {
    for (int i = 0; i < count; ++i) {
      const uint64_t key = random_() % 3000;
      const uint64_t hash = KeyHash(key);
      if (random_() % 5 == 0) {
        table_.Erase(key, hash);
        values_.erase(key);
      } else {
        table_.FindOrInsert(key, hash) = values_[key] = std::to_string(random_());
      }
      if (i % 100 == 0) state_->Blocked();
    }
  }

  void BeginAndWrite(uint64_t id, bool may_be_full = true) {
    writer_->Begin(CheckpointId(id), {kSubtask, kOther});
    const bool full = may_be_full && writer_->WantsFull(kSubtask, "op");
    fulls_ += full ? 1 : 0;
    state_->BeginSnapshot(CheckpointId(id), full ? SnapshotKind::kFull : SnapshotKind::kDelta);
    while (!state_->SnapshotSlice()) parker_.Park(1ms);
  }
  void DeliverKeyed(uint64_t id) {
    SubtaskSnapshot snapshot;
    snapshot.id = CheckpointId(id);
    OperatorSnapshot& op = snapshot.operators.emplace_back();
    op.uid = "op";
    op.keyed = true;
    op.schemas = state_->Schemas();
    writer_->Deliver(kSubtask, std::move(snapshot));
  }
  void DeliverOther(uint64_t id) {
    SubtaskSnapshot snapshot;
    snapshot.id = CheckpointId(id);
    writer_->Deliver(kOther, std::move(snapshot));
  }
  absl::StatusOr<CheckpointWriter::Result> Outcome(uint64_t id) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 20s, [&] { return done_.contains(id); })) {
      return absl::DeadlineExceededError("no outcome");
    }
    return std::move(done_.extract(id).mapped());
  }
  /// A checkpoint of the keyed operator and of a sink that gives it these files.
  absl::StatusOr<CheckpointWriter::Result> CheckpointOfSink(
      uint64_t id, std::map<std::string, StateFile> files) {
    BeginAndWrite(id);
    DeliverKeyed(id);
    SubtaskSnapshot snapshot;
    snapshot.id = CheckpointId(id);
    OperatorSnapshot& op = snapshot.operators.emplace_back();
    op.uid = "sink";
    op.state.files = std::move(files);
    writer_->Deliver(kOther, std::move(snapshot));
    return Outcome(id);
  }
  absl::StatusOr<CheckpointWriter::Result> Checkpoint(uint64_t id, bool may_be_full = true) {
    BeginAndWrite(id, may_be_full);
    DeliverKeyed(id);
    DeliverOther(id);
    return Outcome(id);
  }

  /// The values that a checkpoint holds, restored into a memory backend.
  Values Read(const CheckpointWriter::Result& result) {
    const auto& handles = result.at(kSubtask).keyed_state();
    auto links = OpenChain(*storage_, {handles.begin(), handles.end()}, {0, kMax});
    EXPECT_TRUE(links.ok()) << links.status();
    SegmentSet set;
    for (SegmentLink& link : *links) set.Add(link.reader, link.key_groups);
    KeyedStateOptions options = OptionsOf(nullptr, nullptr);
    options.restored = &set;
    KeyedState<uint64_t> state(options);
    auto table = ValueTable<uint64_t, std::string>::Open(state, "values");
    Values values;
    table.ForEach([&](uint64_t key, const std::string& value) { values[key] = value; });
    return values;
  }

  std::mt19937_64 random_{1};
  TemporaryDirectory directory_;
  RocksDbResources resources_{{.memory_bytes = 16 << 20}};
  Parker parker_;
  std::unique_ptr<DirectoryStorage> storage_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<KeyedState<uint64_t>> state_;
  ValueTable<uint64_t, std::string> table_;
  Values values_;
  int fulls_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, absl::StatusOr<CheckpointWriter::Result>> done_;  // mutex_
  std::vector<absl::Status> failed_;                                   // mutex_
};

}  // namespace weir
