#include "connectors/kafka/at_least_once_sink.h"

#include <algorithm>
#include <utility>

#include "connectors/kafka/deleted_topic.h"
#include "connectors/kafka/epoch_file.h"
#include "connectors/kafka/inherited_output.h"
#include "connectors/kafka/produce.h"

namespace weir::kafka {
namespace {

void WakeSlot(rd_kafka_t*, void* context) { static_cast<const RuntimeContext*>(context)->wake(); }

}  // namespace

Owned<rd_kafka_t> MakeAtLeastOnceProducer(const SinkSettings& settings,
                                          void (*on_delivery)(rd_kafka_t*,
                                                              const rd_kafka_message_t*, void*),
                                          void* opaque, const LogFunction& log,
                                          uint64_t max_batch_bytes) {
  Settings defaults = QueueDefaults(settings.client);
  defaults.insert({{"linger.ms", "5"},
                   {"batch.size", std::to_string(BatchBytes(max_batch_bytes))},
                   {"enable.idempotence", "true"},
                   {"max.in.flight", "1"},  // docs/decisions/kafka-failures.md
                   {"message.timeout.ms", "30000"},
                   {"partitioner", "murmur2_random"}});  // Java's: the same key, the same partition
  Owned<rd_kafka_t> producer = MakeClient(settings.client,
                                          {.type = RD_KAFKA_PRODUCER,
                                           .defaults = std::move(defaults),
                                           .fixed = {{"delivery.report.only.error", "false"}},
                                           .on_delivery = on_delivery,
                                           .opaque = opaque},
                                          log);
  RequireRoomForARecord(producer.get());
  return producer;
}

AtLeastOnceSink::~AtLeastOnceSink() { Close(); }

void AtLeastOnceSink::Open(const RuntimeContext& context) {
  context_ = &context;
  settings_.client.memory_bytes = settings_.client.MemoryIn(context.connector_bytes);
  callbacks_ = std::make_shared<Callbacks>(context);
  epochs_.push_back(std::make_unique<Epoch>());
  MakeProducer();
  AskTopic();
  PublishInherited();
}

void AtLeastOnceSink::PublishInherited() {
  const std::vector<FormerOutput> former = ReadFormerOutput(*context_);
  Publisher::Requirement required = MustBePublished(*context_, former);
  const bool any =
      std::ranges::any_of(former, [&](const auto& one) { return IsOurs(one, *context_); });
  if (!any && required.lanes.empty()) return;
  // Names that only an exactly-once sink needs may have gone from the job with it.
  SinkSettings settings = settings_;
  settings.marker_topic = former.front().state.marker_topic;
  settings.transaction_prefix = former.front().state.transaction_prefix;
  InheritedOutput inherited = InheritOutput(*context_, settings, former);
  inherited_ = std::make_unique<Publisher>(
      PublicationOptions{.client = settings.client,
                         .topic = settings.topic,
                         .marker_topic = settings.marker_topic,
                         .transaction_prefix = settings.transaction_prefix},
      std::move(inherited.lanes), inherited.marker_partitions,
      Publisher::Environment{.log = Callbacks::Log(callbacks_),
                             .wake = Callbacks::Wake(callbacks_)});
  inherited_->Require(std::move(required));
  inherited_->Start();
}

void AtLeastOnceSink::TakeInherited() {
  if (inherited_ == nullptr) return;
  const Publisher::Status status = inherited_->status();
  if (status.failure && !failure_) failure_ = status.failure;
  if (!status.ready) return;
  DestroyWithin(std::chrono::milliseconds(0), std::move(inherited_));
}

void AtLeastOnceSink::MakeProducer() {
  producer_ = MakeAtLeastOnceProducer(settings_, DeliveryReport, this, Callbacks::Log(callbacks_),
                                      max_batch_bytes_);
  topic_.reset(rd_kafka_topic_new(producer_.get(), settings_.topic.c_str(), nullptr));
  if (topic_ == nullptr) {
    ThrowError(ErrorKind::kFatal, "'" + settings_.topic + "' is not a valid topic name");
  }
  main_queue_.reset(rd_kafka_queue_get_main(producer_.get()));
  rd_kafka_queue_cb_event_enable(main_queue_.get(), WakeSlot,
                                 const_cast<RuntimeContext*>(context_));
}

void AtLeastOnceSink::AskTopic() {
  question_ = std::make_unique<BatchLimitQuestion>(producer_.get(), settings_.topic, WakeSlot,
                                                   const_cast<RuntimeContext*>(context_));
}

void AtLeastOnceSink::TakeAnswer(uint64_t max_batch_bytes) {
  question_.reset();
  const bool lower = BatchBytes(max_batch_bytes) < BatchBytes(max_batch_bytes_) &&
                     !settings_.client.properties.contains("batch.size");
  if (asked_topic_) {
    if (lower && !failure_) {
      // Small records, perhaps. The next attempt knows the limit and says so if they are not.
      failure_ = Error(ErrorKind::kExternal, "sending to Kafka: topic " + settings_.topic +
                                                 " takes batches of up to " +
                                                 std::to_string(max_batch_bytes) + " bytes by now");
    }
    return;
  }
  asked_topic_ = true;
  if (!lower) return;
  max_batch_bytes_ = max_batch_bytes;
  rd_kafka_queue_cb_event_enable(main_queue_.get(), nullptr, nullptr);
  // Nothing was sent with this one.
  DestroyWithin(std::chrono::milliseconds(0), std::move(main_queue_), std::move(topic_),
                std::move(producer_));
  MakeProducer();
}

void AtLeastOnceSink::Append(const OutputRecord& record) {
  Epoch& epoch = *epochs_.back();
  ++epoch.undelivered;
  if (record.partition >= 0) names_partitions_ = true;
  SendOrWait(record, epoch.tries.front().get());
}

rd_kafka_resp_err_t AtLeastOnceSink::Send(const OutputRecord& record, Try* attempt) {
  return Produce(producer_.get(), topic_.get(), record, true, attempt);
}

void AtLeastOnceSink::SendOrWait(const OutputRecord& record, Try* attempt) {
  if (waiting_.empty() && MaySend()) {
    const auto code = Send(record, attempt);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      throw Refusal(code, DescribeRecord(record));
    }
  }
  const auto own = [](const std::optional<std::string_view>& view) {
    return view ? std::optional<std::string>(*view) : std::nullopt;
  };
  waiting_.push_back({.key = own(record.key),
                      .value = own(record.value),
                      .headers = std::string(record.headers),
                      .timestamp_ms = record.timestamp_ms,
                      .partition = record.partition,
                      .attempt = attempt});
}

