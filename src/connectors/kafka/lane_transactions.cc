#include "connectors/kafka/lane_transactions.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"
#include "connectors/kafka/batch_limit.h"
#include "connectors/kafka/deleted_topic.h"
#include "connectors/kafka/produce.h"

namespace weir::kafka {
namespace {

using P = TransactionPublisher;
using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kSlice{500};         // how soon a blocked call notices that we stop
constexpr milliseconds kRequest{10'000};    // metadata, offsets, admin
constexpr milliseconds kAbortAtEnd{5'000};  // of a transaction that is open when we leave
constexpr milliseconds kMetadataPause{50};
constexpr milliseconds kInitPause{100};
constexpr milliseconds kAskAfter{2'000};  // whether a topic that takes nothing is gone
constexpr int kQueueFullMs = 20;
constexpr int kQueueFullTries = kAskAfter.count() / kQueueFullMs;

/// Brokers have lost sight of transactions that ended while they were started again; no time-out
/// ends such a one.
std::string OpenTransaction(const std::string& topic, int32_t partition, int64_t first) {
  return "another producer's transaction is open there, of this job or of another one. One whose "
         "producer has died the broker ends when its transaction.timeout.ms is over (60 s for "
         "Weir's); one that stays is lost to the broker. Kafka's kafka-transactions.sh shows whose "
         "it is (describe-producers --topic " +
         topic + " --partition " + std::to_string(partition) +
         ") and can abort it (abort with --start-offset " + std::to_string(first) +
         " besides), which loses what the broker has acknowledged of it: "
         "docs/decisions/kafka-failures.md";
}

Settings ProducerDefaults(const PublicationOptions& options, uint64_t max_batch_bytes = 0) {
  Settings defaults = QueueDefaults(options.client);
  defaults.insert({{"max.in.flight", "1"},  // docs/decisions/kafka-failures.md
                   {"linger.ms", "5"},
                   {"batch.size", std::to_string(BatchBytes(max_batch_bytes))},
                   {"transaction.timeout.ms", "60000"},
                   {"partitioner", "murmur2_random"}});  // Java's: the same key, the same partition
  return defaults;
}

/// The user's properties without those that only a producer takes.
ClientOptions ForConsumer(const ClientOptions& options) {
  ClientOptions reduced = options;
  for (const auto& [name, value] : ProducerDefaults({})) reduced.properties.erase(name);
  for (const char* name :
       {"acks", "compression.codec", "compression.type", "compression.level", "message.timeout.ms",
        "delivery.timeout.ms", "request.timeout.ms", "retries", "message.send.max.retries",
        "max.in.flight", "max.in.flight.requests.per.connection", "queue.buffering.max.ms",
        "batch.num.messages", "sticky.partitioning.linger.ms"}) {
    reduced.properties.erase(name);
  }
  return reduced;
}

}  // namespace

std::string TransactionalId(const std::string& prefix, const LaneId& lane) {
  return prefix + "-" + lane.lineage + "-" + lane.sink + "-" + std::to_string(lane.subtask);
}

namespace {

/// Sends one admin request and waits for its answer.
Owned<rd_kafka_event_t> Ask(rd_kafka_t* client, const std::string& brokers,
                            const std::string& topic,
                            const std::function<void(rd_kafka_queue_t*)>& request) {
  const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
  request(queue.get());
  Owned<rd_kafka_event_t> answer(
      rd_kafka_queue_poll(queue.get(), static_cast<int>(kRequest.count())));
  const auto error =
      answer == nullptr ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(answer.get());
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ThrowError(ErrorKind::kExternal, Explain(error, brokers, topic));
  }
  return answer;
}

bool IsMissing(rd_kafka_t* client, const std::string& topic) {
  const rd_kafka_metadata_t* raw = nullptr;
  const auto error =
      rd_kafka_metadata(client, 1, nullptr, &raw, static_cast<int>(kRequest.count()));
  const Owned<const rd_kafka_metadata_t> metadata(raw);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    if (topic == metadata->topics[i].topic) return false;
  }
  return true;
}

void CreateMarkerTopic(rd_kafka_t* client, const PublicationOptions& options) {
  const std::string& topic = options.marker_topic;
  char reason[512];
  const Owned<rd_kafka_NewTopic_t> wish(
      rd_kafka_NewTopic_new(topic.c_str(), options.marker_partitions, -1, reason, sizeof reason));
  if (wish == nullptr) ThrowError(ErrorKind::kFatal, "marker topic " + topic + ": " + reason);
  // Small segments, so that compaction has something closed to work on.
  for (const auto& [name, value] : Settings{{"cleanup.policy", "compact"},
                                            {"segment.bytes", "1048576"},
                                            {"segment.ms", "600000"},
                                            {"min.cleanable.dirty.ratio", "0.1"}}) {
    rd_kafka_NewTopic_set_config(wish.get(), name.c_str(), value.c_str());
  }
  rd_kafka_NewTopic_t* list[] = {wish.get()};
  const auto answer = Ask(client, options.client.brokers, topic, [&](rd_kafka_queue_t* queue) {
    rd_kafka_CreateTopics(client, list, 1, nullptr, queue);
  });
  size_t count = 0;
  const auto* results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer.get()), &count);
  const auto error = rd_kafka_topic_result_error(results[0]);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
    ThrowError(KindOf(client, error), "marker topic " + topic + " cannot be created: " +
                                          Explain(error, options.client.brokers, topic));
  }
}

