#include "connectors/file/read_lines.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/serde/serde.h"
#include "connectors/file/line_file.h"

namespace weir {

namespace {

// State: a value per owned file, named by its path: the position, and whether the end was reached.
class LinesReader final : public SourceReader<std::string> {
 public:
  explicit LinesReader(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    splits_ = &splits;
    for (size_t i = context.subtask_index; i < paths_.size(); i += context.parallelism) {
      files_.push_back({.path = paths_[i]});
    }
    for (const RestoredOperatorState& former : context.restored_state) {
      for (const auto& [path, bytes] : former.values) {
        const auto file = std::ranges::find(files_, path, &File::path);
        if (file == files_.end()) continue;
        std::pair<uint64_t, bool> state;
        if (!SerdeDecode(bytes, state)) {
          ThrowError(ErrorKind::kFatal, "operator " + context.operator_uid +
                                            ": its state is not that of a file source; restore "
                                            "from a checkpoint of the same source");
        }
        file->position = state.first;
        file->at_end = state.second;
      }
    }
    for (size_t i = 0; i < files_.size(); ++i) {
      if (!files_[i].at_end) splits.SplitAdded(static_cast<SplitIndex>(i), files_[i].path);
    }
  }

  PollResult Poll(RecordBatch<std::string>& batch, SplitIndex& split) override {
    while (current_ < files_.size() && files_[current_].at_end) ++current_;
    if (current_ == files_.size()) return PollResult::kEnd;
    split = static_cast<SplitIndex>(current_);
    File& file = files_[current_];
    if (open_ == nullptr) open_ = std::make_unique<LineFile>(file.path, file.position);
    do {
      if (!open_->Next(batch.Append(kNoTimestamp))) {
        batch.DropLast();
        EndFile(file);
        break;
      }
      file.position = open_->position();
    } while (!batch.full() && open_->HasBufferedLine());
    return PollResult::kMore;
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    for (const File& file : files_) {
      state.values[file.path] = SerdeEncode(std::pair(file.position, file.at_end));
    }
  }
  void Close() override { open_.reset(); }

 private:
  struct File {
    std::string path;
    uint64_t position = 0;
    bool at_end = false;
  };

  void EndFile(File& file) {
    open_.reset();
    file.at_end = true;
    splits_->SplitFinished(static_cast<SplitIndex>(current_));
  }

  const std::vector<std::string> paths_;
  SplitObserver* splits_ = nullptr;
  std::vector<File> files_;
  size_t current_ = 0;
  std::unique_ptr<LineFile> open_;
};

}  // namespace

Source<std::string> ReadLines(std::vector<std::string> paths) {
  std::vector<std::string> sorted = paths;
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    ThrowError(ErrorKind::kUser, "file " + *twice + " is given twice to one source; give it once");
  }
  return {.name = "lines",
          .bounded = true,
          .max_parallelism = {},
          .make_reader = [paths] { return std::make_unique<LinesReader>(paths); },
          .validate = {}};
}

}  // namespace weir