Error AtLeastOnceSink::Refusal(rd_kafka_resp_err_t code, const std::string& record) const {
  const ErrorKind kind = KindOf(producer_.get(), code);
  const bool missing = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                       code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                       (code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION && !names_partitions_);
  if (missing && delivered_) {
    return {kind, "sending to Kafka: " +
                      ExplainDeleted(settings_.client.brokers, settings_.topic, /*partitions=*/0)};
  }
  const std::string mend = RowMend(code);
  return {kind, "sending to Kafka: " + Explain(code, settings_.client.brokers, settings_.topic) +
                    (mend.empty() ? "" : "; or " + mend) + ". It is " + record};
}

void AtLeastOnceSink::NoteRefusal() {
  if (refused_.code() == RD_KAFKA_RESP_ERR_NO_ERROR || failure_) return;
  // The limit is one of batches: it may have been lowered.
  if (refused_.code() == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !asked_again_) {
    asked_again_ = true;
    AskTopic();
  }
  if (question_ != nullptr) return;
  failure_ = Refusal(refused_.code(), refused_.Describe());
}

void AtLeastOnceSink::Serve() {
  TakeInherited();
  if (question_ != nullptr) {
    if (const auto answer = question_->Answer()) TakeAnswer(*answer);
  }
  rd_kafka_poll(producer_.get(), 0);
  NoteRefusal();
  while (!waiting_.empty() && !failure_ && MaySend()) {
    const Waiting& next = waiting_.front();
    OutputRecord record{.key = next.key,
                        .value = next.value,
                        .headers = next.headers,
                        .timestamp_ms = next.timestamp_ms,
                        .partition = next.partition};
    const auto code = Send(record, next.attempt);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) break;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      failure_ = Refusal(code, DescribeRecord(record));
      break;
    }
    waiting_.pop_front();
  }
  if (retries_ > 0) {
    context_->log_warning("sending to Kafka topic " + settings_.topic + ": " +
                          std::to_string(retries_) + " records are sent again: " + retry_reason_);
    if (context_->add_to_counter) {
      context_->add_to_counter("kafka_send_retries", static_cast<int64_t>(retries_));
    }
    retries_ = 0;
  }
  // Epochs that are delivered and whose barrier has passed are of no more interest.
  while (epochs_.size() > 1 && epochs_.front()->undelivered == 0) epochs_.pop_front();
}

