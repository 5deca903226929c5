#pragma once

#include <memory>
#include <utility>

#include "base/error.h"
#include "runtime/operator/operator.h"
#include "runtime/sink/sink.h"

namespace weir {

/// Runs a SinkWriter<T> at the end of a chain.
template <class T>
class WriterOperator final : public Operator {
 public:
  explicit WriterOperator(std::unique_ptr<SinkWriter<T>> writer) : writer_(std::move(writer)) {
    if (writer_ == nullptr) ThrowError(ErrorKind::kUser, "make_writer returned no writer");
  }

  void Open(OperatorContext& context) override { writer_->Open(context.runtime); }
  void ProcessBatch(uint32_t, Batch& batch) override {
    writer_->Write(static_cast<RecordBatch<T>&>(batch));
  }
  void ProcessWatermark(Timestamp) override {}
  void ProcessIdle() override {}
  bool HasRoom() override { return writer_->HasRoom(); }
  Timestamp NextProcessingTimer() const override { return writer_->NextProcessingTimer(); }
  void OnProcessingTime(Timestamp now) override { writer_->OnProcessingTime(now); }
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    writer_->Snapshot(id, state);
  }
  bool ReadyToAcknowledge(CheckpointId id) override { return writer_->ReadyToAcknowledge(id); }
  bool PublishedUpTo(CheckpointId id) override { return writer_->PublishedUpTo(id); }
  void CheckFailure() override { writer_->CheckFailure(); }
  void NotifyCheckpointComplete(CheckpointId id) override { writer_->NotifyCheckpointComplete(id); }
  void NotifyCheckpointAborted(CheckpointId id) override { writer_->NotifyCheckpointAborted(id); }
  void Close() override { writer_->Close(); }

 private:
  const std::unique_ptr<SinkWriter<T>> writer_;
};

}  // namespace weir
