// A source and a sink of one's own. Readings of some meters go, exactly once, into files that
// appear whole: <out>/<lineage>-<subtask>-<checkpoint>.csv.
//
//   weir run libmeters.so -- --out /tmp/readings
//
//   --out DIR     where the files appear; it must be there (required)
//   --meters N    how many (8)
//   --count N     readings of each meter (100,000)
//   --rate N      readings per second; none: as fast as they are taken

#include <weir/weir.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

using namespace weir;
using namespace std::chrono_literals;

struct Reading {
  std::string meter;
  uint64_t number = 0;
};

// Every meter is a split. Its position, the number of its next reading, is in the checkpoint.
class MeterReader : public SourceReader<Reading> {
 public:
  MeterReader(std::vector<std::string> meters, uint64_t count)
      : meters_(std::move(meters)), count_(count) {}

  void Open(const RuntimeContext& context, SplitObserver& splits) override {
    splits_ = &splits;
    // Whose a split is follows from its number and the parallelism alone.
    for (uint32_t i = context.subtask_index; i < meters_.size(); i += context.parallelism) {
      owned_.push_back({.index = i, .meter = meters_[i]});
    }
    // All former subtasks' positions are here, however many there were: take what is ours now.
    for (const RestoredOperatorState& former : context.restored_state) {
      for (Split& split : owned_) {
        const auto found = former.values.find(split.meter);
        if (found == former.values.end()) continue;
        if (!SerdeDecode(found->second, split.next)) {
          ThrowError(ErrorKind::kFatal, "the position of " + split.meter + " is damaged");
        }
      }
    }
    for (const Split& split : owned_) {
      if (split.next < count_) splits.SplitAdded(split.index, split.meter);
    }
  }

  PollResult Poll(RecordBatch<Reading>& batch, SplitIndex& index) override {
    const auto behind = std::ranges::min_element(owned_, {}, &Split::next);
    if (behind == owned_.end() || behind->next == count_) return PollResult::kEnd;
    index = behind->index;
    for (int i = 0; i < 100 && !batch.full() && behind->next < count_; ++i) {
      const Timestamp time{static_cast<int64_t>(behind->next) * 1000};
      Reading& reading = batch.Append(time);
      reading.meter = behind->meter;
      reading.number = behind->next++;
      splits_->EmitWatermark(index, time);  // they come in order
    }
    if (behind->next == count_) splits_->SplitFinished(index);
    return PollResult::kMore;
  }

  void Snapshot(CheckpointId, OperatorStateSnapshot& state) override {
    for (const Split& split : owned_) state.values[split.meter] = SerdeEncode(split.next);
  }

 private:
  struct Split {
    SplitIndex index = 0;
    std::string meter;
    uint64_t next = 0;
  };

  const std::vector<std::string> meters_;
  const uint64_t count_;
  SplitObserver* splits_ = nullptr;
  std::vector<Split> owned_;
};

Source<Reading> Meters(const std::vector<std::string>& meters, uint64_t count) {
  Source<Reading> source;
  source.name = "meters";
  source.bounded = true;
  source.make_reader = [=] { return std::make_unique<MeterReader>(meters, count); };
  return source;
}

// What comes between two barriers is an epoch, and becomes a file when the checkpoint of the later
// barrier is durable. Until then it is part of every checkpoint.
class FileWriter : public SinkWriter<Reading> {
 public:
  explicit FileWriter(std::string directory) : directory_(std::move(directory)) {}

  void Open(const RuntimeContext& context) override {
    prefix_ = directory_ + "/" + context.output_lineage + "-";
    subtask_ = std::to_string(context.subtask_index);
    for (const RestoredOperatorState& former : context.restored_state) {
      // Of a former subtask that is not here any more, one of the present ones takes the rest.
      if (former.former_subtask % context.parallelism != context.subtask_index) continue;
      // The checkpoint that this comes from is durable, so all of it is to be published. Perhaps it
      // was already: the same name and the same rows, so that makes no difference.
      for (const auto& [name, rows] : former.values) Publish(name, rows);
    }
  }

  void Write(RecordBatch<Reading>& batch) override {
    batch.ForEach([this](const Reading& reading, Timestamp) {
      open_ += reading.meter + "," + std::to_string(reading.number) + "\n";
    });
  }

  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override {
    if (!open_.empty()) closed_[id] = std::exchange(open_, {});
    // Those of earlier checkpoints that failed, too: this one has their rows instead.
    for (const auto& [epoch, rows] : closed_) state.values[NameOf(epoch)] = rows;
  }

  void NotifyCheckpointComplete(CheckpointId id) override {
    while (!closed_.empty() && closed_.begin()->first <= id) {
      Publish(NameOf(closed_.begin()->first), closed_.begin()->second);
      closed_.erase(closed_.begin());
    }
  }

 private:
  /// The number of a checkpoint is never used again.
  std::string NameOf(CheckpointId epoch) const {
    return subtask_ + "-" + std::to_string(epoch.value) + ".csv";
  }
  void Publish(const std::string& name, const std::string& rows) {
    const std::string path = prefix_ + name;
    std::ofstream file(path + ".part");
    file << rows << std::flush;
    if (!file) ThrowError(ErrorKind::kExternal, path + ".part cannot be written");
    std::filesystem::rename(path + ".part", path);
  }

  const std::string directory_;
  std::string prefix_;
  std::string subtask_;
  std::string open_;
  std::map<CheckpointId, std::string> closed_;
};

Sink<Reading> ToFiles(const std::string& directory) {
  Sink<Reading> sink;
  sink.name = "files";
  sink.transactional = true;
  sink.make_writer = [=] { return std::make_unique<FileWriter>(directory); };
  return sink;
}

WEIR_JOB(env, args) {
  env.settings().name = "meters";
  env.settings().checkpoints.interval = 200ms;
  std::vector<std::string> meters;
  for (int64_t i = 0; i < args.GetInt("meters", 8); ++i) {
    meters.push_back("meter-" + std::to_string(i));
  }
  auto readings = env.From(Meters(meters, static_cast<uint64_t>(args.GetInt("count", 100'000))));
  readings.Uid("meters");
  if (args.Has("rate")) readings.RateLimit(args.GetDouble("rate", 0));
  readings.Rebalance().To(ToFiles(args["out"])).Uid("files");
}