/// The topic's settings, see SettingIn.
Owned<rd_kafka_event_t> Describe(rd_kafka_t* client, const std::string& brokers,
                                 const std::string& topic) {
  const auto destroy = [](rd_kafka_ConfigResource_t* p) { rd_kafka_ConfigResource_destroy(p); };
  const std::unique_ptr<rd_kafka_ConfigResource_t, decltype(destroy)> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()), destroy);
  rd_kafka_ConfigResource_t* list[] = {resource.get()};
  return Ask(client, brokers, topic, [&](rd_kafka_queue_t* queue) {
    rd_kafka_DescribeConfigs(client, list, 1, nullptr, queue);
  });
}

/// A marker topic that forgets old markers would make published output look unpublished.
void RequireCompaction(rd_kafka_t* client, const PublicationOptions& options) {
  const std::string& topic = options.marker_topic;
  const auto settings = Describe(client, options.client.brokers, topic);
  const auto policy = SettingIn(settings.get(), "cleanup.policy");
  if (policy && *policy != "compact") {
    ThrowError(ErrorKind::kFatal,
               "marker topic " + topic + " has cleanup.policy=" + *policy +
                   " and would forget what was published; set it to compact, or name another "
                   "marker topic");
  }
}

}  // namespace

int32_t EnsureMarkerTopic(const PublicationOptions& options, const LogFunction& log) {
  // A consumer: to ask for a topic's metadata as one does not make the broker create it.
  const Owned<rd_kafka_t> client =
      MakeClient(ForConsumer(options.client), {.type = RD_KAFKA_CONSUMER}, log);
  const auto partitions = [&] {
    return PartitionCount(client.get(), options.client.brokers, options.marker_topic, kRequest);
  };
  std::optional<int32_t> count;
  try {
    count = partitions();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUser) throw;
  }
  if (count) {
    RequireCompaction(client.get(), options);
    return *count;
  }
  // All sinks of a job come here at once: another may have created it since, and it is there by now
  // or will be in a moment.
  if (IsMissing(client.get(), options.marker_topic)) CreateMarkerTopic(client.get(), options);
  // The broker's metadata follow a moment later.
  const auto deadline = SteadyClock::now() + kRequest;
  for (;;) {
    try {
      return partitions();
    } catch (const Error&) {
      if (SteadyClock::now() > deadline) throw;
    }
    std::this_thread::sleep_for(kMetadataPause);
  }
}

OutputTopic RequireOutputTopic(const PublicationOptions& options, const LogFunction& log) {
  const Owned<rd_kafka_t> client =
      MakeClient(ForConsumer(options.client), {.type = RD_KAFKA_CONSUMER}, log);
  OutputTopic topic;
  topic.partitions = PartitionCount(client.get(), options.client.brokers, options.topic, kRequest);
  const auto settings = Describe(client.get(), options.client.brokers, options.topic);
  const auto policy = SettingIn(settings.get(), "cleanup.policy");
  topic.needs_keys = policy && policy->find("compact") != std::string::npos;
  topic.max_batch_bytes = BatchLimitIn(settings.get());
  return topic;
}

Owned<rd_kafka_t> MakeMarkerReader(const PublicationOptions& options, const char* isolation,
                                   const LogFunction& log) {
  return MakeClient(ForConsumer(options.client),
                    {.type = RD_KAFKA_CONSUMER,
                     .fixed = {{"isolation.level", isolation},
                               {"enable.partition.eof", "true"},
                               {"auto.offset.reset", "error"},
                               {"queued.max.messages.kbytes", "1024"},
                               {"fetch.wait.max.ms", "100"}}},
                    log);
}

