#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/client.h"
#include "connectors/kafka/ending.h"
#include "connectors/kafka/partition_finder.h"
#include "connectors/kafka/source_backend.h"

namespace weir::kafka {

/// A source subtask: takes messages from librdkafka's queue without waiting, hands them out in runs
/// of one partition, and keeps the position of each. Slot thread; PartitionFinder waits for Kafka.
///
/// Splits: 0 stands for "not yet known which partitions I own" and holds the watermark back until
/// that is known; partitions are numbered from 1 as they come.
///
/// Partitions that are held (see PartitionFinder) are read once a checkpoint with their starts is
/// complete. It asks for one, and until then their splits hold the watermark back, as they do until
/// their first row in any case.
///
/// A partition is silent (LookInto) where it has been read to the end that Kafka tells at that
/// moment. While its broker is away nobody knows, rows of an open transaction are there and not to
/// be read yet, and behind either silence begins anew.
class PartitionReader final : public SourceBackend {
 public:
  explicit PartitionReader(SourceSettings settings) : settings_(std::move(settings)) {}
  ~PartitionReader() override { Close(); }

  void Open(const RuntimeContext& context, SplitObserver& splits) override;
  PollResult Poll(size_t max, std::vector<Message>& messages, SplitIndex& split) override;
  void Details(size_t message, MessageDetails& out) const override;
  void BadRecord(size_t message, const std::string& reason) override;
  void HandBack(size_t first) override;
  Timestamp NextPoll() const override;
  SplitSilence LookInto(SplitIndex split) override;
  std::optional<double> ShareOfRate() const override;
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override;
  void NotifyCheckpointComplete(CheckpointId id) override;
  /// Ends in the background what still waits for Kafka.
  void Close() override;

 private:
  static constexpr SplitIndex kUnknownSplit = 0;

  struct Partition {
    PartitionPosition position;
    bool finished = false;
    /// Why it is not known to be silent, though no rows come: see LookInto.
    enum class Doubt { kNone, kNoAnswer, kOpenTransaction };
    struct Silence {
      Doubt doubt = Doubt::kNone;
      std::chrono::nanoseconds since{0};
      bool broken = false;  ///< by a doubt; not said yet
    } silence = {};
  };

  void AddPartition(const PartitionPosition& position);
  /// Asks for the checkpoint again if it is time to: one that was asked for may fail, or the
  /// request come before the JobManager takes checkpoints.
  void AskForCheckpoint();
  void TakeFound();
  /// Fills `taken_`; false when there is nothing now.
  bool Take();
  void ReleaseTaken();
  /// The split of a message; takes news from the finder when it is not known.
  SplitIndex SplitOf(const rd_kafka_message_t& message);
  void HandleEvent(const rd_kafka_message_t& message);
  void Finish(SplitIndex split);
  /// At each checkpoint: how far each partition's end is ahead of us.
  void ReportLag();
  /// Behind the last record, committed or not; below 0: not known. From the client's memory.
  int64_t HighWatermark(const TopicPartition& id) const;
  void TellOfDoubt(const TopicPartition& id, const Partition::Silence& silence);
  Partition& At(SplitIndex split) { return partitions_[split - 1]; }

  SourceSettings settings_;  // const after Open
  const RuntimeContext* context_ = nullptr;
  SplitObserver* splits_ = nullptr;
  std::shared_ptr<Callbacks> callbacks_;
  std::unique_ptr<PartitionFinder> finder_;
  Owned<rd_kafka_queue_t> queue_;
  Owned<rd_kafka_t> consumer_;

  /// What is held.
  struct Held {
    std::optional<CheckpointId> first;  // checkpoint that has its starts
    std::chrono::nanoseconds ask_at{0};
    std::chrono::milliseconds pause{200};  // before it is asked for once more
    bool told = false;
  };

  bool resolved_ = false;
  std::optional<Held> held_;
  size_t all_partitions_ = 0;          // of the topics, not of this subtask alone; 0: not known yet
  std::vector<Partition> partitions_;  // split s is partitions_[s - 1]
  size_t unfinished_ = 0;
  std::map<std::pair<const rd_kafka_topic_t*, int32_t>, SplitIndex> split_of_handle_;
  std::map<CheckpointId, std::vector<PartitionPosition>> to_commit_;

  // Messages taken from the queue; [handed_begin_, handed_end_) were given out last.
  std::array<rd_kafka_message_t*, Batch::kCapacity> taken_;
  size_t taken_count_ = 0;
  size_t handed_begin_ = 0;
  size_t handed_end_ = 0;
  std::optional<SplitIndex> handed_;                       // whose they are
  std::optional<std::chrono::nanoseconds> doubt_told_at_;  // of a partition's silence
  bool handed_the_last_ = false;                           // its stop is reached with them
};

}  // namespace weir::kafka