void AtLeastOnceSink::DeliveryReport(rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
  static_cast<AtLeastOnceSink*>(self)->OnDelivery(*message);
}

void AtLeastOnceSink::OnDelivery(const rd_kafka_message_t& message) {
  Try* attempt = static_cast<Try*>(message._private);
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    --attempt->epoch->undelivered;
    delivered_ = true;
    return;
  }
  if (failure_) return;
  const std::string reason = Explain(message.err, settings_.client.brokers, settings_.topic);
  if (Classify(producer_.get(), message.err) == ErrorClass::kRefused) {
    refused_.Add(message);
    return;
  }
  if (attempt->number > kMaxRetries) {
    failure_ = Error(ErrorKind::kExternal,
                     "sending to Kafka failed after " + std::to_string(attempt->number) +
                         (attempt->number == 1 ? " try: " : " tries: ") + reason);
    return;
  }
  ++retries_;
  retry_reason_ = reason;
  Epoch& epoch = *attempt->epoch;
  epoch.tries.push_back(std::make_unique<Try>(Try{.epoch = &epoch, .number = attempt->number + 1}));
  OutputRecord record;
  if (message.key != nullptr) {
    record.key = std::string_view(static_cast<const char*>(message.key), message.key_len);
  }
  if (message.payload != nullptr) {
    record.value = std::string_view(static_cast<const char*>(message.payload), message.len);
  }
  record.timestamp_ms = TimestampOf(message);
  record.partition = message.partition;
  std::string encoded;
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name;
    const void* value;
    size_t size;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
      AppendHeader(name,
                   value == nullptr
                       ? std::nullopt
                       : std::optional(std::string_view(static_cast<const char*>(value), size)),
                   encoded);
    }
  }
  record.headers = encoded;
  // Not into librdkafka from its own callback: Serve sends what waits.
  waiting_.push_back(
      {.key = record.key ? std::optional<std::string>(*record.key) : std::nullopt,
       .value = record.value ? std::optional<std::string>(*record.value) : std::nullopt,
       .headers = encoded,
       .timestamp_ms = record.timestamp_ms,
       .partition = record.partition,
       .attempt = epoch.tries.back().get()});
}

bool AtLeastOnceSink::HasRoom() {
  if (!waiting_.empty() || !MaySend()) Serve();
  return waiting_.empty() && MaySend();
}

void AtLeastOnceSink::Snapshot(CheckpointId id, OperatorStateSnapshot&) {
  epochs_.back()->checkpoint = id;
  epochs_.push_back(std::make_unique<Epoch>());
}

bool AtLeastOnceSink::ReadyToAcknowledge(CheckpointId id) {
  Serve();
  return inherited_ == nullptr &&
         std::ranges::none_of(epochs_, [&](const std::unique_ptr<Epoch>& epoch) {
           return epoch->checkpoint && *epoch->checkpoint <= id && epoch->undelivered > 0;
         });
}

void AtLeastOnceSink::NotifyCheckpointComplete(CheckpointId) {}

void AtLeastOnceSink::CheckFailure() {
  Serve();
  if (failure_) throw *failure_;
}

void AtLeastOnceSink::Close() {
  // A producer that could not be made anew leaves the publisher behind.
  if (producer_ == nullptr && inherited_ == nullptr) return;
  if (main_queue_ != nullptr) rd_kafka_queue_cb_event_enable(main_queue_.get(), nullptr, nullptr);
  question_.reset();
  callbacks_->Leave();
  // Delivery reports, which refer to us, are served by our polls alone.
  DestroyWithin(kCloseLimit, std::move(inherited_), std::move(main_queue_), std::move(topic_),
                std::move(producer_));
}

std::unique_ptr<SinkBackend> MakeAtLeastOnceSink(const SinkSettings& settings) {
  return std::make_unique<AtLeastOnceSink>(settings);
}

}  // namespace weir::kafka