Owned<rd_kafka_t> MakeTransactionalProducer(
    const PublicationOptions& options, const std::string& transactional_id,
    void (*on_failed_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*), void* opaque,
    const LogFunction& log, uint64_t max_batch_bytes) {
  Owned<rd_kafka_t> producer = MakeClient(options.client,
                                          {.type = RD_KAFKA_PRODUCER,
                                           .defaults = ProducerDefaults(options, max_batch_bytes),
                                           .fixed = {{"transactional.id", transactional_id},
                                                     {"enable.idempotence", "true"},
                                                     {"delivery.report.only.error", "true"}},
                                           .on_delivery = on_failed_delivery,
                                           .opaque = opaque},
                                          log);
  RequireRoomForARecord(producer.get());
  return producer;
}

LaneTransactions::LaneTransactions(const PublicationOptions& options, Setup setup,
                                   const std::atomic<bool>& stop, LogFunction log)
    : options_(options),
      setup_(std::move(setup)),
      marker_partition_(MarkerPartition(setup_.lane, setup_.marker_partitions)),
      stop_(stop),
      log_(std::move(log)),
      max_batch_bytes_(setup_.output.max_batch_bytes) {}

LaneTransactions::~LaneTransactions() {
  // An open transaction holds up every reader of its partitions, other lanes' readers of the
  // markers among them, until its time is over. Whoever has taken our id by now has ended it; then
  // this fails at once.
  if (producer_ != nullptr && in_transaction_) {
    const Owned<rd_kafka_error_t> ignored(
        rd_kafka_abort_transaction(producer_.get(), static_cast<int>(kAbortAtEnd.count())));
  }
  output_.reset();
  producer_.reset();
}

void LaneTransactions::OnFailedDelivery(rd_kafka_t*, const rd_kafka_message_t* message,
                                        void* self) {
  static_cast<LaneTransactions*>(self)->failed_delivery_.Add(*message);
}

std::optional<P::Refused> LaneTransactions::TopicDeleted() {
  if (asking_ == nullptr) {
    asking_ = MakeClient(ForConsumer(options_.client), {.type = RD_KAFKA_CONSUMER}, log_);
  }
  const auto topic = DeletedTopic(asking_.get(), {options_.topic, options_.marker_topic},
                                  options_.deleted_after, stop_);
  if (!topic) return std::nullopt;
  const std::string& brokers = options_.client.brokers;
  return P::Refused{*topic == options_.topic
                        ? ExplainDeleted(brokers, *topic, setup_.output.partitions)
                        : ExplainDeletedMarkers(brokers, *topic),
                    ErrorKind::kUser};
}

P::Event LaneTransactions::Outcome(rd_kafka_resp_err_t code, const std::string& doing) {
  if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
      code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
    // It does not say which topic, or that there was one.
    if (std::optional<P::Refused> deleted = TopicDeleted()) return *std::move(deleted);
  }
  if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && code == failed_delivery_.code() &&
      TakeLowerLimit()) {
    return P::OutcomeUnknown{doing + ": topic " + options_.topic + " takes batches of up to " +
                             std::to_string(max_batch_bytes_) + " bytes by now"};
  }
  std::string words = doing + ": " + Explain(code, options_.client.brokers, options_.topic);
  if (code == failed_delivery_.code()) {
    words += ". It is " + failed_delivery_.Describe();
  } else if (code == failed_produce_) {
    words += ". It is " + failed_record_;
  }
  if (const std::string mend = RowMend(code); !mend.empty()) {
    words +=
        ". A checkpoint holds it, and every start from that publishes it first, with --new-lineage "
        "too: mend the topic or the properties and start from the last checkpoint; or " +
        mend + " and start from a checkpoint or savepoint from before the record";
  }
  switch (Classify(producer_.get(), code)) {
    case ErrorClass::kFenced:
      return P::Fenced{};
    case ErrorClass::kRefused:
      return P::Refused{words, KindOf(producer_.get(), code)};
    case ErrorClass::kPassing:
      return P::OutcomeUnknown{words};
  }
  return P::OutcomeUnknown{words};
}

P::Event LaneTransactions::Outcome(const rd_kafka_error_t* error, const std::string& doing) {
  const auto code = rd_kafka_error_code(error);
  const P::Event event = Outcome(code, doing);
  // The call's own error often only says that the transaction has failed; the delivery says why.
  if (!std::holds_alternative<P::OutcomeUnknown>(event)) return event;
  if (failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Outcome(failed_delivery_.code(), doing);
  }
  return P::OutcomeUnknown{doing + ": " + rd_kafka_error_string(error)};
}

