#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "connectors/kafka/batch_limit.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/ending.h"
#include "connectors/kafka/publisher.h"
#include "connectors/kafka/refused_record.h"
#include "connectors/kafka/sink_backend.h"

namespace weir::kafka {

/// `max_batch_bytes` of the topic; 0: not known.
Owned<rd_kafka_t> MakeAtLeastOnceProducer(const SinkSettings& settings,
                                          void (*on_delivery)(rd_kafka_t*,
                                                              const rd_kafka_message_t*, void*),
                                          void* opaque, const LogFunction& log,
                                          uint64_t max_batch_bytes = 0);

/// Sends records as they come, once the topic has said how large batches may be, or has not within
/// ten seconds. A checkpoint is acknowledged when every record before its barrier
/// has been delivered; a record that could not be delivered is sent again a few times, then the
/// attempt fails. Everything happens on the slot thread: librdkafka's delivery reports are served
/// by CheckFailure, HasRoom and ReadyToAcknowledge, and its main queue wakes the slot.
///
/// Restored from a checkpoint of when it was exactly-once, it first lets a Publisher do what an
/// exactly-once sink would: end that one's transactions, and publish what the checkpoint carries
/// and the markers do not know. Until then no record is sent and no checkpoint acknowledged. With
/// another parallelism than it had then it refuses to start while any of that is not published.
class AtLeastOnceSink final : public SinkBackend {
 public:
  static constexpr int kMaxRetries = 3;

  explicit AtLeastOnceSink(SinkSettings settings) : settings_(std::move(settings)) {}
  ~AtLeastOnceSink() override;

  void Open(const RuntimeContext& context) override;
  void Append(const OutputRecord& record) override;
  bool HasRoom() override;
  void Snapshot(CheckpointId id, OperatorStateSnapshot& state) override;
  bool ReadyToAcknowledge(CheckpointId id) override;
  void NotifyCheckpointComplete(CheckpointId id) override;
  void NotifyCheckpointAborted(CheckpointId) override {}
  bool PublishedUpTo(CheckpointId id) override { return ReadyToAcknowledge(id); }
  void CheckFailure() override;
  void Close() override;

 private:
  struct Epoch;
  /// What a delivery report says of its record: which epoch, and how often it was tried. One per
  /// epoch for the first tries, so that no record needs an allocation.
  struct Try {
    Epoch* epoch = nullptr;
    int number = 1;
  };
  struct Epoch {
    Epoch() { tries.push_back(std::make_unique<Try>(Try{.epoch = this})); }
    std::optional<CheckpointId> checkpoint;  ///< set when its barrier has passed
    uint64_t undelivered = 0;
    std::vector<std::unique_ptr<Try>> tries;
  };
  /// A record for which librdkafka's queue had no room, or that came before we might send; at most
  /// one batch's.
  struct Waiting {
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::string headers;
    int64_t timestamp_ms = -1;
    int32_t partition = -1;
    Try* attempt = nullptr;
  };

  rd_kafka_resp_err_t Send(const OutputRecord& record, Try* attempt);
  /// `record` in words.
  Error Refusal(rd_kafka_resp_err_t code, const std::string& record) const;
  void SendOrWait(const OutputRecord& record, Try* attempt);
  void PublishInherited();
  void TakeInherited();
  /// The topic is known, and what came before is in it.
  bool MaySend() const { return asked_topic_ && inherited_ == nullptr; }
  void MakeProducer();
  void AskTopic();
  void TakeAnswer(uint64_t max_batch_bytes);
  void NoteRefusal();
  void Serve();
  void OnDelivery(const rd_kafka_message_t& message);
  static void DeliveryReport(rd_kafka_t*, const rd_kafka_message_t* message, void* self);

  SinkSettings settings_;  // const after Open
  const RuntimeContext* context_ = nullptr;
  std::shared_ptr<Callbacks> callbacks_;
  std::deque<std::unique_ptr<Epoch>> epochs_;  // the last one is open
  std::deque<Waiting> waiting_;
  uint64_t max_batch_bytes_ = 0;  // of the topic; 0: not known
  bool asked_topic_ = false;      // and had an answer, or none in time
  bool asked_again_ = false;
  bool names_partitions_ = false;  // a row did
  bool delivered_ = false;         // a record at least: the topic was there
  RefusedRecord refused_;
  std::optional<Error> failure_;
  uint64_t retries_ = 0;
  std::string retry_reason_;
  Owned<rd_kafka_queue_t> main_queue_;
  Owned<rd_kafka_t> producer_;
  Owned<rd_kafka_topic_t> topic_;
  std::unique_ptr<BatchLimitQuestion> question_;  // set: no answer yet
  std::unique_ptr<Publisher> inherited_;          // set: not all of it is published yet
};

}  // namespace weir::kafka
