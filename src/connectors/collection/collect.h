#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/sink/sink.h"

namespace weir {

/// Rows that a CollectSink has received, from all its subtasks. Any thread.
template <class T>
class Collected {
 public:
  /// The rows so far, in the order of their arrival.
  std::vector<T> Rows() const {
    const std::lock_guard lock(mutex_);
    return rows_;
  }
  std::vector<Timestamp> Timestamps() const {
    const std::lock_guard lock(mutex_);
    return timestamps_;
  }
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return rows_.size();
  }

  void Add(RecordBatch<T>& batch) {
    const std::lock_guard lock(mutex_);
    batch.ForEach([this](T& row, Timestamp t) {
      rows_.push_back(row);
      timestamps_.push_back(t);
    });
  }

 private:
  mutable std::mutex mutex_;
  std::vector<T> rows_;
  std::vector<Timestamp> timestamps_;
};

template <class T>
class CollectWriter final : public SinkWriter<T> {
 public:
  explicit CollectWriter(std::shared_ptr<Collected<T>> collected)
      : collected_(std::move(collected)) {}

  void Open(const RuntimeContext&) override {}
  void Write(RecordBatch<T>& batch) override { collected_->Add(batch); }
  void Snapshot(CheckpointId, OperatorStateSnapshot&) override {}

 private:
  const std::shared_ptr<Collected<T>> collected_;
};

/// Keeps every row in memory, without limit: for tests in one process. `collected` is shared by
/// the test and the writers.
template <class T>
Sink<T> CollectSink(std::shared_ptr<Collected<T>> collected) {
  return {.name = "collect",
          .make_writer = [collected] { return std::make_unique<CollectWriter<T>>(collected); },
          .validate = {}};
}

}  // namespace weir