rd_kafka_error_t* LaneTransactions::InitTransactions() {
  const auto deadline = SteadyClock::now() + options_.init_limit;
  for (;;) {
    const auto started = SteadyClock::now();
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - started);
    rd_kafka_error_t* error = rd_kafka_init_transactions(
        producer_.get(), static_cast<int>(std::clamp(left, milliseconds(1), kSlice).count()));
    // At the end of a slice the error is the last that the coordinator gave, if any (it loads, or
    // the transaction before is still being ended), and a time-out if it gave none.
    if (error == nullptr || !rd_kafka_error_is_retriable(error) || stop_ || left <= kSlice) {
      return error;
    }
    rd_kafka_error_destroy(error);
    // One that came before the slice was over must not be asked for again and again.
    std::this_thread::sleep_until(started + kInitPause);
  }
}

P::Event LaneTransactions::InitProducer() {
  if (options_.former_transaction_prefix && !former_id_fenced_) {
    const P::Event fenced =
        InitOne(TransactionalId(*options_.former_transaction_prefix, setup_.lane));
    if (!std::holds_alternative<P::ProducerReady>(fenced)) return fenced;
    former_id_fenced_ = true;
  }
  return InitOne(TransactionalId(options_.transaction_prefix, setup_.lane));
}

P::Event LaneTransactions::InitOne(const std::string& transactional_id) {
  output_.reset();
  producer_.reset();  // ends its connections: nothing of it can reach the broker after this
  in_transaction_ = false;
  mapped_.clear();
  failed_delivery_.Clear();
  failed_produce_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (WEIR_FAILPOINT("kafka.publish.init")) return P::OutcomeUnknown{"failpoint"};
  try {
    producer_ = MakeTransactionalProducer(options_, transactional_id, OnFailedDelivery, this, log_,
                                          max_batch_bytes_);
  } catch (const Error& error) {
    return P::Refused{error.what(), error.kind()};
  }
  output_.reset(rd_kafka_topic_new(producer_.get(), options_.topic.c_str(), nullptr));
  if (output_ == nullptr) return Outcome(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "opening the topic");
  const Owned<rd_kafka_error_t> error(InitTransactions());
  if (error != nullptr) {
    return Outcome(error.get(), "initialising transactional id " + transactional_id);
  }
  (void)WEIR_FAILPOINT("kafka.publish.initialised");
  return P::ProducerReady{};
}

