#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/client.h"
#include "connectors/kafka/epoch_file.h"
#include "connectors/kafka/refused_record.h"
#include "connectors/kafka/transaction_publisher.h"

namespace weir::kafka {

/// Limits of the publication of one sink; the same for all its lanes.
struct PublicationOptions {
  ClientOptions client;
  std::string topic;
  std::string marker_topic = "weir-output-markers";
  /// Partitions of the marker topic if we are the first to need it.
  int32_t marker_partitions = 16;
  /// Of transactional ids.
  std::string transaction_prefix = "weir";
  /// Under which the lineage was published before, if that was another one.
  std::optional<std::string> former_transaction_prefix = {};
  std::chrono::milliseconds init_limit{60'000};
  /// For the first sight of the topics; nothing: without end.
  std::optional<std::chrono::milliseconds> start_limit = {};
  /// For so long Kafka may acknowledge no record of a transaction that is being sent.
  std::chrono::milliseconds send_limit{60'000};
  /// For so long Kafka must say that a topic is not there.
  std::chrono::milliseconds deleted_after{3'000};
  /// Until it answers the request to commit; past it the outcome counts as unknown. A stop waits
  /// for it, too (docs/decisions/kafka-commit.md).
  std::chrono::milliseconds commit_limit{10'000};
  /// A neighbour's open transaction hides markers until its own time-out at the broker. One that
  /// does after twice this time ends the attempt, so that the job says what it waits for.
  std::chrono::milliseconds marker_limit{90'000};
  /// Such a wait is told after this long.
  std::chrono::milliseconds marker_notice{5'000};
};

/// "prefix-lineage-sink-subtask".
std::string TransactionalId(const std::string& prefix, const LaneId& lane);

/// Creates the marker topic if it is not there; its partition count. Throws weir::Error, kFatal
/// when the topic would lose markers.
int32_t EnsureMarkerTopic(const PublicationOptions& options, const LogFunction& log);

/// What the output topic asks of its records.
struct OutputTopic {
  int32_t partitions = 0;
  bool needs_keys = false;       ///< compacted; false also when we may not know
  uint64_t max_batch_bytes = 0;  ///< 0: we may not know
};

/// Throws weir::Error when the output topic cannot be written: kUser when it does not exist.
OutputTopic RequireOutputTopic(const PublicationOptions& options, const LogFunction& log);

/// A client that reads the marker topic.
Owned<rd_kafka_t> MakeMarkerReader(const PublicationOptions& options, const char* isolation,
                                   const LogFunction& log);

/// A producer for the lane's transactions, not yet connected, which makes no larger batches than
/// that (0: not known) unless a single record is larger. Throws weir::Error (kFatal) naming the
/// property that is wrong.
Owned<rd_kafka_t> MakeTransactionalProducer(
    const PublicationOptions& options, const std::string& transactional_id,
    void (*on_failed_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*), void* opaque,
    const LogFunction& log, uint64_t max_batch_bytes = 0);

/// Does in Kafka what a lane's TransactionPublisher says, with librdkafka. Blocks; runs on the
/// publisher's thread, never on a slot thread. Each call returns the event that answers the action.
class LaneTransactions {
 public:
  struct Setup {
    LaneId lane;
    int32_t marker_partitions = 0;
    /// Where to begin to look for the marker; an offset known not to be behind it.
    int64_t marker_offset = 0;
    OutputTopic output = {};  ///< as far as known
  };

  /// `stop`: set by another thread; calls then return soon, with OutcomeUnknown. Only one that
  /// commits may take its commit_limit.
  LaneTransactions(const PublicationOptions& options, Setup setup, const std::atomic<bool>& stop,
                   LogFunction log);
  ~LaneTransactions();

  TransactionPublisher::Event InitProducer();
  TransactionPublisher::Event ReadMarker();
  /// `file_of` gives the file of each epoch named in `work`.
  TransactionPublisher::Event Transact(const TransactionPublisher::Transact& work,
                                       const std::function<EpochFile(CheckpointId)>& file_of);

  /// An offset in the marker partition that is not behind the lane's newest marker.
  int64_t marker_offset() const { return setup_.marker_offset; }

 private:
  /// The end of the markers was not reached in time: whether the same transaction hides it that did
  /// when that happened last. Then it was no broker that was away, and is none of ours.
  bool HiddenAsBefore(rd_kafka_t* committed_reader, int64_t high);
  /// When Kafka takes nothing: that a topic of ours is gone, if it is.
  std::optional<TransactionPublisher::Refused> TopicDeleted();
  TransactionPublisher::Event InitOne(const std::string& transactional_id);
  TransactionPublisher::Event Outcome(rd_kafka_resp_err_t code, const std::string& doing);
  TransactionPublisher::Event Outcome(const rd_kafka_error_t* error, const std::string& doing);
  bool ProduceEpoch(const EpochReader& epoch);
  /// The topic's limit is one of batches: true when it is lower than it was, so that a batch of
  /// small records was refused. Otherwise it was one record that is too large.
  bool TakeLowerLimit();
  rd_kafka_resp_err_t ProduceMarker(const Marker& marker);
  /// init_transactions in short slices, until it ends, its limit has passed or we stop.
  rd_kafka_error_t* InitTransactions();
  /// Nothing when the transaction is committed.
  std::optional<TransactionPublisher::Event> Commit();
  static void OnFailedDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* self);

  const PublicationOptions& options_;
  Setup setup_;
  const int32_t marker_partition_;
  const std::atomic<bool>& stop_;
  const LogFunction log_;

  uint64_t max_batch_bytes_ = 0;  // as the topic said it last; 0: not known

  bool former_id_fenced_ = false;
  int64_t next_marker_offset_ = 0;  // end of the marker partition when it was last read

  // Mapped epochs of the transaction at hand; the producer refers to their bytes, so they go after
  // it.
  std::vector<std::unique_ptr<EpochReader>> mapped_;
  Owned<rd_kafka_t> producer_;
  Owned<rd_kafka_topic_t> output_;
  bool in_transaction_ = false;  // begun, and its end was not asked for: it may be aborted
  RefusedRecord failed_delivery_;
  rd_kafka_resp_err_t failed_produce_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  std::string failed_record_;  // the one that librdkafka itself did not take
  // Why no further one was handed to it, if its topic is gone.
  std::optional<TransactionPublisher::Refused> deleted_;
  std::optional<int64_t> hidden_from_;  // see HiddenAsBefore
  Owned<rd_kafka_t> asking_;            // made when first needed: asks whether the topics are there
};

}  // namespace weir::kafka
