#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "runtime/source/source.h"

namespace weir {

/// One subtask of a source, polled by hand.
template <class T>
class SourceHarness : public SplitObserver {
 public:
  explicit SourceHarness(const Source<T>& source, uint32_t subtask = 0, uint32_t parallelism = 1,
                         std::vector<RestoredOperatorState> restored = {})
      : reader_(source.make_reader()) {
    context_.operator_uid = "source";
    context_.subtask_index = subtask;
    context_.parallelism = parallelism;
    context_.clock = &clock_;
    context_.restored = !restored.empty();
    context_.restored_state = std::move(restored);
    reader_->Open(context_, *this);
  }

  /// Rows of the next poll that gives any; none when there is nothing now or any more.
  std::vector<T> Poll() {
    std::vector<T> rows;
    do {
      RecordBatch<T> batch;
      result_ = reader_->Poll(batch, split_);
      batch.ForEach([&](T& row, Timestamp t) {
        rows.push_back(row);
        timestamps_.push_back(t);
      });
    } while (rows.empty() && result_ == PollResult::kMore);
    return rows;
  }

  std::vector<T> PollAll() {
    std::vector<T> all;
    do {
      for (T& row : Poll()) all.push_back(std::move(row));
    } while (result_ == PollResult::kMore);
    return all;
  }

  RestoredOperatorState Snapshot() {
    OperatorStateSnapshot snapshot;
    reader_->Snapshot(CheckpointId(1), snapshot);
    return {.former_subtask = context_.subtask_index,
            .former_parallelism = context_.parallelism,
            .values = snapshot.values,
            .files = {}};
  }

  PollResult result() const { return result_; }
  SplitIndex split() const { return split_; }
  const std::vector<Timestamp>& timestamps() const { return timestamps_; }
  /// Splits that hold the watermark back, by name.
  const std::set<std::string>& open_splits() const { return open_splits_; }
  SourceReader<T>& reader() { return *reader_; }
  ManualClock& clock() { return clock_; }

 private:
  void SplitAdded(SplitIndex split, const std::string& name) override {
    names_[split] = name;
    open_splits_.insert(name);
  }
  void SplitFinished(SplitIndex split) override { open_splits_.erase(names_.at(split)); }
  void EmitWatermark(SplitIndex, Timestamp) override {}

  ManualClock clock_;
  RuntimeContext context_;
  std::unique_ptr<SourceReader<T>> reader_;
  PollResult result_ = PollResult::kMore;
  SplitIndex split_ = 0;
  std::vector<Timestamp> timestamps_;
  std::map<SplitIndex, std::string> names_;
  std::set<std::string> open_splits_;
};

}  // namespace weir
