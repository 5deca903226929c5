#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "connectors/kafka/ending.h"
#include "connectors/kafka/epoch_file.h"
#include "connectors/kafka/publisher.h"
#include "connectors/kafka/sink_backend.h"

namespace weir::kafka {

/// The exactly-once sink on the slot thread: appends to the open epoch's file, gives the checkpoint
/// every epoch that is not known to be published, and lets the Publisher publish when the
/// checkpoint is durable.
class ExactlyOnceSink final : public SinkBackend {
 public:
  explicit ExactlyOnceSink(SinkSettings settings) : settings_(std::move(settings)) {}
  ~ExactlyOnceSink() override { Close(); }

  void Open(const RuntimeContext& context) override;
  void Append(const OutputRecord& record) override;
  bool HasRoom() override;
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override;
  bool ReadyToAcknowledge(CheckpointId id) override;
  void NotifyCheckpointComplete(CheckpointId id) override;
  void NotifyCheckpointAborted(CheckpointId id) override;
  bool PublishedUpTo(CheckpointId id) override;
  void CheckFailure() override;
  /// The publisher's thread ends at once when it is idle, otherwise in the background when its
  /// current request to Kafka returns. Until then it holds its transactional id, and a next attempt
  /// fences it as it does any other.
  void Close() override;

 private:
  /// A closed epoch. Its file is kept until it is published and no unfinished checkpoint refers to
  /// it.
  struct Epoch {
    CheckpointId checkpoint;
    EpochFile file;
    bool own_file = true;  ///< not one that the restored checkpoint gave us
    bool published = false;
    CheckpointId last_reference;
  };
  [[noreturn]] void RefuseSize(const OutputRecord& record) const;
  /// Of a row without a key or with a partition: throws what the topic has against it, once that is
  /// known.
  void CheckRow(const OutputRecord& record);
  void CheckRows() const;
  void NewEpoch();
  /// Of former subtasks, on this disk and not known to be in Kafka.
  uint64_t Inherited() const { return inherited_bytes_ - status_.inherited_published_bytes; }
  /// On this disk and not known to be in Kafka, the open epoch included.
  uint64_t Unpublished() const;
  bool NoteRoom(bool room);
  /// A checkpoint is under way that ends whether we take records or not: its barrier has passed all
  /// that feeds us. An unaligned one's may stand behind the records; of that one nobody has asked
  /// yet whether it may be acknowledged.
  bool CheckpointWillEnd() const { return !in_flight_.empty() && *in_flight_.begin() <= asked_; }
  void TakeStatus();
  void Sweep();
  std::string EncodeState(CheckpointId id) const;

  SinkSettings settings_;  // const after Open
  const RuntimeContext* context_ = nullptr;
  std::shared_ptr<Callbacks> callbacks_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<EpochWriter> open_;
  uint64_t files_ = 0;
  size_t max_record_bytes_ = 0;   // as sent: message.max.bytes
  uint64_t ask_at_ = 0;           // bytes of the open epoch at which to ask for a checkpoint
  bool waiting_ = false;          // the log says that records wait
  std::vector<Epoch> epochs_;     // oldest first
  uint64_t closed_bytes_ = 0;     // of epochs_ that are not published
  uint64_t inherited_bytes_ = 0;  // of the epochs of former subtasks
  // The rows that the topic may not take, and no checkpoint is acknowledged before that is known.
  std::optional<std::string> without_key_;  // the first, in words
  int32_t highest_partition_ = -1;
  std::set<CheckpointId> in_flight_;
  CheckpointId asked_;  // the newest of which ReadyToAcknowledge was asked
  CheckpointId completed_;
  // What the restored checkpoint knew of the own lane, until the publisher knows better.
  std::optional<CheckpointId> marker_;
  std::optional<TransactionPublisher::Ancestors> ancestors_;  // nothing: not known
  int64_t marker_offset_ = 0;
  int32_t marker_partitions_ = 0;
  Publisher::Status status_;
};

}  // namespace weir::kafka
