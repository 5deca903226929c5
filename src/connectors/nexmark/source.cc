#include "connectors/nexmark/source.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "connectors/nexmark/generator.h"

namespace weir::nexmark {

namespace {

std::string SplitName(uint32_t split) { return "split-" + std::to_string(split); }

/// Value of a split in a checkpoint.
struct SplitState {
  uint64_t position = 0;  // of the next event
  std::string options;    // GeneratorOptions::Fingerprint
};

class Reader final : public SourceReader<Event> {
 public:
  explicit Reader(std::shared_ptr<const Generator> generator) : generator_(std::move(generator)) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    observer_ = &splits;
    const uint32_t all = generator_->options().splits;
    for (uint32_t split = context.subtask_index; split < all; split += context.parallelism) {
      splits_.push_back({split, 0, generator_->SplitSize(split), false});
      splits.SplitAdded(split, SplitName(split));
    }
    for (const RestoredOperatorState& former : context.restored_state) Restore(former);
  }

  PollResult Poll(RecordBatch<Event>& batch, SplitIndex& index) override {
    Split* split = LeastAdvanced();
    if (split == nullptr) {
      return generator_->options().events > 0 ? PollResult::kEnd : PollResult::kNothing;
    }
    index = split->number;
    const uint64_t count = std::min<uint64_t>(batch.room(), split->size - split->position);
    for (const uint64_t end = split->position + count; split->position < end; ++split->position) {
      const EventPlace place = generator_->At(split->number, split->position);
      generator_->Make(place, batch.Append(place.at));
    }
    return PollResult::kMore;
  }

  std::optional<double> ShareOfRate() const override {
    if (splits_.empty()) return std::nullopt;
    return static_cast<double>(splits_.size()) / generator_->options().splits;
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    for (const Split& split : splits_) {
      state.values[SplitName(split.number)] =
          SerdeEncode(SplitState{split.position, generator_->options().Fingerprint()});
    }
  }

 private:
  struct Split {
    uint32_t number;
    uint64_t position;
    uint64_t size;
    bool finished;
  };

  void Restore(const RestoredOperatorState& former) {
    const std::string options = generator_->options().Fingerprint();
    for (Split& split : splits_) {
      const auto found = former.values.find(SplitName(split.number));
      if (found == former.values.end()) continue;
      SplitState state;
      if (!SerdeDecode(found->second, state) || state.position > split.size) {
        ThrowError(ErrorKind::kFatal, "nexmark source: the position of " + found->first +
                                          " in the checkpoint is damaged");
      }
      if (state.options != options) {
        ThrowError(ErrorKind::kUser,
                   "nexmark source: the checkpoint was made with other generator options (" +
                       state.options + " then, " + options +
                       " now); restore with those, or start without the checkpoint");
      }
      split.position = state.position;
    }
  }

  /// The split that is furthest behind, so that event time goes on evenly; tells of finished ones,
  /// after the call that returned their last rows.
  Split* LeastAdvanced() {
    Split* least = nullptr;
    for (Split& split : splits_) {
      if (split.position < split.size) {
        if (least == nullptr || split.position < least->position) least = &split;
      } else if (!split.finished) {
        split.finished = true;
        observer_->SplitFinished(split.number);
      }
    }
    return least;
  }

  const std::shared_ptr<const Generator> generator_;  // shared by the readers of a process
  SplitObserver* observer_ = nullptr;
  std::vector<Split> splits_;
};

std::string WarnOfIdleSubtasks(const GeneratorOptions& options, uint32_t parallelism) {
  if (parallelism <= options.splits) return "";
  return "nexmark source: " + std::to_string(parallelism) + " subtasks for " +
         std::to_string(options.splits) + " splits; " +
         std::to_string(parallelism - options.splits) +
         " of them will have nothing to do. Raise splits or lower the parallelism";
}

}  // namespace

weir::Source<Event> Source(const SourceOptions& options) {
  auto generator = std::make_shared<const Generator>(options.generator);
  weir::Source<Event> source;
  source.name = "nexmark";
  source.bounded = options.generator.events > 0;
  if (options.emit_per_second > 0) {
    source.rate_per_second = static_cast<double>(options.emit_per_second);
  }
  source.make_reader = [generator] { return std::make_unique<Reader>(generator); };
  source.validate = [generator](uint32_t parallelism) {
    return WarnOfIdleSubtasks(generator->options(), parallelism);
  };
  return source;
}

}  // namespace weir::nexmark
