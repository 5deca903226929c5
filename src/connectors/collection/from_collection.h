#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/serde/serde.h"
#include "runtime/source/source.h"

namespace weir {

/// Gives the rows of a vector once, in order. State: the number of rows given.
template <class T>
class CollectionReader final : public SourceReader<T> {
 public:
  /// Shared with the description of the source, which may make several readers. Immutable.
  using Rows = std::shared_ptr<const std::vector<T>>;

  explicit CollectionReader(Rows rows) : rows_(std::move(rows)) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    for (const RestoredOperatorState& former : context.restored_state) {
      const auto position = former.values.find(kPosition);
      if (position == former.values.end()) continue;
      if (!SerdeDecode(position->second, next_) || next_ > rows_->size()) {
        ThrowError(ErrorKind::kUser, "operator " + context.operator_uid +
                                         ": the checkpoint stands at row " + std::to_string(next_) +
                                         " of a collection of " + std::to_string(rows_->size()) +
                                         " rows; restore with the same collection");
      }
    }
    if (next_ < rows_->size()) splits.SplitAdded(0, "collection");
  }

  PollResult Poll(RecordBatch<T>& batch, SplitIndex& split) override {
    split = 0;
    while (next_ < rows_->size() && !batch.full()) batch.Append(kNoTimestamp) = (*rows_)[next_++];
    return next_ < rows_->size() ? PollResult::kMore : PollResult::kEnd;
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    state.values[kPosition] = SerdeEncode(next_);
  }

 private:
  static constexpr const char* kPosition = "position";

  const Rows rows_;
  uint64_t next_ = 0;
};

/// A bounded source of the given rows, for tests and examples. Runs at parallelism 1.
template <class T>
Source<T> FromCollection(std::vector<T> rows) {
  auto shared = std::make_shared<const std::vector<T>>(std::move(rows));
  return {.name = "collection",
          .bounded = true,
          .max_parallelism = 1,
          .make_reader = [shared] { return std::make_unique<CollectionReader<T>>(shared); },
          .validate = {}};
}
template <class T>
Source<T> FromCollection(std::initializer_list<T> rows) {
  return FromCollection(std::vector<T>(rows));
}

}  // namespace weir