P::Event LaneTransactions::ReadMarker() {
  const std::string& topic = options_.marker_topic;
  const std::string where =
      "marker topic " + topic + " partition " + std::to_string(marker_partition_);
  if (WEIR_FAILPOINT("kafka.publish.read_marker")) return P::OutcomeUnknown{"failpoint"};

  // How far the log reaches, open transactions included. Whatever of this lane was ever committed
  // is below, because the lane is fenced.
  int64_t low = 0;
  int64_t high = 0;
  {
    const Owned<rd_kafka_t> client = MakeMarkerReader(options_, "read_uncommitted", log_);
    const auto error =
        rd_kafka_query_watermark_offsets(client.get(), topic.c_str(), marker_partition_, &low,
                                         &high, static_cast<int>(kRequest.count()));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return P::OutcomeUnknown{"end of " + where + ": " +
                               Explain(error, options_.client.brokers, topic)};
    }
  }
  if (setup_.marker_offset > high) {
    return P::Refused{
        where + " ends at offset " + std::to_string(high) +
            ", but the checkpoint knows of a marker at or after " +
            std::to_string(setup_.marker_offset) +
            "; the topic was deleted or lost data. Start with a new lineage to go on; "
            "results will be repeated",
        ErrorKind::kFatal};
  }
  const int64_t begin = std::max(low, setup_.marker_offset);
  std::optional<Marker> newest;
  if (begin < high) {
    const Owned<rd_kafka_t> client = MakeMarkerReader(options_, "read_committed", log_);
    const Owned<rd_kafka_topic_t> handle(rd_kafka_topic_new(client.get(), topic.c_str(), nullptr));
    if (rd_kafka_consume_start(handle.get(), marker_partition_, begin) != 0) {
      return P::OutcomeUnknown{"reading " + where + ": " + rd_kafka_err2str(rd_kafka_last_error())};
    }
    const std::string key = MarkerKey(setup_.lane);
    const auto started = SteadyClock::now();
    bool reached = false;
    bool told = false;
    bool lasts = false;
    std::optional<int64_t> at;  // where the broker says that what can be read ends
    std::string failure;
    while (!reached && failure.empty()) {
      const auto waited = SteadyClock::now() - started;
      const auto stuck = [&] {
        return "offset " + std::to_string(high) + " is not reached after " +
               std::to_string(std::chrono::duration_cast<milliseconds>(waited).count()) + " ms" +
               (at ? ", only offset " + std::to_string(*at) + "; " +
                         OpenTransaction(topic, marker_partition_, *at)
                   : ": the broker does not answer");
      };
      if (stop_) {
        failure = "stopped";
      } else if (waited > options_.marker_limit) {
        failure = stuck();
        lasts = HiddenAsBefore(client.get(), high);
      } else if (!told && waited > options_.marker_notice) {
        told = true;
        log_("reading " + where + " takes long, and checkpoints wait for it: " + stuck());
      }
      const Owned<rd_kafka_message_t> message(
          rd_kafka_consume(handle.get(), marker_partition_, 100));
      if (message == nullptr) continue;
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        at = message->offset;
        reached = at >= high;  // the last stable offset has got there
        continue;
      }
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (Classify(client.get(), message->err) == ErrorClass::kRefused) {
          failure = Explain(message->err, options_.client.brokers, topic);
        }
        continue;  // a lost connection is the client's to mend, until the deadline
      }
      if (std::string_view(static_cast<const char*>(message->key), message->key_len) != key) {
        continue;
      }
      newest = DecodeMarker({static_cast<const char*>(message->payload), message->len});
      if (!newest && message->len > 0) {
        rd_kafka_consume_stop(handle.get(), marker_partition_);
        return P::Refused{
            where + " offset " + std::to_string(message->offset) +
                " holds a marker that this version of Weir does not understand; use a newer one",
            ErrorKind::kFatal};
      }
    }
    rd_kafka_consume_stop(handle.get(), marker_partition_);
    if (!reached && lasts) {
      return P::Refused{"reading " + where + ", for the second time: " + failure,
                        ErrorKind::kExternal};
    }
    if (!reached) return P::OutcomeUnknown{"reading " + where + ": " + failure};
  }
  // If a marker was found it must be found again; our next one will stand behind `high`.
  if (!newest) setup_.marker_offset = begin;
  (void)WEIR_FAILPOINT("kafka.publish.marker_read");
  next_marker_offset_ = high;
  return P::MarkerFound{newest};
}

bool LaneTransactions::HiddenAsBefore(rd_kafka_t* committed_reader, int64_t high) {
  int64_t first = 0;
  int64_t stable = 0;
  const auto error = rd_kafka_query_watermark_offsets(
      committed_reader, options_.marker_topic.c_str(), marker_partition_, &first, &stable,
      static_cast<int>(kSlice.count()));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR || stable >= high) {
    hidden_from_.reset();
    return false;
  }
  return std::exchange(hidden_from_, stable) == stable;
}

bool LaneTransactions::TakeLowerLimit() {
  try {
    const uint64_t limit = RequireOutputTopic(options_, log_).max_batch_bytes;
    if (BatchBytes(limit) >= BatchBytes(max_batch_bytes_) ||
        options_.client.properties.contains("batch.size")) {
      return false;
    }
    max_batch_bytes_ = limit;
    return true;
  } catch (const Error&) {
    return false;  // what Kafka said first counts
  }
}

