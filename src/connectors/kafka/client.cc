#include "connectors/kafka/client.h"

#include <syslog.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace weir::kafka {
namespace {

/// What a client's callbacks find behind its opaque pointer. Owned by the client's configuration
/// for as long as the client lives (see Attach and DestroyHandle).
struct ClientContext {
  LogFunction log;
  void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr;
  void* opaque = nullptr;
};

void OnLog(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  const auto* context = static_cast<const ClientContext*>(rd_kafka_opaque(client));
  if (level <= LOG_WARNING && context != nullptr && context->log) {
    context->log(std::string("kafka client: ") + facility + ": " + text);
  }
}

void OnDelivery(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque) {
  const auto* context = static_cast<const ClientContext*>(opaque);
  context->on_delivery(client, message, context->opaque);
}

void Set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  char reason[512];
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason, sizeof reason) !=
      RD_KAFKA_CONF_OK) {
    ThrowError(ErrorKind::kFatal,
               "kafka property " + name + "=" + value + " is refused: " + reason);
  }
}

}  // namespace

void DestroyHandle::operator()(rd_kafka_t* client) const {
  const auto* context = static_cast<const ClientContext*>(rd_kafka_opaque(client));
  if (rd_kafka_type(client) == RD_KAFKA_PRODUCER) {
    rd_kafka_purge(
        client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  }
  rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  delete context;
}

Owned<rd_kafka_t> MakeClient(const ClientOptions& options, const ClientSetup& setup,
                             const LogFunction& log) {
  Settings settings = {{"client.id", "weir"},
                       {"reconnect.backoff.ms", "50"},
                       {"reconnect.backoff.max.ms", "1000"},
                       {"socket.keepalive.enable", "true"},
                       {"log.connection.close", "false"}};
  for (const auto& [name, value] : setup.defaults) settings[name] = value;
  for (const auto& [name, value] : options.properties) {
    if (setup.fixed.contains(name) || name == "bootstrap.servers" ||
        name == "metadata.broker.list") {
      ThrowError(ErrorKind::kFatal, "kafka property " + name +
                                        " is set by Weir itself; remove it from the properties");
    }
    settings[name] = value;
  }
  for (const auto& [name, value] : setup.fixed) settings[name] = value;
  settings["bootstrap.servers"] = options.brokers;

  const auto destroy_conf = [](rd_kafka_conf_t* conf) { rd_kafka_conf_destroy(conf); };
  std::unique_ptr<rd_kafka_conf_t, decltype(destroy_conf)> conf(rd_kafka_conf_new(), destroy_conf);
  for (const auto& [name, value] : settings) Set(conf.get(), name, value);

  auto context = std::make_unique<ClientContext>(
      ClientContext{.log = log, .on_delivery = setup.on_delivery, .opaque = setup.opaque});
  rd_kafka_conf_set_opaque(conf.get(), context.get());
  rd_kafka_conf_set_log_cb(conf.get(), OnLog);
  if (setup.on_delivery != nullptr) rd_kafka_conf_set_dr_msg_cb(conf.get(), OnDelivery);

  char reason[512];
  rd_kafka_t* client = rd_kafka_new(setup.type, conf.get(), reason, sizeof reason);
  if (client == nullptr) {
    // No thread for it, for instance: properties were looked at above.
    const bool passes = rd_kafka_last_error() == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
    ThrowError(passes ? ErrorKind::kExternal : ErrorKind::kFatal,
               std::string("kafka client cannot be made: ") + reason);
  }
  (void)conf.release();     // now the client's
  (void)context.release();  // DestroyHandle's
  return Owned<rd_kafka_t>(client);
}

ErrorClass Classify(rd_kafka_t* client, rd_kafka_resp_err_t code) {
  if (code == RD_KAFKA_RESP_ERR__FATAL && client != nullptr) {
    char reason[512];
    code = rd_kafka_fatal_error(client, reason, sizeof reason);
  }
  switch (code) {
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      return ErrorClass::kFenced;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
      return ErrorClass::kRefused;
    default:
      return ErrorClass::kPassing;
  }
}

ErrorKind KindOf(rd_kafka_t* client, rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    // Credentials and rights change while jobs run: a token that could not be renewed, a broker
    // that reads its users anew.
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return ErrorKind::kUser;
    default:
      return Classify(client, code) == ErrorClass::kRefused ? ErrorKind::kFatal
                                                            : ErrorKind::kExternal;
  }
}

