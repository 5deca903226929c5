#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/sink.h"
#include "tests/connectors/kafka/runtime_harness.h"

namespace weir::kafka::testing {

using States = std::vector<RestoredOperatorState>;

/// Where a checkpoint's files are kept: copies, as in the checkpoint storage.
class Storage {
 public:
  Storage() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-storage-XXXXXX").string();
    directory_ = mkdtemp(path.data());
  }
  ~Storage() { std::filesystem::remove_all(directory_); }

  RestoredOperatorState Store(const OperatorStateSnapshot& snapshot, uint32_t subtask,
                              uint32_t parallelism) {
    RestoredOperatorState state{.former_subtask = subtask,
                                .former_parallelism = parallelism,
                                .values = snapshot.values,
                                .files = {}};
    for (const auto& [name, file] : snapshot.files) {
      const std::string copy = directory_ + "/" + std::to_string(++files_);
      std::filesystem::copy_file(file.path, copy);
      state.files[name] = {.path = copy, .length = file.length};
    }
    return state;
  }

 private:
  std::string directory_;
  int files_ = 0;
};

struct Place {
  uint32_t index = 0;
  uint32_t parallelism = 1;
  uint32_t attempt = 1;
  std::string lineage = {};
  std::string job = "job";
  std::string uid = "uid";
  uint64_t restored_checkpoint = 0;
};

/// One subtask of a sink.
template <class T>
class Subtask {
 public:
  Subtask(const SinkOptions<T>& options, const Place& place, const States& restored = {})
      : place_(place), writer_(Sink<T>(options).make_writer()) {
    RuntimeContext& context = harness_.context;
    context.output_lineage = place.lineage.empty() ? "lineage-" + options.topic : place.lineage;
    context.job_id = JobId{place.job};
    context.operator_uid = place.uid;
    context.subtask_index = place.index;
    context.parallelism = place.parallelism;
    context.attempt = AttemptId{place.attempt};
    context.restored = !restored.empty();
    context.restored_checkpoint = CheckpointId{place.restored_checkpoint};
    for (RestoredOperatorState state : restored) {  // as the runtime hands it out
      if (state.former_subtask % place.parallelism != place.index) state.files.clear();
      context.restored_state.push_back(std::move(state));
    }
    writer_->Open(context);
  }
  ~Subtask() { writer_->Close(); }

  void Write(const std::vector<T>& rows, Timestamp t = kNoTimestamp) {
    RecordBatch<T> batch;
    for (const T& row : rows) batch.Append(row, t);
    writer_->Write(batch);
  }
  /// The barrier, and what the checkpoint then holds.
  OperatorStateSnapshot Snapshot(uint64_t id) {
    OperatorStateSnapshot state;
    writer_->Snapshot(CheckpointId{id}, state);
    return state;
  }
  bool AwaitAcknowledge(uint64_t id) {
    return Await([&] { return writer_->ReadyToAcknowledge(CheckpointId{id}); });
  }
  void Complete(uint64_t id) { writer_->NotifyCheckpointComplete(CheckpointId{id}); }
  bool AwaitPublished(uint64_t id) {
    return Await([&] { return writer_->PublishedUpTo(CheckpointId{id}); });
  }
  std::string AwaitFailure() {
    return ErrorOf([&] { Await([] { return false; }); });
  }
  /// A failure after which the job is not started again.
  std::string AwaitEnd() {
    try {
      Await([] { return false; });
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFatal);
      return error.what();
    }
    return "";
  }
  /// A checkpoint from barrier to publication.
  bool Checkpoint(uint64_t id) {
    Snapshot(id);
    if (!AwaitAcknowledge(id)) return false;
    Complete(id);
    return AwaitPublished(id);
  }
  template <class F>
  bool Await(F&& wished) {
    return harness_.RunUntil([&] {
      writer_->CheckFailure();
      return wished();
    });
  }
  RestoredOperatorState Store(Storage& storage, uint64_t id) {
    return storage.Store(Snapshot(id), place_.index, place_.parallelism);
  }
  SinkWriter<T>& writer() { return *writer_; }
  RuntimeHarness& harness() { return harness_; }

 private:
  const Place place_;
  RuntimeHarness harness_;
  std::unique_ptr<SinkWriter<T>> writer_;
};

}  // namespace weir::kafka::testing