bool LaneTransactions::ProduceEpoch(const EpochReader& epoch) {
  epoch.ForEach([&](const OutputRecord& record) {
    for (int tries = 1;; ++tries) {
      // The value stays where it is, in the mapped file, until the transaction has ended.
      failed_produce_ = Produce(producer_.get(), output_.get(), record, false, nullptr);
      if (failed_produce_ == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
      if (failed_produce_ != RD_KAFKA_RESP_ERR__QUEUE_FULL || stop_ ||
          failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR) {
        failed_record_ = DescribeRecord(record);
        return false;
      }
      rd_kafka_poll(producer_.get(), kQueueFullMs);
      if (tries % kQueueFullTries == 0 && (deleted_ = TopicDeleted())) return false;
    }
  });
  return failed_produce_ == RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t LaneTransactions::ProduceMarker(const Marker& marker) {
  const std::string key = MarkerKey(marker.lane);
  const std::string value = EncodeMarker(marker);
  for (;;) {
    const auto code = rd_kafka_producev(
        producer_.get(), RD_KAFKA_V_TOPIC(options_.marker_topic.c_str()),
        RD_KAFKA_V_PARTITION(marker_partition_), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(key.data(), key.size()),
        RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || stop_ ||
        failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return code;
    }
    rd_kafka_poll(producer_.get(), kQueueFullMs);
  }
}

/// One call, never resumed, and no other transactional call of this producer after one that did not
/// end. librdkafka forgets which end of the transaction it has asked for when a resumed call is cut
/// short in its first step, takes the answer for that to an abort, and aborts the process.
std::optional<P::Event> LaneTransactions::Commit() {
  in_transaction_ = false;
  const Owned<rd_kafka_error_t> error(rd_kafka_commit_transaction(
      producer_.get(), static_cast<int>(options_.commit_limit.count())));
  if (error == nullptr) return std::nullopt;
  in_transaction_ = rd_kafka_error_txn_requires_abort(error.get()) != 0;  // it was not asked for
  const std::string doing = "committing to topic " + options_.topic;
  if (rd_kafka_error_code(error.get()) == RD_KAFKA_RESP_ERR__TIMED_OUT && !in_transaction_) {
    return P::OutcomeUnknown{doing + ": no answer within " +
                             std::to_string(options_.commit_limit.count()) +
                             " ms; the marker will tell whether it took place"};
  }
  return Outcome(error.get(), doing);
}

P::Event LaneTransactions::Transact(const P::Transact& work,
                                    const std::function<EpochFile(CheckpointId)>& file_of) {
  if (WEIR_FAILPOINT("kafka.publish.begin")) return P::OutcomeUnknown{"failpoint"};
  const auto begun = SteadyClock::now();
  if (Owned<rd_kafka_error_t> error(rd_kafka_begin_transaction(producer_.get())); error) {
    return Outcome(error.get(), "beginning a transaction");
  }
  in_transaction_ = true;
  for (const CheckpointId id : work.epochs) {
    mapped_.push_back(std::make_unique<EpochReader>(file_of(id)));
    if (WEIR_PLANTED_BUG("publish_twice")) (void)ProduceEpoch(*mapped_.back());
    if (!ProduceEpoch(*mapped_.back())) {
      if (deleted_) return *deleted_;
      const auto code = failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR
                            ? failed_delivery_.code()
                            : failed_produce_;
      return Outcome(code, "publishing to topic " + options_.topic);
    }
    (void)WEIR_FAILPOINT("kafka.publish.produced");
  }
  if (const auto code = ProduceMarker(work.marker); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Outcome(code, "publishing to marker topic " + options_.marker_topic);
  }
  // The commit would flush as well; doing it first tells a failed delivery from a failed commit.
  auto acknowledged = SteadyClock::now();
  int left = rd_kafka_outq_len(producer_.get());
  while (rd_kafka_flush(producer_.get(), static_cast<int>(kSlice.count())) != 0) {
    const int now_left = rd_kafka_outq_len(producer_.get());
    if (now_left < left) {
      left = now_left;
      acknowledged = SteadyClock::now();
    }
    // The rest of a transaction that has failed stays in the queue.
    if (failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR) break;
    const auto silent = SteadyClock::now() - acknowledged;
    if (stop_ || silent > options_.send_limit) {
      return P::OutcomeUnknown{"publishing to topic " + options_.topic +
                               ": Kafka has acknowledged nothing for " +
                               std::to_string(options_.send_limit.count()) + " ms"};
    }
    // Not at once: a broker that is slow now is not to be asked for more.
    if (silent > kAskAfter) {
      if (std::optional<P::Refused> deleted = TopicDeleted()) return *std::move(deleted);
    }
  }
  if (failed_delivery_.code() != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Outcome(failed_delivery_.code(), "publishing to topic " + options_.topic);
  }
  (void)WEIR_FAILPOINT("kafka.publish.commit");
  if (std::optional<P::Event> failure = Commit()) return *std::move(failure);
  (void)WEIR_FAILPOINT("kafka.publish.committed");
  if (WEIR_FAILPOINT("kafka.publish.answer_lost")) return P::OutcomeUnknown{"failpoint"};
  mapped_.clear();
  asking_.reset();
  // The marker stands at or behind the end of the log that was seen before it was written.
  setup_.marker_offset = next_marker_offset_;
  return P::Committed{
      std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - begun)};
}

}  // namespace weir::kafka