std::string Explain(rd_kafka_resp_err_t code, const std::string& brokers,
                    const std::string& topic) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return "topic " + topic + " (or the partition asked for) does not exist at " + brokers +
             "; create it first";
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      return "'" + topic + "' is not a valid topic name";
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
      return "no Kafka broker answers at " + brokers + "; is it running, and is the address right?";
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      return "Kafka at " + brokers +
             " does not accept our credentials; check the sasl.* and "
             "ssl.* properties";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return "Kafka at " + brokers + " denies access to topic " + topic + "; grant it to this user";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return "Kafka at " + brokers +
             " denies transactions to this user; grant Write on the transactional ids of topic " +
             topic + "'s sink";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return "a record for topic " + topic +
             " is larger than allowed; raise message.max.bytes in the sink's properties and "
             "max.message.bytes of the topic";
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return "a batch of records is larger than topic " + topic +
             " allows; lower batch.size in the sink's properties or raise segment.bytes of the "
             "topic";
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
      return "topic " + topic + " at " + brokers +
             " refuses the time of a record as too far from its clock; raise "
             "message.timestamp.after.max.ms (in the past: message.timestamp.before.max.ms) of the "
             "topic";
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      return "topic " + topic + " at " + brokers +
             " refuses a record as invalid: a compacted topic takes none without a key (set "
             "cleanup.policy=delete of the topic to let it in), others none whose time is too far "
             "from the broker's clock (message.timestamp.after.max.ms of the topic)";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return "the broker at " + brokers +
             " does not allow so long a transaction.timeout.ms; lower the property or raise the "
             "broker's transaction.max.timeout.ms";
    default:
      return std::string(rd_kafka_err2str(code)) + " (topic " + topic + " at " + brokers + ")";
  }
}

std::string RowMend(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return "write smaller rows";
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
      return "correct the event times or set the sink's .event_time = false";
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      return "set the sink's .key";
    default:
      return "";
  }
}

size_t MessageLimit(const ClientOptions& options) {
  constexpr char kName[] = "message.max.bytes";
  const auto destroy_conf = [](rd_kafka_conf_t* conf) { rd_kafka_conf_destroy(conf); };
  const std::unique_ptr<rd_kafka_conf_t, decltype(destroy_conf)> conf(rd_kafka_conf_new(),
                                                                      destroy_conf);
  if (const auto own = options.properties.find(kName); own != options.properties.end()) {
    Set(conf.get(), kName, own->second);
  }
  char text[32];
  size_t size = sizeof text;
  rd_kafka_conf_get(conf.get(), kName, text, &size);
  return std::stoull(text);
}

Settings QueueDefaults(const ClientOptions& options) {
  constexpr uint64_t kMessageOverhead = 256;  // of a message in librdkafka's queues, roughly
  const uint64_t budget = options.memory_bytes;
  const uint64_t two_records = (2 * uint64_t{MessageLimit(options)} + 1023) / 1024;
  return {{"queue.buffering.max.messages",
           std::to_string(std::max<uint64_t>(10'000, budget / kMessageOverhead))},
          {"queue.buffering.max.kbytes",
           std::to_string(std::min<uint64_t>(std::max(two_records, budget / 1024), INT32_MAX))}};
}

void RequireRoomForARecord(rd_kafka_t* producer) {
  const auto number = [&](const char* name) -> uint64_t {
    char text[32];
    size_t size = sizeof text;
    rd_kafka_conf_get(rd_kafka_conf(producer), name, text, &size);
    return std::stoull(text);
  };
  const uint64_t queue = number("queue.buffering.max.kbytes");
  const uint64_t record = number("message.max.bytes");
  if (queue * 1024 >= record) return;
  ThrowError(ErrorKind::kFatal,
             "Kafka property queue.buffering.max.kbytes is " + std::to_string(queue) +
                 ", and message.max.bytes allows records of " + std::to_string(record) +
                 " bytes: one larger than the whole queue could never be sent; set "
                 "queue.buffering.max.kbytes to " +
                 std::to_string((2 * record + 1023) / 1024) + ", or leave it out");
}

TopicAnswer AskForTopic(rd_kafka_t* client, const std::string& topic,
                        std::chrono::milliseconds limit) {
  const Owned<rd_kafka_topic_t> handle(rd_kafka_topic_new(client, topic.c_str(), nullptr));
  if (handle == nullptr) return {.error = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION};
  const rd_kafka_metadata_t* raw = nullptr;
  const auto error =
      rd_kafka_metadata(client, 0, handle.get(), &raw, static_cast<int>(limit.count()));
  const Owned<const rd_kafka_metadata_t> metadata(raw);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return {.error = error};
  if (metadata->topic_cnt != 1) return {.error = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC};
  const rd_kafka_metadata_topic_t& found = metadata->topics[0];
  return {.error = found.err, .partitions = found.partition_cnt};
}

int32_t PartitionCount(rd_kafka_t* client, const std::string& brokers, const std::string& topic,
                       std::chrono::milliseconds limit) {
  const auto [error, partitions] = AskForTopic(client, topic, limit);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ThrowError(KindOf(client, error), Explain(error, brokers, topic));
  }
  return partitions;
}

}  // namespace weir::kafka
